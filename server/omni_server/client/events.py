"""What a conversation tells its client, the same for both wires."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Wave = NDArray[np.float32]
Status = Literal["completed", "cancelled", "failed", "incomplete"]


@dataclass(frozen=True)
class Opened:
    """The session is there."""

    session: str
    model: str


@dataclass(frozen=True)
class Configured:
    """It is now as it was wished."""


@dataclass(frozen=True)
class SpeechStarted:
    """The server hears the user speak. An answer that is playing stops."""

    item: str


@dataclass(frozen=True)
class SpeechStopped:
    """The server takes the user's turn for over."""

    item: str


@dataclass(frozen=True)
class Heard:
    """What the user said: a piece, or when `final` the whole."""

    item: str
    text: str
    final: bool


@dataclass(frozen=True)
class AnswerStarted:
    """An answer is being made."""

    answer: str


@dataclass(frozen=True)
class Words:
    """The next piece of the answer's text."""

    answer: str
    item: str
    text: str


@dataclass(frozen=True)
class Sound:
    """The next samples of the answer, mono float32."""

    answer: str
    item: str
    samples: Wave
    rate: int  # Hz


@dataclass(frozen=True)
class SoundEnded:
    """No more samples of this item come."""

    answer: str
    item: str


@dataclass(frozen=True)
class Called:
    """The model wants a function called: `talk.tool_result(call, …)` brings what it gave."""

    answer: str
    call: str
    name: str
    arguments: str  # JSON


@dataclass(frozen=True)
class AnswerDone:
    """The one end of an answer; `latency` is the server's waterfall."""

    answer: str
    status: Status
    reason: str | None = None
    error: str | None = None
    latency: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Measured:
    """The server's waterfall once more, with what this client told about its play-out."""

    answer: str
    latency: Mapping[str, Any]


@dataclass(frozen=True)
class Thinking:
    """The answer takes a while; or has begun after that."""

    on: bool


@dataclass(frozen=True)
class Ducked:
    """Somebody may be interrupting: play quietly until it is known; or at full volume again."""

    on: bool


@dataclass(frozen=True)
class Pong:
    """The server's clock, in answer to a ping that was sent at `sent`."""

    sent: float  # s on the client's clock
    server: float  # s on the server's clock


@dataclass(frozen=True)
class Trouble:
    """Something could not be done. The session goes on."""

    code: str
    message: str


@dataclass(frozen=True)
class Ended:
    """The server ended the session, and says why."""

    code: str
    message: str


@dataclass(frozen=True)
class Resumed:
    """The connection was lost and is there again; nothing of the session was."""

    lost_s: float  # s without a connection


@dataclass(frozen=True)
class Other:
    """A message of a type that this client has no use for."""

    type: str
    body: Mapping[str, Any] = field(default_factory=dict)


Event = (
    Opened
    | Configured
    | SpeechStarted
    | SpeechStopped
    | Heard
    | AnswerStarted
    | Words
    | Sound
    | SoundEnded
    | Called
    | AnswerDone
    | Measured
    | Thinking
    | Ducked
    | Pong
    | Trouble
    | Ended
    | Resumed
    | Other
)
