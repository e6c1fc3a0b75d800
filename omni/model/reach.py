"""Who may look at whom, as data that an attention call reads."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor


@dataclass(frozen=True)
class Reach:
    """What every query may see. The three fields are combined: a key is seen when all of them let it.

    `causal` alone costs no memory: the attention kernel skips the upper triangle.
    """

    causal: bool = False
    allowed: Tensor | None = None  # bool, broadcast to [batch, heads, queries, keys]; True where a query sees a key
    bias: Tensor | None = None  # float, the same shape; added to the scores

    @staticmethod
    def of_lengths(lengths: Tensor, longest: int) -> "Reach":
        """Every query sees the first `lengths[i]` keys of its row: the reach of a padded batch."""
        keys = torch.arange(longest, device=lengths.device)
        return Reach(allowed=(keys < lengths[:, None])[:, None, None, :])  # [batch, 1, 1, keys]

    def with_bias(self, bias: Tensor | None) -> "Reach":
        """The same reach with another bias added."""
        if bias is None:
            return self
        return replace(self, bias=bias if self.bias is None else self.bias + bias)

    def as_mask(self, queries: int, keys: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor | None, bool]:
        """What scaled_dot_product_attention takes: a mask or none, and whether its own causal path may be used."""
        if self.allowed is None and self.bias is None:
            if not self.causal:
                return None, False
            if queries == keys:
                return None, True
        allowed = self.allowed
        if self.causal:
            triangle = torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)
            allowed = triangle if allowed is None else allowed & triangle
        if self.bias is None:
            return allowed, False
        if allowed is None:
            return self.bias.to(dtype), False
        return self.bias.to(dtype).masked_fill(~allowed, float("-inf")), False

    def on(self, scores: Tensor) -> Tensor:
        """The scores [batch, heads, queries, keys] with the bias added and what is out of reach at −∞."""
        queries, keys = scores.shape[-2:]
        mask, causal = self.as_mask(queries, keys, scores.dtype, scores.device)
        if causal:
            mask = torch.ones(queries, keys, dtype=torch.bool, device=scores.device).tril()
        if mask is None:
            return scores
        return scores.masked_fill(~mask, float("-inf")) if mask.dtype == torch.bool else scores + mask


EVERYTHING = Reach()
CAUSAL = Reach(causal=True)
