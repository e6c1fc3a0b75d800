"""The sequence with matplotlib: which token is what, where it sits, and whom it sees."""

from typing import Any

import numpy as np

from omni_tokenizers.optional import need
from omni_tokenizers.sequence.palette import colour_of
from omni_tokenizers.sequence.sequence import Sequence

MOST_TOKENS = 2048  # a side of the drawn mask; a longer sequence is thinned out


def plot(sequence: Sequence, axes: Any = None) -> Any:
    """Draw modality and positions above, the attention mask below; on two axes of yours, or in a new figure."""
    pyplot = need("matplotlib.pyplot", extra="demos", use="plotting a sequence")
    if axes is None:
        figure, axes = pyplot.subplots(2, 1, figsize=(8, 9), height_ratios=(1, 3), layout="constrained", sharex=True)
    else:
        figure = axes[0].figure
    upper, lower = axes
    positions = np.atleast_2d(sequence.positions)
    names = ("position",) if len(positions) == 1 else ("time", "row", "column")
    for axis, name, style in zip(positions, names, ("-", "--", ":"), strict=False):
        upper.plot(np.arange(len(sequence)), axis, style, color="0.25", linewidth=1.2, label=name)
    labelled: set[str] = set()
    for span in sequence.spans:
        if span.length:
            label = None if span.modality in labelled else f"{span.modality} {sequence.counts()[span.modality]:,}"
            labelled.add(span.modality)
            colour = colour_of(span.modality, sequence.kinds).light
            upper.axvspan(span.start - 0.5, span.stop - 0.5, color=colour, alpha=0.3, linewidth=0, label=label)
    upper.set_ylabel("position")
    upper.legend(loc="upper left", fontsize="small")
    step = max(1, -(-len(sequence) // MOST_TOKENS))
    mask = sequence.mask()[::step, ::step] if step == 1 else _thinned(sequence, step)
    edges = (-0.5, len(sequence) - 0.5, len(sequence) - 0.5, -0.5)
    lower.imshow(mask, cmap="Greys", vmin=0, vmax=1.4, interpolation="nearest", extent=edges)
    lower.set_xlabel("token that is seen")
    lower.set_ylabel("token that looks")
    return figure


def _thinned(sequence: Sequence, step: int) -> Any:
    # Row by row, because the whole mask of a long sequence would not fit into memory.
    rows = range(0, len(sequence), step)
    return np.concatenate([sequence.mask(queries=slice(row, row + 1))[:, ::step] for row in rows])
