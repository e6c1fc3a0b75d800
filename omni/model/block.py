"""The block. ViT, wav2vec 2.0, Whisper, Llama and the omni model are stacks of this one, configured.

A block is two or three residual branches in a row: attention, cross-attention where there is a memory, and an MLP.
What differs between families is where the norm sits, and which small parts are plugged into the branches.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from omni.model.attention import Attention, AttentionSpec, KeyValues, Remembered
from omni.model.mlp import Mlp, MlpSpec
from omni.model.norm import Norm
from omni.model.reach import EVERYTHING, Reach
from omni.model.rotary import Turn

LAYER_NORM = Norm()


@dataclass(frozen=True)
class BlockSpec:
    """One block in full. Two specs that are equal make the same block."""

    width: int
    attention: AttentionSpec
    mlp: MlpSpec
    norm: Norm = LAYER_NORM
    norm_place: Literal["pre", "post"] = "pre"
    cross: AttentionSpec | None = None  # attention over a memory, between the other two
    layer_scale: float | None = None  # initial value of a learned factor on each branch
    arrangement: Literal["serial", "parallel"] = "serial"  # attention then MLP, or side by side (ParallelBlock)


class Scale(nn.Module):
    """Layer scale: a learned factor for every channel of a branch."""

    def __init__(self, width: int, initial: float) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.full((width,), initial))

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] → the same shape."""
        return x * self.factor


class Branch(nn.Module):
    """A residual branch: `x + inner(norm(x))`, or `norm(x + inner(x))` where the norm comes after."""

    def __init__(self, inner: nn.Module, spec: BlockSpec) -> None:
        super().__init__()
        self.inner = inner
        self.norm = spec.norm.build(spec.width)
        self.scale = nn.Identity() if spec.layer_scale is None else Scale(spec.width, spec.layer_scale)
        self.post = spec.norm_place == "post"

    def forward(self, x: Tensor, *how: object) -> Tensor:
        """x [batch, tokens, width] → the same shape; `how` is passed to the inner part."""
        if self.post:
            return self.norm(x + self.scale(self.inner(x, *how)))
        return x + self.scale(self.inner(self.norm(x), *how))


class Mixer(nn.Module):
    """What stands in the attention branch: attention, with the bias part that belongs to this layer, if any.

    A bias part (relative table, WavLM's gated bias) is a module that maps what attention sees to a float tensor
    [batch or 1, heads, queries, keys].
    """

    def __init__(self, attention: Attention, bias: nn.Module | None) -> None:
        super().__init__()
        self.attention = attention
        self.bias = bias

    def forward(self, x: Tensor, reach: Reach, rotation: Turn | None, cache: KeyValues | None) -> Tensor:
        """x [batch, tokens, width] → the same shape."""
        return self.attention(x, reach if self.bias is None else reach.with_bias(self.bias(x)), rotation, cache)


class CrossMixer(nn.Module):
    """What stands in the cross-attention branch."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.attention = attention

    def forward(self, x: Tensor, memory: Tensor | Remembered, reach: Reach) -> Tensor:
        """x [batch, tokens, width], memory [batch, keys, width] → [batch, tokens, width]."""
        return self.attention(x, reach, None, None, memory)


class Block(nn.Module):
    """Attention and MLP, each a residual branch; cross-attention between them where the spec has it."""

    def __init__(
        self,
        spec: BlockSpec,
        bias: nn.Module | None = None,
        around: Callable[[nn.Module], nn.Module] | None = None,
    ) -> None:
        """`bias` is this layer's attention bias; `around` wraps the attention (Swin's windows)."""
        super().__init__()
        mixer: nn.Module = Mixer(Attention(spec.width, spec.attention), bias)
        self.attention = Branch(around(mixer) if around else mixer, spec)
        self.cross = Branch(CrossMixer(Attention(spec.width, spec.cross)), spec) if spec.cross else None
        self.mlp = Branch(Mlp(spec.width, spec.mlp), spec)

    def forward(
        self,
        x: Tensor,  # [batch, tokens, width]
        reach: Reach = EVERYTHING,
        rotation: Turn | None = None,
        cache: KeyValues | None = None,
        memory: Tensor | Remembered | None = None,
        memory_reach: Reach = EVERYTHING,
    ) -> Tensor:
        """One layer: [batch, tokens, width] → the same shape."""
        x = self.attention(x, reach, rotation, cache)
        if self.cross is not None:
            if memory is None:
                raise ValueError("this block has cross-attention and got no memory: pass memory=[batch, keys, width]")
            x = self.cross(x, memory, memory_reach)
        return self.mlp(x)
