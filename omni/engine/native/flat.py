"""The shared stack for a few tokens of many slots at a time, on a CPU: what `Live` does, with less around it.

A decoding step of a small model is mostly the way to its products: through the modules a step of six layers of width
256 takes 6.4 ms on a free core, of which 2.2 ms are products. What is different here:

- The tokens of all rows lie one after another, unpadded, whatever mixture of prompts and single tokens they are.
- Weights are laid out for the number of rows (`product.py`).
- The factors of the norms are folded into the products behind them, and the pairs that the rotation turns are
  neighbours, so that a norm is three operations and the rotation of queries and keys one complex product, in place.
- Keys and values are read in place, each row about as far as it goes (`rows.py`). What limits 16 sessions is the
  memory: 12 kB a token at this size with as many key-value heads as heads.
"""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omni.engine.native.product import Product, filled_up
from omni.engine.native.rows import Row, Write, reads_of
from omni.model.block import Block, Mixer
from omni.model.mlp import Mlp
from omni.model.omni import Omni


class Layer:
    """One block's weights."""

    def __init__(self, block: Block, heads: int, kv_heads: int, head_width: int) -> None:
        attention = cast(Mixer, block.attention.inner).attention
        mlp = cast(Mlp, block.mlp.inner)
        width = attention.qkv.weight.shape[1]
        (eps, factor), (eps_mlp, factor_mlp) = (folded(cast(nn.RMSNorm, b.norm)) for b in (block.attention, block.mlp))
        self.eps = eps, eps_mlp
        qkv = attention.qkv.weight.detach() * factor
        turned = (heads + kv_heads) * head_width
        pairs = qkv[:turned].view(-1, 2, head_width // 2, width).transpose(1, 2).reshape(turned, width)
        self.qkv = Product(torch.cat([pairs, qkv[turned:]]))
        self.out = Product(attention.out.weight.detach())
        self.up = Product(mlp.up.weight.detach() * factor_mlp)
        self.down = Product(mlp.down.weight.detach())
        self.halves = (mlp.down.weight.shape[1],) * 2  # gates, and what they let through


class Flat:
    """The stack of a model over the slots of a cache of its own."""

    def __init__(self, model: Omni, *, slots: int, capacity: int) -> None:
        spec = model.spec.stack
        self.width = width = spec.block.width
        self.heads, self.kv_heads, self.head_width = spec.block.attention.sizes(width)
        self.turned = (self.heads + self.kv_heads) * self.head_width
        self.layers = [
            Layer(cast(Block, block), self.heads, self.kv_heads, self.head_width) for block in model.stack.blocks
        ]
        norm = cast(nn.RMSNorm, model.stack.norm)
        self.eps, self.factor = folded(norm)
        self.cache = model.cache(slots=slots, capacity=capacity)
        dtype = model.embed.weight.dtype
        assert model.stack.rotary is not None
        with torch.inference_mode(False):
            cos, sin = model.stack.rotary(torch.arange(capacity)[None], dtype)  # [1, 1, capacity, head_width]
        half = self.head_width // 2
        self.turns = torch.complex(cos[0, 0, :, :half], sin[0, 0, :, half:])[:, None]  # [capacity, 1, head_width / 2]

    def step(self, x: Tensor, rows: Sequence[Row]) -> Tensor:
        """Read the next tokens of some slots: x [tokens, width], row after row → hidden states, the same shape."""
        for row in rows:
            self.cache.take(row.slot, row.start, row.count)
        heads, kv_heads, head_width = self.heads, self.kv_heads, self.head_width
        tokens = x.shape[0]
        n = filled_up(tokens)
        spans = [self.turns[row.start : row.start + row.count] for row in rows]
        turns = spans[0] if len(rows) == 1 else torch.cat(spans)  # [tokens, 1, head_width / 2]
        x = F.pad(x, (0, 0, 0, n - tokens)) if n > tokens else x.clone()  # the residual stream, added to in place
        fill = [x.new_zeros(n - tokens, heads * head_width)] if n > tokens else []
        reads = reads_of(self.cache, rows, heads // kv_heads)
        counts = [read.tokens for read in reads]
        write = Write(self.cache, rows)
        for number, layer in enumerate(self.layers):
            qkv = layer.qkv(normed(x, layer.eps[0]))[:tokens]  # [tokens, (heads + 2·kv_heads)·head_width]
            pairs = qkv[:, : self.turned].view(tokens, heads + kv_heads, head_width // 2, 2)
            torch.view_as_complex(pairs).mul_(turns)
            q, kv = qkv.split_with_sizes((heads * head_width, 2 * kv_heads * head_width), 1)
            write(number, kv.view(tokens, 2, kv_heads, head_width))
            q = q.view(tokens, heads, head_width)
            if len(reads) == 1 and not fill:
                mixed = reads[0](number, q)
            else:
                parts = [read(number, part) for read, part in zip(reads, q.split(counts), strict=True)]
                mixed = torch.cat(parts + fill)
            layer.out.add(x, mixed)
            gate, up = layer.up(normed(x, layer.eps[1])).split_with_sizes(layer.halves, 1)
            layer.down.add(x, F.silu(gate).mul_(up))
        return normed(x[:tokens], self.eps) * self.factor


def folded(norm: nn.RMSNorm) -> tuple[Tensor, Tensor]:
    """What an RMS norm is made of here: x / hypot(‖x‖, √(width·eps)) · √width · weight; and the last two in one."""
    width, weight = norm.weight.shape[0], norm.weight.detach()
    return torch.tensor((width * (norm.eps or 0.0)) ** 0.5, dtype=weight.dtype), weight * width**0.5


def normed(x: Tensor, eps: Tensor) -> Tensor:
    """x [tokens, width] by its length; the rest of the RMS norm is in the weights behind it."""
    return x / torch.linalg.vector_norm(x, dim=1, keepdim=True).hypot_(eps)
