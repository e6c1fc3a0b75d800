"""Pixels or ready-cut patches → vectors, by one linear layer; the same numbers as a convolution of stride = size."""

from dataclasses import dataclass
from typing import Literal

from torch import Tensor, nn
from torch.nn import functional as F

Grid = tuple[int, int]  # rows and columns of patches


@dataclass(frozen=True)
class PatchSpec:
    """How an image is cut, and what its linear layer expects."""

    size: int = 16  # pixels on each side of a patch
    channels: int = 3
    order: Literal["chw", "hwc"] = "chw"  # how a patch is flattened: as convolution weights are, or as SigLIP 2's
    bias: bool = True
    edges: Literal["refuse", "pad"] = "refuse"  # pixels that are no multiple of the size; `pad` adds zeros

    @property
    def dim(self) -> int:
        """Raw values in one patch."""
        return self.channels * self.size**2


def cut(pixels: Tensor, spec: PatchSpec) -> tuple[Tensor, Grid]:
    """Pixels [batch, channels, height, width] → patches [batch, n, dim] in reading order, and their grid."""
    size, channels = spec.size, spec.channels
    if pixels.shape[1] != channels:
        raise ValueError(f"pixels have {pixels.shape[1]} channels, this model was built for {channels}")
    height, width = pixels.shape[-2:]
    if height % size or width % size:
        if spec.edges == "refuse":
            raise ValueError(
                f"pixels are {width}×{height} (width×height), no multiple of patch {size}: resize them, or ask for "
                f'padding with PatchSpec(edges="pad")'
            )
        pixels = F.pad(pixels, (0, -width % size, 0, -height % size))
    rows, columns = pixels.shape[-2] // size, pixels.shape[-1] // size
    x = pixels.reshape(len(pixels), channels, rows, size, columns, size)
    x = x.permute((0, 2, 4, 1, 3, 5) if spec.order == "chw" else (0, 2, 4, 3, 5, 1))
    return x.reshape(len(pixels), rows * columns, spec.dim), (rows, columns)  # [batch, n, dim]


def join(patches: Tensor, grid: Grid, spec: PatchSpec) -> Tensor:
    """The inverse of `cut`: patches [batch, n, dim] → pixels [batch, channels, height, width]."""
    size, channels = spec.size, spec.channels
    if spec.order == "chw":
        x = patches.reshape(len(patches), *grid, channels, size, size).permute(0, 3, 1, 4, 2, 5)
    else:
        x = patches.reshape(len(patches), *grid, size, size, channels).permute(0, 5, 1, 3, 2, 4)
    return x.reshape(len(patches), channels, grid[0] * size, grid[1] * size)


class PatchEmbed(nn.Module):
    """One linear layer over flattened patches.

    Patches may come from `omni_tokenizers.Patches`, whose order has to be the order of this layer.
    """

    def __init__(self, width: int, spec: PatchSpec) -> None:
        super().__init__()
        self.spec = spec
        self.linear = nn.Linear(spec.dim, width, bias=spec.bias)

    def forward(self, images: Tensor) -> tuple[Tensor, Grid | None]:
        """Pixels [batch, channels, height, width] or patches [batch, n, dim] → [batch, n, width], and pixels' grid."""
        if images.ndim == 4:
            patches, grid = cut(images, self.spec)
            return self.linear(patches), grid
        dim = self.linear.in_features
        if images.ndim != 3 or images.shape[-1] != dim:
            raise ValueError(
                f"images have shape {tuple(images.shape)}: pass pixels [batch, {self.spec.channels}, height, width] or "
                f"patches [batch, n, {dim}] in the order {self.spec.order!r}"
            )
        return self.linear(images), None
