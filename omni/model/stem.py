"""The causal stem: log-Mel frames in, tokens at 12.5 or 25 a second out, in one piece or as they come."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Of each convolution, the last inputs that its next output still needs: [channels, tail]; in blocks [tail, channels].
State = list[Tensor]
FEW = 4  # outputs of a convolution that are faster as a product; twice as many where it mixes channels


@dataclass(frozen=True)
class Stem:
    """Convolutions that see no frame of a later token; strides of 1, 2, 2 make 100 frames a second 25 tokens."""

    bins: int = 80
    strides: tuple[int, ...] = (1, 2, 2)
    hidden: int = 256
    words: int = 0  # ids of text that it writes down: the vector of what it heard goes to the model with the sound
    blocks: int = 0  # that words are heard with, at the rate of tokens, each over `kernel` of them
    kernel: int = 9
    spread: int = 512  # of the network in a block

    @property
    def frames(self) -> int:
        """Frames in one token."""
        return math.prod(self.strides)

    def build(self, width: int) -> "CausalStem":
        """The module for tokens of this width."""
        return CausalStem(self, width)


def over(convolution: nn.Conv1d, x: Tensor) -> Tensor:
    """The convolution of x [sounds, channels, inputs], which need no filling: [sounds, channels, outputs].

    A few outputs, as they come live, are a product: a CPU's kernels for convolutions lay the weights out anew at every
    call. Measured on one core: 69 µs instead of 179 for one output of 256 channels, 20 instead of 96 by channel.
    """
    kernel, stride = convolution.kernel_size[0], convolution.stride[0]
    outputs = (x.shape[2] - kernel) // stride + 1
    alone = convolution.groups == x.shape[1]  # each channel by itself
    if torch.is_grad_enabled() or outputs > FEW * (1 if alone else 2):
        if not alone:
            return convolution(x)
        # With a second dimension of 1: the kernels of two dimensions are three times as fast.
        return F.conv2d(x[:, :, None], convolution.weight[:, :, None], convolution.bias, groups=x.shape[1])[:, :, 0]
    windows = x.unfold(2, kernel, stride)  # [sounds, channels, outputs, kernel]
    bias = convolution.bias
    assert bias is not None
    if alone:
        return (windows * convolution.weight).sum(-1) + bias[:, None]
    rows = windows.transpose(1, 2).flatten(2)  # [sounds, outputs, channels · kernel]
    return F.linear(rows, convolution.weight.flatten(1), bias).transpose(1, 2)


class StemBlock(nn.Module):
    """A residual branch: each channel over the tokens up to this one, then a small network in every token."""

    def __init__(self, spec: Stem) -> None:
        super().__init__()
        self.norm = nn.RMSNorm(spec.hidden, eps=1e-6)
        self.over = nn.Conv1d(spec.hidden, spec.hidden, spec.kernel, groups=spec.hidden)
        self.into = nn.Linear(spec.hidden, spec.spread)
        self.out = nn.Linear(spec.spread, spec.hidden)

    def forward(self, x: Tensor, tails: Tensor) -> tuple[Tensor, Tensor]:
        """x [sounds, tokens, hidden] and what stood before it → the same shape, and all that the convolution saw."""
        seen = torch.cat([tails, self.norm(x)], dim=1)  # [sounds, tail + tokens, hidden]
        mixed = over(self.over, seen.transpose(1, 2)).transpose(1, 2)
        return x + self.out(F.gelu(self.into(mixed))), seen


class CausalStem(nn.Module):
    """Convolutions with GELU, then a linear layer to the shared width.

    The first inputs are preceded by zeros. A convolution of stride s looks back over max(3, 2·s) inputs.

    With `words`, a token says besides how it sounds which id of text ends there, if any: blocks over the convolutions
    score the ids, and the mean of their vectors, each as likely as it was heard, is added. What the model knows of
    typed words, it then knows of spoken ones.
    """

    def __init__(self, spec: Stem, width: int) -> None:
        super().__init__()
        if spec.blocks and not spec.words:
            raise ValueError(f"{spec.blocks} blocks hear words, and this stem has none: give words, the ids of text")
        self.spec = spec
        channels = [spec.bins] + [spec.hidden] * len(spec.strides)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(a, b, kernel_size=max(3, 2 * stride), stride=stride)
            for a, b, stride in zip(channels, channels[1:], spec.strides, strict=False)
        )
        self.blocks = nn.ModuleList(StemBlock(spec) for _ in range(spec.blocks))
        self.words = nn.Linear(spec.hidden, spec.words + 1) if spec.words else None  # the last: none ends here
        self.gain = nn.Parameter(torch.ones(())) if spec.words else None  # of words beside the sound
        self.out = nn.Linear(spec.hidden, width)

    def start(self) -> State:
        """The state before the first frame."""
        weight = self.out.weight
        shapes = [
            (c.in_channels, c.kernel_size[0] - c.stride[0]) for c in self.convolutions if isinstance(c, nn.Conv1d)
        ]
        shapes += [(self.spec.kernel - 1, self.spec.hidden)] * self.spec.blocks
        return [torch.zeros(shape, dtype=weight.dtype, device=weight.device) for shape in shapes]

    def forward(
        self, pieces: list[Tensor], states: list[State] | None = None, table: Tensor | None = None
    ) -> tuple[list[Tensor], list[State]]:
        """Pieces of several sounds, each [tokens, frames a token, bins] → their tokens [tokens, width], new states.

        `states` are what the pieces before these left; None where every sound begins here. `table` holds the vectors of
        text ids [ids, width], for a stem that writes down words.
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
            x = F.gelu(over(convolution, x))  # [sounds, channels, inputs / stride]
            lengths = [length // convolution.stride[0] for length in lengths]
        heard = x = x.transpose(1, 2)  # [sounds, tokens, hidden]
        for number, block in enumerate(self.blocks, len(self.convolutions)):
            x, seen = block(x, torch.stack([state[number] for state in states]))
            for sound, length in enumerate(lengths):
                after[sound].append(seen[sound, length : length + self.spec.kernel - 1].clone())
        tokens = self.vectors(heard, x, table)  # [sounds, tokens, width]
        return [tokens[i, :length] for i, length in enumerate(lengths)], after

    def vectors(self, heard: Tensor, told: Tensor, table: Tensor | None) -> Tensor:
        """What the convolutions say of tokens, and the blocks behind them, both [..., hidden] → [..., width]."""
        tokens: Tensor = self.out(heard)
        if self.words is None:
            return tokens
        if table is None:
            raise ValueError("this stem writes down words: pass table=[ids, width], the vectors of text ids")
        return tokens + self.gain * (self.words(told).softmax(-1)[..., :-1] @ table[: self.spec.words])
