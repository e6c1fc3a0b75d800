"""Pictures of a training and of an examination."""

import json
from pathlib import Path
from typing import Any

from omni.train.marking import Marks
from omni_tokenizers.optional import need

COLORS = {True: "tab:green", False: "tab:red", None: "tab:gray"}  # by whether a bar holds
LOSSES = ("text", "turn", "heard", "spelled", "seen", "codes")


def _pyplot() -> Any:
    matplotlib = need("matplotlib", extra="train", use="drawing plots")
    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def plot_losses(folder: Path) -> Path:
    """The losses of a training's log as losses.png beside it."""
    plt = _pyplot()
    lines = logged(folder)
    figure, axes = plt.subplots(1, len(LOSSES), figsize=(4 * len(LOSSES), 3), layout="constrained")
    for axis, name in zip(axes, LOSSES, strict=True):
        axis.plot([line["step"] for line in lines if name in line], [line[name] for line in lines if name in line])
        axis.set(title=name, xlabel="step")
    file = folder / "losses.png"
    figure.savefig(file, dpi=100)
    plt.close(figure)
    return file


def logged(folder: Path) -> list[dict[str, float]]:
    """The lines of a training's log. What it did again after it was cut off counts, not what was lost."""
    file = folder / "log.jsonl"
    lines: list[dict[str, float]] = []
    for text in file.read_text().splitlines() if file.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:  # half a line, that a power cut left
            continue
        while lines and lines[-1]["step"] >= line["step"]:
            lines.pop()
        lines.append(line)
    return lines


def check_drawn(file: Path) -> None:
    """Raise ValueError unless a picture can be drawn into a file of this name."""
    need("matplotlib", extra="train", use="drawing plots")
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    if file.suffix.lower().lstrip(".") not in known:
        raise ValueError(f"{file} is no name of a picture: end it in one of {', '.join(f'.{kind}' for kind in known)}")


def plot_marks(marks: Marks, file: Path) -> Path:
    """The shares of the table with intervals and bars; what is no share, as PESQ, is not among them."""
    plt = _pyplot()
    rows = [row for row in marks.rows if row.value is not None and (row.bar is None or row.bar <= 1)][::-1]
    figure, axis = plt.subplots(figsize=(9, 0.45 * len(rows) + 1), layout="constrained")
    for place, row in enumerate(rows):
        low, high = row.interval or (row.value, row.value)
        axis.plot([low, high], [place, place], color=COLORS[row.holds], linewidth=3)
        axis.plot(row.value, place, "o", color="black")
        if row.bar is not None:
            axis.plot(row.bar, place, "|", color="tab:blue", markersize=16)
    axis.set(yticks=range(len(rows)), yticklabels=[row.measure for row in rows], xlim=(-0.02, None))
    axis.set_xlabel("share, its 95 % interval, and the bar (blue)")
    figure.savefig(file, dpi=100)
    plt.close(figure)
    return file
