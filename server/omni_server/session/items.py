"""What a conversation consists of: messages, calls of functions, and their results."""

from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Role = Literal["user", "assistant", "system"]
Status = Literal["in_progress", "completed", "incomplete"]


@dataclass
class TextPart:
    """Text that was typed, or written as an answer."""

    text: str


@dataclass
class SpeechPart:
    """Speech of the user, or of the assistant."""

    transcript: str | None = None  # of the user's: None until it is known
    seconds: float = 0.0
    samples: NDArray[np.int16] | None = None  # at 16 kHz, the user's, while they are kept


@dataclass
class ImagePart:
    """A picture. `url` is what the client sent, and what it gets back."""

    url: str
    detail: str | None = None
    pixels: NDArray[np.uint8] | None = None  # [height, width, 3], None before it is read


Part = TextPart | SpeechPart | ImagePart


@dataclass
class Message:
    """Something said, typed or shown."""

    id: str
    role: Role
    parts: list[Part] = field(default_factory=list)
    status: Status = "completed"


@dataclass
class FunctionCall:
    """The model wants a function called."""

    id: str
    call: str  # id that the result brings back
    name: str
    arguments: str  # JSON
    status: Status = "completed"


@dataclass
class FunctionResult:
    """What the function gave."""

    id: str
    call: str
    output: str
    status: Status = "completed"


Item = Message | FunctionCall | FunctionResult


def still(item: Item) -> Item:
    """The item as it is now: events wait for the wire while the conversation goes on.

    Without sound and pixels, which no wire shows: events would hold them after the item is gone.
    """
    if isinstance(item, Message):
        return replace(item, parts=[_shown(part) for part in item.parts])
    return replace(item)


def _shown(part: Part) -> Part:
    match part:
        case SpeechPart():
            return replace(part, samples=None)
        case ImagePart():
            return replace(part, pixels=None)
        case _:
            return replace(part)


def content_bytes(item: Item) -> int:
    """Memory that an item's texts and pictures take, roughly; sound is counted elsewhere."""
    if isinstance(item, FunctionCall):
        return len(item.arguments)
    if isinstance(item, FunctionResult):
        return len(item.output)
    found = 0
    for part in item.parts:
        if isinstance(part, ImagePart):
            found += len(part.url) + (part.pixels.nbytes if part.pixels is not None else 0)
        else:
            found += len(part.text if isinstance(part, TextPart) else part.transcript or "")
    return found


def seconds_of_speech(item: Item) -> float:
    """How long the sound in an item is."""
    if not isinstance(item, Message):
        return 0.0
    return sum(part.seconds for part in item.parts if isinstance(part, SpeechPart))


@dataclass(frozen=True)
class Reference:
    """An item of the conversation, named in the input of a response."""

    id: str
