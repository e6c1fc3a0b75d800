"""The position-wise half of a block: two linear layers, or three when a gate multiplies the first."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def quick_gelu(x: Tensor) -> Tensor:
    """The sigmoid approximation of GELU that OpenAI's CLIP was trained with."""
    return x * torch.sigmoid(1.702 * x)


def gelu_tanh(x: Tensor) -> Tensor:
    """The tanh approximation of GELU."""
    return F.gelu(x, approximate="tanh")


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_tanh": gelu_tanh,
    "quick_gelu": quick_gelu,
    "silu": F.silu,
    "relu": F.relu,
}


@dataclass(frozen=True)
class MlpSpec:
    """Width of the hidden layer and what happens in it; `gated` is SwiGLU when the activation is silu."""

    hidden: int
    activation: str = "gelu"
    gated: bool = False
    bias: bool = True


class Mlp(nn.Module):
    """down(act(up(x))), or down(act(gate(x)) · up(x)) when gated."""

    def __init__(self, width: int, spec: MlpSpec) -> None:
        super().__init__()
        if spec.activation not in ACTIVATIONS:
            raise ValueError(f"activation is {spec.activation!r}: choose one of {', '.join(ACTIVATIONS)}")
        self.activation = ACTIVATIONS[spec.activation]
        self.gated = spec.gated
        # Gate and up are one matrix [gate; up]: one product instead of two.
        self.up = nn.Linear(width, spec.hidden * (2 if spec.gated else 1), bias=spec.bias)
        self.down = nn.Linear(spec.hidden, width, bias=spec.bias)

    def forward(self, x: Tensor) -> Tensor:
        """x [..., width] → [..., width]."""
        x = self.up(x)  # [..., hidden] or [..., 2·hidden]
        if self.gated:
            gate, x = x.chunk(2, dim=-1)
            return self.down(self.activation(gate) * x)
        return self.down(self.activation(x))
