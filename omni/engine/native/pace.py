"""When an answer goes on: at once while little of it waits to be heard, then with everybody else, then not at all.

A model that speaks faster than real time could make a whole answer in one go, and keep the others waiting for it. So an
answer runs ahead of the ear by a bounded time. Sessions that are comfortably ahead go on together, one step each at
the instants of a common beat: a step of sixteen rows takes three times as long as a step of one, not sixteen times.
"""

from dataclasses import dataclass
from math import floor

from omni.script import STEPS_A_FRAME

AHEAD = 2.0  # s of speech that an answer may be ahead of the ear
LOW = 0.5  # s below which it does not wait for the beat


@dataclass
class Pace:
    """How far one spoken answer is ahead."""

    rate: float  # frames a second
    begun: float | None = None  # when its first frame was made
    said: int = 0  # frames

    def made(self, frames: int, now: float) -> None:
        """So many are made in all."""
        if frames and self.begun is None:
            self.begun = now
        self.said = frames

    def ahead(self, now: float) -> float:
        """Seconds of speech that are made and, at the earliest, not yet heard."""
        return 0.0 if self.begun is None else self.said / self.rate - (now - self.begun)

    def hurries(self, now: float) -> bool:
        """Whether it should not wait for the beat."""
        return self.ahead(now) < LOW

    def rests(self, now: float) -> bool:
        """Whether it is far enough ahead."""
        return self.ahead(now) >= AHEAD

    def rested(self, now: float) -> float:
        """When it may go on."""
        return now + max(0.0, self.ahead(now) - AHEAD + 1e-6)


@dataclass
class Beat:
    """Instants at which everybody goes on who has no reason to hurry."""

    period: float  # s
    last: int = -1  # beats that were

    @classmethod
    def of(cls, rate: float) -> "Beat":
        """As often as an answer makes a step, of text or of a frame, in real time."""
        return cls(1 / (rate * STEPS_A_FRAME))

    def next(self, now: float) -> float:
        """The next instant; `now` or earlier if it is due."""
        return max(floor(now / self.period), self.last + 1) * self.period

    def struck(self, now: float) -> None:
        """Everybody went on."""
        self.last = floor(now / self.period)
