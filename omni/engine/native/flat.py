"""The shared stack over many slots on a CPU: a few tokens in one compiled call, many by torch.

The tokens of all rows lie one after another, unpadded, whatever mixture of prompts and single tokens they are.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from omni.engine.native.rows import Piece, Row
from omni.model.kernels import FEW, Array
from omni.model.omni import Omni
from omni.model.walker import Walker, normed

SHARED = 8  # rows from which on threads share them


class Flat:
    """The stack of a model over the slots of a cache of its own."""

    def __init__(self, model: Omni, *, slots: int, capacity: int) -> None:
        self.width = model.spec.width
        self.walker = Walker(model, capacity)
        self.cache = model.cache(slots=slots, capacity=capacity)
        self.threads = 1  # that share a compiled step
        self._others: ThreadPoolExecutor | None = None
        self._compiled = Walker.can(model)

    def compiles(self, tokens: int) -> bool:
        """Whether a step of so many is one call of compiled loops."""
        return self._compiled and tokens <= FEW

    def step(self, x: Tensor, rows: Sequence[Row]) -> Tensor:
        """Read the next tokens of some slots: x [tokens, width], row after row → hidden states, the same shape."""
        for row in rows:
            self.cache.take(row.slot, row.start, row.count)
        x = x.clone()  # the residual stream, added to in place
        if self.compiles(x.shape[0]):
            self._few(x.numpy(), rows)
        else:
            self._many(x, rows)
        return self.walker.end(x)

    def _few(self, x: Array, rows: Sequence[Row]) -> None:
        """The compiled stack, over x in place; of many rows each thread reads some: nobody waits between layers."""
        slots, places = np.array([row.slot for row in rows]), np.array([row.start for row in rows])
        ends = [0, *accumulate(row.count for row in rows)]
        if len(x) > len(rows):
            slots = np.repeat(slots, [row.count for row in rows])
            places = np.concatenate([np.arange(row.start, row.start + row.count) for row in rows])
        seen = places + 1
        for at, row in zip(ends, rows, strict=False):
            for first, after in row.pictures:
                seen[at + first : at + after] = row.start + after

        def walk(first: int, after: int) -> None:
            part = slice(ends[first], ends[after])
            self.walker.walk(x[part], self.cache, slots[part], places[part], seen[part])

        share = -(-len(rows) // self.threads) if len(rows) >= SHARED else len(rows)
        others = [self._helpers().submit(walk, at, min(at + share, len(rows))) for at in range(share, len(rows), share)]
        walk(0, share)
        for other in others:
            other.result()

    def _helpers(self) -> ThreadPoolExecutor:
        if self._others is None:
            self._others = ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="stack")
        return self._others

    def _many(self, x: Tensor, rows: Sequence[Row]) -> None:
        """The stack by calls of torch, over x in place."""
        walker, weights, tokens = self.walker, self.walker.weights, len(x)
        heads, kv_heads, head_width = walker.heads, walker.kv_heads, walker.head_width
        turned = (heads + kv_heads) * head_width
        turns = torch.cat([walker.turns[row.start : row.start + row.count] for row in rows])[:, None]
        cos, sin = turns.unbind(3)  # [tokens, 1, head_width / 2]
        pieces = [Piece(self.cache, row, heads > kv_heads) for row in rows]
        counts = [row.count for row in rows]
        for layer in range(len(weights.qkv)):
            qkv = F.linear(normed(x, weights.eps[layer, 0]), weights.qkv[layer])
            across, up = qkv[:, :turned].view(tokens, heads + kv_heads, 2, head_width // 2).unbind(2)
            first = torch.addcmul(across * cos, up, sin, value=-1)
            up.mul_(cos).addcmul_(across, sin)
            across.copy_(first)
            q, new = qkv.split((heads * head_width, 2 * kv_heads * head_width), 1)
            queries, both = q.view(tokens, heads, -1).split(counts), new.view(tokens, 2, kv_heads, -1).split(counts)
            mixed = torch.cat([piece(layer, a, b) for piece, a, b in zip(pieces, queries, both, strict=True)])
            x.addmm_(mixed, weights.out[layer].T)
            gate, up = F.linear(normed(x, weights.eps[layer, 1]), weights.up[layer]).chunk(2, 1)
            x.addmm_(F.silu(gate).mul_(up), weights.down[layer].T)
