"""A small residual convolutional network, to stand beside the vision transformer in comparisons.

A convolution knows beforehand that neighbours belong together and that a thing is the same wherever it lies; a
transformer has to learn both. So this one leads where data are few.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class CnnSpec:
    """Each stage has twice the channels and half the rows and columns of the one before."""

    width: int = 32  # channels of the first stage
    depths: tuple[int, ...] = (1, 1, 1)  # residual units of each stage
    channels: int = 3  # of the picture
    classes: int = 10


class Unit(nn.Module):
    """Two 3×3 convolutions around which the picture also passes unchanged."""

    def __init__(self, before: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, width, 3, stride, 1, bias=False)
        self.first_norm = nn.GroupNorm(8, width)  # over one picture: a batch of one trains as well
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.second_norm = nn.GroupNorm(8, width)
        same = before == width and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(before, width, 1, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, before, h, w] → [batch, width, h/stride, w/stride]."""
        y = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.second_norm(self.second(y)) + self.shortcut(x))


class Cnn(nn.Module):
    """Pixels [batch, channels, height, width] of any size → logits [batch, classes]."""

    def __init__(self, spec: CnnSpec) -> None:
        super().__init__()
        if spec.width % 8:
            raise ValueError(f"width {spec.width} is not a multiple of 8, the number of groups that are normalised")
        self.spec = spec
        self.stem = nn.Conv2d(spec.channels, spec.width, 3, 1, 1, bias=False)
        units: list[nn.Module] = []
        before = spec.width
        for stage, depth in enumerate(spec.depths):
            width = spec.width * 2**stage
            for i in range(depth):
                units.append(Unit(before, width, 2 if stage and not i else 1))
                before = width
        self.units = nn.Sequential(*units)
        self.head = nn.Linear(before, spec.classes)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels → logits."""
        x = self.units(F.relu(self.stem(pixels)))
        return self.head(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
