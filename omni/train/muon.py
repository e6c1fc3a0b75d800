"""Muon: momentum whose matrix is made orthogonal before it is taken as a step.

A step then moves every direction of a matrix by the same amount. Scaled to the size of AdamW's steps, so that one
learning rate fits both. torch has a Muon that works in bfloat16, which a CPU without it emulates; this one does not.
"""

from collections.abc import Iterable
from typing import Any, cast

import torch
from torch import Tensor

A, B, C = 3.4445, -4.7750, 2.0315  # of the iteration that pulls all singular values towards one
ROUNDS = 5


def orthogonal(x: Tensor) -> Tensor:
    """Matrices [n, rows, columns] with about the same singular vectors and singular values of about one."""
    tall = x.shape[1] > x.shape[2]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(1, 2), keepdim=True) + 1e-7)
    for _ in range(ROUNDS):
        gram = x @ x.mT
        x = torch.baddbmm(A * x, torch.baddbmm(B * gram, gram, gram, alpha=C), x)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon over matrices; those of one shape are made orthogonal together."""

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.95, weight_decay: float = 0.0) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # noqa: ARG002  # as torch names it
        """One step."""
        for group in self.param_groups:
            alike: dict[torch.Size, list[Tensor]] = {}
            for p in group["params"]:
                if p.grad is not None:
                    alike.setdefault(p.shape, []).append(p)
            for shape, params in alike.items():
                ahead = []
                for p in params:
                    state, gradient = self.state[p], cast(Tensor, p.grad)
                    if not state:
                        state["momentum"] = torch.zeros_like(p)
                    state["momentum"].lerp_(gradient, 1 - group["momentum"])
                    ahead.append(gradient.lerp(state["momentum"], group["momentum"]))
                scale = 0.2 * max(shape) ** 0.5
                for p, way in zip(params, orthogonal(torch.stack(ahead)), strict=True):
                    p.mul_(1 - group["lr"] * group["weight_decay"]).add_(way, alpha=-group["lr"] * scale)
