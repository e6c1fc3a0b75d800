"""What a session says, whatever wire it goes out on.

Items in events are copies: what they show is the moment of the event, however long it waits for the wire.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omni.engine.protocol import Usage
from omni_server.latency.waterfall import Waterfall
from omni_server.session.items import Item
from omni_server.session.setup import Setup

Outcome = Literal["in_progress", "completed", "cancelled", "failed", "incomplete"]


@dataclass(frozen=True)
class Answer:
    """A response as it stands."""

    id: str
    status: Outcome = "in_progress"
    output: tuple[Item, ...] = ()
    aside: bool = False  # outside the conversation
    speaks: bool = True
    reason: str | None = None  # turn_detected, client_cancelled, max_output_tokens
    code: str | None = None  # of a failure
    message: str | None = None
    usage: Usage | None = None  # where the engine counts tokens
    metadata: Mapping[str, str] | None = None
    wire: Mapping[str, Any] = field(default_factory=dict)  # the dialect's own, of `Wishes`


@dataclass(frozen=True)
class Place:
    """Where in a response something belongs."""

    response: str
    item: str
    output: int  # index of the item in the response
    part: int = 0  # index of the part in the item


@dataclass(frozen=True)
class SessionOpened:
    """The session is there."""

    session: str
    setup: Setup


@dataclass(frozen=True)
class SessionChanged:
    """It is now like this."""

    session: str
    setup: Setup


@dataclass(frozen=True)
class SpeechStarted:
    """The user speaks; `item` will hold it."""

    item: str
    at_ms: int  # of all appended audio


@dataclass(frozen=True)
class SpeechStopped:
    """The user's turn is over."""

    item: str
    at_ms: int


@dataclass(frozen=True)
class TimedOut:
    """Nobody spoke for the idle timeout."""

    item: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Committed:
    """Audio became a user's message."""

    item: str
    previous: str | None


@dataclass(frozen=True)
class Cleared:
    """Uncommitted audio was forgotten."""


@dataclass(frozen=True)
class ItemAdded:
    """An item entered the conversation."""

    item: Item
    previous: str | None


@dataclass(frozen=True)
class ItemDone:
    """It is final."""

    item: Item
    previous: str | None


@dataclass(frozen=True)
class ItemRetrieved:
    """As asked."""

    item: Item


@dataclass(frozen=True)
class ItemTruncated:
    """Of it only so much was heard."""

    item: str
    part: int
    audio_end_ms: int


@dataclass(frozen=True)
class ItemDeleted:
    """It is gone."""

    item: str


@dataclass(frozen=True)
class Word:
    """When a word was spoken, in seconds from the beginning of its item."""

    text: str
    start: float
    end: float


@dataclass(frozen=True)
class Transcribed:
    """More of what the user said; the last one is `final` and brings all of it."""

    item: str
    text: str  # a piece, or when final the whole
    final: bool = False
    seconds: float = 0.0  # of audio
    words: tuple[Word, ...] | None = None


@dataclass(frozen=True)
class TranscriptionFailed:
    """Nobody knows what the user said."""

    item: str
    code: str
    message: str


@dataclass(frozen=True)
class ResponseCreated:
    """An answer is being made."""

    answer: Answer


@dataclass(frozen=True)
class OutputAdded:
    """An item of the answer begins."""

    place: Place
    item: Item


@dataclass(frozen=True)
class OutputDone:
    """It is complete, or will never be."""

    place: Place
    item: Item


@dataclass(frozen=True)
class PartAdded:
    """A part of the item begins."""

    place: Place
    speech: bool


@dataclass(frozen=True)
class PartDone:
    """A part ends: with sound and its words, or with text alone."""

    place: Place
    speech: bool
    text: str


@dataclass(frozen=True)
class TextDelta:
    """The next piece of text, of speech or alone."""

    place: Place
    text: str
    speech: bool


@dataclass(frozen=True, slots=True)
class AudioDelta:
    """The next samples, mono float32 at the rate of the setup."""

    place: Place
    samples: NDArray[np.float32]
    rate: int


@dataclass(frozen=True)
class CodesDelta:
    """The next acoustic codes [frames, books]."""

    place: Place
    codes: NDArray[np.int64]


@dataclass(frozen=True)
class CallDelta:
    """The next piece of a function's arguments."""

    place: Place
    call: str
    arguments: str


@dataclass(frozen=True)
class CallDone:
    """All of the arguments."""

    place: Place
    call: str
    name: str
    arguments: str


@dataclass(frozen=True)
class ResponseDone:
    """The one end of a response."""

    answer: Answer
    waterfall: Waterfall | None


@dataclass(frozen=True)
class Measured:
    """The waterfall once more: behind every response, and again when the client has said when it heard it."""

    response: str
    waterfall: Waterfall | None
    excluded: tuple[str, ...] = ()


@dataclass(frozen=True)
class Thinking:
    """The answer takes a while; or has begun after that."""

    response: str
    on: bool


@dataclass(frozen=True)
class Ducked:
    """Somebody may be interrupting: play the answer quietly until it is known; or at full volume again."""

    on: bool


@dataclass(frozen=True)
class Problem:
    """Something could not be done. The session goes on."""

    code: str
    message: str
    param: str | None = None  # the field that was wrong, by its name in OpenAI Realtime; of a `Reject`, as that says
    kind: str = "invalid_request_error"
    ref: str | None = None  # the client's id of the frame it is about


@dataclass(frozen=True)
class Ended:
    """The session is over; nothing follows."""

    code: str
    message: str


Event = (
    SessionOpened
    | SessionChanged
    | SpeechStarted
    | SpeechStopped
    | TimedOut
    | Committed
    | Cleared
    | ItemAdded
    | ItemDone
    | ItemRetrieved
    | ItemTruncated
    | ItemDeleted
    | Transcribed
    | TranscriptionFailed
    | ResponseCreated
    | OutputAdded
    | OutputDone
    | PartAdded
    | PartDone
    | TextDelta
    | AudioDelta
    | CodesDelta
    | CallDelta
    | CallDone
    | ResponseDone
    | Measured
    | Thinking
    | Ducked
    | Problem
    | Ended
)
