"""Learned position tables brought to another grid, the way each published model does it.

The variants differ where nobody looks: torch's bicubic kernel has another constant with antialiasing (−0.5) than
without (−0.75), and DINO passes a scale factor that is not the ratio of the sizes, which moves every sampling point.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

from omni_tokenizers.image.pixels import Array

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Resampling:
    """How a table is resized. `offset` is DINO's: the scale is (new + offset) / old instead of new / old."""

    mode: Literal["bicubic", "bilinear"] = "bicubic"
    antialias: bool = False
    offset: float = 0.0

    @classmethod
    def named(cls, name: str) -> "Resampling":
        """One of the published ones, by name.

        >>> Resampling.named("siglip2")
        Resampling(mode='bilinear', antialias=True, offset=0.0)
        """
        if name not in RESAMPLINGS:
            raise ValueError(f"preset={name!r} is not one of {', '.join(RESAMPLINGS)}: or pass Resampling(…)")
        return RESAMPLINGS[name]


RESAMPLINGS = {
    "vit": Resampling(),  # transformers' ViT, DeiT
    "timm": Resampling(antialias=True),  # also DINOv2 with registers as Meta published it
    "dino": Resampling(offset=0.1),  # DINO and DINOv2 as Meta published them
    "dinov2": Resampling(),  # transformers' DINOv2
    "siglip2": Resampling("bilinear", antialias=True),
}


def resample_positions(
    table: Array,
    grid: tuple[int, int],
    preset: str | Resampling = "vit",
    *,
    prefix: int = 0,
    source: tuple[int, int] | None = None,
) -> Array:
    """A table [prefix + rows·columns, dim] as [prefix + new rows·new columns, dim]; the prefix rows stay as they are.

    `prefix` counts the class and register rows, `source` is the grid that the table was learned on (a square, if not
    given). Where the grid is already right the table comes back unchanged.
    """
    how = Resampling.named(preset) if isinstance(preset, str) else preset
    if table.ndim != 2:
        raise ValueError(f"table has shape {list(table.shape)}, it must be [positions, dim]: remove the batch axis")
    rows, columns = source or _square(table.shape[0] - prefix, prefix)
    if rows * columns + prefix != table.shape[0]:
        raise ValueError(
            f"table has {table.shape[0]} rows, not the {prefix} + {rows}·{columns} that prefix={prefix} and "
            f"source={source} say"
        )
    if min(grid) < 1:
        raise ValueError(f"grid={grid} must be at least 1×1")
    if (rows, columns) == tuple(grid):
        return table
    if isinstance(table, np.ndarray):
        import torch

        # A copy by numpy, since torch takes neither strides below 0 nor another byte order.
        copy = torch.from_numpy(np.array(table[prefix:], np.float32))
        new = _resample(copy, (rows, columns), grid, how).numpy().astype(table.dtype)
        return np.concatenate([table[:prefix], new])
    import torch

    return torch.cat([table[:prefix], _resample(table[prefix:], (rows, columns), grid, how).to(table.dtype)])


def _resample(table: "torch.Tensor", old: tuple[int, int], new: tuple[int, int], how: Resampling) -> "torch.Tensor":
    from torch.nn import functional

    picture = table.float().reshape(1, *old, -1).permute(0, 3, 1, 2)  # [1, dim, rows, columns]; half loses digits
    if how.offset:
        factor = ((new[0] + how.offset) / old[0], (new[1] + how.offset) / old[1])
        picture = functional.interpolate(picture, scale_factor=factor, mode=how.mode, antialias=how.antialias)
        if tuple(picture.shape[-2:]) != tuple(new):
            raise ValueError(f"offset={how.offset} leads to a grid of {list(picture.shape[-2:])}, not {list(new)}")
    else:
        picture = functional.interpolate(
            picture, size=tuple(new), mode=how.mode, align_corners=False, antialias=how.antialias
        )
    return picture.permute(0, 2, 3, 1).reshape(new[0] * new[1], -1)  # [n, dim]


def _square(count: int, prefix: int) -> tuple[int, int]:
    side = math.isqrt(max(count, 0))
    if side * side != count or not side:
        raise ValueError(f"{count} positions after prefix={prefix} are no square: pass source=(rows, columns)")
    return side, side
