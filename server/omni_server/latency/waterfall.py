"""The waterfall of one response: named stages which sum to voice-to-voice, with what is left over shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

# Each stage from one moment to another. A moment that nobody saw makes its stages missing, never zero: the time is
# then in the residual. The engine's moments have the names of its marks.
STAGES = (
    ("uplink", "speech_end_sent", "speech_end"),
    ("endpoint", "speech_end", "turn_over"),
    ("stt", "turn_over", "transcript"),
    ("llm", "transcript", "llm_first_token"),
    ("llm", "turn_over", "llm_first_token"),  # of what was typed
    ("clause", "llm_first_token", "first_clause"),
    ("tts", "first_clause", "tts_first_audio"),
    ("prefill", "turn_over", "prefill"),
    ("first_text", "prefill", "first_text"),
    ("first_codes", "first_text", "first_codes"),
    ("decode", "first_codes", "first_audio"),
    ("send", "tts_first_audio", "first_sent"),
    ("send", "first_audio", "first_sent"),
    ("downlink", "first_sent", "received"),
    ("playout", "received", "audible"),
)
FIRST = ("speech_end_sent", "speech_end", "turn_over")  # the earliest that is known is the origin
LAST = ("audible", "received", "first_sent")  # the latest that is known is the end


@dataclass(frozen=True)
class Stage:
    """One step of the way, in seconds on the server's clock."""

    name: str
    start: float
    end: float

    @property
    def ms(self) -> float:
        """How long it took."""
        return (self.end - self.start) * 1000


@dataclass(frozen=True)
class Waterfall:
    """Where the time went until the first sound, or the first text of an answer without sound, left."""

    origin: Literal["speech_end_sent", "speech_end", "turn_over"]
    end: Literal["audible", "received", "first_sent"]
    total_ms: float
    stages: tuple[Stage, ...]
    residual_ms: float  # of total_ms that no stage has
    excluded: tuple[str, ...] = ()  # cancelled, reopened, tool: not for percentiles

    def as_json(self) -> dict[str, Any]:
        """Plain numbers, in milliseconds, rounded to 10 µs."""
        return {
            "origin": self.origin,
            "end": self.end,
            "total_ms": round(self.total_ms, 2),
            "stages": [{"name": stage.name, "ms": round(stage.ms, 2)} for stage in self.stages],
            "residual_ms": round(self.residual_ms, 2),
            "excluded": list(self.excluded),
        }


def waterfall(moments: Mapping[str, float], excluded: tuple[str, ...] = ()) -> Waterfall | None:
    """Sort what was seen into stages; None while there is no beginning or no end.

    What was ready before the turn was declared over took no time of the user's: such a stage is 0 and is not missing.

    >>> seen = {"speech_end": 1.0, "turn_over": 1.5, "transcript": 1.4, "llm_first_token": 1.6, "first_sent": 1.75}
    >>> made = waterfall(seen)
    >>> [(stage.name, round(stage.ms)) for stage in made.stages], round(made.total_ms), round(made.residual_ms)
    ([('endpoint', 500), ('stt', 0), ('llm', 100)], 750, 150)
    """
    origin = next((name for name in FIRST if name in moments), None)
    end = next((name for name in LAST if name in moments), None)
    if origin is None or end is None or moments[end] < moments[origin]:
        return None
    over = moments.get("turn_over", moments[origin])
    found: list[Stage] = []
    for name, start, stop in STAGES:
        if start in moments and stop in moments and not any(stage.name == name for stage in found):
            floor = moments[origin] if start in FIRST[:2] else over
            begun, done = max(moments[start], floor), max(moments[stop], floor)
            found.append(Stage(name, begun, max(begun, done)))
    total = (moments[end] - moments[origin]) * 1000
    return Waterfall(origin, end, total, tuple(found), total - sum(stage.ms for stage in found), excluded)  # type: ignore[arg-type]
