"""The shared stack over many slots on a CPU: a few tokens in one compiled call (`omni.model.kernels`), many by torch.

- The tokens of all rows lie one after another, unpadded, whatever mixture of prompts and single tokens they are.
- The factors of the norms are folded into the products behind them, and the pairs that the rotation turns are
  neighbours, so that a norm is three operations and the rotation of queries and keys one complex product, in place.
- Keys and values are read in place, each row as far as it goes. What limits 16 sessions is the memory: 12 kB a token at
  this size with as many key-value heads as heads.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omni.engine.native.rows import Piece, Row
from omni.model.block import Block, Mixer
from omni.model.kernels import Array, walk
from omni.model.mlp import Mlp
from omni.model.omni import Omni

FEW = 24  # tokens up to which the compiled loops are faster than torch
SHARED = 4  # rows from which on threads share them


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
        spec = model.spec.stack.block
        heads, kv_heads, head_width = spec.attention.sizes(spec.width)
        turned = (heads + kv_heads) * head_width
        found: list[list[Tensor]] = [[], [], [], [], []]
        for block in cast(list[Block], list(model.stack.blocks)):
            attention = cast(Mixer, block.attention.inner).attention
            mlp = cast(Mlp, block.mlp.inner)
            (eps, factor), (eps_mlp, factor_mlp) = (
                folded(cast(nn.RMSNorm, branch.norm)) for branch in (block.attention, block.mlp)
            )
            qkv = attention.qkv.weight.detach() * factor
            pairs = qkv[:turned].view(-1, 2, head_width // 2, spec.width).transpose(1, 2).reshape(turned, spec.width)
            layer = [torch.cat([pairs, qkv[turned:]]), attention.out.weight.detach()]
            layer += [mlp.up.weight.detach() * factor_mlp, mlp.down.weight.detach(), torch.stack([eps, eps_mlp])]
            for tensors, tensor in zip(found, layer, strict=True):
                tensors.append(tensor)
        return cls(*(torch.stack(tensors) for tensors in found))


class Flat:
    """The stack of a model over the slots of a cache of its own."""

    def __init__(self, model: Omni, *, slots: int, capacity: int) -> None:
        spec = model.spec.stack
        self.width = spec.block.width
        self.heads, self.kv_heads, self.head_width = spec.block.attention.sizes(self.width)
        self.turned = (self.heads + self.kv_heads) * self.head_width
        with torch.inference_mode(False):
            self.weights = Weights.of(model)
            assert model.stack.rotary is not None
            dtype = model.embed.weight.dtype
            cos, sin = model.stack.rotary(torch.arange(capacity)[None], dtype)  # [1, 1, capacity, head_width]
            half = self.head_width // 2
            self.turns = torch.complex(cos[0, 0, :, :half], sin[0, 0, :, half:])[:, None]  # [capacity, 1, head_width/2]
            self.eps, self.factor = folded(cast(nn.RMSNorm, model.stack.norm))
        self.cache = model.cache(slots=slots, capacity=capacity)
        self.threads = 1  # that a step of single tokens is shared by
        self._others: ThreadPoolExecutor | None = None
        self._compiled = dtype == torch.float32  # numbers of 64 bits are for tests
        w = self.weights
        kept = self.cache.both, torch.view_as_real(self.turns[:, 0]), w.qkv, w.out, w.up, w.down, w.eps
        self._arrays = [tensor.numpy() for tensor in kept]

    def step(self, x: Tensor, rows: Sequence[Row]) -> Tensor:
        """Read the next tokens of some slots: x [tokens, width], row after row → hidden states, the same shape."""
        for row in rows:
            self.cache.take(row.slot, row.start, row.count)
        x = x.clone()  # the residual stream, added to in place
        if len(x) > FEW or not self._compiled:
            self._many(x, rows)
        elif self.threads > 1 and len(rows) >= SHARED:
            self._shared(x.numpy(), rows)
        else:
            self._few(x.numpy(), rows)
        return normed(x, self.eps) * self.factor

    def _few(self, x: Array, rows: Sequence[Row]) -> None:
        """The compiled stack, over x in place."""
        tokens = len(x)
        starts = [row.start for row in rows]
        slots = np.array([row.slot for row in rows])
        places = np.array(starts)
        if tokens > len(rows):
            counts = [row.count for row in rows]
            slots = np.repeat(slots, counts)
            places = np.concatenate([np.arange(row.start, row.start + row.count) for row in rows])
        seen = places + 1
        at = 0
        for row in rows:
            for first, after in row.pictures:
                seen[at + first : at + after] = row.start + after
            at += row.count
        heads, kv_heads, head_width, hidden = self.heads, self.kv_heads, self.head_width, self.weights.down.shape[2]
        shared, longest = heads // kv_heads, int(seen.max())
        qkv = np.empty((tokens, heads + 2 * kv_heads, head_width), np.float32)
        mixed = np.empty((tokens, kv_heads, shared, head_width), np.float32)
        walk(
            x, np.empty_like(x), qkv.reshape(tokens, -1), qkv, mixed.reshape(tokens, -1), mixed,
            np.empty((tokens, 2 * hidden), np.float32), np.empty((tokens, hidden), np.float32),
            np.empty((shared, longest), np.float32), np.empty(max(longest, hidden), np.int32),
            slots, places, seen, *self._arrays,
        )  # fmt: skip

    def _shared(self, x: Array, rows: Sequence[Row]) -> None:
        """The same, with the rows shared among threads: each reads all weights, and nobody waits between layers."""
        if self._others is None:
            self._others = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="stack")
        size = -(-len(rows) // self.threads)
        mine, *others = (rows[at : at + size] for at in range(0, len(rows), size))
        first, done = sum(row.count for row in mine), []
        own = x[:first]
        for share in others:
            after = first + sum(row.count for row in share)
            done.append(self._others.submit(self._few, x[first:after], share))
            first = after
        self._few(own, mine)
        for future in done:
            future.result()

    def _many(self, x: Tensor, rows: Sequence[Row]) -> None:
        """The stack by calls of torch, over x in place."""
        heads, kv_heads, head_width = self.heads, self.kv_heads, self.head_width
        weights, tokens = self.weights, len(x)
        turns = torch.cat([self.turns[row.start : row.start + row.count] for row in rows])  # [tokens, 1, head_width/2]
        pieces = [Piece(self.cache, row, heads > kv_heads) for row in rows]
        counts = [row.count for row in rows]
        for layer in range(len(weights.qkv)):
            qkv = F.linear(normed(x, weights.eps[layer, 0]), weights.qkv[layer])
            pairs = qkv[:, : self.turned].view(tokens, heads + kv_heads, head_width // 2, 2)
            torch.view_as_complex(pairs).mul_(turns)
            q, new = qkv.split((heads * head_width, 2 * kv_heads * head_width), 1)
            queries, both = q.view(tokens, heads, -1).split(counts), new.view(tokens, 2, kv_heads, -1).split(counts)
            mixed = torch.cat([piece(layer, a, b) for piece, a, b in zip(pieces, queries, both, strict=True)])
            x.addmm_(mixed, weights.out[layer].T)
            gate, up = F.linear(normed(x, weights.eps[layer, 1]), weights.up[layer]).chunk(2, 1)
            x.addmm_(F.silu(gate).mul_(up), weights.down[layer].T)


def folded(norm: nn.RMSNorm) -> tuple[Tensor, Tensor]:
    """What an RMS norm is made of here: x / hypot(‖x‖, √(width·eps)) · √width · weight; and the last two in one."""
    width, weight = norm.weight.shape[0], norm.weight.detach()
    return torch.tensor((width * (norm.eps or 0.0)) ** 0.5, dtype=weight.dtype), weight * width**0.5


def normed(x: Tensor, eps: Tensor) -> Tensor:
    """x [tokens, width] by its length; the rest of the RMS norm is in the weights behind it."""
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True).hypot_(eps)
