"""Patch orders by name: which pixel of a patch comes first, and which patch of an image comes first.

A strided convolution equals cutting into patches and one linear layer, but published models flatten
in different orders, and a weight used with the wrong one fails without an error. So an order has a
name, and turning one into another is an explicit call.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.image.pixels import Array


@dataclass(frozen=True)
class Order:
    """How an image becomes rows of numbers.

    `channels_first` flattens a patch as (channel, row, column), else as (row, column, channel). `frames` repeats a
    still image that often, as video models want. `merge` lists the patches of each merge × merge block together.
    """

    channels_first: bool = False
    frames: int = 1
    merge: int = 1

    def __post_init__(self) -> None:
        if self.frames < 1 or self.merge < 1:
            raise ValueError(f"frames={self.frames} and merge={self.merge} must be at least 1")

    @classmethod
    def named(cls, name: str) -> "Order":
        """One of the published ones, by name.

        >>> Order.named("qwen")
        Order(channels_first=True, frames=2, merge=2)
        """
        if name not in ORDERS:
            raise ValueError(f"order={name!r} is not one of {', '.join(ORDERS)}: or pass Order(…)")
        return ORDERS[name]

    def width(self, size: int, channels: int = 3) -> int:
        """Raw values in one patch.

        >>> Order.named("hwc").width(16), Order.named("qwen").width(14)
        (768, 1176)
        """
        return size * size * channels * self.frames

    def spread(self, per_channel: NDArray[Any], size: int) -> NDArray[Any]:
        """Repeat a value for each channel […, channels] over a flattened patch […, dim]."""
        if self.channels_first:
            return np.repeat(per_channel, self.frames * size * size, axis=-1)
        return np.tile(per_channel, self.frames * size * size)


ORDERS = {
    "hwc": Order(),  # MAE, SigLIP 2, timm's NaFlex
    "chw": Order(channels_first=True),  # convolution weights: ViT, DeiT, DINOv2, CLIP
    "qwen": Order(channels_first=True, frames=2, merge=2),  # Qwen2-VL, Qwen2.5-VL, Qwen2.5-Omni
}


def patchify(pixels: Array, size: int, order: Order = ORDERS["hwc"]) -> Array:
    """Cut [height, width, channels] into patches [n, dim]; height and width are multiples of `size`·merge."""
    height, width, channels = pixels.shape
    rows, columns = _grid(height, width, size, order)
    m = order.merge
    x = pixels.reshape(rows // m, m, size, columns // m, m, size, channels)
    x = permute(x, (0, 3, 1, 4, 6, 2, 5) if order.channels_first else (0, 3, 1, 4, 2, 5, 6))
    if order.frames > 1:
        frame = (rows * columns, channels, 1, -1) if order.channels_first else (rows * columns, 1, -1)
        x = _repeat(x.reshape(frame), order.frames, axis=len(frame) - 2)  # [n, (channels,) frames, …]
    return x.reshape(rows * columns, order.width(size, channels))  # [n, dim]


def unpatchify(values: Array, grid: tuple[int, int], size: int, order: Order = ORDERS["hwc"]) -> Array:
    """The inverse of `patchify`: [n, dim] back to [height, width, channels]; of repeated frames the first."""
    rows, columns = grid
    m = order.merge
    channels, rest = divmod(values.shape[-1], size * size * order.frames)
    if tuple(values.shape) != (rows * columns, values.shape[-1]) or rest or not channels or rows % m or columns % m:
        raise ValueError(
            f"values of shape {list(values.shape)} are not the {rows}×{columns} grid of patches of {size}×{size} pixels"
            f" × {order.frames} frames in blocks of {m}×{m}"
        )
    if order.frames > 1:
        shape = (
            (-1, channels, order.frames, size * size)
            if order.channels_first
            else (-1, order.frames, size * size * channels)
        )
        values = values.reshape(shape)
        values = values[:, :, 0] if order.channels_first else values[:, 0]
    blocks = (rows // m, columns // m, m, m)
    if order.channels_first:  # blocks, blocks, m, m, channel, row, column
        x = permute(values.reshape(*blocks, channels, size, size), (0, 2, 5, 1, 3, 6, 4))
    else:  # blocks, blocks, m, m, row, column, channel
        x = permute(values.reshape(*blocks, size, size, channels), (0, 2, 4, 1, 3, 5, 6))
    return x.reshape(rows * size, columns * size, channels)


def convert(values: Array, grid: tuple[int, int], size: int, source: Order, target: Order) -> Array:
    """Patches in one order as the same patches in another."""
    return patchify(unpatchify(values, grid, size, source), size, target)


@lru_cache(maxsize=256)
def grid_positions(grid: tuple[int, int], order: Order = ORDERS["hwc"]) -> NDArray[np.int32]:
    """Row and column of every patch [n, 2], in the sequence of the order; read-only.

    >>> grid_positions((2, 4), Order(merge=2)).tolist()
    [[0, 0], [0, 1], [1, 0], [1, 1], [0, 2], [0, 3], [1, 2], [1, 3]]
    """
    rows, columns = grid
    m = order.merge
    if rows % m or columns % m:
        raise ValueError(f"a grid of {rows}×{columns} patches has no whole blocks of {m}×{m}")
    x = np.indices((rows, columns), np.int32).reshape(2, rows // m, m, columns // m, m)
    x = np.ascontiguousarray(x.transpose(1, 3, 2, 4, 0).reshape(-1, 2))  # [n, 2]
    x.flags.writeable = False
    return x


def raster(grid: tuple[int, int], order: Order) -> NDArray[np.intp]:
    """Index that puts patches of an order into reading order: `values[raster(grid, order)]`."""
    where = grid_positions(grid, order)
    return np.argsort(where[:, 0] * grid[1] + where[:, 1], kind="stable")


def linear_weight(kernel: Array, order: Order = ORDERS["hwc"]) -> Array:
    """A patch convolution's kernel [out, channels, (frames,) size, size] as a linear weight [out, dim] for an order."""
    video = kernel.ndim == 5
    if kernel.ndim not in (4, 5) or (kernel.shape[2] if video else 1) != order.frames:
        raise ValueError(
            f"kernel has shape {list(kernel.shape)}; an order of {order.frames} frames takes "
            + ("[out, channels, size, size]" if order.frames == 1 else f"[out, channels, {order.frames}, size, size]")
        )
    if not order.channels_first:  # patches flatten as (frames, row, column, channel)
        kernel = permute(kernel, (0, 2, 3, 4, 1) if video else (0, 2, 3, 1))
    return kernel.reshape(kernel.shape[0], -1)


def _grid(height: int, width: int, size: int, order: Order) -> tuple[int, int]:
    step = size * order.merge
    if height % step or width % step or not height or not width:
        raise ValueError(f"pixels are {width}×{height} (width×height): both must be multiples of {step}")
    return height // size, width // size


def permute(x: Array, axes: tuple[int, ...]) -> Array:
    """Axes in another sequence, under whichever name the array's library has for it."""
    return x.transpose(axes) if isinstance(x, np.ndarray) else x.permute(axes)


def _repeat(x: Array, times: int, axis: int) -> Array:
    if isinstance(x, np.ndarray):
        return np.repeat(x, times, axis=axis)
    return x.repeat_interleave(times, dim=axis)
