"""A small residual network in front of a vision transformer: the hybrid of the ViT paper.

Its weights are standardised in every forward pass, and its norms go over groups of one picture's channels, so it does
not depend on the batch.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omni.model.patch_embed import Grid, PatchEmbed, PatchSpec

GROUPS = 32  # of each norm


@dataclass(frozen=True)
class ConvStemSpec:
    """Residual units of each stage; the stem alone halves the picture twice, every stage but the first once more."""

    layers: tuple[int, ...] = (3, 4, 9)
    stem: int = 64  # channels
    width: int = 256  # channels of the first stage, doubled in every next one
    channels: int = 3  # of the picture
    patch: int = 1  # side of the patches cut from the last map

    @property
    def out(self) -> int:
        """Channels of the last map."""
        return self.width * 2 ** (len(self.layers) - 1) if self.layers else self.stem

    @property
    def step(self) -> int:
        """Pixels of the picture on each side of one token."""
        return 4 * 2 ** max(len(self.layers) - 1, 0) * self.patch


def pad_same(x: Tensor, kernel: int, stride: int, value: float = 0.0) -> Tensor:
    """Pad so that the output has ⌈size / stride⌉ rows and columns, more at the end than at the beginning."""
    high, wide = (max((-(-n // stride) - 1) * stride + kernel - n, 0) for n in x.shape[-2:])
    return F.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2), value=value)


class StandardConv(nn.Conv2d):
    """A convolution whose kernels are brought to mean 0 and variance 1 before they are used."""

    def __init__(self, before: int, after: int, kernel: int, stride: int = 1) -> None:
        super().__init__(before, after, kernel, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, before, h, w] → [batch, after, ⌈h/stride⌉, ⌈w/stride⌉]."""
        flat = self.weight.flatten(1)
        spread, mean = torch.var_mean(flat, dim=1, keepdim=True, unbiased=False)
        kernel = ((flat - mean) * (spread + 1e-8).rsqrt()).reshape(self.weight.shape)
        return F.conv2d(pad_same(x, self.kernel_size[0], self.stride[0]), kernel, stride=self.stride)


class Bottleneck(nn.Module):
    """1×1 down to a quarter of the channels, 3×3, 1×1 up again, beside a shortcut."""

    def __init__(self, before: int, after: int, stride: int, *, project: bool) -> None:
        super().__init__()
        inner = after // 4
        self.first, self.first_norm = StandardConv(before, inner, 1), nn.GroupNorm(GROUPS, inner)
        self.second, self.second_norm = StandardConv(inner, inner, 3, stride), nn.GroupNorm(GROUPS, inner)
        self.third, self.third_norm = StandardConv(inner, after, 1), nn.GroupNorm(GROUPS, after)
        self.shortcut = StandardConv(before, after, 1, stride) if project else nn.Identity()
        self.shortcut_norm = nn.GroupNorm(GROUPS, after) if project else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """[batch, before, h, w] → [batch, after, h/stride, w/stride]."""
        y = F.relu(self.first_norm(self.first(x)))
        y = F.relu(self.second_norm(self.second(y)))
        return F.relu(self.third_norm(self.third(y)) + self.shortcut_norm(self.shortcut(x)))


class ConvStem(nn.Module):
    """Pixels → vectors and their grid, in the place of a `PatchEmbed`."""

    def __init__(self, width: int, spec: ConvStemSpec) -> None:
        super().__init__()
        self.spec = spec
        self.stem, self.stem_norm = StandardConv(spec.channels, spec.stem, 7, 2), nn.GroupNorm(GROUPS, spec.stem)
        stages, before = [], spec.stem
        for stage, depth in enumerate(spec.layers):
            after = spec.width * 2**stage
            units = [
                Bottleneck(before if not i else after, after, 2 if stage and not i else 1, project=not i)
                for i in range(depth)
            ]
            stages.append(nn.Sequential(*units))
            before = after
        self.stages = nn.ModuleList(stages)
        self.project = PatchEmbed(width, PatchSpec(spec.patch, spec.out))

    def forward(self, images: Tensor) -> tuple[Tensor, Grid | None]:
        """Pixels [batch, channels, height, width] → [batch, n, width] and the grid."""
        if images.ndim != 4:
            raise ValueError(f"images have shape {tuple(images.shape)}: a convolutional stem takes pixels, not patches")
        step = self.spec.step
        if images.shape[-2] % step or images.shape[-1] % step:
            raise ValueError(
                f"pixels are {images.shape[-1]}×{images.shape[-2]} (width×height), no multiple of {step}, which one "
                f"token covers: resize them"
            )
        x = F.relu(self.stem_norm(self.stem(images)))
        x = F.max_pool2d(pad_same(x, 3, 2, value=float("-inf")), 3, 2)
        for stage in self.stages:
            x = stage(x)
        projected: tuple[Tensor, Grid | None] = self.project(x)
        return projected
