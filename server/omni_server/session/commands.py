"""What a client can ask of a session, whatever wire it came over.

Each may carry the client's own id of the frame, `ref`, which an error about it brings back.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from omni_server.session.items import Item, Reference, seconds_of_speech
from omni_server.session.setup import Setup, Wishes


@dataclass(frozen=True, slots=True)
class AppendAudio:
    """More of the user's audio, mono float32 at any rate."""

    samples: NDArray[np.float32]
    rate: int  # Hz
    sent_at: float | None = None  # seconds on the server's clock when its last sample left the client, where known
    ref: str | None = None


@dataclass(frozen=True)
class CommitAudio:
    """What was appended is a user's message."""

    ref: str | None = None


@dataclass(frozen=True)
class ClearAudio:
    """Forget what was appended and not committed."""

    ref: str | None = None


@dataclass(frozen=True)
class AddItem:
    """Put an item into the conversation: behind `after`, in front of all with an empty one, or at the end."""

    item: Item
    after: str | None = None
    ref: str | None = None


@dataclass(frozen=True)
class RetrieveItem:
    """Show an item."""

    item: str
    ref: str | None = None


@dataclass(frozen=True)
class TruncateItem:
    """Of this spoken answer only so much was heard."""

    item: str
    part: int
    audio_end_ms: int
    ref: str | None = None


@dataclass(frozen=True)
class DeleteItem:
    """Take an item out of the conversation."""

    item: str
    ref: str | None = None


@dataclass(frozen=True)
class CreateResponse:
    """Answer. `aside`: outside the conversation; `context`: of this alone, instead of the conversation."""

    wishes: Wishes = field(default_factory=Wishes)
    aside: bool = False
    context: tuple[Item | Reference, ...] | None = None
    ref: str | None = None


@dataclass(frozen=True)
class CancelResponse:
    """Stop answering: this response, or the one that is being made."""

    response: str | None = None
    ref: str | None = None


@dataclass(frozen=True)
class Configure:
    """The session is to be like this from now on."""

    setup: Setup
    ref: str | None = None


@dataclass(frozen=True)
class PlayedOut:
    """So much of a spoken answer has come out of the loudspeaker by now; `first_at`: when it began, server's clock."""

    item: str
    ms: float
    received_at: float | None = None  # seconds on the server's clock: first audio of the answer arrived
    first_at: float | None = None  # seconds on the server's clock: it became audible
    ref: str | None = None


@dataclass(frozen=True)
class Reject:
    """A frame that could not be read: the session says so, in its place among the answers."""

    code: str
    message: str
    param: str | None = None
    kind: str = "invalid_request_error"
    ref: str | None = None


Command = (
    AppendAudio
    | CommitAudio
    | ClearAudio
    | AddItem
    | RetrieveItem
    | TruncateItem
    | DeleteItem
    | CreateResponse
    | CancelResponse
    | Configure
    | PlayedOut
    | Reject
)


def seconds_of_sound(command: Command) -> float:
    """The user's sound that a command brings, appended or in items."""
    match command:
        case AppendAudio(samples=samples, rate=rate):
            return len(samples) / rate
        case AddItem(item=item):
            return seconds_of_speech(item)
        case CreateResponse(context=context):
            return sum(seconds_of_speech(item) for item in context or () if not isinstance(item, Reference))
    return 0.0
