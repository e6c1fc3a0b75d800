"""From one rate to another within a millisecond or two.

The tokenizer's resampler is soxr's, which filters in blocks: measured, it holds a sample for up to 38 ms between 16 and
24 kHz and 117 ms between 8 and 16 kHz, each way. A plain polyphase filter holds half its own length.

Rates in a plain ratio, as all that are in use have, are one product with a matrix. Between others, as 4,001 and 16,000
Hz, the matrix would have hundreds of megabytes: there each sample is worked out by itself, from a table of phases.
"""

from functools import lru_cache
from math import gcd

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.audio.resampler import check_rates

Wave = NDArray[np.float32]
HALF = 16  # samples at the lower rate on each side: 1 ms at 16 kHz
KAISER = 8.0  # images and aliases 80 dB down
CUTOFF = 0.92  # of the lower rate's Nyquist frequency
LARGEST = 1 << 20  # numbers in a matrix: 4 MiB
PHASES = 512  # in a table: what lies between two of them is right to 100 dB
BLOCK = 4096  # samples that are worked out at once
KEPT = 32  # matrices and tables of the rates used last


@lru_cache(KEPT)
def matrix(up: int, down: int, groups: int) -> Wave:
    """What makes `groups`·up samples from the `groups`·down that they lie among and their neighbours, [span, made]."""
    phases = bank(down / up, up)[:-1]
    taps = phases.shape[1]
    found = np.zeros((taps + groups * down, groups * up), np.float32)
    for n in range(groups * up):
        place, phase = divmod(n * down, up)
        found[place : place + taps, n] = phases[phase]
    return found


@lru_cache(KEPT)
def bank(ratio: float, phases: int) -> Wave:
    """The filter's coefficients for phases evenly from one input to the next, both included, [phases + 1, taps]."""
    wide = max(1.0, ratio)  # the filter is longer where the output is slower
    half = reach(ratio)
    taps = np.arange(-half + 1, half + 1)  # input samples around the output's place
    phase = np.arange(phases + 1)[:, None] / phases
    distance = (taps[None, :] - phase) / wide  # in samples of the lower rate, [phases + 1, taps]
    window = np.i0(KAISER * np.sqrt(np.clip(1 - (distance / HALF) ** 2, 0, None))) / np.i0(KAISER)
    found = CUTOFF * np.sinc(CUTOFF * distance) * window / wide
    return np.ascontiguousarray((found / found.sum(axis=1, keepdims=True)).astype(np.float32))


def reach(ratio: float) -> int:
    """Inputs on each side that an output is made of, where so many of them come for one output."""
    return int(np.ceil(HALF * max(1.0, ratio)))


class LowLatency:
    """A live resampler of one signal. Works in steps of 1 ms, or of one period of the two rates where that is longer.

    One product of two matrices for each piece: steps of 0.1 ms copy more than they compute and took twice as long.

    >>> r = LowLatency(24_000, 16_000)
    >>> len(r.push(np.zeros(960, np.float32))) + len(r.finish())
    640
    """

    def __init__(self, rate_in: int, rate_out: int) -> None:
        check_rates(rate_in, rate_out, "HQ")
        shared = gcd(rate_in, rate_out)
        up, down = rate_out // shared, rate_in // shared
        groups = max(1, rate_in // 1000 // down)
        self.up, self.down = groups * up, groups * down
        self._taps = 2 * reach(down / up)
        small = (self._taps + self.down) * self.up <= LARGEST
        self._matrix = matrix(up, down, groups) if small else None
        self.reset()

    def reset(self) -> None:
        """Forget the signal and begin another."""
        # Half a filter of silence in front, so that the first sample out lies where the first one in does.
        self._held = np.zeros(self._taps // 2 - 1, np.float32)
        self._taken = self._made = 0
        self._dropped = 0  # inputs, the silence in front included, that are not held any more

    def push(self, samples: Wave) -> Wave:
        """Take the next samples; return those at the new rate that are certain by now."""
        self._taken += len(samples)
        if self.up == self.down:
            return samples
        return self._filter(samples)

    def finish(self) -> Wave:
        """Return what was held back, so that all that came out is as long as all that went in; begin another."""
        wave = np.empty(0, np.float32)
        due = round(self._taken * self.up / self.down) - self._made
        if self.up != self.down and due > 0:
            wave = self._filter(np.zeros(self._taps + 2 * self.down, np.float32))[:due]
        self.reset()
        return wave

    def _filter(self, samples: Wave) -> Wave:
        held = np.concatenate((self._held, samples))
        if self._matrix is None:
            return self._by_phase(held)
        span = len(self._matrix)
        groups = max(0, (len(held) - span) // self.down + 1)
        self._held = held[groups * self.down :]
        self._made += groups * self.up
        if not groups:
            return np.empty(0, np.float32)
        item = held.itemsize
        rolled: Wave = np.ndarray((groups, span), np.float32, held, 0, (self.down * item, item))
        made: Wave = (np.ascontiguousarray(rolled) @ self._matrix).reshape(-1)
        return made

    def _by_phase(self, held: Wave) -> Wave:
        """All outputs that lie far enough inside, each with the coefficients of its own phase."""
        last = self._dropped + len(held) - self._taps  # the place of the newest filter that is full
        numbers = np.arange(self._made, max(self._made, ((last + 1) * self.up - 1) // self.down + 1))
        places, rests = np.divmod(numbers * self.down, self.up)
        phases, shares = np.divmod(rests * (PHASES / self.up), 1)
        table, first = bank(self.down / self.up, PHASES), phases.astype(np.intp)
        wave = np.empty(len(numbers), np.float32)
        rows = np.lib.stride_tricks.sliding_window_view(held, self._taps) if len(numbers) else held
        for begin in range(0, len(numbers), BLOCK):
            part = slice(begin, begin + BLOCK)
            low, high = table[first[part]], table[first[part] + 1]
            share = shares[part, None].astype(np.float32)
            wave[part] = np.einsum("ij,ij->i", rows[places[part] - self._dropped], low + share * (high - low))
        self._made += len(numbers)
        keep = min(len(held), self._made * self.down // self.up - self._dropped)
        self._held = held[keep:]
        self._dropped += keep
        return wave
