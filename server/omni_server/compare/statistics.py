"""Percentiles and paired differences with bootstrap intervals."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omni.wilson import wilson

RESAMPLES = 10_000
CONFIDENCE = 0.95
SEED = 20_261_121  # the same data give the same interval
POINTS = (50, 90, 95, 99)

Numbers = NDArray[np.float64]
Statistic = Callable[[Numbers], Numbers]  # of samples [resamples, n] along the last axis


@dataclass(frozen=True)
class Estimate:
    """A number with the interval that it lies in, 95 of 100 times; None where there are too few for one."""

    value: float
    interval: tuple[float, float] | None
    n: int


def percentile(values: Sequence[float], point: float) -> float:
    """A percentile, by linear interpolation.

    >>> percentile([1.0, 2.0, 3.0], 50)
    2.0
    """
    return float(np.percentile(np.asarray(values, np.float64), point))


def estimate(values: Sequence[float], point: float) -> Estimate | None:
    """A percentile with its interval; None of nothing."""
    if not values:
        return None
    data = np.asarray(values, np.float64)
    drawn = data[_draws(len(data))]  # [resamples, n]
    return Estimate(percentile(values, point), _interval(np.percentile(drawn, point, axis=1), len(data)), len(data))


def paired_difference(a: Sequence[float], b: Sequence[float]) -> Estimate | None:
    """The median of a − b over pairs.

    >>> found = paired_difference([5.0, 6.0, 7.0], [1.0, 2.0, 3.0])
    >>> found.value, found.interval
    (4.0, (4.0, 4.0))
    """
    first, second = _pairs(a, b)
    if not len(first):
        return None
    differences = first - second
    drawn = np.median(differences[_draws(len(differences))], axis=1)
    return Estimate(float(np.median(differences)), _interval(drawn, len(first)), len(first))


def paired_ratio(a: Sequence[float], b: Sequence[float], point: float = 50) -> Estimate | None:
    """How many times larger a percentile of a is than that of b; pairs are drawn together.

    >>> paired_ratio([4.0, 6.0, 8.0], [2.0, 3.0, 4.0]).value
    2.0
    """
    first, second = _pairs(a, b)
    if not len(first) or percentile(second.tolist(), point) <= 0:
        return None
    draws = _draws(len(first))
    top = np.percentile(first[draws], point, axis=1)
    bottom = np.percentile(second[draws], point, axis=1)
    value = percentile(first.tolist(), point) / percentile(second.tolist(), point)
    safe = bottom > 0
    return Estimate(value, _interval(top[safe] / bottom[safe], len(first)), len(first))


def share(right: int, of: int) -> Estimate | None:
    """A share with Wilson's interval, which stays between 0 and 1.

    >>> found = share(9, 10)
    >>> found.value, tuple(round(edge, 3) for edge in found.interval)
    (0.9, (0.596, 0.982))
    """
    if of == 0:
        return None
    return Estimate(right / of, wilson(right, of), of)


def _pairs(a: Sequence[float], b: Sequence[float]) -> tuple[Numbers, Numbers]:
    if len(a) != len(b):
        raise ValueError(f"{len(a)} and {len(b)} values are no pairs: leave out turns that one of the two lacks")
    return np.asarray(a, np.float64), np.asarray(b, np.float64)


def _draws(n: int) -> NDArray[np.int64]:
    drawn: NDArray[np.int64] = np.random.default_rng(SEED).integers(0, n, (RESAMPLES, n))
    return drawn


def _interval(values: Numbers, n: int) -> tuple[float, float] | None:
    if n < 3 or not len(values):  # two numbers say nothing about how they scatter
        return None
    tail = (1 - CONFIDENCE) / 2 * 100
    return float(np.percentile(values, tail)), float(np.percentile(values, 100 - tail))
