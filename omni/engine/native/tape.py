"""A conversation as the model reads it: the vectors of all its tokens, how far they are read, and where items begin.

The tape is the truth, a slot's keys and values are what was made of it so far. Whatever changes the past (an
interruption, an early start taken back, old items that have to go) cuts or joins the tape, and the slot reads again
from there. Positions count along the tape, so what is read afterwards is what an offline reading would be.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from omni.engine.protocol import Overflow, Tokens
from omni_tokenizers.sequence import Span

Kind = Literal["system", "user", "answer"]
OF_TEXT, OF_AUDIO, OF_IMAGE = range(3)  # what a token stands for


@dataclass(frozen=True)
class Piece:
    """Tokens of sound or of a picture whose vectors are still to be made."""

    span: Span
    arrays: Mapping[str, NDArray[Any]]  # each [tokens, …]
    at: int = 0  # place on the tape

    @property
    def length(self) -> int:
        """Tokens."""
        return self.span.length

    @property
    def both_ways(self) -> bool:
        """Whether its tokens see each other both ways, as those of a picture do."""
        return self.span.attention == "bidirectional"

    def cut(self, tokens: int) -> tuple["Piece", "Piece"]:
        """The first tokens, and the rest."""
        now = {name: array[:tokens] for name, array in self.arrays.items()}
        later = {name: array[tokens:] for name, array in self.arrays.items()}
        spans = self.span.cut(0, tokens), self.span.cut(tokens, self.length).moved(-tokens)
        return Piece(spans[0], now, self.at), Piece(spans[1], later, self.at + tokens)


@dataclass(frozen=True)
class Item:
    """What is dropped as a whole or not at all."""

    kind: Kind
    start: int


@dataclass
class Tape:
    """The tokens of one slot."""

    vectors: Tensor  # [capacity, width]; rows beyond `length` mean nothing
    length: int = 0  # tokens
    read: int = 0  # of them, in the slot's keys and values
    waiting: deque[Piece] = field(default_factory=deque)
    pictures: list[tuple[int, int]] = field(default_factory=list)  # first token of each and the one after its last
    items: list[Item] = field(default_factory=list)
    sound: tuple[int, int] = (0, 0)  # the latest sound: its first token and the one after its last
    most: int = 0  # tokens that it ever held: beyond them nothing was written
    capacity: int = field(init=False)  # tokens that there is room for
    stands_for: NDArray[np.uint8] = field(init=False)  # [capacity], what each token stands for

    def __post_init__(self) -> None:
        self.capacity = len(self.vectors)
        self.stands_for = np.zeros(self.capacity, np.uint8)

    @property
    def room(self) -> int:
        """Tokens that still fit."""
        return self.capacity - self.length

    @property
    def ready(self) -> int:
        """Tokens that can be read: all before the first that waits for its vector."""
        return self.waiting[0].at if self.waiting else self.length

    @property
    def unread(self) -> int:
        """Tokens that are not in the slot yet."""
        return self.length - self.read

    def begin(self, kind: Kind) -> None:
        """What follows is a new item."""
        self.items.append(Item(kind, self.length))

    def count(self, upto: int) -> Tokens:
        """Of the first so many tokens, how many stand for what."""
        return Tokens(*np.bincount(self.stands_for[:upto], minlength=3).tolist())

    def put(self, vectors: Tensor, stand_for: int = OF_TEXT) -> None:
        """More tokens, by their vectors [tokens, width]."""
        first = self._grow(vectors.shape[0])
        self.stands_for[first : self.length] = stand_for
        self.vectors[first : self.length] = vectors

    def wait(self, piece: Piece) -> None:
        """More tokens, whose vectors come later."""
        first = self._grow(piece.length)
        self.waiting.append(replace(piece, at=first))
        if piece.span.modality == "audio":
            self.sound = (self.sound[0] if piece.span.first else first, self.length)
        if piece.both_ways:
            self.pictures.append((first, self.length))
        self.stands_for[first : self.length] = OF_AUDIO if piece.span.modality == "audio" else OF_IMAGE

    def fill(self, piece: Piece, vectors: Tensor) -> None:
        """The vectors of a piece that waited."""
        self.vectors[piece.at : piece.at + piece.length] = vectors

    def next(self, most: int) -> int:
        """How many tokens to read next, about `most`; never a part of a picture."""
        stop = min(self.ready, self.read + most)
        for first, after in self.pictures:
            if first < stop < after:
                stop = first if first > self.read else after
        return min(stop, self.ready) - self.read

    def seen(self, start: int, count: int) -> tuple[tuple[int, int], ...]:
        """The pictures among the tokens that are read next, counted from `start`."""
        return tuple((a - start, b - start) for a, b in self.pictures if a >= start and b <= start + count)

    def cut(self, length: int) -> None:
        """Forget all but the first `length` tokens."""
        self.length = min(self.length, length)
        self.read = min(self.read, length)
        while self.waiting and self.waiting[-1].at >= length:
            self.waiting.pop()
        self.pictures = [p for p in self.pictures if p[1] <= length]
        self.sound = (min(self.sound[0], length), min(self.sound[1], length))
        while self.items and self.items[-1].start >= length:
            self.items.pop()

    def splice(self, start: int, stop: int, vectors: Tensor) -> None:
        """Put other tokens into the place of [start, stop), whole pieces; what waits there goes with its tokens."""
        moved = len(vectors) - (stop - start)
        if moved > self.room:
            raise ValueError(f"{moved} more tokens do not fit into the {self.room} that are left")
        self.vectors[stop + moved : self.length + moved] = self.vectors[stop : self.length].clone()
        self.vectors[start : start + len(vectors)] = vectors
        self.stands_for[stop + moved : self.length + moved] = self.stands_for[stop : self.length].copy()
        self.stands_for[start : start + len(vectors)] = OF_TEXT
        self.length += moved
        self.most = max(self.most, self.length)
        self.read = min(self.read, start)
        waiting = (p for p in self.waiting if not start <= p.at < stop)
        self.waiting = deque(replace(p, at=p.at + moved) if p.at >= stop else p for p in waiting)
        self.pictures = [
            (a + moved, b + moved) if a >= stop else (a, b) for a, b in self.pictures if not start <= a < stop
        ]
        if self.sound[0] >= stop:
            self.sound = (self.sound[0] + moved, self.sound[1] + moved)
        elif self.sound[0] >= start:
            self.sound = (start, start)
        kept = (i for i in self.items if not start <= i.start < stop)
        self.items = [replace(i, start=i.start + moved) if i.start >= stop else i for i in kept]

    def oldest(self, spare: int, *, all_over: bool = False) -> tuple[int, int]:
        """The tokens [start, stop) of the oldest whole items that have to go for `spare` tokens to be free.

        The system's part stays, and so does the last turn with what follows it, unless `all_over`: then that may go
        as well. A conversation goes on with a turn of the user, so that an answer never stands without its question.
        """
        start = next((i.start for i in self.items if i.kind != "system"), self.length)
        stops = [i.start for i in self.items if i.kind == "user" and i.start > start] + [self.length] * all_over
        for stop in stops:
            if self.room + stop - start >= spare:
                return start, stop
        return start, stops[-1] if stops else start

    def _grow(self, tokens: int) -> int:
        """Make room for so many more at the end; where they begin. Torch would spread one row over no place at all."""
        if tokens > self.room:
            raise Overflow(f"{tokens} more tokens do not fit into the {self.room} that the context has left")
        first = self.length
        self.length += tokens
        self.most = max(self.most, self.length)
        return first
