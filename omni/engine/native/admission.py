"""How long a step takes for so many rows, learned from the steps themselves; and whether one more session would fit.

The middle of the times of one size says what the step costs, and the latest steps of all sizes say how far the slowest
lie above their middle. So a hiccup while one size was measured is forgotten with the next steps, of whatever size, and
with time: where nobody talks there are no steps, and a machine that was slow a minute ago keeps nobody out.
"""

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import median

WINDOW = 256  # steps that are remembered: of each size, and the latest of all sizes
RECENT = 10.0  # s; the slowest steps before that count as middling ones
FEWEST = 16  # steps of one size from which something is concluded


def size_of(rows: int) -> int:
    """The size a number of rows is counted under: the power of two that holds it.

    >>> [size_of(rows) for rows in (1, 2, 3, 5, 16)]
    [1, 2, 4, 8, 16]
    """
    return 1 << max(0, rows - 1).bit_length()


@dataclass
class StepTimes:
    """What steps took, by size."""

    now: Callable[[], float]  # s
    seen: dict[int, deque[float]] = field(default_factory=dict)  # s
    latest: deque[tuple[float, int, float]] = field(default_factory=lambda: deque(maxlen=WINDOW))  # when, size, s

    def add(self, rows: int, seconds: float) -> None:
        """A step of so many rows took so long."""
        size = size_of(rows)
        self.seen.setdefault(size, deque(maxlen=WINDOW)).append(seconds)
        self.latest.append((self.now(), size, seconds))

    def p99(self, rows: int) -> float | None:
        """What 99 of 100 steps of so many rows will not exceed; None where nothing is known."""
        middle = {size: median(times) for size, times in self.seen.items() if len(times) >= FEWEST}
        if not middle:
            return None
        since = self.now() - RECENT
        above = sorted(
            seconds / middle[size] if at > since else 1.0 for at, size, seconds in self.latest if middle.get(size)
        )
        spread = above[min(len(above) - 1, int(0.99 * len(above)))] if above else 1.0
        return spread * _at(rows, middle)

    def fits(self, rows: int, budget: float) -> bool:
        """Whether a step of so many rows stays inside a budget of seconds, as far as is known."""
        predicted = self.p99(rows)
        return predicted is None or predicted <= budget


def _at(rows: int, middle: dict[int, float]) -> float:
    """Between two known sizes on the line between them, beyond the largest on the line through the last two."""
    known = sorted(middle.items())
    if len(known) == 1 or rows <= known[0][0]:
        return known[0][1] * max(1.0, rows / known[0][0])
    after = max(1, next((i for i, (size, _) in enumerate(known) if size >= rows), len(known) - 1))
    (a, x), (b, y) = known[after - 1], known[after]
    return max(x, x + (y - x) * (rows - a) / (b - a))
