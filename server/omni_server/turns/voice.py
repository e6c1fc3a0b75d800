"""Speech, silence or noise: what one window of sound means for the turn it is in."""

from dataclasses import dataclass, field
from typing import Literal

from omni_server.turns.detector import WINDOW

HYSTERESIS = 0.15  # speech goes on down to this much below the threshold
LOUD = 0.5  # of the level of the speech before: a window this loud is no silence, whatever it is
LONGEST_NOISE = 16_000 * 3 // 2  # samples, 1.5 s: noise without end is taken for silence in the end
ADAPT = 0.2  # share of a new window in the level of speech

Sound = Literal["speech", "noise", "silence"]


@dataclass
class Voice:
    """Follows one turn. Loud noise stops the silence clock: it neither ends a turn nor makes it longer than it is."""

    threshold: float
    silence: int = field(default=0, init=False)  # samples since the last speech, noise left out
    spoke_until: int = field(default=0, init=False)
    _level: float = field(default=0.0, init=False)  # of the speech so far
    _noise: int = field(default=0, init=False)  # samples of noise in this pause

    def begin(self, start: int, level: float) -> None:
        """The first window of a turn."""
        self._level = level
        self._noise = self.silence = 0
        self.spoke_until = start + WINDOW

    def go_on(self, start: int, probability: float, level: float) -> Sound:
        """The next window of it."""
        lower = max(self.threshold - HYSTERESIS, self.threshold / 2)
        enough = self.threshold if self.silence or self._noise else lower
        if probability >= enough:
            self._level += ADAPT * (level - self._level)
            self._noise = self.silence = 0
            self.spoke_until = start + WINDOW
            return "speech"
        if level >= LOUD * self._level > 0 and self._noise < LONGEST_NOISE:
            self._noise += WINDOW
            return "noise"
        self.silence += WINDOW
        return "silence"
