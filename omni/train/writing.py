"""A conversation written down for training: the sequence, and what the model has to say at each of its tokens."""

from collections.abc import Sequence as ListLike
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.bundle import text_of
from omni.script import CALL, END, MORE, OPENS, SYSTEM, TOOL, How, weave
from omni.train.mixing import TOKEN, Take
from omni.train.pictures import Letter, Scene, lettered
from omni_tokenizers.sequence import Codes, Frames, Ids, Image, Omni, Sequence
from omni_tokenizers.sequence.parts import Part

IGNORE = -100
LETTERS = " 'abcdefghijklmnopqrstuvwxyz"
SLOW = (2.0, 10.0)  # tokens of sound that a word takes, and the silence behind the last one


@dataclass(frozen=True)
class Heard:
    """Sound in a sequence, and what is said in it."""

    first: int  # token
    ids: tuple[int, ...]
    letters: tuple[int, ...]  # places in LETTERS
    begin: int  # token of the sound in which speech begins


@dataclass(frozen=True)
class Seen:
    """A picture in a sequence, and what it shows."""

    first: int  # token
    scene: Scene
    letters: tuple[Letter, ...]
    ids: tuple[int, ...]  # of those letters, where text spells a word


@dataclass(frozen=True)
class Example:
    """One row of a batch."""

    sequence: Sequence
    text: NDArray[np.int64]  # [tokens], the id to say after each token, or IGNORE
    turn: NDArray[np.float32]  # [tokens], 1 where the turn is over, 0 where not, −1 where there is no sound
    codes: NDArray[np.int64]  # [tokens, books], the frame to say after each token, or IGNORE
    heard: tuple[Heard, ...]
    seen: tuple[Seen, ...]
    places: NDArray[np.int64]  # [tokens], the positions that the stack is told


def frames_of(pieces: ListLike[str], starts: ListLike[tuple[int, int]], frames: int) -> list[int]:
    """How many frames are said after each piece of a text, given the letter and the frame with which words begin.

    A word is said after its last piece, with all that follows before the next word: a comma is known before its pause.

    >>> frames_of(["Ni", "ne", ",", " ten", "."], [(0, 1), (6, 9)], 20)
    [0, 0, 9, 0, 11]
    """
    counts = [0] * len(pieces)
    ends = list(accumulate(map(len, pieces)))
    edges = [(letter, frame) for letter, frame in starts[1:] if letter > 0]
    begun = 0
    for letter, frame in [*edges, (ends[-1], frames)]:
        last = max(i for i, end in enumerate(ends) if i == 0 or end <= letter)  # its space may belong to the next word
        counts[last] += frame - begun
        begun = frame
    return counts


@dataclass
class Writing:
    """A conversation as it is written, piece by piece."""

    tokens: Omni
    books: int
    parts: list[Part] = field(default_factory=list)
    length: int = 0
    text: list[int] = field(default_factory=list)
    turn: list[float] = field(default_factory=list)
    frames: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    spoken: list[Heard] = field(default_factory=list)
    shown: list[Seen] = field(default_factory=list)
    gaps: dict[int, int] = field(default_factory=dict)  # positions that are left free before a token
    _run: list[int] = field(default_factory=list)  # ids that are not a part yet
    _sounds: list[NDArray[np.int64]] = field(default_factory=list)  # frames that are not a part yet

    def system(self, instructions: str, tools: list[str]) -> None:
        """Instructions and tools, if there are any."""
        if instructions or tools:
            self.special(SYSTEM)
            self.say(instructions)
            for tool in tools:
                self.special(TOOL)
                self.say(tool)
            self.special(END)

    def special(self, name: str, *, learn: bool = False) -> None:
        """One special token; with `learn` the model has to say it."""
        self._ids([self._vocabulary.special[name]], learn)

    def say(self, text: str, *, learn: bool = False, slowly: Random | None = None) -> None:
        """Text; with `learn` the model has to say it; `slowly`, its words stand as far apart as words that are heard.

        What is learned of words that stand beside each other does not hold for words ten tokens apart.
        """
        ids = self._vocabulary.encode(text)
        if slowly is not None:
            pace = slowly.uniform(*SLOW)
            self.gaps |= {self.length + n: round(pace * slowly.uniform(0.3, 1.7)) for n in range(len(ids) + 1)}
        self._ids(ids, learn)

    def sound(self, taken: Take, said: str) -> None:
        """What a microphone took, and the words in it, if any."""
        self._flush()
        self.parts.append(Frames("audio", taken.frames))
        turn = taken.turn
        letters = tuple(LETTERS.index(letter) for letter in said.lower() if letter in LETTERS)
        ids = tuple(self._vocabulary.encode(said))
        self.spoken.append(Heard(self.length, ids, letters, taken.begin // TOKEN))
        self._more(len(turn), [float(t) for t in turn])

    def picture(self, scene: Scene) -> None:
        """A picture of this."""
        self._flush()
        pixels, letters = lettered(scene)
        part = Image(pixels)
        ids = tuple(self._vocabulary.encode(f"A {letter.letter}")[-1] for letter in letters)
        self.shown.append(Seen(self.length, scene, letters, ids))
        self.parts.append(part)
        n = self.tokens.count([part])
        self._more(n, [-1.0] * n)

    def answer(
        self,
        how: How,
        text: str,
        *,
        codes: NDArray[np.int64] | None = None,
        starts: ListLike[tuple[int, int]] = (),
        before: NDArray[np.int64] | None = None,
        call: bool = False,
    ) -> None:
        """What the model says after the token that asks for it; codes [frames, books] where it speaks.

        `starts` are the letter and the frame with which each word begins. `before` is what the model finds behind it
        instead of the codes that it should have said.
        """
        self.special(OPENS[how])
        ids = self._vocabulary.encode(text)
        frames = [] if codes is None else frames_of([self._vocabulary.decode([i]) for i in ids], starts, len(codes))
        if call:
            ids = [self._vocabulary.special[CALL], *ids]
        end, more = self._vocabulary.special[END], self._vocabulary.special[MORE]
        for what, number in weave(how, ids, frames, call=call):
            if what == "text":
                self._ids([end if number == len(ids) else ids[number]], True)
            elif what == "stop":
                self._ids([end], True)
            else:
                assert codes is not None
                self._flush_ids()
                self._sounds.append((codes if before is None else before)[number])
                self.text[-1] = more
                self.frames[self.length - 1] = codes[number]
                self._more(1, [-1.0])

    def example(self) -> Example:
        """The whole."""
        self._flush()
        codes = np.full((self.length, self.books), IGNORE, np.int64)
        for at, frame in self.frames.items():
            codes[at] = frame
        free = np.zeros(self.length + 1, np.int64)
        for at, gap in self.gaps.items():
            free[at] = gap
        return Example(
            self.tokens.encode(self.parts),
            np.array(self.text, np.int64),
            np.array(self.turn, np.float32),
            codes,
            tuple(self.spoken),
            tuple(self.shown),
            np.arange(self.length) + free[: self.length].cumsum(),
        )

    @property
    def _vocabulary(self) -> Any:
        return text_of(self.tokens)

    def _ids(self, ids: list[int], learn: bool) -> None:
        if learn:
            for number in ids:
                self.text[-1] = number  # the token before has to say it
                self.text.append(IGNORE)
            self.turn.extend([-1.0] * len(ids))
            self.length += len(ids)
        else:
            self._more(len(ids), [-1.0] * len(ids))
        self._flush_sounds()
        self._run.extend(ids)

    def _more(self, tokens: int, turn: list[float]) -> None:
        self.length += tokens
        self.text.extend([IGNORE] * tokens)
        self.turn.extend(turn)

    def _flush(self) -> None:
        self._flush_ids()
        self._flush_sounds()

    def _flush_ids(self) -> None:
        if self._run:
            self.parts.append(Ids(tuple(self._run)))
            self._run = []

    def _flush_sounds(self) -> None:
        if self._sounds:
            self.parts.append(Codes(np.stack(self._sounds)))
            self._sounds = []
