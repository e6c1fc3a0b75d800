"""A waterfall in a terminal: one line a stage, each bar beginning where the one before ended."""

from collections.abc import Sequence

from omni_server.client.answer import Stage

WIDTH = 44  # characters of the longest bar
EIGHTHS = " ▏▎▍▌▋▊▉█"


def draw(stages: Sequence[Stage], width: int = WIDTH) -> str:
    """The picture; empty for no stages.

    >>> print(draw([Stage("endpoint", 300.0), Stage("play-out", 100.0)], width=8))
    endpoint    300 ms  ██████
    play-out    100 ms        ██
    together    400 ms
    """
    if not stages:
        return ""
    total = sum(stage.ms for stage in stages)
    ends = [sum(stage.ms for stage in stages[: place + 1]) for place in range(len(stages))]
    most = max(*ends, 1e-9)  # more than the total where a stage is negative
    name_width = max(len("together"), *(len(stage.name) for stage in stages))
    lines = []
    for stage, end in zip(stages, ends, strict=True):
        bar = _bar(max(0.0, end - stage.ms), stage.ms, most, width)
        lines.append(f"{stage.name:{name_width}} {stage.ms:6.0f} ms  {bar}".rstrip())
    lines.append(f"{'together':{name_width}} {total:6.0f} ms")
    return "\n".join(lines)


def _bar(at: float, ms: float, most: float, width: int) -> str:
    """From here, so long, in eighths of a character; a stage that took time is at least a line."""
    if ms <= 0:
        return ""
    begin = round(min(at, most) / most * width * 8)
    end = max(begin + 1, round(min(at + ms, most) / most * width * 8))
    first = begin // 8
    full, part = divmod(end - first * 8, 8)
    # A bar that begins inside a character begins with it: half blocks cannot be cut on their left.
    return " " * first + "█" * full + (EIGHTHS[part] if part else "")
