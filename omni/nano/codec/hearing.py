"""What the encoder hears of a frame: spectra of two lengths, and pitch.

Each frame is looked at by itself, in a window that is always as long, so a live encoder sees the same bits as an
offline one.
"""

import math
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional as F

from omni.nano.codec.source_filter import FRAME, HIGHEST, LOWEST, RATE, STEP, STEPS

BEFORE, AFTER = 512, 512  # samples around a frame that belong to its window
WINDOW = BEFORE + FRAME + AFTER
LONG, LONG_HOP, LONG_BANDS = 1024, 240, 96  # samples, samples, bands: 43 ms resolve the harmonics
SHORT, SHORT_BANDS = 256, 40  # 11 ms resolve the bursts
PITCH_WINDOW = 600  # samples, 25 ms
SHORTEST, LONGEST = int(RATE / (HIGHEST * 1.04)), int(RATE / (LOWEST / 1.04)) + 1  # lags, samples
PERIODIC = 0.6  # normalised correlation above which a step has a pitch
AUDIBLE = 1e-6  # power below which it has none
FEATURES = LONG_BANDS * FRAME // LONG_HOP + SHORT_BANDS * STEPS + 2 * STEPS


def windows(sound: Tensor) -> Tensor:
    """Sound [frames · FRAME] → the window of every frame, [frames, WINDOW]."""
    return F.pad(sound, (BEFORE, AFTER)).unfold(0, WINDOW, FRAME)


@cache
def _bands(size: int, bands: int) -> Tensor:
    """Triangles that touch at least one bin each, [size / 2 + 1, bands]; linear below, logarithmic above."""
    top = 2595 * math.log10(1 + RATE / 2 / 700)
    edges = 700 * (10 ** (torch.linspace(0, top, bands + 2) / 2595) - 1)
    width = RATE / size
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    at = (torch.arange(size // 2 + 1) * width)[:, None]
    rise = (at - left.minimum(centre - width)) / (centre - left).clamp(min=width)
    fall = (right.maximum(centre + width) - at) / (right - centre).clamp(min=width)
    matrix = torch.minimum(rise, fall).clamp(min=0)
    return matrix / matrix.sum(0)


def _spectra(window: Tensor, size: int, hop: int, bands: int) -> Tensor:
    """Log power in bands of windows of `size` whose centres are `hop` apart: [frames, FRAME / hop, bands]."""
    start = BEFORE + hop // 2 - size // 2
    pieces = window[:, start:].unfold(1, size, hop)[:, : FRAME // hop]
    power = torch.fft.rfft(pieces * torch.hann_window(size)).abs().square() / size
    return (power @ _bands(size, bands)).clamp(min=1e-6).log() / 4 + 1.5


def pitch(window: Tensor) -> tuple[Tensor, Tensor]:
    """Hz and how periodic the sound is (0 … 1), both [frames, STEPS], around the middle of each step."""
    length = PITCH_WINDOW + LONGEST
    start = BEFORE + STEP // 2 - length // 2
    pieces = window[:, start:].unfold(1, length, STEP)[:, :STEPS]  # [frames, STEPS, length]
    size = 1024
    spectrum = torch.fft.rfft(pieces, size)
    head = torch.fft.rfft(pieces[..., :PITCH_WINDOW], size)
    lags = slice(SHORTEST - 1, LONGEST + 1)
    cross = torch.fft.irfft(spectrum * head.conj(), size)[..., lags]
    energy = F.pad(pieces.square().cumsum(-1), (1, 0))
    moving = (energy[..., PITCH_WINDOW:] - energy[..., : LONGEST + 1])[..., lags]
    own = energy[..., PITCH_WINDOW : PITCH_WINDOW + 1]
    alike = 2 * cross / (own + moving + PITCH_WINDOW * AUDIBLE)  # [frames, STEPS, lags]
    best = alike[..., 1:-1].argmax(-1, keepdim=True) + 1
    left, here, right = (alike.gather(-1, best + k)[..., 0] for k in (-1, 0, 1))
    bend = (left - 2 * here + right).clamp(max=-1e-6)
    lag = best[..., 0] + SHORTEST - 1 + (0.5 * (left - right) / bend).clamp(-0.5, 0.5)
    return RATE / lag, here.clamp(0, 1)


def frame_pitch(hertz: Tensor, periodic: Tensor) -> tuple[Tensor, Tensor]:
    """One pitch a frame, in octaves above LOWEST, and the weight that it stands on; both [frames]."""
    weight = (periodic - PERIODIC).clamp(min=0).square()
    total = weight.sum(-1)
    return (weight * (hertz / LOWEST).log2()).sum(-1) / total.clamp(min=1e-9), total


def hear(window: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Windows [frames, WINDOW] → features [frames, FEATURES], pitch in octaves and its weight, [frames] each."""
    hertz, periodic = pitch(window)
    octaves, weight = frame_pitch(hertz, periodic)
    sung = torch.where(periodic > PERIODIC, (hertz / LOWEST).log2() - 0.5, 0.0) * 4
    features = torch.cat(
        [
            _spectra(window, LONG, LONG_HOP, LONG_BANDS).flatten(1),
            _spectra(window, SHORT, STEP, SHORT_BANDS).flatten(1),
            sung,
            periodic,
        ],
        dim=1,
    )
    return features, octaves, weight
