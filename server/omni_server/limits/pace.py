"""How fast audio may come: a stretch of it at once, then so many times real time. Faster audio is read later."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass
class Pace:
    """A bucket of seconds of audio that fills with time."""

    burst: float  # s of audio
    speed: float  # s of audio in one second
    _left: float = -1.0  # s of audio
    _at: float | None = None  # when it was last filled

    def take(self, seconds: float, now: Callable[[], float]) -> float:
        """So much audio came; how many seconds to wait before more is read. The clock is only asked when it is needed.

        >>> pace = Pace(burst=10.0, speed=2.0)
        >>> pace.take(10.0, lambda: 0.0), pace.take(4.0, lambda: 0.0), pace.take(0.0, lambda: 2.0)
        (0.0, 2.0, 0.0)
        """
        if self._left < seconds:
            at = now()
            filled = self.burst if self._at is None else self._left + (at - self._at) * self.speed
            self._left, self._at = min(self.burst, filled), at
        self._left -= seconds
        return 0.0 if self._left >= 0 else -self._left / max(self.speed, 1e-3)
