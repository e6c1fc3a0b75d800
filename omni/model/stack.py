"""Blocks in a row."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import cast

from torch import Tensor, nn

from omni.model.attention import Attention, KeyValues, Remembered
from omni.model.block import Block, BlockSpec
from omni.model.norm import Norm
from omni.model.parallel import ParallelBlock
from omni.model.reach import EVERYTHING, Reach
from omni.model.rotary import Rotary, RotarySpec


@dataclass(frozen=True)
class StackSpec:
    """`depth` equal blocks, an optional norm after the last one, and rotary positions if there are any."""

    block: BlockSpec
    depth: int
    final_norm: Norm | None = None
    rotary: RotarySpec | None = None


class Stack(nn.Module):
    """The transformer: everything between the embedding and the heads."""

    def __init__(self, spec: StackSpec, bias: Callable[[int], nn.Module] | None = None) -> None:
        """`bias(layer)` makes the attention-bias part of a layer, where the family has one."""
        super().__init__()
        self.spec = spec
        width = spec.block.width
        block = ParallelBlock if spec.block.arrangement == "parallel" else Block
        self.blocks = nn.ModuleList(block(spec.block, bias(i) if bias else None) for i in range(spec.depth))
        self.norm = spec.final_norm.build(width) if spec.final_norm else nn.Identity()
        head_width = spec.block.attention.sizes(width)[2]
        self.rotary = Rotary(spec.rotary, head_width) if spec.rotary else None

    def forward(
        self,
        x: Tensor,  # [batch, tokens, width]
        reach: Reach = EVERYTHING,
        *,
        positions: Tensor | None = None,  # [batch, tokens] or [axes, batch, tokens], for rotary positions
        caches: Iterable[KeyValues] | None = None,  # one a layer
        memory: Tensor | list[Remembered] | None = None,  # [batch, keys, width], for cross-attention; or `remember`ed
        memory_reach: Reach = EVERYTHING,
        states: list[Tensor] | None = None,  # filled with the input and each layer's output, before the final norm
    ) -> Tensor:
        """[batch, tokens, width] → the same shape."""
        rotation = None
        if self.rotary is not None:
            if positions is None:
                raise ValueError("this stack has rotary positions: pass positions=[batch, tokens]")
            rotation = self.rotary(positions, x.dtype)
        layer_caches = [None] * len(self.blocks) if caches is None else list(caches)
        if states is not None:
            states.append(x)
        memories = memory if isinstance(memory, list) else [memory] * len(self.blocks)
        for block, cache, seen in zip(self.blocks, layer_caches, memories, strict=True):
            x = block(x, reach, rotation, cache, seen, memory_reach)
            if states is not None:
                states.append(x)
        return self.norm(x)

    def remember(self, memory: Tensor) -> list[Remembered]:
        """Each layer's keys and values of a memory [batch, keys, width], to be given as `memory` at every step."""
        return [attention.remember(memory) for attention in self.cross_attentions()]

    def cross_attentions(self) -> Iterator[Attention]:
        """The cross-attention of every layer, first to last."""
        for block in self.blocks:
            if not isinstance(block, Block) or block.cross is None:
                raise ValueError("this stack has no cross-attention: give its block a `cross` specification")
            yield cast(Attention, block.cross.inner.attention)
