"""The two normalisations: LayerNorm and RMSNorm."""

from dataclasses import dataclass
from typing import Literal

from torch import nn


@dataclass(frozen=True)
class Norm:
    """Which normalisation, and its epsilon; `build(width)` makes the module.

    >>> Norm("rms", eps=1e-5).build(8)
    RMSNorm((8,), eps=1e-05, elementwise_affine=True)
    """

    kind: Literal["layer", "rms"] = "layer"
    eps: float = 1e-6

    def build(self, width: int) -> nn.Module:
        """Make the module for vectors of this width."""
        if self.kind == "layer":
            return nn.LayerNorm(width, eps=self.eps)
        if self.kind == "rms":
            return nn.RMSNorm(width, eps=self.eps)
        raise ValueError(f"norm is {self.kind!r}: it is 'layer' or 'rms'")
