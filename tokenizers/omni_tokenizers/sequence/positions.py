"""Positions as pure functions of the spans: 1-D, M-RoPE and TMRoPE.

Each document of a pack starts anew, and padding sits at 0. All three count on from the largest position so
far, over all axes, plus one. The tables of rotary sections say which axis turns which frequency.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.sequence.span import NO_CLOCK, PAD, Span

Scheme = Literal["linear", "mrope", "tmrope"]
SCHEMES: tuple[Scheme, ...] = ("linear", "mrope", "tmrope")

AXES = 3  # time, row, column
IDS_PER_SECOND = 25  # TMRoPE of Qwen2.5-Omni: one id is 40 ms
QWEN3_IDS_PER_SECOND = 13  # TMRoPE of Qwen3-Omni


@dataclass(frozen=True)
class RopeSections:
    """How many rotary frequencies each axis gets, and whether the axes take turns."""

    sizes: tuple[int, int, int]  # frequencies of time, row, column
    interleaved: bool


SECTIONS = {
    "qwen2-vl": RopeSections((16, 24, 24), interleaved=False),
    "qwen2.5-vl": RopeSections((16, 24, 24), interleaved=False),
    "qwen2.5-omni": RopeSections((16, 24, 24), interleaved=False),
    "qwen3-vl": RopeSections((24, 20, 20), interleaved=True),
    "qwen3-omni": RopeSections((24, 20, 20), interleaved=True),
}


def axis_of_frequency(sections: RopeSections) -> NDArray[np.int64]:
    """The axis that turns each rotary frequency, fastest frequency first: [frequencies] of 0, 1, 2.

    >>> axis_of_frequency(RopeSections((2, 1, 1), interleaved=False)).tolist()
    [0, 0, 1, 2]
    >>> axis_of_frequency(RopeSections((2, 1, 1), interleaved=True)).tolist()
    [0, 1, 2, 0]
    """
    if not sections.interleaved:
        return np.repeat(np.arange(AXES), sections.sizes)
    axis = np.zeros(sum(sections.sizes), np.int64)
    for which in (1, 2):
        axis[which : AXES * sections.sizes[which] : AXES] = which
    return axis


def linear(spans: Iterable[Span], *, start: int = 0) -> NDArray[np.int64]:
    """Count 0, 1, 2 … within each document: [tokens]."""
    following: dict[int, int] = {}
    pieces = [np.zeros(0, np.int64)]
    for span in spans:
        if span.modality == PAD:
            pieces.append(np.zeros(span.length, np.int64))
            continue
        begin = following.get(span.document, start)
        pieces.append(np.arange(begin, begin + span.length))
        following[span.document] = begin + span.length
    return np.concatenate(pieces)


def mrope(spans: Sequence[Span], *, start: int = 0) -> NDArray[np.int64]:
    """Time, row and column of every token: [3, tokens]. Text and sound move all three axes together."""
    return _three_axes(spans, start, ids_per_second=None, fractional=False)


def tmrope(
    spans: Sequence[Span], *, start: int = 0, ids_per_second: float = IDS_PER_SECOND, fractional: bool = False
) -> NDArray[Any]:
    """Like `mrope`, with the time axis in real time: [3, tokens].

    Spans with the same clock share their origin. `fractional` keeps parts of an id (Qwen3-Omni, float32)
    instead of rounding down (Qwen2.5-Omni, int64).
    """
    return _three_axes(spans, start, ids_per_second=ids_per_second, fractional=fractional)


def positions(spans: Sequence[Span], scheme: Scheme, *, start: int = 0) -> NDArray[np.int64]:
    """Positions by the name of their scheme: [tokens] for "linear", [3, tokens] otherwise."""
    if scheme == "linear":
        return linear(spans, start=start)
    if scheme == "mrope":
        return mrope(spans, start=start)
    if scheme == "tmrope":
        return tmrope(spans, start=start)
    raise ValueError(f"no positions are named {scheme!r}: use {', '.join(SCHEMES)}")


def _three_axes(spans: Sequence[Span], start: int, *, ids_per_second: float | None, fractional: bool) -> NDArray[Any]:
    dtype = np.float32 if fractional else np.int64
    out = np.zeros((AXES, sum(span.length for span in spans)), dtype)
    following: dict[int, Any] = {}  # document → next free position
    origins: dict[tuple[int, int], Any] = {}  # (document, clock) → position of the clock's zero
    for span in spans:
        if span.modality == PAD or span.length == 0:
            continue
        begin = following.get(span.document, start)
        clocked = ids_per_second is not None and span.clock != NO_CLOCK
        if clocked:
            ids = _ids(span, span.first, ids_per_second, fractional)
            # After a cut the clock may be met in the middle: its first remaining step takes the free place.
            begin = origins.setdefault((span.document, span.clock), begin - ids[0, 0])
        else:
            ids = _ids(span, 0, ids_per_second, fractional)
        here = out[:, span.start - spans[0].start : span.stop - spans[0].start]
        here[:] = ids + begin
        following[span.document] = max(following.get(span.document, start), here.max() + 1)
    return out


def _ids(span: Span, first: int, ids_per_second: float | None, fractional: bool) -> NDArray[Any]:
    """Positions of one span from its own origin: [3, length]."""
    if not span.grids:
        steps: NDArray[Any] = np.arange(first, first + span.length)
        if ids_per_second is not None and span.step:
            ticks = steps * (span.step * ids_per_second)
            # 7 · 0.04 · 25 is 7.000000000000001 and 0.28 · 25 may be 6.999…: an id is whole to a millionth.
            steps = ticks if fractional else np.floor(ticks + 1e-6).astype(np.int64)
        return np.broadcast_to(steps, (AXES, span.length))
    blocks: list[NDArray[Any]] = []
    begin: Any = 0
    for index, (times, rows, columns) in enumerate(span.grids):
        time: NDArray[Any] = np.arange(times) + (first if index == 0 else 0)
        if ids_per_second is not None:
            # float32, in this order, is what the published models compute; one ulp moves an id.
            time = time.astype(np.float32) * np.float32(span.step or 1.0 / ids_per_second) * np.float32(ids_per_second)
            time = time if fractional else time.astype(np.int64)
        block = np.stack(np.meshgrid(time, np.arange(rows), np.arange(columns), indexing="ij")).reshape(AXES, -1)
        blocks.append(block + begin)
        begin = blocks[-1].max() + 1
    return np.concatenate(blocks, axis=1)
