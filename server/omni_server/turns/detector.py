"""What hears whether somebody speaks: windows of audio in, probabilities out, off the event loop."""

from collections.abc import Callable
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

WINDOW = 512  # samples at 16 kHz, 32 ms

# Called on the event loop, in order: the probability that a window is speech. It must not raise: others wait behind it.
Heard = Callable[[float], None]


class Ear(Protocol):
    """The detector's state for one session."""

    @property
    def waiting(self) -> int:
        """Windows whose probability is still due."""
        ...

    def hear(self, window: NDArray[np.float32], heard: Heard) -> None:
        """Take the next window [512]; `heard` is called with its probability, later or at once."""
        ...

    def forget(self) -> None:
        """Begin anew; what is still due never comes."""
        ...


class Detector(Protocol):
    """One for the whole process."""

    def ear(self) -> Ear:
        """For one session."""
        ...
