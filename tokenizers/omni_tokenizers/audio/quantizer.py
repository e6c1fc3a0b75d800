"""wav2vec 2.0's quantizer: a choice out of each of two code books, learned through Gumbel noise.

The names of the weights are the published ones (`codevectors`, `weight_proj`).
"""

from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional


@dataclass(frozen=True, eq=False)
class Quantized:
    """What the quantizer made of the features."""

    vectors: torch.Tensor  # [batch, frames, size]
    codes: torch.Tensor  # [batch, frames, groups], which entry of each book
    perplexity: torch.Tensor  # (), how many entries are in use: from groups to groups·entries


class GumbelQuantizer(nn.Module):
    """Features [batch, frames, width] to vectors of `groups` learned entries each.

    In training an entry is drawn (Gumbel-softmax, hard, gradients straight through); otherwise it is the likeliest.

    >>> quantizer = GumbelQuantizer(width=8, groups=2, entries=4, size=6).eval()
    >>> quantizer(torch.zeros(1, 5, 8)).codes.shape
    torch.Size([1, 5, 2])
    """

    def __init__(self, width: int = 512, *, groups: int = 2, entries: int = 320, size: int = 256) -> None:
        super().__init__()
        if min(width, groups, entries, size) < 1:
            raise ValueError(f"width {width}, groups {groups}, entries {entries}, size {size}: all must be at least 1")
        if size % groups:
            raise ValueError(f"size is {size}, which {groups} groups cannot share evenly: take a multiple of {groups}")
        self.groups, self.entries = groups, entries
        self.temperature = 2.0
        self.weight_proj = nn.Linear(width, groups * entries)
        self.codevectors = nn.Parameter(torch.rand(1, groups * entries, size // groups))
        nn.init.normal_(self.weight_proj.weight)
        nn.init.zeros_(self.weight_proj.bias)

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor | None = None, generator: torch.Generator | None = None
    ) -> Quantized:
        """Quantize; `mask` [batch, frames] says which frames the perplexity counts, `generator` draws the noise."""
        if features.ndim != 3 or features.shape[2] != self.weight_proj.in_features:
            width = self.weight_proj.in_features
            raise ValueError(f"features have shape {tuple(features.shape)}; (batch, frames, {width}) is needed")
        if mask is not None and (mask.shape != features.shape[:2] or mask.dtype != torch.bool):
            raise ValueError(
                f"mask is {mask.dtype} {tuple(mask.shape)}; "
                f"bool {tuple(features.shape[:2])}, one for each frame, is needed"
            )
        batch, frames, _ = features.shape
        scores = self.weight_proj(features).view(batch, frames, self.groups, self.entries)
        books = self.codevectors.view(self.groups, self.entries, -1)
        if self.training:
            chosen = self._draw(scores.float(), generator).type_as(scores)  # one-hot
            codes = chosen.argmax(-1)
            vectors = torch.einsum("btge,ged->btgd", chosen, books)
            shares = scores.float().softmax(-1)
        else:
            codes = scores.argmax(-1)
            vectors = books[torch.arange(self.groups, device=codes.device), codes]  # [batch, frames, groups, d]
            shares = functional.one_hot(codes, self.entries).to(scores.dtype)
        return Quantized(vectors.flatten(2), codes, perplexity(shares, mask))

    def _draw(self, scores: torch.Tensor, generator: torch.Generator | None) -> torch.Tensor:
        """functional.gumbel_softmax(hard=True), with noise from a generator of one's own."""
        noise = -torch.empty_like(scores).exponential_(generator=generator).log()
        soft = ((scores + noise) / self.temperature).softmax(-1)
        hard = functional.one_hot(soft.argmax(-1), self.entries).to(soft.dtype)
        return hard - soft.detach() + soft

    def cool(self, step: int, *, start: float = 2.0, end: float = 0.5, decay: float = 0.999995) -> float:
        """Set and return the temperature of a training step: start · decay^step, not below end."""
        self.temperature = max(start * decay**step, end)
        return self.temperature


def perplexity(shares: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    """e to the entropy of the mean choice, added up over the groups; shares are [batch, frames, groups, entries]."""
    if mask is None:
        mean = shares.mean((0, 1))  # [groups, entries]
    else:
        mean = (shares * mask[..., None, None]).sum((0, 1)) / mask.sum().clamp(min=1)
    return torch.exp(-torch.xlogy(mean, mean).sum(-1)).sum()
