"""What "pixels" means in this package, and the errors a picture can cause."""

from collections.abc import Iterable
from operator import index
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, Union

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

Pixels: TypeAlias = NDArray[np.uint8]  # [height, width, 3], red green blue
Color: TypeAlias = tuple[int, int, int]  # 0..255 each
Layout: TypeAlias = Literal["hwc", "chw"]
# What goes in as numpy comes out as numpy; the same for torch, and for what may be either, as the values of a grid.
Array = TypeVar("Array", NDArray[Any], "torch.Tensor", Union[NDArray[Any], "torch.Tensor"])

WHITE: Color = (255, 255, 255)
BLACK: Color = (0, 0, 0)
MAX_PIXELS = 89_478_485  # of one picture; Pillow's own limit, 256 MB as RGB


class UnreadableImage(ValueError):
    """The bytes are not a picture, or not all of one."""


class ImageTooLarge(ValueError):
    """The picture has more pixels than the limit; nothing was decoded."""


def check_sides(width: int, height: int) -> None:
    """Refuse an empty picture.

    >>> check_sides(0, 4)
    Traceback (most recent call last):
    ValueError: image is 0×4 (width×height): both must be at least 1
    """
    if width < 1 or height < 1:
        raise ValueError(f"image is {width}×{height} (width×height): both must be at least 1")


def check_size(width: int, height: int, max_pixels: int) -> None:
    """Refuse an empty or an oversized picture."""
    check_sides(width, height)
    if width * height > max_pixels:
        raise ImageTooLarge(
            f"image is {width}×{height} = {width * height:,} pixels, the limit is {max_pixels:,}: "
            "shrink it, or pass max_pixels=… if you trust its source"
        )


def as_color(values: Iterable[int], name: str) -> Color:
    """Three whole numbers from 0 to 255, of a list or an array too, as what can be compared and kept in a table.

    >>> as_color([255, 0, 0], "fill")
    (255, 0, 0)
    """
    try:
        red, green, blue = map(index, values)
    except (TypeError, ValueError):
        red = green = blue = -1
    if min(red, green, blue) < 0 or max(red, green, blue) > 255:
        raise ValueError(f"{name}={values!r} must be three whole numbers from 0 to 255 (red, green, blue)")
    return red, green, blue


def is_tensor(value: object) -> bool:
    """Whether this is a torch tensor, found out without importing torch.

    >>> is_tensor(np.zeros(3))
    False
    """
    return any(kind.__module__ == "torch" and kind.__name__ == "Tensor" for kind in type(value).__mro__)


def readonly(array: NDArray[Any]) -> NDArray[Any]:
    """A view that cannot be written through, so that nothing here changes what it was given."""
    view = array.view()
    view.flags.writeable = False
    return view
