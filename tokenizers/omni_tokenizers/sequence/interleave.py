"""A film and its sound in one row, in chunks of two seconds, on one clock: how TMRoPE models hear what they see."""

from dataclasses import replace
from itertools import pairwise

import numpy as np

from omni_tokenizers.sequence.pack import concatenate
from omni_tokenizers.sequence.positions import IDS_PER_SECOND
from omni_tokenizers.sequence.sequence import Sequence
from omni_tokenizers.sequence.span import Span, laid_out

SECONDS_PER_CHUNK = 2.0


def interleave(film: Sequence, sound: Sequence, *, seconds: float = SECONDS_PER_CHUNK) -> Sequence:
    """Chunks of the film, each followed by the sound of the same two seconds; both keep their own part and clock.

    `film` is the encoding of one `Film`, `sound` of one `Audio`, `Speech` or `Codes`. The token order and, by
    `tmrope`, the positions are those of Qwen2.5-Omni for steps up to one chunk.
    """
    both = concatenate([film, sound])
    if len(film.spans) != 1 or len(sound.spans) != 1:
        raise ValueError(f"interleave takes one film and one sound, got {len(film.spans)} and {len(sound.spans)} spans")
    spans = [replace(span, clock=0) for span in both.spans]
    for span, name in zip(spans, ("film", "sound"), strict=True):
        if not span.step:
            raise ValueError(f"the {name} ({span.modality}) does not say how long a step lasts, so it has no clock")
    if not 1 <= seconds * IDS_PER_SECOND < float("inf"):
        raise ValueError(f"a chunk of {seconds} s holds no position: use {1 / IDS_PER_SECOND} s or more")
    pieces = sorted(
        [(chunk, index, steps) for index, span in enumerate(spans) for chunk, steps in _chunks(span, seconds)],
        key=lambda piece: piece[:2],
    )
    cut = [(index, *_piece(spans[index], *steps)) for _, index, steps in pieces]
    return replace(
        both,
        ids=np.concatenate([both.ids[:0], *(both.ids[spans[i].start + a : spans[i].start + b] for i, _, a, b in cut)]),
        spans=laid_out(span for _, span, _, _ in cut),
        payloads=tuple({name: array[a:b] for name, array in both.payloads[i].items()} for i, _, a, b in cut),
    )


def _chunks(span: Span, seconds: float) -> list[tuple[int, tuple[int, int]]]:
    """The steps of a span by chunk: (chunk, (first step, last step + 1))."""
    if span.grids and len(span.grids) != 1:
        raise ValueError(f"a picture of {len(span.grids)} grids (tiles) has no time to be cut by")
    steps = span.grids[0][0] if span.grids else span.length
    # In ids, rounded as the positions are, so that a step and its position fall into the same chunk.
    ids = np.arange(steps).astype(np.float32) * np.float32(span.step) * np.float32(IDS_PER_SECOND)
    chunk = ((ids + np.float32(1e-4)) // int(seconds * IDS_PER_SECOND)).astype(int)
    edges = [0, *(np.flatnonzero(np.diff(chunk)) + 1).tolist(), steps]
    return [(int(chunk[a]), (a, b)) for a, b in pairwise(edges) if b > a]


def _piece(span: Span, a: int, b: int) -> tuple[Span, int, int]:
    """Steps [a, b) of a span as a span of their own, and its tokens [first, last + 1)."""
    if not span.grids:
        return span.cut(a, b), a, b
    _, rows, columns = span.grids[0]
    area = rows * columns
    piece = replace(
        span,
        length=(b - a) * area,
        grids=((b - a, rows, columns),),
        first=span.first + a,
        units=(b - a) * area * span.group,
    )
    return piece, a * area, b * area
