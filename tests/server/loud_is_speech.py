"""A voice detector for tests: a window is speech when it is loud. Answers at once, so virtual time decides nothing."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omni_server.turns.detector import Heard

LOUD = 0.02  # root mean square


@dataclass
class LoudEar:
    waiting: int = 0

    def hear(self, window: NDArray[np.float32], heard: Heard) -> None:
        heard(0.99 if float(np.sqrt(np.mean(window * window))) > LOUD else 0.01)

    def forget(self) -> None:
        pass


class LoudIsSpeech:
    def ear(self) -> LoudEar:
        return LoudEar()
