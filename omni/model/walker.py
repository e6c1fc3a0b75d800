"""The shared stack for a few tokens on a CPU: a compiled call over the slots of a cache (`omni.model.kernels`).

The factors of the norms are folded into the products behind them. Keys and values are read in place, each row as far as
it goes. What limits 16 sessions is the memory: 12 kB a token at a width of 256 with as many key-value heads as heads.
"""

from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from omni.model.block import Block, Mixer
from omni.model.cache import Cache
from omni.model.kernels import Array, Places, walk
from omni.model.mlp import Mlp
from omni.model.omni import Omni


@dataclass
class Weights:
    """Those of all layers, each [layers, out, in], with the norm before them folded in."""

    qkv: Tensor
    out: Tensor
    up: Tensor
    down: Tensor
    eps: Tensor  # [layers, 2], √(width·eps) of the two norms

    @classmethod
    def of(cls, model: Omni) -> "Weights":
        """The weights of a model's stack."""
        found: list[list[Tensor]] = [[], [], [], [], []]
        for block in cast(list[Block], list(model.stack.blocks)):
            attention = cast(Mixer, block.attention.inner).attention
            mlp = cast(Mlp, block.mlp.inner)
            (eps, factor), (eps_mlp, factor_mlp) = (
                folded(cast(nn.RMSNorm, branch.norm)) for branch in (block.attention, block.mlp)
            )
            layer = [attention.qkv.weight.detach() * factor, attention.out.weight.detach()]
            layer += [mlp.up.weight.detach() * factor_mlp, mlp.down.weight.detach(), torch.stack([eps, eps_mlp])]
            for tensors, tensor in zip(found, layer, strict=True):
                tensors.append(tensor)
        return cls(*(torch.stack(tensors) for tensors in found))


class Walker:
    """A model's stack as it is now: what is trained later it does not know."""

    def __init__(self, model: Omni, capacity: int) -> None:
        spec = model.spec.stack
        self.heads, self.kv_heads, self.head_width = spec.block.attention.sizes(spec.block.width)
        assert model.stack.rotary is not None
        dtype = model.embed.weight.dtype
        with torch.inference_mode(False), torch.no_grad():
            self.weights = Weights.of(model)
            cos, sin = model.stack.rotary(torch.arange(capacity)[None], dtype)  # [1, 1, capacity, head_width]
            half = self.head_width // 2
            self.turns = torch.stack([cos[0, 0, :, :half], sin[0, 0, :, half:]], 2)  # [capacity, head_width / 2, 2]
            self.eps, self.factor = folded(cast(nn.RMSNorm, model.stack.norm))
        w = self.weights
        kept = self.turns, w.qkv, w.out, w.up, w.down, w.eps
        self._arrays = [tensor.numpy() for tensor in kept]

    @staticmethod
    def can(model: Omni) -> bool:
        """Whether the loops are made for this model: numbers of 32 bits on a CPU, positions that are counted."""
        weight = model.embed.weight
        return weight.device.type == "cpu" and weight.dtype == torch.float32 and model.spec.sections is None

    def walk(self, x: Array, cache: Cache, slots: Places, places: Places, seen: Places) -> None:
        """Tokens x [tokens, width] through all layers, in place, but for the norm at the end.

        Each is written at its place of its slot, and sees the first `seen` tokens there.
        """
        tokens, shared, hidden = len(x), self.heads // self.kv_heads, self.weights.down.shape[2]
        longest = int(seen.max())
        qkv = np.empty((tokens, self.heads + 2 * self.kv_heads, self.head_width), np.float32)
        mixed = np.empty((tokens, self.kv_heads, shared, self.head_width), np.float32)
        walk(
            x, np.empty_like(x), qkv.reshape(tokens, -1), qkv, mixed.reshape(tokens, -1), mixed,
            np.empty((tokens, 2 * hidden), np.float32), np.empty((tokens, hidden), np.float32),
            np.empty((shared, longest), np.float32), np.empty(max(longest, hidden), np.int32),
            slots, places, seen, cache.both.numpy(), *self._arrays,
        )  # fmt: skip

    def end(self, x: Tensor) -> Tensor:
        """The norm at the end."""
        return normed(x, self.eps) * self.factor


def folded(norm: nn.RMSNorm) -> tuple[Tensor, Tensor]:
    """What an RMS norm is made of here: x / hypot(‖x‖, √(width·eps)) · √width · weight; and the last two in one."""
    width, weight = norm.weight.shape[0], norm.weight.detach()
    return torch.tensor((width * (norm.eps or 0.0)) ** 0.5, dtype=weight.dtype), weight * width**0.5


def normed(x: Tensor, eps: Tensor) -> Tensor:
    """x [tokens, width] by its length; the rest of the RMS norm is in the weights behind it."""
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True).hypot_(eps)
