"""Resize policies: small frozen settings, each of which plans from width, height and patch size alone."""

import math
from dataclasses import asdict, dataclass
from functools import lru_cache
from typing import Any, Literal, Protocol

from omni_tokenizers.image.pixels import BLACK, Color, as_color, check_sides
from omni_tokenizers.image.plan import Plan, Resample, Size, View


class Resize(Protocol):
    """Anything that says, from sizes alone, how an image is brought to whole patches."""

    def plan(self, width: int, height: int, patch: int) -> Plan:
        """What to do with an image of this size; raises `ValueError` if the policy refuses it."""
        ...


@dataclass(frozen=True)
class Exact:
    """No change: width and height must be multiples of the patch, anything else is an error.

    >>> Exact().plan(225, 224, 16)
    Traceback (most recent call last):
    ValueError: image is 225×224 (width×height); 225 is not a multiple of patch 16: pass resize=…
    """

    def plan(self, width: int, height: int, patch: int) -> Plan:
        """The image as it is."""
        check_sides(width, height)
        wrong = " and ".join(str(side) for side in dict.fromkeys((width, height)) if side % patch)
        if wrong:
            verb = "are not multiples" if "and" in wrong else "is not a multiple"
            raise ValueError(
                f"image is {width}×{height} (width×height); {wrong} {verb} of patch {patch}: pass resize=…"
            )
        return Plan((width, height), (_window((width, height), (width, height)),))


@dataclass(frozen=True)
class Pad:
    """No scaling: pad to whole patches on the right and below, or evenly with `center`."""

    fill: Color = BLACK
    center: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "fill", as_color(self.fill, "fill"))

    def plan(self, width: int, height: int, patch: int) -> Plan:
        """The image in a window that is the next multiple of the patch."""
        check_sides(width, height)
        size = (width, height)
        return Plan(size, (_window(size, (_up(width, patch), _up(height, patch)), self.center),), fill=self.fill)


@dataclass(frozen=True)
class Square:
    """Scale to side × side, whatever the shape was: ViT, DeiT, SigLIP."""

    side: int = 224
    resample: Resample = "bilinear"

    def __post_init__(self) -> None:
        _check_side(self.side, "side")

    def plan(self, width: int, height: int, patch: int) -> Plan:
        """The whole image on a square."""
        check_sides(width, height)
        _check_multiple(self.side, patch, "side")
        size = (self.side, self.side)
        return Plan((width, height), (_window(size, size),), self.resample)


@dataclass(frozen=True)
class ShortSideCrop:
    """Scale the short side to `side`, then cut the central `crop` square: CLIP, DINOv2, timm.

    `rounding` is what happens to a margin of half a pixel: transformers rounds it down, torchvision (so timm and
    open_clip) to even.
    """

    side: int = 224
    crop: int | None = None  # the same as side
    resample: Resample = "bicubic"
    rounding: Literal["down", "even"] = "down"

    def __post_init__(self) -> None:
        _check_side(self.side, "side")
        if self.crop is not None and not (isinstance(self.crop, int) and 1 <= self.crop <= self.side):
            raise ValueError(f"crop={self.crop!r} must be a whole number from 1 to side={self.side}")
        if self.rounding not in ("down", "even"):
            raise ValueError(f'rounding={self.rounding!r} is neither "down" nor "even"')

    def plan(self, width: int, height: int, patch: int) -> Plan:
        """The centre of the scaled image."""
        check_sides(width, height)
        crop = self.crop or self.side
        _check_multiple(crop, patch, "crop")
        if width <= height:
            scaled = (self.side, int(self.side * height / width))
        else:
            scaled = (int(self.side * width / height), self.side)
        cut = math.floor if self.rounding == "down" else round
        left, top = cut((scaled[0] - crop) / 2), cut((scaled[1] - crop) / 2)
        return Plan((width, height), (View(scaled, (left, top, left + crop, top + crop)),), self.resample)


@dataclass(frozen=True)
class LongestSide:
    """Scale the longest side to `side` and keep the shape; pad to whole patches, or to a square (SAM)."""

    side: int = 1024
    square: bool = False
    fill: Color = BLACK
    resample: Resample = "bilinear"

    def __post_init__(self) -> None:
        _check_side(self.side, "side")
        object.__setattr__(self, "fill", as_color(self.fill, "fill"))

    def plan(self, width: int, height: int, patch: int) -> Plan:
        """The whole image in the top left corner of its window."""
        check_sides(width, height)
        scale = self.side / max(width, height)
        scaled = (max(1, int(width * scale + 0.5)), max(1, int(height * scale + 0.5)))
        box = (self.side, self.side) if self.square else scaled
        window = (_up(box[0], patch), _up(box[1], patch))
        return Plan((width, height), (_window(scaled, window),), self.resample, self.fill)


@dataclass(frozen=True)
class NaFlex:
    """Native shape under a budget of patches: SigLIP 2, NaViT, timm's NaFlex. Small images are enlarged."""

    max_patches: int = 256
    resample: Resample = "bilinear"

    def __post_init__(self) -> None:
        _check_side(self.max_patches, "max_patches")

    def plan(self, width: int, height: int, patch: int) -> Plan:
        """The whole image, scaled to the largest grid that the budget allows."""
        check_sides(width, height)
        size = naflex_size(width, height, patch, self.max_patches)
        return Plan((width, height), (_window(size, size),), self.resample)


@dataclass(frozen=True)
class SmartResize:
    """Native shape between two pixel counts, sides multiples of `factor`: Qwen2-VL and its successors."""

    factor: int | None = None  # two patches
    min_pixels: int = 56 * 56
    max_pixels: int = 28 * 28 * 1280
    resample: Resample = "bicubic"

    def __post_init__(self) -> None:
        if self.factor is not None:
            _check_side(self.factor, "factor")
        if not 1 <= self.min_pixels <= self.max_pixels:
            raise ValueError(f"min_pixels={self.min_pixels} must be from 1 to max_pixels={self.max_pixels}")

    def plan(self, width: int, height: int, patch: int) -> Plan:
        """The whole image, its shape kept as well as the factor allows."""
        check_sides(width, height)
        factor = self.factor or 2 * patch
        _check_multiple(factor, patch, "factor")
        size = smart_size(width, height, factor, self.min_pixels, self.max_pixels)
        return Plan((width, height), (_window(size, size),), self.resample)


@dataclass(frozen=True)
class Tiles:
    """High resolution: the arrangement of square tiles closest in shape, then the whole as a thumbnail (InternVL)."""

    side: int = 448
    max_tiles: int = 12
    min_tiles: int = 1
    thumbnail: bool = True  # only where there is more than one tile
    resample: Resample = "bicubic"

    def __post_init__(self) -> None:
        _check_side(self.side, "side")
        if not 1 <= self.min_tiles <= self.max_tiles:
            raise ValueError(f"min_tiles={self.min_tiles} must be from 1 to max_tiles={self.max_tiles}")

    def plan(self, width: int, height: int, patch: int) -> Plan:
        """The tiles in reading order, then the thumbnail."""
        check_sides(width, height)
        _check_multiple(self.side, patch, "side")
        s = self.side
        columns, rows = tile_arrangement(width, height, s, self.min_tiles, self.max_tiles)
        scaled = (columns * s, rows * s)
        views = [
            View(scaled, (c * s, r * s, (c + 1) * s, (r + 1) * s), "tile") for r in range(rows) for c in range(columns)
        ]
        if len(views) == 1:
            views = [View((s, s), (0, 0, s, s))]
        elif self.thumbnail:
            views.append(View((s, s), (0, 0, s, s), "thumbnail"))
        return Plan((width, height), tuple(views), self.resample)


POLICIES: dict[str, type[Any]] = {
    policy.__name__: policy for policy in (Exact, Pad, Square, ShortSideCrop, LongestSide, NaFlex, SmartResize, Tiles)
}


def resize_settings(policy: Resize) -> dict[str, Any]:
    """A policy as plain JSON values.

    >>> resize_settings(Square(384))
    {'kind': 'Square', 'side': 384, 'resample': 'bilinear'}
    """
    if type(policy) not in POLICIES.values():
        raise TypeError(f"{type(policy).__name__} is not a policy of this package, so it cannot be written down")
    return {"kind": type(policy).__name__, **asdict(policy)}  # type: ignore[call-overload]


def resize_from(settings: dict[str, Any]) -> Resize:
    """The policy that `resize_settings` wrote down."""
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in settings.items() if k != "kind"}
    if settings.get("kind") not in POLICIES:
        raise ValueError(f"resize kind {settings.get('kind')!r} is not one of {', '.join(POLICIES)}")
    policy: Resize = POLICIES[settings["kind"]](**values)
    return policy


@lru_cache(maxsize=1024)
def naflex_size(width: int, height: int, patch: int, max_patches: int) -> Size:
    """Width and height in pixels under a budget, found by the published bisection on the scale.

    >>> naflex_size(1024, 768, 16, 256)
    (288, 224)
    """

    def side(scale: float, length: int) -> int:
        return max(patch, math.ceil(length * scale / patch) * patch)

    low, high = 1e-6, 100.0
    while high - low >= 1e-5:
        scale = (low + high) / 2
        if (side(scale, width) // patch) * (side(scale, height) // patch) <= max_patches:
            low = scale
        else:
            high = scale
    return side(low, width), side(low, height)


def smart_size(width: int, height: int, factor: int, min_pixels: int, max_pixels: int) -> Size:
    """Width and height in pixels by Qwen's rule; halves round to even.

    >>> smart_size(1024, 768, 28, 56 * 56, 28 * 28 * 1280)
    (1036, 756)
    """
    aspect = max(width, height) / min(width, height)
    if aspect > 200:
        raise ValueError(
            f"image is {width}×{height} (width×height), {aspect:.0f} times as long as wide; SmartResize takes 200 "
            "at most: crop it, or pass another resize=…"
        )
    w, h = round(width / factor) * factor, round(height / factor) * factor
    if w * h > max_pixels:
        beta = math.sqrt(height * width / max_pixels)
        w = max(factor, math.floor(width / beta / factor) * factor)
        h = max(factor, math.floor(height / beta / factor) * factor)
    elif w * h < min_pixels:
        beta = math.sqrt(min_pixels / (height * width))
        w, h = math.ceil(width * beta / factor) * factor, math.ceil(height * beta / factor) * factor
    return w, h


@lru_cache(maxsize=1024)
def tile_arrangement(width: int, height: int, side: int, min_tiles: int, max_tiles: int) -> Size:
    """Columns and rows of tiles: closest in shape, and of equal shapes the larger while the image fills half of it.

    >>> tile_arrangement(1024, 768, 448, 1, 12)
    (4, 3)
    """
    arrangements = [
        (columns, rows)
        for columns in range(1, max_tiles + 1)
        for rows in range(1, max_tiles // columns + 1)
        if columns * rows >= min_tiles
    ]
    best, best_gap = (1, 1), math.inf
    for columns, rows in sorted(arrangements, key=lambda a: a[0] * a[1]):
        gap = abs(width / height - columns / rows)
        if gap < best_gap or (gap == best_gap and width * height > 0.5 * side * side * columns * rows):
            best, best_gap = (columns, rows), gap
    return best


def _window(scaled: Size, window: Size, center: bool = False) -> View:
    """The whole scaled image in a window of at least its size, top left or in the middle."""
    left, top = ((window[0] - scaled[0]) // 2, (window[1] - scaled[1]) // 2) if center else (0, 0)
    return View(scaled, (-left, -top, window[0] - left, window[1] - top))


def _up(length: int, step: int) -> int:
    return -(-length // step) * step


def _check_side(value: int, name: str) -> None:
    if not isinstance(value, int) or value < 1:
        raise ValueError(f"{name}={value!r} must be a whole number of at least 1")


def _check_multiple(value: int, patch: int, name: str) -> None:
    if value % patch:
        raise ValueError(
            f"{name}={value} is not a multiple of patch {patch}: {value - value % patch or patch} would be"
        )
