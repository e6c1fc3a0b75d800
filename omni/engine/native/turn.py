"""What the user says, while it is said: sound becomes tokens as it comes, text and pictures stand where they came."""

import copy
from collections import deque
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal

import numpy as np

from omni.bundle import Bundle
from omni.engine.native.tape import Piece
from omni.engine.protocol import SAMPLE_RATE, AudioIn, ImageIn, TextIn
from omni.script import ANSWER, END, RESULT, SYSTEM, USER
from omni_tokenizers import Text
from omni_tokenizers.sequence import Audio, Image

SAMPLES_A_TOKEN = 640  # 40 ms; a token of sound is never shorter

Ids = list[int]
Entry = Ids | Piece  # of a tape: text ids, or tokens whose vectors are still to be made


@dataclass
class Turn:
    """One turn of the user as entries of a tape. `take` gives what is certain; `finish` the rest."""

    bundle: Bundle
    speaker: Literal["", "user", "result", "other"] = ""  # whose the last part was; other: not a turn of the user
    heard: int = 0  # samples
    tokens: int = 0  # that came out of it
    sound: Any = None  # the stream of the sound that goes on
    of_sound: int = 0  # tokens of it
    entries: deque[Entry] = field(default_factory=deque)
    sketched: int = 0  # tokens of it that its last sketch had read
    sketch: str = ""  # what that wrote
    told: str = ""  # of it, what two agreed in

    @property
    def seconds(self) -> float:
        """Of sound."""
        return self.heard / SAMPLE_RATE

    def weigh(self, unit: AudioIn | TextIn | ImageIn) -> tuple[int, Ids]:
        """About how many tokens it makes, never fewer; and the ids of a text."""
        if isinstance(unit, AudioIn):
            return 2 + len(unit.samples) // SAMPLES_A_TOKEN, []
        if isinstance(unit, TextIn):
            ids = self.bundle.text.encode(unit.text, special="text")
            return 4 + len(ids), ids
        return 4 + self.bundle.tokens.modalities["image"].count(Image(unit.pixels)), []

    def hear(self, unit: AudioIn | TextIn | ImageIn, ids: Ids) -> None:
        """Take in a piece of the turn; `ids` are those that `weigh` found."""
        if isinstance(unit, AudioIn):
            if len(unit.samples):
                self._open()
                if self.sound is None:
                    self.sound, self.of_sound = self.bundle.tokens.modalities["audio"].stream(), 0
                self.heard += len(unit.samples)
                self._sound(self.sound.push(Audio(unit.samples, unit.rate)))
            return
        self._end_sound()
        if isinstance(unit, ImageIn):
            self._open()
            encoded = self.bundle.tokens.modalities["image"].encode(Image(unit.pixels))
            self._out(Piece(encoded.span("image", 0, 0), encoded.arrays))
        else:
            self._text(unit, ids)

    def finish(self) -> None:
        """The turn is over: the last of its sound is a token too."""
        self._end_sound()
        if self.speaker != "result":  # what a tool gave back stands like a turn
            self._open()

    def fork(self) -> "Turn":
        """A copy that can be finished while this one goes on; what is still in `entries` stays here."""
        shared = {id(self.bundle): self.bundle}
        if self.sound is not None:  # the tokenizer behind the stream has no state
            shared[id(self.sound._tokens)] = self.sound._tokens
        other = copy.copy(self)
        other.sound = copy.deepcopy(self.sound, shared)
        other.entries = deque()
        return other

    def _text(self, unit: TextIn, ids: Ids) -> None:
        special = self.bundle.special
        if unit.role == "user":
            self._open()
            self._out(ids)
        elif unit.role == "tool":
            self._out([special[RESULT], *ids])
            self.speaker = "result"
        else:
            opens = ANSWER if unit.role == "assistant" else SYSTEM
            self._out([special[opens], *ids, special[END]])
            self.speaker = "other"

    def _open(self) -> None:
        if self.speaker != "user":
            self.speaker = "user"
            self._out([self.bundle.special[USER]])

    def _end_sound(self) -> None:
        stream, self.sound = self.sound, None
        if stream is not None:
            try:
                self._sound(stream.finish())
            except ValueError:  # less than the 12.6 ms that a log-Mel frame needs: no token came of it, and none will
                return

    def _sound(self, encoded: Any) -> None:
        if not encoded.length:
            return
        piece = Piece(encoded.span("audio", 0, 0, self.of_sound), encoded.arrays)
        self.of_sound += encoded.length
        last = self.entries[-1] if self.entries else None
        if isinstance(last, Piece) and piece.span.continues(last.span):
            span = replace(last.span, length=last.length + piece.length, units=last.span.units + piece.span.units)
            values = np.concatenate([last.arrays["values"], piece.arrays["values"]])
            self.entries[-1] = Piece(span, {"values": values})
            self.tokens += piece.length
        else:
            self._out(piece)

    def _out(self, entry: Entry) -> None:
        self.tokens += len(entry) if isinstance(entry, list) else entry.length
        self.entries.append(entry)


@cache
def longest_piece(text: Text) -> int:
    """Bytes of the longest entry of a vocabulary."""
    return max(len(text.decode_bytes([number])) for number in range(text.size))
