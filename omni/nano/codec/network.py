"""The networks of the codec: causal blocks around a quantizer, at 25 steps a second, and a fast end for every 5 ms."""

from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omni.nano.codec.fsq import Fsq
from omni.nano.codec.hearing import FEATURES
from omni.nano.codec.source_filter import BANDS, LOWEST, NOISE_BANDS, STEPS, Controls

PITCHES = 64  # entries of book 0: an octave, 19 cents apart
BEND = 0.12  # octaves, how far a step may be from the pitch of its frame


@dataclass(frozen=True)
class CodecSpec:
    """Sizes of the codec; 25 frames a second, book 0 is the pitch, the others are learned."""

    books: int = 12
    encoder: int = 256
    encoder_blocks: int = 2
    decoder: int = 256
    decoder_blocks: int = 3
    fine: int = 64  # width at 200 steps a second
    fine_blocks: int = 2
    ahead: int = 1  # frames of 40 ms that the encoder waits for, beyond the window of a frame


class CausalBlock(nn.Module):
    """A depthwise convolution over the past, then a small MLP: ConvNeXt without the future."""

    def __init__(self, width: int, kernel: int = 5, expand: int = 2) -> None:
        super().__init__()
        self.past = kernel - 1  # steps that it remembers
        self.taps = nn.Parameter(torch.randn(kernel, width) * (kernel**-0.5))
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, expand * width)
        self.down = nn.Linear(expand * width, width)

    def forward(self, whole: Tensor) -> Tensor:
        """[batch, past + steps, width] → [batch, steps, width]."""
        if self.training:  # shifted copies: 1.4 ms for [8, 36, 256] and back, against 8.4 ms for windows
            steps = whole.shape[1] - self.past
            y = whole[:, :steps] * self.taps[0]
            for tap in range(1, self.past + 1):
                y = torch.addcmul(y, whole[:, tap : tap + steps], self.taps[tap])
        else:  # windows: 11 µs for one step, against 43 µs for shifted copies
            y = (whole.unfold(1, self.past + 1, 1) * self.taps.T).sum(-1)
        return whole[:, self.past :] + self.down(F.gelu(self.up(self.norm(y)), approximate="tanh"))


@dataclass
class Memory:
    """What the blocks of one network saw last, so that it can go on; empty before anything."""

    seen: list[Tensor] = field(default_factory=list)  # a block: [batch, past, width]


def run(blocks: nn.ModuleList, x: Tensor, memory: Memory, first: int = 0) -> Tensor:
    """Through blocks that remember; `memory` is changed. Their places in it begin at `first`."""
    for place, block in enumerate(blocks, first):
        assert isinstance(block, CausalBlock)
        if place == len(memory.seen):
            memory.seen.append(x.new_zeros(x.shape[0], block.past, x.shape[2]))
        whole = torch.cat([memory.seen[place], x], dim=1)
        memory.seen[place] = whole[:, -block.past :]
        x = block(whole)
    return x


class Encoder(nn.Module):
    """Features of frames → unquantized channels; what comes out belongs to the frame `ahead` frames earlier."""

    def __init__(self, spec: CodecSpec, width: int) -> None:
        super().__init__()
        self.inner = nn.Linear(FEATURES, spec.encoder)
        self.blocks = nn.ModuleList(CausalBlock(spec.encoder) for _ in range(spec.encoder_blocks))
        self.out = nn.Linear(spec.encoder, width)

    def forward(self, features: Tensor, memory: Memory) -> Tensor:
        """[batch, frames, FEATURES] → [batch, frames, width]."""
        z: Tensor = self.out(run(self.blocks, self.inner(features), memory))
        return z


class Decoder(nn.Module):
    """Quantized channels and the pitch of frames → controls every 5 ms. Causal: no frame waits for the next."""

    def __init__(self, spec: CodecSpec, width: int) -> None:
        super().__init__()
        self.steps = spec.fine
        self.inner = nn.Linear(width + 1, spec.decoder)
        self.blocks = nn.ModuleList(CausalBlock(spec.decoder) for _ in range(spec.decoder_blocks))
        self.spread = nn.Linear(spec.decoder, STEPS * spec.fine)
        self.fine = nn.ModuleList(CausalBlock(spec.fine) for _ in range(spec.fine_blocks))
        self.out = nn.Linear(spec.fine, 1 + BANDS + NOISE_BANDS)

    def forward(self, values: Tensor, octaves: Tensor, memory: Memory) -> Controls:
        """[batch, frames, width] and [batch, frames] → controls of STEPS steps a frame."""
        x = self.inner(torch.cat([values, octaves[..., None] * 2 - 1], dim=-1))
        x = run(self.blocks, x, memory)
        x = self.spread(x).unflatten(-1, (STEPS, -1)).flatten(1, 2)  # [batch, frames·STEPS, fine]
        x = run(self.fine, x, memory, len(self.blocks))
        bend, tone, noise = self.out(x).split((1, BANDS, NOISE_BANDS), dim=-1)
        height = octaves[..., None].expand(-1, -1, STEPS).flatten(1) + BEND * torch.tanh(bend[..., 0])
        return Controls(LOWEST * torch.exp2(height), 2 * tone - 7, 2 * noise - 8)


class CodecNet(nn.Module):
    """Encoder, quantizer and decoder."""

    def __init__(self, spec: CodecSpec) -> None:
        super().__init__()
        self.spec = spec
        self.fsq = Fsq(spec.books - 1)
        self.encoder = Encoder(spec, self.fsq.width)
        self.decoder = Decoder(spec, self.fsq.width)


def pitch_codes(octaves: Tensor) -> Tensor:
    """Octaves above LOWEST → entries of book 0."""
    return (octaves * (PITCHES - 1)).round().clamp(0, PITCHES - 1).long()


def pitch_values(codes: Tensor) -> Tensor:
    """Entries of book 0 → octaves above LOWEST."""
    return codes.float() / (PITCHES - 1)
