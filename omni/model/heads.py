"""Heads for acoustic codes: all books of a frame at once, or one after another through a small stack."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.reach import CAUSAL
from omni.model.stack import Stack, StackSpec

Pick = Callable[[int, Tensor], Tensor]  # (book, scores [rows, entries]) → codes [rows]


@dataclass(frozen=True)
class CodeHead:
    """How a frame's codes are said: `parallel` books do not know of each other, `depth` ones follow those before."""

    sizes: tuple[int, ...]  # entries of each book
    how: Literal["parallel", "depth"] = "parallel"
    width: int = 128  # of the small stack
    depth: int = 2
    heads: int = 4

    def build(self, width: int) -> "ParallelBooks | DepthBooks":
        """The module for hidden states of this width."""
        if self.how == "parallel":
            return ParallelBooks(self.sizes, width)
        if self.how == "depth":
            return DepthBooks(self, width)
        raise ValueError(f"a code head is parallel or depth, not {self.how!r}")


class ParallelBooks(nn.Module):
    """One linear layer for all books."""

    def __init__(self, sizes: Sequence[int], width: int) -> None:
        super().__init__()
        self.sizes = tuple(sizes)
        self.out = nn.Linear(width, sum(sizes), bias=False)

    def forward(self, x: Tensor, codes: Tensor | None = None) -> list[Tensor]:  # noqa: ARG002  # the same call for both
        """Hidden states [..., width] → the scores of each book [..., entries]."""
        return list(self.out(x).split(self.sizes, dim=-1))

    def say(self, x: Tensor, pick: Pick) -> Tensor:
        """The codes of one frame a row: x [rows, width] → [rows, books]."""
        return torch.stack([pick(book, scores) for book, scores in enumerate(self(x))], dim=-1)


class DepthBooks(nn.Module):
    """A small causal stack along the books: each book's scores know the codes of the books before it."""

    def __init__(self, spec: CodeHead, width: int) -> None:
        super().__init__()
        self.sizes = spec.sizes
        norm = Norm("rms")
        mlp = MlpSpec(4 * spec.width, "silu", gated=True, bias=False)
        block = BlockSpec(spec.width, AttentionSpec(spec.heads, bias=False, out_bias=False), mlp, norm)
        self.into = nn.Linear(width, spec.width, bias=False)
        self.before = nn.ModuleList(nn.Embedding(size, spec.width) for size in spec.sizes[:-1])
        self.place = nn.Parameter(torch.randn(len(spec.sizes), spec.width) * 0.02)
        self.stack = Stack(StackSpec(block, spec.depth, final_norm=norm))
        self.out = nn.ModuleList(nn.Linear(spec.width, size, bias=False) for size in spec.sizes)

    def forward(self, x: Tensor, codes: Tensor | None = None) -> list[Tensor]:
        """Hidden states [..., width] and the true codes [..., books] → the scores of each book [..., entries]."""
        if codes is None or codes.shape[:-1] != x.shape[:-1]:
            raise ValueError(
                "a depth head scores a book by the codes before it: pass codes [..., books], one row a state"
            )
        inputs = [self.into(x), *(table(codes[..., book]) for book, table in enumerate(self.before))]
        y = torch.stack(inputs, dim=-2).flatten(0, -3)  # [states, books, width]
        y = self.stack(y + self.place, CAUSAL).unflatten(0, x.shape[:-1])  # [..., books, width]
        return [head(y[..., book, :]) for book, head in enumerate(self.out)]

    def say(self, x: Tensor, pick: Pick) -> Tensor:
        """The codes of one frame a row, book after book: x [rows, width] → [rows, books]."""
        inputs = [self.into(x)]
        codes: list[Tensor] = []
        for book, head in enumerate(self.out):
            y = self.stack(torch.stack(inputs, dim=1) + self.place[: book + 1], CAUSAL)  # [rows, book + 1, width]
            codes.append(pick(book, head(y[:, -1])))
            if book < len(self.before):
                inputs.append(self.before[book](codes[-1]))
        return torch.stack(codes, dim=-1)
