"""From many token vectors to one: the class token, the mean, or a learned query that attends to all.

Every pool takes the tokens and, for a padded batch, which of them are real.
"""

import torch
from torch import Tensor, nn

from omni.model.attention import Attention
from omni.model.block import BlockSpec
from omni.model.mlp import Mlp
from omni.model.reach import EVERYTHING, Reach


class ClassToken(nn.Module):
    """The vector of the first token."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # noqa: ARG002  # the first token is real
        """[batch, tokens, width] → [batch, width]."""
        return x[:, 0]


class FirstTokens(nn.Module):
    """The vectors of the first `count` tokens side by side: DeiT's class and distillation tokens."""

    def __init__(self, count: int = 2) -> None:
        super().__init__()
        self.count = count

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:  # noqa: ARG002  # the first tokens are real
        """[batch, tokens, width] → [batch, count, width]."""
        return x[:, : self.count]


class Mean(nn.Module):
    """The mean of the vectors, without the first `skip` (class and register tokens)."""

    def __init__(self, skip: int = 0) -> None:
        super().__init__()
        self.skip = skip

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, tokens, width] → [batch, width]; `mask` [batch, tokens] is True where a token is real."""
        x = x[:, self.skip :]
        if mask is None:
            return x.mean(dim=1)
        real = mask[:, self.skip :, None]  # [batch, tokens, 1]
        return x.masked_fill(~real, 0).sum(dim=1) / real.sum(dim=1)


class ClassAndMean(nn.Module):
    """The class token's vector and the mean of the patches, joined: the features DINOv2 is judged by."""

    def __init__(self, skip: int = 1) -> None:
        super().__init__()
        self.mean = Mean(skip)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, tokens, width] → [batch, 2·width]."""
        return torch.cat([x[:, 0], self.mean(x, mask)], dim=-1)


class AttentionPool(nn.Module):
    """One learned query attends to all tokens, then a residual MLP: SigLIP's head."""

    def __init__(self, spec: BlockSpec, skip: int = 0) -> None:
        """The first `skip` tokens (class and registers) are not looked at."""
        super().__init__()
        self.skip = skip
        self.probe = nn.Parameter(torch.randn(1, 1, spec.width) * 0.02)
        self.attention = Attention(spec.width, spec.attention)
        self.norm = spec.norm.build(spec.width)
        self.mlp = Mlp(spec.width, spec.mlp)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[batch, tokens, width] → [batch, width]; `mask` [batch, tokens] is True where a token is real."""
        reach = EVERYTHING if mask is None else Reach(allowed=mask[:, None, None, self.skip :])
        pooled = self.attention(self.probe.expand(len(x), -1, -1), reach, memory=x[:, self.skip :])
        return (pooled + self.mlp(self.norm(pooled)))[:, 0]
