"""Pictures drawn with PIL from a scene that knows what is in it, so that every question about it has an answer."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from omni.train.words import COLORS, SHAPES

SIDE = 128  # pixels
CELLS = 2  # a scene is a grid of CELLS × CELLS places
PLACES = {(0, 0): "top left", (0, 1): "top right", (1, 0): "bottom left", (1, 1): "bottom right"}
FOREGROUND = ("red", "green", "blue", "yellow", "orange", "purple", "pink", "brown")
BACKGROUND = ("white", "black", "gray")


@dataclass(frozen=True)
class Figure:
    """One shape in one place."""

    shape: str
    color: str
    row: int
    column: int


@dataclass(frozen=True)
class Scene:
    """What a picture shows. `text` is a number, a word or letters instead of figures; `seed` fixes everything else."""

    background: str
    figures: tuple[Figure, ...] = ()
    text: str = ""
    text_color: str = ""
    seed: int = 0

    @property
    def key(self) -> str:
        """The combination that decides the split: what is shown, not how it was drawn."""
        return "|".join([self.text, *sorted(f"{f.color} {f.shape} {f.row}{f.column}" for f in self.figures)])


def random_scene(random: Random, kind: Literal["figures", "one", "text"], words: tuple[str, ...] = ()) -> Scene:
    """A scene of one to four figures, of exactly one, or of one of these words."""
    seed = random.getrandbits(32)
    background = random.choice(BACKGROUND)
    if kind == "text":
        return Scene(background, text=random.choice(words), text_color=random.choice(FOREGROUND), seed=seed)
    count = 1 if kind == "one" else random.randint(1, CELLS * CELLS)
    cells = random.sample(list(PLACES), count)
    # Half of the time all figures share a shape, so that counting is not only counting shapes.
    shape, color = random.choice(SHAPES), random.choice(FOREGROUND)
    same = random.random() < 0.5
    figures = [
        Figure(shape if same else random.choice(SHAPES), random.choice(FOREGROUND) if count > 1 else color, row, column)
        for row, column in cells
    ]
    return Scene(background, tuple(figures), seed=seed)


def fonts() -> list[Path]:
    """The TrueType fonts that matplotlib brings, upright ones with plain letters."""
    import matplotlib as mpl

    folder = Path(mpl.get_data_path(), "fonts", "ttf")
    return sorted(f for f in folder.glob("DejaVu*.ttf") if "Display" not in f.name)


@dataclass(frozen=True)
class Letter:
    """One letter of a picture's text, and its middle in shares of the picture's width and height."""

    letter: str
    x: float
    y: float


def draw(scene: Scene) -> NDArray[np.uint8]:
    """The picture: uint8 [SIDE, SIDE, 3]. The same scene gives the same pixels."""
    return lettered(scene)[0]


def lettered(scene: Scene) -> tuple[NDArray[np.uint8], tuple[Letter, ...]]:
    """The picture, and where its letters stand."""
    letters: tuple[Letter, ...] = ()
    random = Random(scene.seed)
    base = np.array(COLORS[scene.background], np.float32)
    noise = np.random.default_rng(scene.seed).normal(0, random.uniform(0, 8), (SIDE, SIDE, 3))
    image = Image.fromarray(np.clip(base + noise, 0, 255).astype(np.uint8))
    pen = ImageDraw.Draw(image)
    for _ in range(random.randint(0, 4)):  # clutter: thin grey lines
        points = [(random.randrange(SIDE), random.randrange(SIDE)) for _ in range(2)]
        pen.line(points, fill=(random.randint(90, 160),) * 3, width=1)
    if scene.text:
        file = str(random.choice(fonts()))
        large = random.randint(34, 56) if len(scene.text) < 4 else 30 if len(scene.text) == 4 else 24
        font = ImageFont.truetype(file, size=large)
        left, top, right, bottom = pen.textbbox((0, 0), scene.text, font=font)
        x = random.uniform(4, max(5, SIDE - (right - left) - 4)) - left
        y = random.uniform(4, max(5, SIDE - (bottom - top) - 4)) - top
        pen.text((x, y), scene.text, font=font, fill=_shade(scene.text_color, random))
        ends = [pen.textlength(scene.text[:n], font=font) for n in range(len(scene.text) + 1)]
        letters = tuple(
            Letter(letter, (x + (begin + end) / 2) / SIDE, (y + (top + bottom) / 2) / SIDE)
            for letter, (begin, end) in zip(scene.text, pairwise(ends), strict=True)
            if x + (begin + end) / 2 < SIDE  # the widest words are cut off
        )
    cell = SIDE / CELLS
    for figure in scene.figures:
        radius = cell * random.uniform(0.28, 0.42)
        x = (figure.column + 0.5) * cell + random.uniform(-4, 4)
        y = (figure.row + 0.5) * cell + random.uniform(-4, 4)
        _figure(pen, figure.shape, x, y, radius, _shade(figure.color, random))
    return np.asarray(image), letters


def _shade(color: str, random: Random) -> tuple[int, int, int]:
    r, g, b = (max(0, min(255, channel + random.randint(-14, 14))) for channel in COLORS[color])
    return r, g, b


def _figure(pen: ImageDraw.ImageDraw, shape: str, x: float, y: float, r: float, fill: tuple[int, int, int]) -> None:
    box = (x - r, y - r, x + r, y + r)
    if shape == "circle":
        pen.ellipse(box, fill=fill)
    elif shape == "ring":
        pen.ellipse(box, outline=fill, width=max(3, int(r * 0.35)))
    elif shape == "square":
        pen.rectangle((x - r * 0.85, y - r * 0.85, x + r * 0.85, y + r * 0.85), fill=fill)
    elif shape == "cross":
        pen.rectangle((x - r * 0.3, y - r, x + r * 0.3, y + r), fill=fill)
        pen.rectangle((x - r, y - r * 0.3, x + r, y + r * 0.3), fill=fill)
    elif shape == "heart":
        pen.ellipse((x - r, y - r * 0.8, x + r * 0.08, y + r * 0.25), fill=fill)
        pen.ellipse((x - r * 0.08, y - r * 0.8, x + r, y + r * 0.25), fill=fill)
        pen.polygon([(x - r * 0.93, y + r * 0.02), (x + r * 0.93, y + r * 0.02), (x, y + r)], fill=fill)
    else:
        pen.polygon([(x + r * px, y + r * py) for px, py in OUTLINES[shape]], fill=fill)


def _star() -> list[tuple[float, float]]:
    angles = np.pi / 5 * np.arange(10) - np.pi / 2
    radii = np.where(np.arange(10) % 2 == 0, 1.0, 0.42)
    return [(float(a), float(b)) for a, b in zip(np.cos(angles) * radii, np.sin(angles) * radii, strict=True)]


OUTLINES: dict[str, list[tuple[float, float]]] = {
    "triangle": [(0, -1), (0.95, 0.8), (-0.95, 0.8)],
    "diamond": [(0, -1), (0.7, 0), (0, 1), (-0.7, 0)],
    "star": _star(),
}
