"""From one sample rate to another: whole clips, or live, with the same bits."""

from functools import cache
from typing import Literal, get_args

import numpy as np
import soxr

from omni_tokenizers.audio.waveform import Channels, Samples, Wave, as_waveform

Quality = Literal["HQ", "VHQ", "MQ", "LQ", "QQ"]
MAX_RATE = 3_072_000  # Hz, the fastest rate of any PCM format


def resample(samples: Samples, rate_in: int, rate_out: int, *, quality: Quality = "HQ") -> Wave:
    """Return a whole clip at another rate; several channels are mixed to one first.

    >>> len(resample(np.zeros(48_000, np.float32), 48_000, 16_000))
    16000
    """
    check_rates(rate_in, rate_out, quality)
    wave = as_waveform(samples)
    if rate_in == rate_out or not len(wave):
        return wave
    result: Wave = soxr.resample(wave, rate_in, rate_out, quality=quality)
    return result


def resampled_count(samples: int, rate_in: int, rate_out: int) -> int:
    """Return how many samples `resample` makes: the exact length, rounded as soxr does it.

    >>> resampled_count(44_101, 44_100, 16_000)
    16000
    """
    # soxr divides by the ratio in double precision, so an exact half goes up or down with the ratio's last bit: 4200
    # samples from 24 to 44.1 kHz are 7717.5 and become 7717. This has the same bits, checked on 1149 pairs.
    return int(samples / (rate_in / rate_out) + 0.5)


class Resampler:
    """A live resampler of one stream: what it returned, joined, is `resample` of the whole, to the bit.

    It holds the history of one signal. A signal each way needs one each.

    >>> r = Resampler(48_000, 16_000)
    >>> parts = [r.push(np.zeros(960, np.float32)) for _ in range(50)] + [r.finish()]
    >>> sum(map(len, parts))
    16000
    """

    def __init__(self, rate_in: int, rate_out: int, *, quality: Quality = "HQ") -> None:
        check_rates(rate_in, rate_out, quality)
        self.rate_in = rate_in
        self.rate_out = rate_out
        self.quality = quality
        self.closed = False
        self.channels = Channels()
        self._soxr = None if rate_in == rate_out else soxr_stream(rate_in, rate_out, quality)

    def push(self, samples: Samples, /) -> Wave:
        """Take the next samples; return those at the new rate that are certain by now, often none."""
        wave = self.push_wave(self.channels.waveform(samples))
        # At equal rates these are the caller's own samples, whose memory a live source soon uses again.
        return wave.copy() if self._soxr is None else wave

    def push_wave(self, wave: Wave) -> Wave:
        """Do the same for samples that `channels.waveform` made; at equal rates it returns them as they are."""
        if self.closed:
            raise ValueError("this resampler is finished: reset() it, or make another for another signal")
        if self._soxr is None or not len(wave):
            return wave
        result: Wave = self._soxr.resample_chunk(wave)
        return result

    def finish(self) -> Wave:
        """Return what the filter held back, and close."""
        if self.closed:
            raise ValueError("this resampler is finished already: reset() it, or make another for another signal")
        self.closed = True
        if self._soxr is None:
            return np.empty(0, np.float32)
        result: Wave = self._soxr.resample_chunk(np.empty(0, np.float32), last=True)
        return result

    def reset(self) -> None:
        """Forget the signal and begin another at the same rates; cheaper than making a resampler."""
        self.closed = False
        self.channels = Channels()
        if self._soxr is not None:
            self._soxr.clear()

    @property
    def latency(self) -> float:
        """The longest that a sample waits inside, in seconds; it depends on the rates and on the quality."""
        return 0.0 if self._soxr is None else latency(self.rate_in, self.rate_out, self.quality)


def soxr_stream(rate_in: int, rate_out: int, quality: Quality) -> soxr.ResampleStream:
    """Open a soxr stream of one float32 channel."""
    return soxr.ResampleStream(rate_in, rate_out, 1, dtype="float32", quality=quality)


@cache
def latency(rate_in: int, rate_out: int, quality: Quality) -> float:
    """Measure how long soxr holds a sample: two seconds of silence in steps of 1 ms, the worst gap in seconds.

    soxr filters in blocks, so the wait is a sawtooth; a live signal meets its peak.
    """
    stream = soxr_stream(rate_in, rate_out, quality)
    step = np.zeros(max(1, rate_in // 1000), np.float32)
    worst, pushed, given = 0.0, 0, 0
    while pushed < 2 * rate_in:
        pushed += len(step)
        worst = max(worst, pushed / rate_in - given / rate_out)
        given += len(stream.resample_chunk(step))
    return worst


def check_rates(rate_in: int, rate_out: int, quality: str) -> None:
    """Refuse a rate that is not a whole number of Hz, and a quality that soxr does not have."""
    for name, rate in (("rate_in", rate_in), ("rate_out", rate_out)):
        if not isinstance(rate, int | np.integer) or isinstance(rate, bool):
            raise TypeError(f"{name} is {rate!r}; a sample rate is a whole number of Hz")
        if not 1 <= rate <= MAX_RATE:
            raise ValueError(f"{name} is {rate} Hz; sample rates are 1 to {MAX_RATE} Hz")
    if quality not in get_args(Quality):
        raise ValueError(f"quality is {quality!r}; soxr has {', '.join(get_args(Quality))}")
