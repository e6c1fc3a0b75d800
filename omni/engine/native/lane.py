"""A slot at work: its tape, what it is being asked, and what the sound that is open has left in the stem."""

from dataclasses import dataclass
from typing import Protocol

from omni.engine.native.reply import Reply
from omni.engine.native.tape import Tape
from omni.model.stem import State


class Owner(Protocol):
    """Who is told what came of a lane."""

    def predicted(self, probability: float) -> None:
        """How probable it is that the turn is over."""
        ...

    def chosen(self) -> None:
        """The reply went on."""
        ...

    def poisoned(self, start: int, /) -> None:
        """What was read from there on, or said, has no finite numbers."""
        ...

    def broke(self, error: Exception, /) -> None:
        """Something of this lane's own went wrong in a tick: it cannot go on."""
        ...


@dataclass
class Lane:
    """One of the rows that a tick may step."""

    slot: int
    tape: Tape
    owner: Owner
    reply: Reply | None = None
    stem: State | None = None  # what the sound that is open has left in the stem
    bookmark: int | None = None  # place on the tape to which it may be taken back
    stem_there: State | None = None  # what the stem held there, once it has gone on

    def mark(self) -> None:
        """From here on everything may be taken back."""
        self.bookmark, self.stem_there = self.tape.length, None

    def forget_mark(self) -> None:
        """It is sure."""
        self.bookmark = self.stem_there = None

    def take_back(self) -> None:
        """Forget what came since the mark."""
        assert self.bookmark is not None
        self.tape.cut(self.bookmark)
        if self.stem_there is not None:
            self.stem = self.stem_there
        self.forget_mark()
        self.reply = None
