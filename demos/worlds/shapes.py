"""Drawn shapes with a name of two words: eight colours by eight shapes."""

from random import Random

import numpy as np
from numpy.typing import NDArray

from omni.train.pictures import BACKGROUND, FOREGROUND, Figure, Scene, draw
from omni.train.words import SHAPES

LABELS = [f"{color} {shape}" for color in FOREGROUND for shape in SHAPES]
DIAGONAL = [f"{color} {shape}" for color, shape in zip(FOREGROUND, SHAPES, strict=True)]  # each word once


def show(label: str, random: Random) -> NDArray[np.uint8]:
    """A picture of the label: the quarter of a drawn scene that holds the shape, [64, 64, 3]."""
    color, shape = label.split()
    return draw(Scene(random.choice(BACKGROUND), (Figure(shape, color, 0, 0),), seed=random.getrandbits(32)))[:64, :64]
