"""A causal language model: ids in, the scores of the next id out. Llama and Qwen are this with their own numbers."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omni.model.cache import Cache, Step
from omni.model.reach import CAUSAL, Reach
from omni.model.stack import Stack, StackSpec


@dataclass(frozen=True)
class DecoderSpec:
    """A vocabulary around a stack."""

    vocabulary: int  # ids
    stack: StackSpec
    tied: bool = False  # the table that reads ids also scores them
    longest: int = 4096  # tokens the positions were made for


class Decoder(nn.Module):
    """Embedding, stack, head. `hidden` stops before the head, for those who need few of its rows."""

    def __init__(self, spec: DecoderSpec) -> None:
        super().__init__()
        self.spec = spec
        width = spec.stack.block.width
        self.embed = nn.Embedding(spec.vocabulary, width)
        self.stack = Stack(spec.stack)
        self.head = None if spec.tied else nn.Linear(width, spec.vocabulary, bias=False)

    def forward(
        self,
        ids: Tensor,  # [batch, tokens]
        *,
        reach: Reach = CAUSAL,
        positions: Tensor | None = None,  # [batch, tokens] or [3, batch, tokens]; None counts from 0
        step: Step | None = None,  # of a cache: ids go on from what its slots hold
    ) -> Tensor:
        """The scores of every next id: [batch, tokens, vocabulary]."""
        # The gradient of a tied table comes whole from the head, and the few rows that were read are added to it. As
        # a second whole gradient they took 4 to 8 % of a training step (six layers of Qwen2-0.5B's shape).
        few = self.head is None and ids.device.type == "cpu" and not torch.compiler.is_compiling()
        x = F.embedding(ids, self.embed.weight, sparse=few)
        return self.scores(self.hidden(x, reach=reach, positions=positions, step=step))

    def hidden(
        self,
        x: Tensor,  # [batch, tokens, width], ids embedded or whatever stands in their place
        *,
        reach: Reach = CAUSAL,
        positions: Tensor | None = None,
        step: Step | None = None,
    ) -> Tensor:
        """What the stack makes of embedded tokens: [batch, tokens, width]."""
        reached = x.shape[1] if step is None else step.seen
        if reached > self.spec.longest:
            raise ValueError(f"{reached} tokens are more than the {self.spec.longest} positions of this model")
        if step is not None:
            where = step.positions if positions is None else positions
            return self.stack(x, step.reach, positions=where, caches=step.caches)
        if positions is None:
            positions = torch.arange(x.shape[1], device=x.device)[None]  # [1, tokens]
        return self.stack(x, reach, positions=positions)

    def scores(self, x: Tensor) -> Tensor:
        """The head: [..., width] → [..., vocabulary]."""
        return F.linear(x, self.embed.weight) if self.head is None else self.head(x)

    def cache(self, *, slots: int = 1, capacity: int | None = None) -> Cache:
        """An empty cache that fits this model, on its device and in its type."""
        return Cache.of(self.spec.stack, slots, capacity or self.spec.longest, self.embed.weight)
