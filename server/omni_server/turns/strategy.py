"""What every way of taking turns has in common: windows of sound in, verdicts out. No clock but the audio's own."""

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class Started:
    """Somebody speaks, since this sample."""

    at: int  # sample at 16 kHz of all appended audio


@dataclass(frozen=True)
class Likely:
    """The turn is probably over: an answer can be prepared. What follows is silence until another verdict."""

    at: int


@dataclass(frozen=True)
class Resumed:
    """It was not over."""

    at: int


@dataclass(frozen=True)
class Stopped:
    """The turn is over."""

    at: int
    spoke_until: int  # sample behind the last window with speech in it


Verdict = Started | Likely | Resumed | Stopped


class Strategy(Protocol):
    """One way of taking turns, for one session."""

    @property
    def threshold(self) -> float:
        """How probably a window is speech that counts as a voice."""
        ...

    def window(self, start: int, probability: float, level: float, /) -> list[Verdict]:
        """The next window of sound: how probably it is speech, and its root mean square."""
        ...

    def prediction(self, probability: float, /) -> list[Verdict]:
        """The engine's own guess whether the turn is over, about what was heard so far."""
        ...

    def starve(self, at: int, /) -> list[Verdict]:
        """No audio has come for long, though a turn is open."""
        ...
