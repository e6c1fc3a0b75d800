"""Wilson's interval: how sure a share is. It stays between 0 and 1, also for few cases and for all or none."""

Z = 1.959964  # of the normal distribution, for 95 %


def wilson(right: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share; everything is possible of nothing.

    >>> tuple(round(x, 3) for x in wilson(95, 100))
    (0.888, 0.978)
    """
    if not n:
        return 0.0, 1.0
    p = right / n
    middle = (p + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z / (1 + Z * Z / n) * (p * (1 - p) / n + Z * Z / (4 * n * n)) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)
