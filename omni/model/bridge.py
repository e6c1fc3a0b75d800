"""Bridges: from the features of a frozen encoder (ViT, Whisper, wav2vec) to tokens of the shared width.

`group` neighbouring features become one token. A linear or an MLP bridge reads them side by side (LLaVA has groups of
one, Qwen2-VL of four), a pooling bridge reads their mean, and a resampler asks the whole of them a fixed number of
learned questions.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from omni.model.attention import AttentionSpec
from omni.model.block import Block, BlockSpec
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.reach import EVERYTHING, Reach


@dataclass(frozen=True)
class Bridge:
    """Which bridge, from features of which width."""

    source: int  # width of a feature
    how: Literal["linear", "mlp", "pool", "resample"] = "mlp"
    group: int = 1  # features that become one token
    queries: int = 32  # of a resampler: the tokens that it gives
    heads: int = 8  # of a resampler
    depth: int = 2  # of a resampler

    def build(self, width: int) -> nn.Module:
        """A module [batch, features, source] → [batch, tokens, width]."""
        if self.group < 1:
            raise ValueError(f"a bridge groups 1 or more features into a token, not {self.group}")
        if self.how == "resample":
            return Resampler(self, width)
        inner = self.source if self.how == "pool" else self.source * self.group
        project: nn.Module = nn.Linear(inner, width)
        if self.how != "linear":
            project = nn.Sequential(project, nn.GELU(), nn.Linear(width, width))
        if self.how == "pool":
            return Pool(self.group, project)
        if self.how in ("linear", "mlp"):
            return SideBySide(self.group, project)
        raise ValueError(f"a bridge is linear, mlp, pool or resample, not {self.how!r}")


class SideBySide(nn.Module):
    """The features of a group, one after another in one long vector, projected. A last group is filled with zeros."""

    def __init__(self, group: int, project: nn.Module) -> None:
        super().__init__()
        self.group = group
        self.project = project

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, features, source] → [batch, ⌈features/group⌉, width]; beyond `lengths` features are no features."""
        if lengths is not None:
            x = x * real(x, lengths)[..., None]
        return self.project(in_groups(x, self.group).flatten(2))


class Pool(nn.Module):
    """The mean of the features of a group, projected. The mean of a last group is over what it has."""

    def __init__(self, group: int, project: nn.Module) -> None:
        super().__init__()
        self.group = group
        self.project = project

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, features, source] → [batch, ⌈features/group⌉, width]; beyond `lengths` features are no features."""
        if lengths is None:
            lengths = torch.full((len(x),), x.shape[1], device=x.device)
        there = real(x, lengths)[..., None].to(x.dtype)  # [batch, features, 1]
        total = in_groups(x * there, self.group).sum(2)  # [batch, tokens, source]
        return self.project(total / in_groups(there, self.group).sum(2).clamp(min=1))


class Resampler(nn.Module):
    """Learned queries look at each other and at all features, through the same block as everything else."""

    def __init__(self, spec: Bridge, width: int) -> None:
        super().__init__()
        attention = AttentionSpec(spec.heads)
        block = BlockSpec(width, attention, MlpSpec(4 * width), cross=attention)
        self.queries = nn.Parameter(torch.randn(spec.queries, width) * 0.02)
        self.project = nn.Linear(spec.source, width)
        self.norm = Norm().build(width)
        self.blocks = nn.ModuleList(Block(block) for _ in range(spec.depth))
        self.final = Norm().build(width)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, features, source] → [batch, queries, width]; beyond `lengths` features are no features."""
        memory = self.norm(self.project(x))  # [batch, features, width]
        reach = EVERYTHING if lengths is None else Reach.of_lengths(lengths, x.shape[1])
        tokens = self.queries.expand(len(x), -1, -1)
        for block in self.blocks:
            tokens = block(tokens, memory=memory, memory_reach=reach)
        return self.final(tokens)


def real(x: Tensor, lengths: Tensor) -> Tensor:
    """Which features are features: [batch, features]."""
    return torch.arange(x.shape[1], device=x.device) < lengths[:, None]


def in_groups(x: Tensor, group: int) -> Tensor:
    """[batch, n, c] → [batch, ⌈n/group⌉, group, c], filled up with zeros."""
    missing = -x.shape[1] % group
    if missing:
        x = torch.cat([x, x.new_zeros(len(x), missing, x.shape[2])], dim=1)
    return x.unflatten(1, (-1, group))
