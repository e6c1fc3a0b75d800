"""Intervals beside those of scipy, and beside the truth."""

import numpy as np
import pytest
from scipy import stats

from omni_server.compare.statistics import estimate, paired_difference, paired_ratio, percentile, share


@pytest.mark.parametrize("point", [50, 95])
def test_intervals_of_percentiles_are_those_of_scipy(point: float) -> None:
    values = np.random.default_rng(1).gamma(4, 60, 60)
    found = estimate(values.tolist(), point)
    peer = stats.bootstrap(
        (values,), lambda x, axis: np.percentile(x, point, axis=axis), method="percentile", n_resamples=10_000, rng=2
    ).confidence_interval
    assert found is not None
    assert found.interval is not None
    spread = peer.high - peer.low
    assert found.interval == pytest.approx((peer.low, peer.high), abs=0.12 * spread)


def test_intervals_of_paired_ratios_are_those_of_scipy() -> None:
    random = np.random.default_rng(3)
    shared = random.gamma(8, 30, 48)
    slow, fast = shared * 2.4 + random.normal(0, 15, 48), shared + random.normal(0, 15, 48)
    found = paired_ratio(slow.tolist(), fast.tolist())
    peer = stats.bootstrap(
        (slow, fast), lambda a, b, axis: np.median(a, axis=axis) / np.median(b, axis=axis),
        paired=True, method="percentile", n_resamples=10_000, rng=4,
    ).confidence_interval  # fmt: skip
    assert found is not None
    assert found.interval == pytest.approx((peer.low, peer.high), rel=0.02)


def test_nineteen_of_twenty_intervals_hold_the_truth() -> None:
    random = np.random.default_rng(5)
    held = 0
    for _ in range(100):
        shared = random.normal(500, 100, 40)
        found = paired_difference((shared + random.normal(80, 20, 40)).tolist(), shared.tolist())
        assert found is not None
        assert found.interval is not None
        held += found.interval[0] <= 80 <= found.interval[1]
    assert 88 <= held <= 100


def test_pairing_takes_out_what_both_share() -> None:
    random = np.random.default_rng(6)
    shared = random.normal(600, 200, 40)
    fast, slow = shared + random.normal(0, 2, 40), shared + 50 + random.normal(0, 2, 40)
    found = paired_difference(slow.tolist(), fast.tolist())
    assert found is not None
    assert found.interval is not None
    assert found.interval[1] - found.interval[0] < 5


def test_too_few_numbers_have_no_interval_and_none_have_no_value() -> None:
    two = estimate([1.0, 2.0], 50)
    assert two is not None
    assert (two.value, two.interval) == (1.5, None)
    assert estimate([], 50) is None
    assert paired_difference([], []) is None
    assert share(0, 0) is None


def test_unequal_lists_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="3 and 2 values are no pairs"):
        paired_difference([1.0, 2.0, 3.0], [1.0, 2.0])


@pytest.mark.parametrize(("right", "of"), [(0, 20), (7, 20), (20, 20), (181, 300)])
def test_shares_have_wilsons_interval(right: int, of: int) -> None:
    peer = stats.binomtest(right, of).proportion_ci(method="wilson")
    found = share(right, of)
    assert found is not None
    assert found.interval == pytest.approx((peer.low, peer.high), abs=1e-6)


def test_a_percentile_is_that_of_numpy() -> None:
    values = list(np.random.default_rng(0).normal(size=101))
    assert percentile(values, 95) == pytest.approx(float(np.quantile(values, 0.95)))
