"""WavLM's noisy and overlapped speech: part of another utterance, or of a noise, laid over this one.

The model still has to predict what the first speaker says, so it learns to tell who is speaking. Everything is
drawn from the example's own seed; what may be laid over it is handed in.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10
from typing import Literal

import numpy as np

from omni_tokenizers.audio.spans import Seed
from omni_tokenizers.audio.waveform import Samples, Wave, as_waveform

SHARE = 0.2  # of the utterances get something laid over them
NOISE_SHARE = 0.1  # of those, where there is both speech and noise to lay
SPEECH_SNR = (-5.0, 5.0)  # dB
NOISE_SNR = (-5.0, 20.0)  # dB


@dataclass(frozen=True)
class Overlay:
    """What was laid over an utterance, so that it can be repeated, undone or looked at."""

    kind: Literal["speech", "noise"]
    source: int  # which of the speech or noise clips
    snr: float  # dB, of the whole utterance over the whole scaled source
    start: int  # sample of the utterance
    source_start: int  # sample of the source
    length: int  # samples


@dataclass(frozen=True, eq=False)
class Mixed:
    """An utterance after mixing; `overlay` is None where it was left alone."""

    samples: Wave
    overlay: Overlay | None


def gain(primary: Wave, other: Wave, snr: float) -> float:
    """The factor that puts `other` at `snr` dB under `primary`, by the mean energy of each; 0 if either is silent.

    >>> round(gain(np.ones(8, np.float32), np.full(4, 0.5, np.float32), snr=20), 6)
    0.2
    """
    own, theirs = energy(primary), energy(other)
    return float(np.sqrt(own / (10 ** (snr / 10) * theirs))) if own and theirs else 0.0


def energy(samples: Wave) -> float:
    """Mean square of the samples; 0 for none."""
    return float(np.mean(np.square(samples, dtype=np.float64))) if samples.size else 0.0


def snr(primary: Wave, other: Wave) -> float:
    """Energy of one over the other in dB.

    >>> round(snr(np.ones(8, np.float32), np.full(4, 0.1, np.float32)), 4)
    20.0
    """
    own, theirs = energy(primary), energy(other)
    if not own or not theirs:
        raise ValueError(f"the energies are {own} and {theirs}; silence has no ratio")
    return 10 * log10(own / theirs)


def lay(primary: Samples, other: Samples, overlay: Overlay) -> Wave:
    """Add the scaled piece of `other`; returns a new array."""
    primary, other = as_waveform(primary), as_waveform(other)
    begin, source, length = overlay.start, overlay.source_start, overlay.length
    if min(begin, source, length) < 0 or begin + length > len(primary) or source + length > len(other):
        raise ValueError(
            f"{length} samples from {source} of {len(other)} do not fit at {begin} of {len(primary)}: make it shorter"
        )
    mixed = primary.copy()
    mixed[begin : begin + length] += np.float32(gain(primary, other, overlay.snr)) * other[source : source + length]
    return mixed


def mix(
    utterance: Samples,
    seed: Seed,
    *,
    speech: Sequence[Samples] = (),
    noise: Sequence[Samples] = (),
    share: float = SHARE,
    noise_share: float = NOISE_SHARE,
    speech_snr: tuple[float, float] = SPEECH_SNR,
    noise_snr: tuple[float, float] = NOISE_SNR,
) -> Mixed:
    """Perhaps lay a piece of one of the speech or noise clips over the utterance.

    The piece is U{0 … half the utterance} samples long (no longer than its source) and starts anywhere in both.

    >>> mix(np.ones(1000, np.float32), seed=1, share=0, noise=[np.ones(9, np.float32)]).overlay is None
    True
    """
    for name, value in (("share", share), ("noise_share", noise_share)):
        if not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; it is a probability, from 0 to 1")
    for name, (low, high) in (("speech_snr", speech_snr), ("noise_snr", noise_snr)):
        if not low <= high:
            raise ValueError(f"{name} is ({low}, {high}); the lower end comes first")
    utterance = as_waveform(utterance)
    draw = np.random.default_rng(seed)
    if draw.random() >= share or not (len(speech) or len(noise)):
        return Mixed(utterance.copy(), None)
    noisy = len(noise) > 0 and (not len(speech) or draw.random() < noise_share)
    clips, (low, high) = (noise, noise_snr) if noisy else (speech, speech_snr)
    source = int(draw.integers(len(clips)))
    other = as_waveform(clips[source])
    length = min(int(draw.integers(len(utterance) // 2 + 1)), len(other))
    overlay = Overlay(
        kind="noise" if noisy else "speech",
        source=source,
        snr=float(draw.uniform(low, high)),
        start=int(draw.integers(len(utterance) - length + 1)),
        source_start=int(draw.integers(len(other) - length + 1)),
        length=length,
    )
    return Mixed(lay(utterance, other, overlay), overlay)
