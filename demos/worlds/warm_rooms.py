"""What a thermal camera sees: a cool room with a warm window somewhere, and none to four people in it."""

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 24, 32  # pixels
ROOM = 293.0  # kelvin
MOST = 4  # people


def frame(random: np.random.Generator) -> tuple[NDArray[np.float32], int]:
    """A noisy frame in kelvin [HEIGHT, WIDTH], and how many people are in it."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH]
    kelvin = random.normal(ROOM, 0.4, (HEIGHT, WIDTH)) + 2 * random.random() * np.sin(
        columns / WIDTH * 3 + random.uniform(0, 6)
    )
    people, places = int(random.integers(MOST + 1)), random.permutation(8)
    for place in places[:people]:
        y, x = 6 + 12 * (place // 4) + random.uniform(-1.5, 1.5), 4 + 8 * (place % 4) + random.uniform(-1.5, 1.5)
        kelvin += random.uniform(9, 14) * np.exp(-(((rows - y) / 3.2) ** 2) - ((columns - x) / 1.8) ** 2)
    return kelvin.astype(np.float32), people
