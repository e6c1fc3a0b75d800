"""What a comparison says in numbers: one row a measure, with its interval, and whether it reached its bar."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from omni_server.compare.statistics import (
    POINTS,
    Estimate,
    estimate,
    paired_difference,
    paired_ratio,
    percentile,
    share,
)
from omni_server.compare.turn import NEVER_STOPPED, Measured

NATIVE, PIPELINE = "native", "pipeline"  # contestants of these names have bars
P50_MS, P95_MS, STOP_MS = 200.0, 320.0, 200.0
FASTER, SURELY_FASTER = 2.0, 1.5  # times: at the median, and at the lower end of the interval
WORSE = 0.01  # by so much of all answers native may be right less often
NEVER = 1e9  # ms
LOADED = 8  # users at which the 95th percentile still has its bar


@dataclass(frozen=True)
class Reference:
    """A figure that somebody else published, on other hardware: a lead, not a measurement of ours."""

    name: str
    ms: float


REFERENCES = (
    Reference("GPT-4o, fastest (published)", 232.0),
    Reference("GPT-4o, average (published)", 320.0),
    Reference("Moshi (published)", 200.0),
    Reference("people among themselves (published)", 200.0),
)


@dataclass(frozen=True)
class Row:
    """One measure."""

    measure: str
    value: float | None  # None: nothing could be measured
    unit: str
    n: int
    interval: tuple[float, float] | None = None  # 95 %
    bar: str | None = None
    holds: bool | None = None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**vars(self), "interval": None if self.interval is None else list(self.interval)}

    @property
    def shown(self) -> str:
        """The value for people."""
        return figure(self.value, self.unit)

    @property
    def shown_interval(self) -> str:
        """The interval for people."""
        if self.interval is None:
            return ""
        low, high = (figure(edge, self.unit) for edge in self.interval)
        return f"{low} – {high}"


def figure(value: float | None, unit: str) -> str:
    """A number with its unit.

    >>> figure(203.4, "ms"), figure(2.345, "×"), figure(0.931, "%"), figure(None, "ms")
    ('203 ms', '2.35×', '93.1 %', '–')
    """
    if value is None:
        return "–"
    match unit:
        case "×":
            return f"{value:.2f}×"
        case "%":
            return f"{value * 100:.1f} %"
        case _:
            return f"{value:.0f} {unit}".strip()


def rows(measured: Measured) -> list[Row]:
    """All of them, the most important first."""
    names = measured.contestants
    found: list[Row] = []
    for name in names:
        found += _times(measured, name)
    if len(names) == 2:
        slow, fast = (PIPELINE, NATIVE) if set(names) == {NATIVE, PIPELINE} else names
        found += _against(measured, slow, fast)
    found += _right(measured, names)
    for name in names:
        found += _stop(measured, name)
    for name in names:
        for users in measured.users(name):
            if users > 1:
                found += _loaded(measured, name, users)
    for name in names:
        found += _left_out(measured, name)
    return found


def _row(
    measure: str, found: Estimate | None, unit: str, n: int = 0, bar: str | None = None, holds: bool | None = None
) -> Row:
    if found is None:
        return Row(measure, None, unit, n, None, bar, None if bar is None else False)
    return Row(measure, found.value, unit, found.n, found.interval, bar, holds)


def _below(measure: str, values: Sequence[float], point: float, limit: float | None, unanswered: int = 0) -> Row:
    """A percentile of the answers that came. Its bar holds only where it does with those that never came as late."""
    found = estimate(values, point)
    if limit is None:
        return _row(measure, found, "ms")
    bar = f"≤ {limit:.0f} ms" + (f" of all {len(values) + unanswered} asked" if unanswered else "")
    holds = found is not None and percentile([*values, *[NEVER] * unanswered], point) <= limit
    return _row(measure, found, "ms", bar=bar, holds=holds)


def _times(measured: Measured, name: str) -> list[Row]:
    values, missing = measured.counted(name), measured.unanswered(name)
    bars = {50: P50_MS, 95: P95_MS} if name == NATIVE else {}
    return [_below(f"{name} voice-to-voice p{point}", values, point, bars.get(point), missing) for point in POINTS]


def _against(measured: Measured, slow: str, fast: str) -> list[Row]:
    first, second = measured.pairs(slow, fast)
    ratio = paired_ratio(first, second)
    difference = _row(f"{slow} − {fast}, median of pairs", paired_difference(first, second), "ms")
    bar, holds = None, None
    if (slow, fast) == (PIPELINE, NATIVE):
        bar = f"≥ {FASTER:g}×, interval above {SURELY_FASTER:g}×"
        holds = (
            ratio is not None
            and ratio.value >= FASTER
            and ratio.interval is not None
            and ratio.interval[0] > SURELY_FASTER
        )
    return [_row(f"{slow} / {fast} at p50, paired", ratio, "×", bar=bar, holds=holds), difference]


def _right(measured: Measured, names: Sequence[str]) -> list[Row]:
    """A fast wrong answer is not a win: native has a bar beside the pipeline."""
    found = {}
    for name in names:
        judged = [turn.right for turn in measured.of(name) if turn.right is not None]
        found[name] = _row(f"{name} answers right", share(sum(judged), len(judged)), "%")
    if set(names) == {NATIVE, PIPELINE}:
        native, pipeline = found[NATIVE], found[PIPELINE]
        if native.value is not None and pipeline.value is not None:
            bar, holds = f"≥ {pipeline.shown} − {WORSE * 100:.0f} point", native.value >= pipeline.value - WORSE
            found[NATIVE] = replace(native, bar=bar, holds=holds)
    return [found[name] for name in names]


def _stop(measured: Measured, name: str) -> list[Row]:
    tried = [turn for turn in measured.of(name) if "interrupted" in turn.excluded]
    if not tried:
        return []
    values = [turn.stop_ms for turn in tried if turn.stop_ms is not None]
    never = sum(turn.error is not None or NEVER_STOPPED in turn.excluded for turn in tried)
    return [
        _below(f"{name} barge-in stop p50", values, 50, None),
        _below(f"{name} barge-in stop p95", values, 95, STOP_MS, never),
    ]


def _loaded(measured: Measured, name: str, users: int) -> list[Row]:
    values = measured.counted(name, users)
    bar = P95_MS if name == NATIVE and users == LOADED else None
    return [
        _below(f"{name} p50, {users} users", values, 50, None),
        _below(f"{name} p95, {users} users", values, 95, bar, measured.unanswered(name, users)),
    ]


def _left_out(measured: Measured, name: str) -> list[Row]:
    """Turns that are in no percentile, by the reason: what is left out is said."""
    turns = [t for t in measured.turns if t.contestant == name and "interrupted" not in t.excluded]
    reasons: dict[str, int] = {}
    for turn in turns:
        if not turn.counts:
            why = turn.excluded[0] if turn.excluded else "failed" if turn.error is not None else "no sound"
            reasons[why] = reasons.get(why, 0) + 1
    return [
        Row(f"{name} turns not counted: {why}", float(count), "", len(turns)) for why, count in sorted(reasons.items())
    ]
