"""Finite scalar quantization: every channel is rounded to a few levels, and a group of channels is one code.

There is no code book to learn and none that can collapse; the gradient goes straight through the rounding.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Fsq:
    """`books` codes a frame, each of `channels` numbers with `levels` levels.

    >>> fsq = Fsq(books=1)
    >>> fsq.codes(torch.tensor([[-9.0, 9.0]])), fsq.values(torch.tensor([[56]]))
    (tensor([[56]]), tensor([[-1.,  1.]]))
    """

    books: int
    channels: int = 2
    levels: int = 8

    @property
    def width(self) -> int:
        """Channels of a frame."""
        return self.books * self.channels

    @property
    def size(self) -> int:
        """Entries of one book."""
        return int(self.levels**self.channels)

    def bound(self, z: Tensor) -> Tensor:
        """Any real numbers → 0 … levels − 1, before rounding."""
        return (torch.tanh(z) + 1) * 0.5 * (self.levels - 1)

    def quantize(self, z: Tensor) -> Tensor:
        """[..., width] → the rounded values in −1 … 1, with the gradient of the unrounded ones."""
        bounded = self.bound(z)
        rounded = bounded + (bounded.round() - bounded).detach()
        return rounded * (2 / (self.levels - 1)) - 1

    def codes(self, z: Tensor) -> Tensor:
        """[..., width] → codes [..., books]."""
        digits = self.bound(z).round().long().unflatten(-1, (self.books, self.channels))
        return (digits * self._places(z)).sum(-1)

    def values(self, codes: Tensor) -> Tensor:
        """Codes [..., books] → what `quantize` gave, [..., width]."""
        digits = codes[..., None] // self._places(codes) % self.levels
        return digits.flatten(-2).float() * (2 / (self.levels - 1)) - 1

    def _places(self, like: Tensor) -> Tensor:
        return torch.tensor([self.levels**channel for channel in range(self.channels)], device=like.device)
