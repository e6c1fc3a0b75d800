"""Swin: the shared block inside windows that shift from layer to layer, and stages that halve the picture.

Tokens stay a picture [batch, rows, columns, width] here: norms, MLPs and residuals do not mind, and the part around
the attention cuts it into windows.
"""

from dataclasses import dataclass
from functools import lru_cache, partial
from math import isqrt

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omni.model.attention import AttentionSpec, KeyValues
from omni.model.block import Block, BlockSpec
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.patch_embed import PatchEmbed, PatchSpec
from omni.model.reach import Reach
from omni.model.rotary import Turn

PATCH, NORM = PatchSpec(4, edges="pad"), Norm("layer", eps=1e-5)


@dataclass(frozen=True)
class SwinSpec:
    """Every stage has twice the width and half the rows and columns of the one before."""

    width: int = 96  # of the first stage
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    windows: tuple[int, ...] = (7, 7, 7, 7)  # tokens on each side of a window, a stage
    patch: PatchSpec = PATCH
    mlp_ratio: float = 4.0
    activation: str = "gelu"
    qkv_bias: bool = True
    norm: Norm = NORM


class RelativeBias(nn.Module):
    """A learned number for each head and each difference of rows and columns within a window."""

    def __init__(self, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.table = nn.Parameter(torch.randn((2 * window - 1) ** 2, heads) * 0.02)

    def forward(self, x: Tensor) -> Tensor:
        """What attention sees, [windows, tokens, width] → [1, heads, tokens, tokens]."""
        n = x.shape[1]
        where = differences(isqrt(n), self.window).to(x.device)
        return self.table[where].reshape(1, n, n, -1).permute(0, 3, 1, 2)


@lru_cache(maxsize=64)
def differences(side: int, window: int) -> Tensor:
    """The row of a table for `window` that each pair of tokens in a square of `side` reads: [side⁴]."""
    # A cached tensor must not be born on the meta device, nor in inference mode, where nothing could learn from it.
    with torch.inference_mode(False), torch.device("cpu"):
        place = torch.stack(torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")).flatten(1)
        apart = place[:, :, None] - place[:, None, :] + window - 1  # [2, side², side²]
        return (apart[0] * (2 * window - 1) + apart[1]).flatten()


@lru_cache(maxsize=64)
def same_region(rows: int, columns: int, window: int, shift: int) -> Tensor:
    """After rolling, which tokens of a window were neighbours before: bool [windows, 1, window², window²]."""
    with torch.inference_mode(False), torch.device("cpu"):
        region = [
            (torch.arange(n) >= n - window).long() + (torch.arange(n) >= n - shift).long() for n in (rows, columns)
        ]
        by_window = cut_windows((region[0][:, None] * 3 + region[1])[None, :, :, None], window)[..., 0]
        return (by_window[:, :, None] == by_window[:, None, :])[:, None]


def cut_windows(x: Tensor, window: int) -> Tensor:
    """[batch, rows, columns, width] → [batch·windows, window², width]."""
    batch, rows, columns, width = x.shape
    x = x.reshape(batch, rows // window, window, columns // window, window, width)
    return x.transpose(2, 3).reshape(-1, window * window, width)


def join_windows(x: Tensor, rows: int, columns: int, window: int) -> Tensor:
    """The inverse of `cut_windows`."""
    x = x.reshape(-1, rows // window, columns // window, window, window, x.shape[-1])
    return x.transpose(2, 3).reshape(-1, rows, columns, x.shape[-1])


class Windows(nn.Module):
    """What stands around an attention: cut into windows, rolled by `shift` first, and put together again."""

    def __init__(self, inner: nn.Module, window: int, shift: int) -> None:
        super().__init__()
        self.inner, self.window, self.shift = inner, window, shift

    def forward(self, x: Tensor, reach: Reach, rotation: Turn | None, cache: KeyValues | None) -> Tensor:
        """[batch, rows, columns, width] → the same shape."""
        batch, rows, columns, _ = x.shape
        window, shift = self.window, self.shift
        if min(rows, columns) <= window:  # one window spans the picture: nothing to shift between
            window, shift = min(rows, columns), 0
        x = F.pad(x, (0, 0, 0, -columns % window, 0, -rows % window))
        high, wide = x.shape[1:3]
        if shift:
            x = x.roll((-shift, -shift), dims=(1, 2))
            reach = Reach(allowed=same_region(high, wide, window, shift).to(x.device).repeat(batch, 1, 1, 1))
        x = join_windows(self.inner(cut_windows(x, window), reach, rotation, cache), high, wide, window)
        if shift:
            x = x.roll((shift, shift), dims=(1, 2))
        return x[:, :rows, :columns]


class Merge(nn.Module):
    """Four neighbours become one token of twice the width."""

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        self.norm = norm.build(4 * width)
        self.linear = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[batch, rows, columns, width] → [batch, ⌈rows/2⌉, ⌈columns/2⌉, 2·width]."""
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        batch, rows, columns, width = x.shape
        x = x.reshape(batch, rows // 2, 2, columns // 2, 2, width).permute(0, 1, 3, 4, 2, 5)  # column before row
        return self.linear(self.norm(x.flatten(3)))


class Swin(nn.Module):
    """Pixels → what the head says of the mean of the last stage's tokens."""

    def __init__(self, spec: SwinSpec, *, head: nn.Module | None = None) -> None:
        super().__init__()
        if not len(spec.depths) == len(spec.heads) == len(spec.windows):
            raise ValueError(
                f"depths {spec.depths}, heads {spec.heads} and windows {spec.windows} must be equally many"
            )
        self.spec = spec
        self.embed = PatchEmbed(spec.width, spec.patch)
        self.embed_norm = spec.norm.build(spec.width)
        self.stages = nn.ModuleList(nn.Sequential(*self.stage(i)) for i in range(len(spec.depths)))
        self.merges = nn.ModuleList(Merge(spec.width * 2**i, spec.norm) for i in range(len(spec.depths) - 1))
        self.norm = spec.norm.build(spec.width * 2 ** (len(spec.depths) - 1))
        self.head = head or nn.Identity()

    def stage(self, i: int) -> list[Block]:
        """The blocks of one stage; every second one looks through shifted windows."""
        s, width, window = self.spec, self.spec.width * 2**i, self.spec.windows[i]
        attention = AttentionSpec(s.heads[i], bias=s.qkv_bias)
        block = BlockSpec(width, attention, MlpSpec(int(width * s.mlp_ratio), s.activation), s.norm)

        return [
            Block(block, RelativeBias(s.heads[i], window), partial(Windows, window=window, shift=j % 2 * (window // 2)))
            for j in range(s.depths[i])
        ]

    def features(self, pixels: Tensor, states: list[Tensor] | None = None) -> Tensor:
        """Pixels [batch, channels, height, width] → the last stage's map [batch, rows, columns, width]."""
        x, grid = self.embed(pixels)
        if grid is None:
            raise ValueError("Swin takes pixels [batch, channels, height, width]: it has to know which patches touch")
        x = self.embed_norm(x).unflatten(1, grid)
        for i, stage in enumerate(self.stages):
            if i:
                x = self.merges[i - 1](x)
            x = stage(x)
            if states is not None:
                states.append(x)
        return self.norm(x)

    def forward(self, pixels: Tensor) -> Tensor:
        """Pixels [batch, channels, height, width] → logits, or the pooled vector where there is no head."""
        head: Tensor = self.head(self.features(pixels).mean(dim=(1, 2)))
        return head
