"""The next tokens of some slots, and how those of one slot meet the keys and values that it holds."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from omni.model.cache import Cache


@dataclass(frozen=True, slots=True)
class Row:
    """The next tokens of one slot."""

    slot: int
    start: int  # tokens that the slot holds already
    count: int
    pictures: tuple[tuple[int, int], ...] = ()  # first token of each and the one after its last, from the row's start


class Piece:
    """A row before the layers of its slot."""

    def __init__(self, cache: Cache, row: Row, grouped: bool) -> None:
        both = cache.both[:, :, row.slot, :, : row.start + row.count]  # [layers, 2, kv_heads, seen, head_width]
        self.new = both[:, :, :, row.start :].transpose(2, 3).unbind()  # [2, new, kv_heads, head_width] a layer
        self.keys, self.values = both[:, 0, None].unbind(), both[:, 1, None].unbind()
        self.mask = mask_of(row, both.dtype, both.device)
        self.grouped = grouped  # several query heads share one of keys and values

    def __call__(self, layer: int, q: Tensor, new: Tensor) -> Tensor:
        """Keep keys and values [new, 2, kv_heads, head_width]; what q [new, heads, head_width] takes: [new, width]."""
        self.new[layer].copy_(new.transpose(0, 1))
        mixed = F.scaled_dot_product_attention(
            q.transpose(0, 1)[None], self.keys[layer], self.values[layer], self.mask,
            is_causal=self.mask is None, enable_gqa=self.grouped,
        )  # fmt: skip
        return mixed[0].transpose(0, 1).flatten(1)


def mask_of(row: Row, dtype: torch.dtype, device: torch.device) -> Tensor | None:
    """What each new token sees, as scores to add: [1, 1, new, seen]. None where plain causal attention says it all."""
    if row.start == 0 and not row.pictures:
        return None
    allowed = torch.ones(row.count, row.start + row.count, dtype=torch.bool, device=device).tril(row.start)
    for first, after in row.pictures:
        allowed[first:after, row.start + first : row.start + after] = True
    return torch.zeros(allowed.shape, dtype=dtype, device=device).masked_fill_(~allowed, float("-inf"))[None, None]
