"""WavLM's gated relative position bias: a table by distance, and a gate that each layer takes from its own input."""

from math import log

import torch
from torch import Tensor, nn


def buckets(distance: Tensor, count: int, longest: int) -> Tensor:
    """Which of `count` buckets a distance falls in: half of them for each sign, near ones exact, far ones by logarithm.

    >>> buckets(torch.tensor([-300, -2, 0, 2, 300]), count=32, longest=128)
    tensor([15,  2,  0, 18, 31])
    """
    half = count // 2
    exact = half // 2
    far = distance.abs()
    # log 0 is never chosen
    by_log = exact + (torch.log(far.float() / exact) / log(longest / exact) * (half - exact)).long()
    return (distance > 0) * half + torch.where(far < exact, far, by_log.clamp(max=half - 1))


class RelativeTable(nn.Module):
    """A number for each head and each distance between two positions; one table serves all layers."""

    def __init__(self, heads: int, count: int = 320, longest: int = 800) -> None:
        super().__init__()
        self.count, self.longest = count, longest
        self.values = nn.Embedding(count, heads)

    def forward(self, tokens: int) -> Tensor:
        """The bias of every query and key, [heads, tokens, tokens], out of 2·tokens − 1 look-ups."""
        distance = torch.arange(1 - tokens, tokens, device=self.values.weight.device)
        by_distance = self.values(buckets(distance, self.count, self.longest)).T  # [heads, 2·tokens − 1]
        # Query q sees key k at distance k − q: its row is the window that begins tokens − 1 − q places in.
        return by_distance.unfold(1, tokens, 1).flip(1)


class GatedBias(nn.Module):
    """One layer's use of the table: each query scales it by a gate of its own."""

    def __init__(self, table: RelativeTable, heads: int, head_width: int) -> None:
        super().__init__()
        self.shared = (table,)  # in a tuple, so that it is not one more weight of every layer
        self.heads = heads
        self.gate = nn.Linear(head_width, 8)
        self.scale = nn.Parameter(torch.ones(1, heads, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """What attention sees, [batch, tokens, width] → bias [batch, heads, tokens, tokens]."""
        by_head = x.unflatten(-1, (self.heads, -1)).transpose(1, 2)  # [batch, heads, tokens, head_width]
        first, second = self.gate(by_head).unflatten(-1, (2, 4)).sum(-1).sigmoid().split(1, dim=-1)
        gate = first * (second * self.scale - 1.0) + 2.0  # [batch, heads, tokens, 1]
        return gate * self.shared[0](x.shape[1])
