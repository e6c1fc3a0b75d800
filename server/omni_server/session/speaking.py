"""One response while it is made: what the engine says becomes items with parts, opened, filled and closed once."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from omni.engine.protocol import Origin
from omni_server.session.events import (
    Answer,
    AudioDelta,
    CallDelta,
    CallDone,
    CodesDelta,
    Event,
    ItemAdded,
    ItemDone,
    OutputAdded,
    OutputDone,
    PartAdded,
    PartDone,
    Place,
    TextDelta,
)
from omni_server.session.items import FunctionCall, Item, Message, SpeechPart, Status, TextPart, still
from omni_server.session.low_latency import LowLatency
from omni_server.session.names import Names
from omni_server.session.setup import Wishes


@dataclass
class Speaking:
    """A response in progress. `say` takes its events; `enter` puts an item into the conversation."""

    origin: Origin
    names: Names
    say: Callable[[Event], None]
    enter: Callable[[Item], str | None] | None  # says what is in front of it; None outside the conversation
    wishes: Wishes
    speaks: bool
    rate_in: int  # Hz, of the engine
    rate_out: int  # Hz, for the client
    aside: bool = False  # outside the conversation
    apart: bool = False  # made by an engine session of its own
    moments: dict[str, float] = field(default_factory=dict)
    output: list[Item] = field(default_factory=list)
    answered: list[str] = field(default_factory=list)  # the user's spoken items it answers
    truncated: dict[str, float] = field(default_factory=dict)  # s, by item: the client said so meanwhile
    reopened: bool = False
    queued: bool = False  # behind another answer
    thinking: bool = False
    begun: bool = False  # something of it has come
    spoken: float = 0.0  # s of audio said
    _message: Message | None = None
    _text: list[str] = field(default_factory=list)
    _previous: str | None = None
    _resampler: LowLatency | None = None

    @property
    def id(self) -> str:
        """Of the response."""
        return self.origin.response

    def answer(self) -> Answer:
        """As it stands, being made."""
        return Answer(
            self.id,
            output=tuple(still(item) for item in self.output),
            aside=self.aside,
            speaks=self.speaks,
            metadata=self.wishes.metadata,
            wire=self.wishes.wire,
        )

    def text(self, piece: str) -> None:
        """More of the text."""
        if not piece:
            return
        place = self._open_message()
        self._text.append(piece)
        self.say(TextDelta(place, piece, self.speaks))

    def audio(self, samples: NDArray[np.float32]) -> None:
        """More of the sound."""
        if not self.speaks or not len(samples):
            return
        place = self._open_message()
        if self.rate_in != self.rate_out:
            if self._resampler is None:
                self._resampler = LowLatency(self.rate_in, self.rate_out)
            samples = self._resampler.push(samples)
        self._sound(place, samples)

    def codes(self, codes: NDArray[np.int64]) -> None:
        """More of the sound, as acoustic codes."""
        self.say(CodesDelta(self._open_message(), codes))

    def call(self, name: str, arguments: str, call: str) -> None:
        """A function is called; its arguments come whole."""
        self._close_message("completed")
        item = FunctionCall(self.names.new("item"), call or self.names.new("call"), name, "", "in_progress")
        place = self._add(item)
        self.say(CallDelta(place, item.call, arguments))
        item.arguments, item.status = arguments, "completed"
        self.say(CallDone(place, item.call, name, arguments))
        self._done(place, item)

    @property
    def messages(self) -> list[Message]:
        """What it says, between calls."""
        return [item for item in self.output if isinstance(item, Message)]

    def find(self, name: str) -> Message | None:
        """A message of this answer."""
        return next((item for item in self.messages if item.id == name), None)

    def owns(self, item: Item) -> bool:
        """Whether an item is of this answer."""
        return any(item is other for other in self.output)

    def end(self, answer: Answer) -> Answer:
        """Close what is open; the answer as it will be told, the one end still to be said."""
        self._close_message("completed" if answer.status == "completed" else "incomplete")
        return replace(answer, output=tuple(still(item) for item in self.output))

    def _place(self, item: Item) -> Place:
        return Place(self.id, item.id, len(self.output) - 1)

    def _add(self, item: Item) -> Place:
        self.output.append(item)
        self.begun = True
        place = self._place(item)
        self.say(OutputAdded(place, still(item)))
        if self.enter is not None:
            self._previous = self.enter(item)
            self.say(ItemAdded(still(item), self._previous))
        return place

    def _done(self, place: Place, item: Item) -> None:
        if self.enter is not None:
            self.say(ItemDone(still(item), self._previous))
        self.say(OutputDone(place, still(item)))

    def _open_message(self) -> Place:
        if self._message is None:
            self._message = Message(self.names.new("item"), "assistant", [], "in_progress")
            self._text = []
            self.say_part(self._add(self._message))
        return self._place(self._message)

    def say_part(self, place: Place) -> None:
        """The message's one part begins."""
        self.say(PartAdded(place, self.speaks))
        assert self._message is not None
        self._message.parts.append(SpeechPart("") if self.speaks else TextPart(""))

    def _sound(self, place: Place, samples: NDArray[np.float32]) -> None:
        if len(samples):
            self.spoken += len(samples) / self.rate_out
            assert self._message is not None
            part = self._message.parts[0]
            if isinstance(part, SpeechPart):
                part.seconds += len(samples) / self.rate_out
            self.say(AudioDelta(place, samples, self.rate_out))

    def _close_message(self, status: Status) -> None:
        message, self._message = self._message, None
        if message is None:
            return
        place = self._place(message)
        if self._resampler is not None and status == "completed":
            self._message = message
            self._sound(place, self._resampler.finish())
            self._message = None
        self._resampler = None
        text = "".join(self._text)
        message.status = status
        part = message.parts[0]
        if isinstance(part, SpeechPart):
            part.transcript = text
        elif isinstance(part, TextPart):
            part.text = text
        self.say(PartDone(place, self.speaks, text))
        self._done(place, message)


def shorten(text: str, seconds: float, heard: float) -> str:
    """Of a spoken text so much was heard: whole words, by their share of the time.

    >>> shorten("One two three four.", 2.0, 1.0)
    'One two'
    """
    cut = text[: int(len(text) * heard / seconds)] if heard < seconds else text
    if len(cut) == len(text):
        return text
    if not text[len(cut)].isspace():
        cut = cut[: max((at for at, letter in enumerate(cut) if letter.isspace()), default=0)]
    return cut.rstrip()
