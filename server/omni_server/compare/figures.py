"""Figures as inline SVG: shares of answers by time, stacked waterfalls, users at once. Colours come from the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from omni_server.client.answer import Stage
from omni_server.compare.rows import REFERENCES
from omni_server.compare.statistics import percentile
from omni_server.compare.terminal import in_order
from omni_server.compare.turn import Measured

WIDTH, HEIGHT = 720, 300  # pixels
LEFT, RIGHT, TOP, BOTTOM = 64, 20, 16, 44  # pixels of margin
STEPS = (1, 2, 2.5, 5, 10)
BAR, GAP = 34, 30  # pixels
COLOURS = 14  # of stages, in the page's style


@dataclass(frozen=True)
class Scale:
    """Numbers to pixels."""

    most: float
    begin: float
    end: float

    def at(self, value: float) -> float:
        """The place of a number."""
        return round(self.begin + (self.end - self.begin) * min(max(value, 0.0), self.most) / self.most, 1)

    def ticks(self, about: int = 6) -> list[float]:
        """Round numbers along it.

        >>> Scale(950, 0, 100).ticks()
        [0.0, 200.0, 400.0, 600.0, 800.0]
        """
        raw = self.most / about
        power = 1.0
        while power * 10 <= raw:
            power *= 10
        while power > raw:
            power /= 10
        step = next(power * one for one in STEPS if power * one >= raw)
        return [step * number for number in range(int(self.most / step + 1e-9) + 1)]


def cumulative(measured: Measured) -> str:
    """Which share of the answers was audible after how long."""
    series = {name: sorted(measured.counted(name)) for name in measured.contestants}
    return _shares(series, "ms from the last sample of speech to the first audible sample", references=True)


def stops(measured: Measured) -> str:
    """Which share of interrupted answers was silent after how long."""
    series = {
        name: sorted(turn.stop_ms for turn in measured.of(name) if turn.stop_ms is not None)
        for name in measured.contestants
    }
    return _shares(series, "ms from the onset of the user's speech to the last sample heard", references=False)


def _shares(series: dict[str, list[float]], label: str, *, references: bool) -> str:
    if not any(series.values()):
        return ""
    lines = [one.ms for one in REFERENCES] if references else []
    x = Scale(max([values[-1] for values in series.values() if values] + lines) * 1.08, LEFT, WIDTH - RIGHT)
    y = Scale(1.0, HEIGHT - BOTTOM, TOP)
    drawn = [_grid(x, y, label, percent=True)]
    for ms in sorted(set(lines)):
        who = ", ".join(one.name.partition(" (")[0] for one in REFERENCES if one.ms == ms)
        place = x.at(ms)
        drawn.append(f'<line class="ref" x1="{place}" x2="{place}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        turned = f"rotate(-90 {place - 5:.1f} {TOP + 4})"
        drawn.append(
            f'<text class="tick end" x="{place - 5:.1f}" y="{TOP + 4}" transform="{turned}">{escape(who)}</text>'
        )
    for number, values in enumerate(series.values()):
        if not values:
            continue
        points, share = [f"{x.at(values[0])},{y.at(0)}"], 0.0
        for place, value in enumerate(values, 1):
            points.append(f"{x.at(value)},{y.at(share)}")
            share = place / len(values)
            points.append(f"{x.at(value)},{y.at(share)}")
        drawn.append(f'<polyline class="line c{number}" points="{" ".join(points)}"/>')
    names = [(name, f"c{number}") for number, (name, values) in enumerate(series.items()) if values]
    return _svg("\n".join(drawn), f"Share of turns against {label}") + _legend(names, lines=True)


def stacked(stages: Mapping[str, Sequence[Stage]]) -> str:
    """One bar for each contestant, its stages one behind the other."""
    stages = {name: found for name, found in stages.items() if found}
    if not stages:
        return ""
    order = in_order(stage.name for found in stages.values() for stage in found)
    totals = {name: sum(stage.ms for stage in found) for name, found in stages.items()}
    high = TOP + (BAR + GAP) * len(stages)
    drawn_to = [sum(max(0.0, stage.ms) for stage in found) for found in stages.values()]
    x = Scale(max([*drawn_to, 1.0]) * 1.12, LEFT + 16, WIDTH - RIGHT)
    drawn = [_ticks(x, high)]
    for number, (name, found) in enumerate(stages.items()):
        top, at = TOP + number * (BAR + GAP) + 8, 0.0
        drawn.append(f'<text class="name" x="{LEFT + 8}" y="{top + BAR / 2 + 4}">{escape(name)}</text>')
        for stage in found:
            if stage.ms <= 0:
                continue
            wide = x.at(at + stage.ms) - x.at(at)
            about = f"<title>{escape(stage.name)}: {stage.ms:.0f} ms</title>"
            kind = order.index(stage.name) % COLOURS
            drawn.append(
                f'<rect class="s{kind}" x="{x.at(at)}" y="{top}" width="{wide:.1f}" height="{BAR}">{about}</rect>'
            )
            if wide > 30:
                middle = x.at(at) + wide / 2
                drawn.append(f'<text class="in" x="{middle:.1f}" y="{top + BAR / 2 + 4}">{stage.ms:.0f}</text>')
            at += stage.ms
        drawn.append(f'<text class="sum" x="{x.at(at) + 6}" y="{top + BAR / 2 + 4}">{totals[name]:.0f} ms</text>')
    legend = _legend([(name, f"s{at % COLOURS}") for at, name in enumerate(order)], lines=False)
    return _svg("\n".join(drawn), "Where the time goes, stage by stage", height=high + BOTTOM) + legend


def users(measured: Measured) -> str:
    """Median and 95th percentile against the number of users at once."""
    found = {
        name: [(n, values) for n in measured.users(name) if (values := measured.counted(name, n))]
        for name in measured.contestants
    }
    counts = sorted({n for points in found.values() for n, _ in points})
    if len(counts) < 2:
        return ""
    most = max(percentile(values, 95) for points in found.values() for _, values in points)
    y = Scale(most * 1.1, HEIGHT - BOTTOM, TOP)
    places = {n: LEFT + 30 + at * (WIDTH - LEFT - RIGHT - 60) / (len(counts) - 1) for at, n in enumerate(counts)}
    drawn = [_left(y, "ms")]
    for n, place in places.items():
        drawn.append(f'<text class="tick mid" x="{place:.1f}" y="{HEIGHT - BOTTOM + 18}">{n}</text>')
    drawn.append(f'<text class="label mid" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">users at once</text>')
    names = []
    for number, (name, points) in enumerate(found.items()):
        for point, look in ((50, ""), (95, " dashed")):
            path = " ".join(f"{places[n]:.1f},{y.at(percentile(values, point))}" for n, values in points)
            drawn.append(f'<polyline class="line c{number}{look}" points="{path}"/>')
            names.append((f"{name} p{point}", f"c{number}{look}"))
            for n, values in points:
                drawn.append(
                    f'<circle class="dot c{number}" cx="{places[n]:.1f}" cy="{y.at(percentile(values, point))}" r="3">'
                    f"<title>{escape(name)}, {n} users: p{point} {percentile(values, point):.0f} ms</title></circle>"
                )
    return _svg("\n".join(drawn), "Voice-to-voice against users at once") + _legend(names, lines=True)


def _grid(x: Scale, y: Scale, label: str, *, percent: bool) -> str:
    drawn = []
    for tick in x.ticks():
        drawn.append(f'<line class="grid" x1="{x.at(tick)}" x2="{x.at(tick)}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        drawn.append(f'<text class="tick mid" x="{x.at(tick)}" y="{HEIGHT - BOTTOM + 18}">{tick:g}</text>')
    for tick in (0, 0.25, 0.5, 0.75, 1):
        drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.at(tick)}" y2="{y.at(tick)}"/>')
        shown = f"{tick * 100:.0f} %" if percent else f"{tick:g}"
        drawn.append(f'<text class="tick end" x="{LEFT - 8}" y="{y.at(tick) + 4}">{shown}</text>')
    drawn.append(f'<text class="label mid" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 6}">{escape(label)}</text>')
    return "\n".join(drawn)


def _left(y: Scale, unit: str) -> str:
    drawn = []
    for tick in y.ticks():
        drawn.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y.at(tick)}" y2="{y.at(tick)}"/>')
        drawn.append(f'<text class="tick end" x="{LEFT - 8}" y="{y.at(tick) + 4}">{tick:g} {unit}</text>')
    return "\n".join(drawn)


def _ticks(x: Scale, high: float) -> str:
    drawn = []
    for tick in x.ticks():
        drawn.append(f'<line class="grid" x1="{x.at(tick)}" x2="{x.at(tick)}" y1="{TOP}" y2="{high}"/>')
        drawn.append(f'<text class="tick mid" x="{x.at(tick)}" y="{high + 18}">{tick:g}</text>')
    drawn.append(f'<text class="label mid" x="{(LEFT + WIDTH - RIGHT) / 2}" y="{high + 38}">ms</text>')
    return "\n".join(drawn)


def _svg(inside: str, title: str, *, height: float = HEIGHT) -> str:
    return (
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{escape(title)}">\n'
        f"<title>{escape(title)}</title>\n{inside}\n</svg>\n"
    )


def _legend(names: Sequence[tuple[str, str]], *, lines: bool) -> str:
    shape = (
        '<line class="line {0}" x1="0" x2="22" y1="6" y2="6"/>'
        if lines
        else '<rect class="{0}" width="22" height="12"/>'
    )
    entries = "".join(
        f'<span><svg class="key" viewBox="0 0 22 12" aria-hidden="true">{shape.format(look)}</svg>{escape(name)}</span>'
        for name, look in names
    )
    return f'<p class="legend">{entries}</p>\n'
