"""Speech as it is made: harmonics of a voice that are locked to its pitch, and bands of noise, each with a loudness.

A network that draws waveforms sample by sample has to learn what pitch is. Here pitch is a number and the sound is a
weighted sum of known signals: sin(kφ) for the voice, fixed noise for the breath. The network only says, every 5 ms, how
loud each is, and between two steps the loudness goes in a straight line. So nothing overlaps and nothing waits: a frame
is heard as soon as it is there.

Sines, not cosines: nano's voice is made by an additive synthesizer whose harmonics pass zero together, with the sign
turned above 890 Hz (measured on sustained vowels: relative phases within 0.1 rad of that).
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RATE = 24_000  # Hz
FRAME = 960  # samples, 40 ms
STEP = 120  # samples, 5 ms
STEPS = FRAME // STEP
LOWEST, HIGHEST = 130.0, 260.0  # Hz, of the voice: one octave
BOTTOM, TOP = 80.0, 11_000.0  # Hz, where the envelope begins and ends
BANDS = 64  # of the harmonics' envelope
NOISE_BANDS = 40
HARMONICS = int(TOP / LOWEST)  # 84
TURN = 890.0  # Hz, above which the harmonics' sign is turned
SILENT = 1e-4  # amplitude, −80 dB; what the logarithm of nothing is, taken off again on the way back
NOISE_SAMPLES = 1 << 15  # 1.4 s, after which the noise comes again
NOISE_SEED = 25


@dataclass
class Controls:
    """How the sound is at the end of every 5 ms."""

    pitch: Tensor  # [batch, steps], Hz
    tone: Tensor  # [batch, steps, BANDS], log amplitude of a harmonic at the band's frequency
    noise: Tensor  # [batch, steps, NOISE_BANDS], log amplitude of the noise


def mel(hertz: Tensor) -> Tensor:
    """The pitch that a frequency is heard at."""
    return 2595 * torch.log10(1 + hertz / 700)


NUMBER = torch.arange(1, HARMONICS + 1)  # of the harmonics
WAY = torch.arange(1, STEP + 1) / STEP  # of a step that is behind us, at each of its samples
LOW_MEL, HIGH_MEL = mel(torch.tensor([BOTTOM, TOP])).tolist()


def noise_bands(bins: int) -> Tensor:
    """Triangles, evenly spaced in mel from 0 Hz to TOP, over `bins` from 0 to 12 kHz: [NOISE_BANDS, bins]."""
    ends = mel(torch.tensor([0.0, TOP]))
    centre = torch.linspace(float(ends[0]), float(ends[1]), NOISE_BANDS)
    at = torch.linspace(0, RATE / 2, bins)
    place = mel(at) / (centre[1] - centre[0])
    matrix = (1 - (place - torch.arange(NOISE_BANDS)[:, None]).abs()).clamp(min=0)
    return matrix * (at <= TOP)


def noise_table() -> Tensor:
    """The noise, a row for each band, which joins itself at the ends: [NOISE_BANDS, NOISE_SAMPLES]."""
    white = torch.from_numpy(np.random.default_rng(NOISE_SEED).standard_normal(NOISE_SAMPLES)).float()
    spectrum = torch.fft.rfft(white)
    return torch.fft.irfft(spectrum * noise_bands(NOISE_SAMPLES // 2 + 1), n=NOISE_SAMPLES)


def amplitudes(controls: Controls) -> Tensor:
    """How loud each harmonic and each band of noise is, [batch, steps, HARMONICS + NOISE_BANDS]; signs included."""
    hertz = controls.pitch[..., None] * NUMBER  # [batch, steps, HARMONICS]
    place = ((mel(hertz) - LOW_MEL) * ((BANDS - 1) / (HIGH_MEL - LOW_MEL))).clamp(0, BANDS - 1.001)
    below = place.long()
    share = place - below
    left, right = controls.tone.gather(-1, below), controls.tone.gather(-1, below + 1)
    sign = torch.where((NUMBER % 2 == 1) == (hertz < TURN), 1.0, -1.0) * (hertz < TOP)
    loud = torch.cat([left + (right - left) * share, controls.noise], dim=-1).exp().sub(SILENT).clamp(min=0)
    return torch.cat([loud[..., :HARMONICS] * sign, loud[..., HARMONICS:]], dim=-1)


def signals(turns: Tensor, noise: Tensor) -> Tensor:
    """What is mixed: sines of the pitch cycle `turns` [batch, samples] and noise [batch, NOISE_BANDS, samples]."""
    return torch.cat([torch.sin((2 * torch.pi * turns)[:, None] * NUMBER[:, None]), noise], dim=1)


def mix(before: Tensor, loud: Tensor, mixed: Tensor) -> Tensor:
    """The sum of the signals, each going from its loudness `before` the steps to that at their ends.

    `before` [batch, 1, n], `loud` [batch, steps, n], `mixed` [batch, n, steps·STEP] → [batch, steps·STEP].
    """
    steps = loud.shape[1]
    ends = torch.stack([torch.cat([before, loud[:, :-1]], dim=1), loud], dim=2).flatten(0, 1)  # [batch·steps, 2, n]
    pieces = mixed.unflatten(2, (steps, STEP)).transpose(1, 2).flatten(0, 1)  # [batch·steps, n, STEP]
    start, end = torch.bmm(ends, pieces).unbind(1)  # [batch·steps, STEP]
    return torch.lerp(start, end, WAY).unflatten(0, (-1, steps)).flatten(1)


def cycle(before: Tensor, pitch: Tensor, turns: Tensor) -> Tensor:
    """The pitch cycle at every sample, in turns from 0 to 1, [batch, steps·STEP].

    `before` [batch] is the pitch that the first step begins with and `turns` [batch] where the cycle is then.
    """
    start = torch.cat([before[:, None], pitch[:, :-1]], dim=1)[..., None].double()
    hertz = start + (pitch[..., None] - start) * WAY
    return ((turns[:, None] + hertz.flatten(1).cumsum(1) / RATE) % 1.0).float()
