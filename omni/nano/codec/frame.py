"""The codec's decoder for one frame at a time: compiled loops, where calls of torch take longer than their work.

Every frame is decoded alone, live and offline alike, so all sound of the codec comes from here. On one core 40 ms of
sound take 1.1 ms in all, with the network's own modules 2.3.
"""

from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from omni.model.kernels import Array, multiply, remember
from omni.nano.codec.network import BEND, CausalBlock, Decoder
from omni.nano.codec.source_filter import BANDS, LOWEST, NOISE_BANDS, STEPS, Controls

Pair = tuple[Array, Array]  # weight [out, in] and bias [out]


class FrameDecoder:
    """A decoder's weights, and what is done with them."""

    def __init__(self, net: Decoder) -> None:
        self.inner, self.spread, self.out = (linear(layer) for layer in (net.inner, net.spread, net.out))
        self.blocks, self.fine = (
            [block_of(cast(CausalBlock, block)) for block in blocks] for blocks in (net.blocks, net.fine)
        )
        # The loops are compiled, or read from where they are kept, before somebody waits for the first sound.
        self(torch.zeros(1, net.inner.in_features - 1), torch.zeros(1), self.start())

    def start(self) -> list[Array]:
        """What the blocks remember before the first frame: [past, width] each."""
        return [np.zeros((len(taps) - 1, taps.shape[1]), np.float32) for taps, *_ in (*self.blocks, *self.fine)]

    def __call__(self, values: Tensor, octave: Tensor, seen: list[Array]) -> Controls:
        """Quantized channels [1, width] and the pitch [1] of a frame → its controls; `seen` is brought up."""
        x = through(self.inner, torch.cat([values, octave[:, None] * 2 - 1], dim=1).numpy())  # [1, width]
        for past, block in zip(seen, self.blocks, strict=False):
            remember(x, past, *block)
        x = through(self.spread, x).reshape(STEPS, -1)
        for past, block in zip(seen[len(self.blocks) :], self.fine, strict=True):
            remember(x, past, *block)
        told = torch.from_numpy(through(self.out, x))[None]  # [1, STEPS, 1 + BANDS + NOISE_BANDS]
        bend, tone, noise = told.split((1, BANDS, NOISE_BANDS), dim=-1)
        return Controls(LOWEST * torch.exp2(octave + BEND * torch.tanh(bend[..., 0])), 2 * tone - 7, 2 * noise - 8)


def linear(layer: nn.Linear) -> Pair:
    """A linear layer's weights."""
    return layer.weight.detach().numpy(), layer.bias.detach().numpy()


def block_of(block: CausalBlock) -> tuple[Array, ...]:
    """A block's weights as `remember` takes them."""
    norm = block.norm.weight.detach().numpy(), block.norm.bias.detach().numpy()
    return block.taps.detach().numpy(), *norm, *linear(block.up), *linear(block.down)


def through(layer: Pair, x: Array) -> Array:
    """x [rows, in] through a linear layer: [rows, out]."""
    weight, bias = layer
    y = np.empty((len(x), len(weight)), np.float32)
    multiply(x, weight, y)
    return y + bias
