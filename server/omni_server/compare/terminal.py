"""The report in a terminal."""

from collections.abc import Iterable, Sequence

from omni_server.client.answer import Stage
from omni_server.client.waterfall_text import draw
from omni_server.compare.rows import REFERENCES, Row
from omni_server.compare.turn import Measured

LAST = ("rest", "play-out")  # stages that come behind all others, whichever turn had them first
VERDICT = {True: "yes", False: "NO", None: ""}


def table(found: Sequence[Row]) -> str:
    """All rows, in columns."""
    head = ("measure", "value", "95 % interval", "n", "bar", "holds")
    cells = [
        (row.measure, row.shown, row.shown_interval, str(row.n), row.bar or "", VERDICT[row.holds]) for row in found
    ]
    widths = [max(len(line[at]) for line in (head, *cells)) for at in range(len(head))]
    right = (False, True, True, True, False, False)

    def written(line: Sequence[str]) -> str:
        return "  ".join(
            text.rjust(width) if to_right else text.ljust(width)
            for text, width, to_right in zip(line, widths, right, strict=True)
        ).rstrip()

    return "\n".join([written(head), "  ".join("─" * width for width in widths), *map(written, cells)])


def mean_stages(measured: Measured, name: str) -> list[Stage]:
    """The mean of each stage over turns that count: means add up, medians do not."""
    turns = [turn for turn in measured.of(name) if turn.counts and turn.stages]
    order = in_order(stage.name for turn in turns for stage in turn.stages)
    return [
        Stage(name, sum(stage.ms for turn in turns for stage in turn.stages if stage.name == name) / len(turns))
        for name in order
    ]


def in_order(names: Iterable[str]) -> list[str]:
    """Each stage once, in the order in which they turn up, but for the last two.

    >>> in_order(["endpoint", "rest", "play-out", "endpoint", "stt", "rest"])
    ['endpoint', 'stt', 'rest', 'play-out']
    """
    found = dict.fromkeys(names)
    return [name for name in found if name not in LAST] + [name for name in LAST if name in found]


def report(measured: Measured, found: Sequence[Row]) -> str:
    """The whole of it."""
    parts = [table(found)]
    for name in measured.contestants:
        stages = mean_stages(measured, name)
        if stages:
            parts.append(f"{name}: where the time goes, mean of {len(measured.counted(name))} turns\n{draw(stages)}")
    published = ", ".join(f"{one.name.removesuffix(' (published)')} {one.ms:.0f} ms" for one in REFERENCES)
    parts.append(f"Published elsewhere, on other hardware: {published}.")
    return "\n\n".join(parts)
