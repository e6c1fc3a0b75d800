"""What will be done to an image, from its size alone: scale it, then cut windows out of it."""

from dataclasses import dataclass
from typing import Literal, get_args

from omni_tokenizers.image.pixels import BLACK, Color

MAX_SCALED_PIXELS = 268_435_456  # 2^28: what one scaled copy may hold, 805 MB as RGB

Size = tuple[int, int]  # width, height
Box = tuple[int, int, int, int]  # left, top, right, bottom
Resample = Literal["bilinear", "bicubic"]


@dataclass(frozen=True)
class View:
    """A window on the scaled image that becomes one grid of patches; what lies outside the image is padding."""

    scaled: Size
    box: Box
    kind: Literal["whole", "tile", "thumbnail"] = "whole"

    @property
    def size(self) -> Size:
        """Width and height of the window in pixels."""
        left, top, right, bottom = self.box
        return right - left, bottom - top

    @property
    def inside(self) -> Box:
        """The part of the window that shows the image, in coordinates of the scaled image."""
        left, top, right, bottom = self.box
        return max(left, 0), max(top, 0), min(right, self.scaled[0]), min(bottom, self.scaled[1])


@dataclass(frozen=True)
class Plan:
    """Every view of one image, in the order of their patches."""

    source: Size
    views: tuple[View, ...]
    resample: Resample = "bilinear"
    fill: Color = BLACK  # of padding

    def __post_init__(self) -> None:
        if self.resample not in get_args(Resample):
            raise ValueError(f"resample={self.resample!r} is not one of {', '.join(get_args(Resample))}")
        for width, height in {view.scaled for view in self.views}:
            if width * height > MAX_SCALED_PIXELS:
                raise ValueError(
                    f"image of {self.source[0]}×{self.source[1]} (width×height) would be scaled to {width}×{height} = "
                    f"{width * height:,} pixels, the limit is {MAX_SCALED_PIXELS:,}: crop it, or pass another resize=…"
                )
