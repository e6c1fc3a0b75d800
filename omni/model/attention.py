"""Attention: multi-head or grouped-query, over itself or over a memory, on torch's scaled_dot_product_attention."""

from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional as F

from omni.model.norm import Norm
from omni.model.reach import EVERYTHING, Reach
from omni.model.rotary import Turn, turn


@dataclass(frozen=True)
class AttentionSpec:
    """Heads and what their projections carry."""

    heads: int
    kv_heads: int | None = None  # fewer than heads: grouped-query attention
    head_width: int | None = None  # None: width / heads
    bias: bool = True  # on query, key and value
    out_bias: bool = True
    qk_norm: Norm | None = None  # over each head's query and key, before the rotation (Qwen3)

    def sizes(self, width: int) -> tuple[int, int, int]:
        """heads, kv_heads, head_width for a model of this width."""
        kv_heads = self.kv_heads or self.heads
        if self.heads % kv_heads:
            raise ValueError(f"{self.heads} heads cannot share {kv_heads} key-value heads: it has to divide")
        if self.head_width is None and width % self.heads:
            raise ValueError(f"width {width} does not divide into {self.heads} heads: give head_width")
        return self.heads, kv_heads, self.head_width or width // self.heads


# From so many keys on, the kernel on a CPU gains more from keys and values that lie together than the copy costs:
# measured on one core at 400 and 1,500 tokens, 5 % forward and 10 % backward; at 197 tokens a loss of 10 %.
LONG = 384

Remembered = tuple[Tensor, Tensor]  # key and value of a memory, each [batch, kv_heads, keys, head_width]


class KeyValues(Protocol):
    """What a layer's key-value cache does: take the new keys and values, give back all that may be seen."""

    def extend(self, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """[batch, kv_heads, new, head_width] twice → [batch, kv_heads, all, head_width] twice."""
        ...


class Attention(nn.Module):
    """Self-attention, or cross-attention when a memory is given.

    The query, key and value projections are one matrix [query; key; value]: one product for self-attention,
    two views of the same weight for cross-attention.
    """

    def __init__(self, width: int, spec: AttentionSpec) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_width = spec.sizes(width)
        q, kv = self.heads * self.head_width, self.kv_heads * self.head_width
        self.split = (self.heads, self.kv_heads, self.kv_heads)
        self.qkv = nn.Linear(width, q + 2 * kv, bias=spec.bias)
        self.out = nn.Linear(q, width, bias=spec.out_bias)
        self.query_norm = spec.qk_norm.build(self.head_width) if spec.qk_norm else nn.Identity()
        self.key_norm = spec.qk_norm.build(self.head_width) if spec.qk_norm else nn.Identity()

    def project(self, x: Tensor, memory: Tensor | Remembered | None) -> tuple[Tensor, Tensor, Tensor]:
        """Query of x, key and value of x or the memory, each [batch, heads, tokens, head_width]."""
        if memory is None:
            q, k, v = self.by_head(self.qkv(x)).split(self.split, dim=1)
            return q, k, v
        first = self.heads * self.head_width
        bias = self.qkv.bias
        q = F.linear(x, self.qkv.weight[:first], None if bias is None else bias[:first])
        return self.by_head(q), *(memory if isinstance(memory, tuple) else self.remember(memory))

    def remember(self, memory: Tensor) -> Remembered:
        """Key and value of a memory [batch, keys, width]: computed once where many steps look at the same memory."""
        first = self.heads * self.head_width
        bias = self.qkv.bias
        kv = F.linear(memory, self.qkv.weight[first:], None if bias is None else bias[first:])
        k, v = kv.chunk(2, dim=-1)
        return self.by_head(k).contiguous(), self.by_head(v).contiguous()

    def by_head(self, x: Tensor) -> Tensor:
        """[batch, tokens, heads·head_width] → [batch, heads, tokens, head_width]."""
        return x.view(*x.shape[:2], -1, self.head_width).transpose(1, 2)

    def forward(
        self,
        x: Tensor,  # [batch, tokens, width]
        reach: Reach = EVERYTHING,
        rotation: Turn | None = None,
        cache: KeyValues | None = None,
        memory: Tensor | Remembered | None = None,  # [batch, keys, width]
    ) -> Tensor:
        """Mix the tokens: [batch, tokens, width] → the same."""
        q, k, v = self.project(x, memory)
        q, k = self.query_norm(q), self.key_norm(k)
        if rotation is not None:
            q, k = turn(q, rotation), turn(k, rotation)
        if cache is not None:
            k, v = cache.extend(k, v)
        elif k.shape[2] >= LONG and k.device.type == "cpu":
            k, v = k.contiguous(), v.contiguous()
        mask, causal = reach.as_mask(q.shape[2], k.shape[2], q.dtype, q.device)
        return self.out(attend(q, k, v, mask, causal).transpose(1, 2).flatten(2))

    def weights(self, x: Tensor, reach: Reach = EVERYTHING, rotation: Turn | None = None) -> Tensor:
        """The attention map itself, [batch, heads, queries, keys]; for pictures, not for speed."""
        q, k, _ = self.project(x, None)
        q, k = self.query_norm(q), self.key_norm(k)
        if rotation is not None:
            q, k = turn(q, rotation), turn(k, rotation)
        k = k.repeat_interleave(self.heads // self.kv_heads, dim=1)
        scores = q @ k.transpose(-1, -2) * self.head_width**-0.5
        return reach.on(scores).softmax(dim=-1)


def attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool) -> Tensor:
    """Scaled dot-product attention of q [batch, heads, queries, head_width] over fewer or as many key-value heads."""
    shared = q.shape[1] // k.shape[1]
    if shared > 1 and q.shape[2] == 1 and (mask is None or mask.ndim == 2 or mask.shape[1] == 1):
        # A decoding step: heads that share keys are queries of one head. Without it the keys are read once a head:
        # 16 rows of 200 keys take half as long again.
        return F.scaled_dot_product_attention(q.reshape(len(q), -1, shared, q.shape[3]), k, v, mask).view_as(q)
    return F.scaled_dot_product_attention(q, k, v, mask, is_causal=causal, enable_gqa=shared > 1)
