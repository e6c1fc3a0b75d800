"""The client: `connect(url)` and a conversation. Needs numpy, soxr, soundfile and websockets, never torch.

    async with connect("http://127.0.0.1:8000") as talk:
        await talk.send_audio("question.wav")
        answer = await talk.answer()

Names are imported on first use, so that a part of it costs only that part.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from omni_server.client.answer import Answer
    from omni_server.client.opening import connect
    from omni_server.client.recording import Recording
    from omni_server.client.refusals import Refusal
    from omni_server.client.talk import Talk
    from omni_server.client.wishes import Wishes

_HOME = {
    "Answer": "answer",
    "Recording": "recording",
    "Refusal": "refusals",
    "Talk": "talk",
    "Wishes": "wishes",
    "connect": "opening",
}

__all__ = ["Answer", "Recording", "Refusal", "Talk", "Wishes", "connect"]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # the next look-up does not come here
    return value
