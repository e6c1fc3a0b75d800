"""Speech taken apart into what the decoder puts together: the pitch cycle, the harmonics' envelope and the noise.

This is the target of the training, made once from the original; it may look at the whole utterance.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from omni.nano.codec.hearing import pitch, windows
from omni.nano.codec.source_filter import (
    BANDS,
    BOTTOM,
    HARMONICS,
    LOWEST,
    NOISE_BANDS,
    RATE,
    SILENT,
    STEP,
    TOP,
    mel,
    mix,
    noise_bands,
    signals,
)

VOICED = 0.5  # normalised correlation
REACH = 288  # samples before and after a step: 1.5 periods of the lowest voice
NOISE_WINDOW = 240  # samples, 10 ms


@dataclass(frozen=True)
class Parts:
    """The parts of a piece of speech at the end of every 5 ms."""

    pitch: Tensor  # [steps], Hz; goes on in a straight line where there is no voice
    voiced: Tensor  # [steps], bool
    turns: Tensor  # [samples], where the pitch cycle is, 0 … 1
    tone: Tensor  # [steps, BANDS], log amplitude
    noise: Tensor  # [steps, NOISE_BANDS], log amplitude


def _around(x: Tensor, reach: int, steps: int) -> Tensor:
    """The samples around the end of every step, [steps, 2·reach]."""
    return F.pad(x, (reach - STEP, reach)).unfold(0, 2 * reach, STEP)[:steps]


def _bell(reach: int, half: Tensor) -> Tensor:
    """Hann windows of `half` [steps] samples to each side, [steps, 2·reach]; each sums to 1."""
    at = torch.arange(-reach, reach) + 1.0  # the sample before the end of a step is at 0
    bell = torch.where(at.abs() < half[:, None], 0.5 + 0.5 * torch.cos(torch.pi * at / half[:, None]), 0.0)
    return bell / bell.sum(1, keepdim=True)


def pitch_track(sound: Tensor) -> tuple[Tensor, Tensor]:
    """Hz and whether there is a voice, at the end of every step; the gaps are bridged in a straight line."""
    later = F.pad(sound[STEP // 2 :], (0, STEP // 2))
    hertz, periodic = (x.flatten().numpy() for x in pitch(windows(later)))
    voiced = periodic > VOICED
    steps = np.arange(len(hertz))
    filled = np.interp(steps, steps[voiced], hertz[voiced]) if voiced.any() else np.full(len(hertz), 180.0)
    padded = np.pad(filled, 1, mode="edge")
    smooth = np.median(np.stack([padded[:-2], padded[1:-1], padded[2:]]), axis=0)
    return torch.from_numpy(smooth).float(), torch.from_numpy(voiced)


def _phases(sound: Tensor, hertz: Tensor, voiced: Tensor) -> tuple[Tensor, Tensor]:
    """Hz from the phase of the fundamental, and the pitch cycle at every sample."""
    steps = len(hertz)
    pieces = _around(sound, REACH, steps) * _bell(REACH, 1.5 * RATE / hertz)
    at = torch.arange(-REACH, REACH) + 1.0
    turn = torch.polar(torch.ones(()), -2 * torch.pi * hertz[:, None] / RATE * at)
    # sin is a quarter of a turn behind cos
    phase = ((pieces * turn).sum(1).angle() / (2 * torch.pi) + 0.25).double().numpy()
    expected = (0.5 * (hertz[1:] + hertz[:-1]) * STEP / RATE).double().numpy()
    moved = np.diff(phase)
    moved += np.round(expected - moved)
    both = (voiced[1:] & voiced[:-1]).numpy()
    moved = np.where(both, moved, expected)
    whole = np.empty(steps)
    whole[0] = phase[0]
    for step in range(1, steps):
        whole[step] = whole[step - 1] + moved[step - 1]
        if voiced[step] and not voiced[step - 1]:  # a voice begins where it begins
            whole[step] = phase[step] + np.round(whole[step] - phase[step])
    first = whole[0] - hertz[0].item() * STEP / RATE
    turns = np.interp(np.arange(1, steps * STEP + 1), np.arange(steps + 1) * STEP, np.concatenate([[first], whole]))
    exact = torch.from_numpy(np.concatenate([moved, moved[-1:]]) * RATE / STEP).float()
    exact = 0.5 * (exact + torch.cat([exact[:1], exact[:-1]]))  # of the steps on both sides
    return exact, torch.from_numpy(turns % 1.0).float()


def harmonics(sound: Tensor, hertz: Tensor, turns: Tensor, voiced: Tensor) -> Tensor:
    """The amplitude of sin(kφ) at the end of every step, [steps, HARMONICS], over two periods.

    A Hann window of two periods is zero at every other harmonic, so none leaks into another.
    """
    steps, reach = len(hertz), 192
    weighed = _around(sound, reach, steps) * _bell(reach, RATE / hertz)
    first = torch.polar(torch.ones(()), 2 * torch.pi * _around(turns, reach, steps))
    rows = []
    rotated = first
    for _ in range(HARMONICS):
        rows.append((weighed * rotated.imag).sum(1))
        rotated = rotated * first
    number = torch.arange(1, HARMONICS + 1)
    return 2 * torch.stack(rows, dim=1) * voiced[:, None] * (hertz[:, None] * number < TOP)


def take_apart(sound: Tensor) -> Parts:
    """Sound of whole frames → its parts."""
    hertz, voiced = pitch_track(sound)
    hertz, turns = _phases(sound, hertz, voiced)
    loud = harmonics(sound, hertz, turns, voiced)  # [steps, HARMONICS]
    steps = len(hertz)
    silence = sound.new_zeros(1, NOISE_BANDS, len(sound))
    whole = torch.cat([loud, loud.new_zeros(steps, NOISE_BANDS)], dim=1)[None]
    rest = sound - mix(torch.zeros_like(whole[:, :1]), whole, signals(turns[None], silence))[0]
    half = NOISE_WINDOW // 2
    pieces = _around(rest, half, steps) * torch.hann_window(NOISE_WINDOW).sqrt()
    bands = noise_bands(half + 1)
    power = torch.fft.rfft(pieces).abs().square() @ (bands / bands.sum(1, keepdim=True)).T / half
    low, high = mel(torch.tensor([BOTTOM, TOP])).tolist()
    at = 700 * (10 ** (torch.linspace(low, high, BANDS) / 2595) - 1)
    place = (at / hertz[:, None]).clamp(1, HARMONICS - 0.001) - 1  # [steps, BANDS]
    logs = (loud.abs() + SILENT).log()
    below = place.long()
    left, right = logs.gather(1, below), logs.gather(1, (below + 1).clamp(max=HARMONICS - 1))
    tone = left + (right - left) * (place - below)
    return Parts(hertz.clamp(min=LOWEST / 1.05), voiced, turns, tone, (power.sqrt() + SILENT).log())
