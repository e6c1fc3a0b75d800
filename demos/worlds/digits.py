"""Clips of two seconds: one to three digits spoken by espeak-ng, or nothing but noise."""

from random import Random

import numpy as np
from numpy.typing import NDArray

from omni.train.espeak import Voice, speak
from omni.train.words import NUMBERS
from omni_tokenizers.audio.resampler import resample

RATE = 16_000  # Hz
WINDOW = 2.0  # seconds
DIGITS = NUMBERS[:10]
Wave = NDArray[np.float32]


def noise(random: Random, seconds: float = WINDOW) -> Wave:
    """A hiss or a rumble that swells and fades."""
    draw = np.random.default_rng(random.getrandbits(32))
    hiss = draw.standard_normal(int(seconds * RATE))
    kernel = np.ones(random.choice((1, 4, 16, 64)))
    hiss = np.convolve(hiss, kernel / np.sqrt(len(kernel)), "same")
    return (random.uniform(0.002, 0.1) * hiss * (1.2 + np.sin(np.linspace(0, random.uniform(1, 9), len(hiss))))).astype(
        np.float32
    )


def spoken(random: Random) -> tuple[Wave, str]:
    """One to three digits, somewhere in a window with a little noise."""
    words = " ".join(random.choices(DIGITS, k=random.randint(1, 3)))
    samples, rate = speak(words, Voice(words_per_minute=random.randint(170, 210), pitch=random.randint(40, 60)))
    voice = resample(samples, rate, RATE)[: int(WINDOW * RATE)]
    clip = 0.1 * noise(random)
    at = random.randint(0, len(clip) - len(voice))
    clip[at : at + len(voice)] += voice
    return clip, words
