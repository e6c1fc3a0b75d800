"""Fewer tokens from the same image: merge neighbours into wider ones, or pool them."""

from typing import Literal

import numpy as np

from omni_tokenizers.image.order import ORDERS, Order, permute
from omni_tokenizers.image.pixels import Array


def merge(values: Array, grid: tuple[int, int], factor: int = 2, order: Order = ORDERS["hwc"]) -> Array:
    """Each factor × factor block as one token: [n, dim] to [n / factor², factor²·dim].

    Within a block the order is top left, top right, bottom left, bottom right, as Qwen-VL concatenates them.
    """
    return _blocks(values, grid, factor, order).reshape(-1, factor * factor * values.shape[-1])


def pool(
    values: Array,
    grid: tuple[int, int],
    factor: int = 2,
    order: Order = ORDERS["hwc"],
    kind: Literal["mean", "max"] = "mean",
) -> Array:
    """Mean or maximum over each factor × factor block: [n, dim] to [n / factor², dim]."""
    blocks = _blocks(values, grid, factor, order)  # [n / factor², factor², dim]
    if kind == "mean":
        return blocks.mean(1)
    if kind == "max":
        return blocks.max(1) if isinstance(blocks, np.ndarray) else blocks.amax(1)
    raise ValueError(f"kind={kind!r} is not one of mean, max")


def _blocks(values: Array, grid: tuple[int, int], factor: int, order: Order) -> Array:
    """[n, dim] as [blocks in reading order, factor², dim]."""
    rows, columns = grid
    if values.ndim != 2 or values.shape[0] != rows * columns:
        raise ValueError(
            f"values have shape {list(values.shape)}, a grid of {rows}×{columns} has {rows * columns} rows"
        )
    if factor < 1 or rows % factor or columns % factor:
        raise ValueError(f"a grid of {rows}×{columns} has no whole blocks of {factor}×{factor}")
    if order.merge == factor:  # the blocks are already together
        return values.reshape(-1, factor * factor, values.shape[-1])
    if order.merge != 1:
        raise ValueError(f"factor={factor}, but this order lists blocks of {order.merge}×{order.merge}")
    x = values.reshape(rows // factor, factor, columns // factor, factor, values.shape[-1])
    return permute(x, (0, 2, 1, 3, 4)).reshape(-1, factor * factor, values.shape[-1])
