"""What happens to a voice before a microphone's samples arrive: a room, a narrow line, a coarse codec."""

import numpy as np

from omni.train.speakers import RATE, Sound
from omni_tokenizers.audio import resample

TELEPHONE = 8000  # Hz
MU = 255.0  # of the telephone's companding


def reverberated(samples: Sound, random: np.random.Generator) -> Sound:
    """In a room: early echoes and a tail that dies away; the direct sound stays first."""
    seconds = random.uniform(0.1, 0.5)  # until the tail has lost 60 dB
    n = int(seconds * RATE)
    tail = random.normal(0, 1, n) * 10 ** (-3 * np.arange(n) / n)
    tail[: int(random.uniform(0.002, 0.01) * RATE)] = 0
    tail *= random.uniform(0.2, 0.7) / np.sqrt((tail**2).sum() + 1e-12)
    tail[0] = 1
    size = 1 << (len(samples) + n - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)
    wet = wet[: len(samples) + n // 2].astype(np.float32)
    return (wet * np.float32(0.9 / max(1e-6, np.abs(wet).max()))).astype(np.float32)


def narrow(samples: Sound) -> Sound:
    """Over a telephone: nothing above 4 kHz."""
    return resample(resample(samples, RATE, TELEPHONE), TELEPHONE, RATE)


def companded(samples: Sound) -> Sound:
    """Through the telephone's eight bits."""
    squeezed = np.sign(samples) * np.log1p(MU * np.abs(samples)) / np.log1p(MU)
    steps = np.round(squeezed * 127) / 127
    return (np.sign(steps) * np.expm1(np.abs(steps) * np.log1p(MU)) / MU).astype(np.float32)


def in_a_place(samples: Sound, random: np.random.Generator) -> Sound:
    """One of these, or none; which one the random source says."""
    draw = random.random()
    if draw < 0.22:
        return reverberated(samples, random)
    if draw < 0.30:
        return narrow(samples)
    if draw < 0.35:
        return companded(narrow(samples))
    return samples
