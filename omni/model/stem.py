"""The causal stem: log-Mel frames in, tokens at 12.5 or 25 a second out, in one piece or as they come."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

State = list[Tensor]  # of each convolution, the last inputs that its next output still needs: [channels, tail]


@dataclass(frozen=True)
class Stem:
    """Convolutions that see no frame of a later token; strides of 1, 2, 2 make 100 frames a second 25 tokens."""

    bins: int = 80
    strides: tuple[int, ...] = (1, 2, 2)
    hidden: int = 256

    @property
    def frames(self) -> int:
        """Frames in one token."""
        return math.prod(self.strides)

    def build(self, width: int) -> "CausalStem":
        """The module for tokens of this width."""
        return CausalStem(self, width)


class CausalStem(nn.Module):
    """Convolutions with GELU, then a linear layer to the shared width.

    The first inputs are preceded by zeros. A convolution of stride s looks back over max(3, 2·s) inputs.
    """

    def __init__(self, spec: Stem, width: int) -> None:
        super().__init__()
        self.spec = spec
        channels = [spec.bins] + [spec.hidden] * len(spec.strides)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(a, b, kernel_size=max(3, 2 * stride), stride=stride)
            for a, b, stride in zip(channels, channels[1:], spec.strides, strict=False)
        )
        self.out = nn.Linear(spec.hidden, width)

    def start(self) -> State:
        """The state before the first frame."""
        weight = self.out.weight
        return [
            torch.zeros(c.in_channels, c.kernel_size[0] - c.stride[0], dtype=weight.dtype, device=weight.device)
            for c in self.convolutions
            if isinstance(c, nn.Conv1d)
        ]

    def forward(self, pieces: list[Tensor], states: list[State] | None = None) -> tuple[list[Tensor], list[State]]:
        """Pieces of several sounds, each [tokens, frames a token, bins] → their tokens [tokens, width], new states.

        `states` are what the pieces before these left; None where every sound begins here.
        """
        states = states or [self.start() for _ in pieces]
        lengths = [piece.shape[0] * piece.shape[1] for piece in pieces]  # frames
        if not any(lengths):
            return [piece.new_zeros(0, self.out.out_features) for piece in pieces], states
        x = nn.utils.rnn.pad_sequence([piece.flatten(0, 1) for piece in pieces], batch_first=True).transpose(1, 2)
        after: list[State] = [[] for _ in pieces]
        for number, convolution in enumerate(self.convolutions):
            assert isinstance(convolution, nn.Conv1d)
            tails = torch.stack([state[number] for state in states])
            x = torch.cat([tails, x], dim=2)  # [sounds, channels, tail + inputs]
            tail = tails.shape[2]
            for sound, length in enumerate(lengths):
                # A copy: a view would keep the whole piece alive for as long as the conversation lasts.
                after[sound].append(x[sound, :, length : length + tail].clone())
            x = F.gelu(convolution(x))  # [sounds, channels, inputs / stride]
            lengths = [length // convolution.stride[0] for length in lengths]
        tokens = self.out(x.transpose(1, 2))  # [sounds, tokens, width]
        return [tokens[i, :length] for i, length in enumerate(lengths)], after
