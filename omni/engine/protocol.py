"""The seam between a session and whatever answers it: units go in, events come out.

    session = await engine.open(SessionSpec(instructions="Be brief."))
    await session.push(AudioIn(samples))
    await session.push(EndOfTurn(Origin("resp_1", epoch=1)))
    async for event in session.events(): ...

The rules, which `tests/omni/conformance.py` holds every engine to:

- `EndOfTurn` opens a response under the origin it brings; `Begin` prepares one that the user does not know of yet.
  At most one response of a session is open: `EndOfTurn` while another one is open is `Refused`. Response ids are used
  once, epochs never go back.
- Every event of a response carries its origin. A response ends with exactly one terminal event, `Done` or `Failed`,
  and nothing of that origin follows it.
- `Cancel` ends the open response with `Done("cancelled")` at once, whatever the engine is doing; what it made and
  nobody read is dropped, an unread end too. The next `EndOfTurn` may follow without waiting. Without an open response
  there is no event.
- What is pushed while a response is open belongs to the next turn.
- `push` waits while the engine is behind and raises `Overflow` when it stays behind; it never queues without bound.
  Nor do the events: an engine whose events nobody reads stops working on that session. `Refused` changes nothing.
- After `close` the events end, and the engine holds nothing of the session any more. After a `Failed` that is `fatal`
  they end too. `push` then raises `Closed`.
"""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from omni.sampling import GREEDY, Sampling

SAMPLE_RATE = 16_000  # Hz, of the audio that goes into an engine
Stage = Literal[
    "endpoint",
    "prefill",
    "first_text",
    "first_codes",
    "first_audio",
    "transcript",
    "llm_first_token",
    "first_clause",
    "tts_first_audio",
]


@dataclass(frozen=True)
class Tool:
    """A function the model may call; `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SessionSpec:
    """What a session wants: from its beginning, or from `Configure` on."""

    instructions: str = ""
    speaks: bool = True  # answers in speech and text; False: in text alone
    transcribes: bool = True  # wants the user's words; an engine that answers without them may spare itself the work
    codes: bool = False  # wants the acoustic codes of what is said besides the sound, where the engine has them
    tools: tuple[Tool, ...] = ()
    must_call: bool = False  # an answer has to be a call of one of them, where the engine can see to it
    sampling: Sampling = GREEDY
    longest: int = 1024  # text tokens of one answer


@dataclass(frozen=True)
class Origin:
    """Which response an event belongs to, and under which epoch it was made."""

    response: str
    epoch: int


# What goes in


@dataclass(frozen=True)
class AudioIn:
    """The next samples of the user's speech, mono float32. Other rates than SAMPLE_RATE are refused, not resampled."""

    samples: NDArray[np.float32]
    rate: int = SAMPLE_RATE  # Hz


@dataclass(frozen=True)
class TextIn:
    """Text to be read before the next answer: the user's, a tool's result, or earlier words of the assistant."""

    text: str
    role: Literal["user", "assistant", "tool", "system"] = "user"
    call: str = ""  # of a tool's result: the id of its `ToolCall`


@dataclass(frozen=True)
class ImageIn:
    """A picture, uint8 [height, width, 3]."""

    pixels: NDArray[np.uint8]


@dataclass(frozen=True)
class EndOfTurn:
    """The user's turn is over: answer."""

    origin: Origin


@dataclass(frozen=True)
class Begin:
    """Begin to answer although the turn may go on; nothing is emitted before `EndOfTurn` with the same origin.

    Anything else of the turn instead takes it back: the engine forgets what it began, without an event, and the turn
    goes on. So the caller keeps the silence after a `Begin` to itself until it knows.
    """

    origin: Origin


@dataclass(frozen=True)
class Cancel:
    """Stop answering. `heard` is how many seconds of the answer reached the ear: the rest was never said.

    An answer that is over for the engine still plays at the client: `heard` then shortens the last one in the history.
    """

    heard: float | None = None


@dataclass(frozen=True)
class Discard:
    """Forget what came in since the last turn ended: it was noise, or the user cleared it."""


@dataclass(frozen=True)
class Configure:
    """From the next answer on, the session wants this."""

    spec: SessionSpec


Unit = AudioIn | TextIn | ImageIn | EndOfTurn | Begin | Cancel | Discard | Configure


# What comes out


@dataclass(frozen=True)
class Transcript:
    """What the user said in the turn so far; the whole of it, not a difference."""

    text: str
    final: bool = False
    turn: Origin | None = None  # the response to that turn, where it is known; it may be over, the words come anyhow


SURE = 0.8  # the probability from which a turn is taken to be over: chosen on nano's development questions


@dataclass(frozen=True)
class TurnPrediction:
    """How probable it is that the user's turn is over, after `at` seconds of audio."""

    probability: float
    at: float


@dataclass(frozen=True)
class TextDelta:
    """The next piece of the answer's text."""

    origin: Origin
    text: str


@dataclass(frozen=True)
class AudioOut:
    """The next samples of the answer, mono float32 at the engine's `rate_out`."""

    origin: Origin
    samples: NDArray[np.float32]


@dataclass(frozen=True)
class CodesOut:
    """The next acoustic codes of the answer, [frames, books]."""

    origin: Origin
    codes: NDArray[np.int64]


@dataclass(frozen=True)
class ToolCall:
    """The model wants a function called; its result comes back as `TextIn(role="tool")`."""

    origin: Origin
    name: str
    arguments: str  # JSON
    call: str = ""  # its id, which the result brings back


@dataclass(frozen=True)
class Mark:
    """A stage of the answer was reached, at `time` in seconds on the engine's clock, which a worker process shares."""

    origin: Origin
    stage: Stage
    time: float


@dataclass(frozen=True)
class Tokens:
    """How many of each kind."""

    text: int = 0
    audio: int = 0
    image: int = 0

    @property
    def total(self) -> int:
        """All."""
        return self.text + self.audio + self.image


@dataclass(frozen=True)
class Usage:
    """The tokens of one answer."""

    read: Tokens  # of the conversation before it
    cached: Tokens  # of those, the ones that had been read when the answer was begun
    said: Tokens  # its own, without its ends


@dataclass(frozen=True)
class Done:
    """The answer is over."""

    origin: Origin
    reason: Literal["stop", "length", "cancelled", "tool"] = "stop"
    usage: Usage | None = field(default=None, compare=False)  # where the engine counts


@dataclass(frozen=True)
class Failed:
    """The answer cannot go on; the session can, unless `fatal`. Without an origin it is no response's end."""

    origin: Origin | None
    code: str
    message: str
    fatal: bool = False


Answered = TextDelta | AudioOut | CodesOut | ToolCall | Mark | Done  # what always belongs to a response
Event = Transcript | TurnPrediction | Answered | Failed


class Full(RuntimeError):
    """The engine takes no more sessions now."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after  # seconds


class Overflow(RuntimeError):
    """Units come faster than the engine takes them, for too long; or nobody reads what it answers."""


class Refused(ValueError):
    """This unit cannot be taken, now or ever. The session goes on as if it had not come."""


class Closed(RuntimeError):
    """The session is over."""


class EngineSession(Protocol):
    """One conversation."""

    async def push(self, unit: Unit) -> None:
        """Hand over the next unit. Raises `Refused`, `Closed`, or, when the engine stays behind, `Overflow`."""
        ...

    def events(self) -> AsyncIterator[Event]:
        """Everything that comes out, in order, until the session is closed. One reader."""
        ...

    async def close(self) -> None:
        """End the session and free what it holds. Closing twice is closing once."""
        ...


@runtime_checkable
class Prompt(Protocol):
    """A session that can also take live sound at once: a frame then crosses the server without waiting anywhere."""

    def push_now(self, unit: AudioIn) -> bool:
        """Hand over sound; False, and nothing is changed, where it has to be pushed. Raises as `push` does."""
        ...


class Engine(Protocol):
    """Something that answers: native, pipeline, echo, or a handle to one elsewhere."""

    @property
    def rate_out(self) -> int:
        """Hz, of the audio that comes out."""
        ...

    @property
    def sees(self) -> bool:
        """Whether `ImageIn` is taken."""
        ...

    @property
    def ready(self) -> bool:
        """Whether a session can be opened now, but for `Full`."""
        ...

    async def open(self, spec: SessionSpec) -> EngineSession:
        """Begin a session; raises `Full` at once when there is no room, `Closed` after `close`."""
        ...

    async def close(self) -> None:
        """End every session and stop."""
        ...
