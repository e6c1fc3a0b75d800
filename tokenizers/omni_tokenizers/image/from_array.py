"""Pixels of a numpy array: any common number type, one to four channels."""

from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.image.pixels import Color, Layout, Pixels

BAND = 1 << 18  # pixels composited at a time


def array_size(shape: tuple[int, ...], layout: Layout) -> tuple[int, int]:
    """Width and height of an array of this shape; the error names the shape and the way out."""
    if layout not in get_args(Layout):
        raise ValueError(f"layout={layout!r} is none of {', '.join(map(repr, get_args(Layout)))}")
    if len(shape) == 2:
        return shape[1], shape[0]
    if len(shape) == 3:
        height, width, channels = shape if layout == "hwc" else (shape[1], shape[2], shape[0])
        if channels in (1, 2, 3, 4):
            return width, height
        other = "chw" if layout == "hwc" else "hwc"
        raise ValueError(
            f"image array has shape {list(shape)}, read as {layout} that is {channels} channels, not 1 to 4: "
            f'pass layout="{other}" if its channels lie elsewhere'
        )
    raise ValueError(
        f"image array has shape {list(shape)}: one picture has 2 dimensions (grey) or 3; use encode_batch for several"
    )


def pixels_of_array(array: NDArray[Any], *, background: Color, layout: Layout = "hwc") -> Pixels:
    """RGB of an array; grey is repeated, alpha is composited, 16 bits and floats are rounded to 8."""
    array_size(array.shape, layout)
    if array.ndim == 3 and layout == "chw":
        array = array.transpose(1, 2, 0)
    eight = _eight_bits(array)
    if eight.ndim == 2:
        eight = eight[..., None]
    channels = eight.shape[2]  # [h, w, channels]
    if channels == 3:
        return np.ascontiguousarray(eight)
    if channels == 1:
        return np.repeat(eight, 3, axis=2)
    return composite(eight[..., :-1], eight[..., -1:], background)


def composite(color: Pixels, alpha: Pixels, background: Color) -> Pixels:
    """Lay `color` [h, w, 1 or 3] with `alpha` [h, w, 1] over one background colour, correctly rounded."""
    height, width = alpha.shape[:2]
    behind = np.asarray(background, np.uint16)
    out = np.empty((height, width, 3), np.uint8)
    rows = max(1, BAND // max(width, 1))  # at a time: the products take six times the memory of the result
    for top in range(0, height, rows):
        band = slice(top, top + rows)
        a = alpha[band].astype(np.uint16)
        mixed = color[band] * a + behind * (255 - a)  # [rows, w, 3], up to 65,025
        mixed += 127
        out[band] = mixed // 255
    return out


def _eight_bits(array: NDArray[Any]) -> Pixels:
    kind = array.dtype
    if kind == np.uint8:
        return array
    if kind == np.bool_:
        return array.astype(np.uint8) * np.uint8(255)
    if array.size == 0:
        return array.astype(np.uint8)
    if kind.kind == "u" and kind.itemsize == 2:
        # 65535 = 257·255, so this is rounding, and black and white stay black and white.
        wide = array.astype(np.uint32)
        wide += 128
        wide //= 257
        return wide.astype(np.uint8)
    if kind.kind not in "iuf":
        raise TypeError(f"image array has dtype {kind}: uint8, uint16, bool, or a float from 0 to 1 can be read")
    low, high = array.min(), array.max()
    if kind.kind in "iu":
        if low < 0 or high > 255:
            raise ValueError(
                f"image array of {kind} holds values from {low} to {high}: whole numbers must be 0 to 255 "
                "(or uint16, 0 to 65535)"
            )
        return array.astype(np.uint8)
    if not (low >= 0 and high <= 1):  # also true of NaN
        raise ValueError(_why_not_float(array, float(low), float(high)))
    return np.rint(array.astype(np.float32) * np.float32(255)).astype(np.uint8)


def _why_not_float(array: NDArray[Any], low: float, high: float) -> str:
    bad = int(array.size - np.isfinite(array).sum())
    if bad:
        return f"image array of {array.dtype} holds {bad} values that are NaN or infinite: clean it first"
    way = "divide by 255, or pass uint8" if low >= 0 and high <= 255 else "a normalised picture cannot be read again"
    return f"image array of {array.dtype} holds values from {low:g} to {high:g}: floats must be 0 to 1; {way}"
