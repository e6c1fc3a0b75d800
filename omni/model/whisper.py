"""Whisper: 30 s of log-Mel frames through an encoder, and a decoder that writes text while it looks at them.

Both halves are the same stack; the decoder's blocks have cross-attention over what the encoder made.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omni.model.attention import Remembered
from omni.model.cache import Cache, Step
from omni.model.reach import CAUSAL, EVERYTHING, Reach
from omni.model.stack import Stack, StackSpec

STRIDE = 2  # log-Mel frames (10 ms) to one position of the encoder (20 ms)
KERNEL = 3  # frames


@dataclass(frozen=True)
class WhisperSpec:
    """Sizes of a Whisper model; the decoder's block has cross-attention."""

    bins: int  # of a log-Mel frame
    vocabulary: int
    encoder: StackSpec
    decoder: StackSpec
    places: int = 1500  # positions of the encoder: 30 s
    tokens: int = 448  # positions of the decoder


def sinusoids(length: int, width: int) -> Tensor:
    """Sines and cosines of wavelengths from 2π to 10,000·2π positions: [length, width]."""
    rate = torch.exp(-log(10_000) / (width // 2 - 1) * torch.arange(width // 2))
    angle = torch.arange(length)[:, None] * rate
    return torch.cat([angle.sin(), angle.cos()], dim=1)


class WhisperEncoder(nn.Module):
    """Two convolutions halve the frame rate, sinusoids say where a frame is, and a stack mixes them."""

    places: Tensor

    def __init__(self, bins: int, places: int, spec: StackSpec) -> None:
        super().__init__()
        width = spec.block.width
        self.first = nn.Conv1d(bins, width, KERNEL, padding=KERNEL // 2)
        self.second = nn.Conv1d(width, width, KERNEL, stride=STRIDE, padding=KERNEL // 2)
        self.register_buffer("places", sinusoids(places, width))
        self.stack = Stack(spec)

    def forward(self, mel: Tensor, lengths: Tensor | None = None) -> Tensor:
        """[batch, frames, bins] → [batch, ⌈frames / 2⌉, width].

        The published models always see 3,000 frames. Fewer are taken too; with `lengths` [batch], in frames, a row of
        a padded batch has the values that it has alone, and its positions beyond ⌈length / 2⌉ mean nothing.
        """
        frames, room = mel.shape[1], STRIDE * len(self.places)
        if frames > room:
            raise ValueError(f"{frames} log-Mel frames, and this encoder has positions for {room}: cut it into windows")
        x = mel.transpose(1, 2)  # [batch, bins, frames]
        reach = EVERYTHING
        if lengths is None:
            x = F.gelu(self.second(F.gelu(self.first(x))))  # [batch, width, frames / 2]
        else:
            # Each convolution has to see zeros behind the last frame, as it does when the row is alone.
            inside = torch.arange(frames, device=mel.device) < lengths[:, None]  # [batch, frames]
            x = F.gelu(self.first(x * inside[:, None])) * inside[:, None]
            x = F.gelu(self.second(x))
            reach = Reach.of_lengths((lengths + STRIDE - 1) // STRIDE, x.shape[2])
        x = x.transpose(1, 2)  # [batch, positions, width]
        return self.stack(x + self.places[: x.shape[1]].to(x.dtype), reach)


class WhisperDecoder(nn.Module):
    """Token ids, and what the encoder made, to logits of the next token; the head is the embedding table."""

    def __init__(self, vocabulary: int, tokens: int, spec: StackSpec) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, spec.block.width)
        self.places = nn.Parameter(torch.randn(tokens, spec.block.width) * 0.02)
        self.stack = Stack(spec)

    def forward(
        self,
        ids: Tensor,  # [batch, new]
        memory: Tensor | list[Remembered],  # the encoder's output, or `remember` of it
        *,
        memory_reach: Reach = EVERYTHING,
        step: Step | None = None,  # of a cache: ids go on from what its slots hold
        at: Sequence[int] | None = None,
    ) -> Tensor:
        """Logits [batch, new, vocabulary], or of the new tokens `at` some places alone: the vocabulary is large."""
        reached = ids.shape[1] if step is None else step.seen
        if reached > len(self.places):
            raise ValueError(f"{reached} tokens are more than the {len(self.places)} positions of this decoder")
        if step is None:
            x = self.embedding(ids) + self.places[:reached]
        else:
            # A padded token of a row may lie beyond the last position; nobody reads what comes of it.
            x = self.embedding(ids) + self.places[step.positions.clamp(max=len(self.places) - 1)]
        x = self.stack(
            x,
            CAUSAL if step is None else step.reach,
            caches=None if step is None else step.caches,
            memory=memory,
            memory_reach=memory_reach,
        )
        return F.linear(x if at is None else x[:, list(at)], self.embedding.weight)


class Whisper(nn.Module):
    """The encoder–decoder. `forward` trains it; `encode`, `remember` and `decode` run it."""

    def __init__(self, spec: WhisperSpec) -> None:
        super().__init__()
        self.spec = spec
        self.encoder = WhisperEncoder(spec.bins, spec.places, spec.encoder)
        self.decoder = WhisperDecoder(spec.vocabulary, spec.tokens, spec.decoder)

    def forward(self, mel: Tensor, ids: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Log-Mel frames [batch, frames, bins] and ids [batch, tokens] → logits [batch, tokens, vocabulary]."""
        memory = self.encoder(mel, lengths)
        return self.decoder(ids, memory, memory_reach=self.memory_reach(lengths, memory.shape[1]))

    @staticmethod
    def memory_reach(lengths: Tensor | None, longest: int) -> Reach:
        """Which positions of the encoder a decoder may look at, where `lengths` frames are real."""
        return EVERYTHING if lengths is None else Reach.of_lengths((lengths + STRIDE - 1) // STRIDE, longest)

    def cache(self, slots: int) -> Cache:
        """An empty key-value cache for the decoder."""
        return Cache.of(self.spec.decoder, slots, self.spec.tokens, self.decoder.embedding.weight)
