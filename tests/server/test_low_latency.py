"""The resampler of live sound: exact, early, small, and without what does not belong into the sound."""

import tracemalloc

import numpy as np
import pytest

from omni_server.session.low_latency import LowLatency
from tests.server.realtime_talk import silence


@pytest.mark.parametrize(
    ("rate_in", "rate_out"),
    [(24_000, 16_000), (16_000, 24_000), (8_000, 16_000), (44_100, 16_000), (15_999, 16_000), (16_000, 47_999)],
)
def test_a_resampler_of_low_latency_keeps_a_tone_whatever_the_pieces(rate_in: int, rate_out: int) -> None:
    rng = np.random.default_rng(rate_in)

    def wave(rate: int) -> np.ndarray:
        times = np.arange(rate) / rate
        return (0.3 * np.sin(2 * np.pi * 440 * times) + 0.2 * np.sin(2 * np.pi * 2500 * times)).astype(np.float32)

    sound, resampler = wave(rate_in), LowLatency(rate_in, rate_out)
    ends = np.sort(rng.integers(0, rate_in, 60))
    pieces = [resampler.push(piece) for piece in np.split(sound, ends)]
    given = sum(map(len, pieces))
    assert given / rate_out > 1 - 0.012  # no more than 12 ms wait inside at the end
    found = np.concatenate([*pieces, resampler.finish()])
    assert len(found) == rate_out
    edge = rate_out // 100
    assert np.abs(found - wave(rate_out))[edge:-edge].max() < 1e-3


@pytest.mark.parametrize(("rate_in", "rate_out"), [(4_001, 16_000), (191_999, 16_000), (24_000, 191_999)])
def test_no_two_rates_take_much_memory(rate_in: int, rate_out: int) -> None:
    tracemalloc.start()
    try:
        resampler = LowLatency(rate_in, rate_out)
        made = len(resampler.push(silence(0.1, rate_in))) + len(resampler.finish())
        assert made == round(round(0.1 * rate_in) * rate_out / rate_in)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_sound_above_the_lower_rate_does_not_fold_into_what_is_heard() -> None:
    times = np.arange(24_000) / 24_000
    high = np.sin(2 * np.pi * 10_000 * times).astype(np.float32)
    assert np.abs(LowLatency(24_000, 16_000).push(high)[200:]).max() < 0.002


def test_silence_stays_silence() -> None:
    assert not LowLatency(24_000, 16_000).push(silence(0.1)).any()
