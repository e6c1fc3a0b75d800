"""What a microphone adds, in the log-Mel domain: fresh for every use of an utterance, and cheap.

Adding noise is exact for samples; for Mel power it holds on average, since the phases of voice and noise do not know
of each other. So training mixes here, and evaluation mixes samples (omni.train.exam).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
FLOOR = np.float32(-6.5)  # decades, the fixed floor of `LogMel(floor="fixed")`
TOKEN = 4  # frames of 10 ms
HEARD = 5  # frames of silence that follow the last sample of speech before a turn may be called over: 50 ms


@dataclass(frozen=True)
class Take:
    """One utterance as a microphone took it: whole tokens of frames, and where in them speech begins and ends."""

    frames: Array  # [4 · tokens, 80]
    begin: int  # frame
    end: int  # frame after the last of speech; 0 where nobody speaks

    @property
    def turn(self) -> NDArray[np.float32]:
        """For every token whether the turn is over once it was heard: [tokens], 0 or 1."""
        if not self.end:
            return np.zeros(len(self.frames) // TOKEN, np.float32)
        after = np.arange(1, len(self.frames) // TOKEN + 1) * TOKEN  # frame after each token
        return (after >= self.end + HEARD).astype(np.float32)


def decades(scaled: NDArray[np.floating]) -> Array:
    """Whisper's scale back to log10 of power."""
    return (scaled.astype(np.float32) - 1) * 4


def scaled(log: Array) -> Array:
    """log10 of power on Whisper's scale, with the fixed floor."""
    return (np.maximum(log, FLOOR) / 4 + 1).astype(np.float32)


def stretched(log: Array, factor: float) -> Array:
    """`factor` times as many frames, between neighbours in a straight line."""
    n = max(2, round(len(log) * factor))
    return _between(log, np.linspace(0, len(log) - 1, n))


def warped(log: Array, factor: float) -> Array:
    """Another vocal tract: the bins moved up (> 1) or down, as a piecewise straight line that keeps both ends."""
    bins = log.shape[1]
    knee = 0.75 * (bins - 1) / max(factor, 1.0)
    where = np.interp(np.arange(bins), [0, knee * factor, bins - 1], [0, knee, bins - 1])
    return np.ascontiguousarray(_between(log.T, where).T)


def _between(rows: Array, where: NDArray[np.floating]) -> Array:
    low = np.minimum(where.astype(np.int64), len(rows) - 2)
    part = (where - low).astype(np.float32)[:, None]
    return rows[low] * (1 - part) + rows[low + 1] * part


def added(a: Array, b: Array) -> Array:
    """log10 of the sum of two powers."""
    high = np.maximum(a, b)
    return high + np.log10(1 + 10 ** (np.minimum(a, b) - high), dtype=np.float32)


def level(log: Array) -> float:
    """log10 of the mean power."""
    return float(np.log10(np.mean(10.0**log) + 1e-10))


def fitted(log: Array, frames: int, random: np.random.Generator) -> Array:
    """So many frames of a noise, from a random place on, repeated where it is too short."""
    at = int(random.integers(0, len(log)))
    return log[(at + np.arange(frames)) % len(log)]


def take(
    utterance: Array,  # [frames, 80], decades
    begin: int,
    end: int,
    random: np.random.Generator,
    *,
    noise: Array | None = None,  # [any, 80], decades
    bent: float = 0.5,  # how often tempo, vocal tract and microphone are others, each
    before: int = 0,  # frames of silence
    after: int = 20,
) -> Take:
    """An utterance with silence around it, bent, filtered, quieter, and in noise if there is any."""
    if random.random() < bent:
        factor = float(random.uniform(0.9, 1.1))
        log = stretched(utterance, factor)
        begin, end = round(begin * factor), min(len(log), round(end * factor) + 1)
    else:
        log = utterance.copy()
    if random.random() < bent:
        log = warped(log, float(random.uniform(0.92, 1.08)))
    if random.random() < bent:  # another microphone
        log += np.interp(np.arange(80), np.linspace(0, 79, 5), random.uniform(-0.6, 0.6, 5)).astype(np.float32)
    log += np.float32(-random.triangular(0, 0, 2.6))  # down to −26 dB
    tail = np.full((max(0, end + after - len(log)), 80), FLOOR, np.float32)
    log = np.concatenate([np.full((before, 80), FLOOR, np.float32), log[: end + after], tail])
    begin, end = begin + before, end + before
    if noise is not None:
        other = fitted(noise, len(log), random)
        ratio = float(random.uniform(0.4, 3.5))  # decades: 4 to 35 dB
        log = added(log, other + np.float32(level(log[begin:end]) - level(other) - ratio))
    if random.random() < 0.3 * bent:
        width, at = int(random.integers(2, 12)), int(random.integers(0, 70))
        log[:, at : at + width] = FLOOR
    fill = np.repeat(log[-1:], -len(log) % TOKEN, axis=0)
    return Take(scaled(np.concatenate([log, fill])), begin, end)
