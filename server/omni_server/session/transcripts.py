"""What the user said, as text: pieces while it is heard, the whole when it is known, one end for each item."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from omni.engine.protocol import SAMPLE_RATE
from omni_server.session.events import Event, Transcribed, TranscriptionFailed
from omni_server.session.items import Item, Message, SpeechPart


@dataclass
class Transcripts:
    """Follows the items whose words are not known yet."""

    say: Callable[[Event], None]
    find: Callable[[str], Item | None]
    wanted: bool = False  # the client wants to be told
    timed: bool = False  # with the time of every word, which somebody finds for what is in `to_time`
    to_time: deque[tuple[Transcribed, NDArray[np.int16]]] = field(default_factory=deque)
    _shown: dict[str, str] = field(default_factory=dict)  # by item that waits: the text that was sent in pieces

    def expect(self, item: str) -> None:
        """Somebody speaks: the words of this item will come."""
        self._shown.setdefault(item, "")

    def forget(self, item: str) -> None:
        """There is no such item any more."""
        self._shown.pop(item, None)

    @property
    def newest(self) -> str | None:
        """The item that was last expected and is still waited for."""
        return next(reversed(self._shown), None)

    def partial(self, item: str, text: str) -> None:
        """All that was understood so far. Pieces cannot be taken back, so what was revised waits for the end."""
        shown = self._shown.get(item)
        if shown is not None and self.wanted and text.startswith(shown) and len(text) > len(shown):
            self._shown[item] = text
            self.say(Transcribed(item, text[len(shown) :]))

    def final(self, items: Sequence[str], text: str) -> None:
        """What was said in a turn. It may have been committed in several items: then the last one has it all."""
        waiting = [name for name in items if name in self._shown]
        for name in waiting[:-1]:
            self._fail(name, "transcript_in_next_item", "its words are in the transcript of the next item")
        for name in waiting[-1:]:
            self.partial(name, text)
            del self._shown[name]
            seconds, samples = 0.0, None
            item = self.find(name)
            for part in item.parts if isinstance(item, Message) else []:
                if isinstance(part, SpeechPart):
                    part.transcript, seconds, samples = text, part.seconds, part.samples
            if not self.wanted:
                continue
            whole = Transcribed(name, text, final=True, seconds=seconds)
            if self.timed and samples is not None and len(samples) == round(seconds * SAMPLE_RATE):
                self.to_time.append((whole, samples))
            else:
                self.say(whole)

    def give_up(self, items: Sequence[str], code: str, message: str) -> None:
        """Nothing more will come for these."""
        for name in items:
            if name in self._shown:
                self._fail(name, code, message)

    def _fail(self, name: str, code: str, message: str) -> None:
        del self._shown[name]
        if self.wanted:
            self.say(TranscriptionFailed(name, code, message))
