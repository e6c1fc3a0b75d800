"""What a span is, in words: one line for the terminal, the page and the command's JSON."""

from typing import TYPE_CHECKING, Any

from omni_tokenizers.sequence.modality import Arrays
from omni_tokenizers.sequence.span import PAD, Span

if TYPE_CHECKING:
    from omni_tokenizers.sequence.sequence import Sequence


def headline(span: Span, arrays: Arrays) -> str:
    """The sizes of a span.

    >>> headline(Span("audio", 0, 25, step=0.04, group=4, units=99), {})
    '0.99 s, 99 frames, 4 a token'
    """
    if span.modality == PAD:
        return "padding"
    if span.modality == "text":
        return {"ids": "given as ids", "special": "special token"}.get(str(span.meta.get("as")), "")
    facts = []
    if span.step and span.units:
        facts.append(f"{span.seconds:.{2 if span.seconds < 1 else 1}f} s")
    if "width" in span.meta and "height" in span.meta:
        facts.append(f"{span.meta['width']}×{span.meta['height']} pixels")
    if span.grids:
        facts.append(_grids(span))
    elif span.group > 1:
        facts += [f"{span.units} frames", f"{span.group} a token"]
    if span.group > 1 and span.grids:
        facts.append(f"{span.group} patches a token")
    if "codes" in arrays and arrays["codes"].ndim == 2:
        facts.append(f"{arrays['codes'].shape[1]} books")
    if not facts:
        facts = [f"{name} {'×'.join(map(str, array.shape[1:])) or '1'} a token" for name, array in arrays.items()]
    return ", ".join(facts)


def facts(sequence: "Sequence", index: int) -> dict[str, Any]:
    """A span as plain JSON values."""
    span, arrays = sequence.spans[index], sequence.payloads[index]
    return {
        "modality": span.modality,
        "start": span.start,
        "tokens": span.length,
        "document": span.document,
        "attention": span.attention,
        "seconds": round(span.seconds, 6),
        "about": headline(span, arrays),
        "arrays": {name: [list(array.shape), str(array.dtype)] for name, array in arrays.items()},
        "positions": reach(sequence, index),
    }


def reach(sequence: "Sequence", index: int) -> list[list[int]]:
    """First and last position of a span, on one axis or on three."""
    span = sequence.spans[index]
    if not span.length:
        return []
    here = sequence.positions[..., span.start : span.stop].reshape(-1, span.length)
    return [[int(axis.min()), int(axis.max())] for axis in here]


def _grids(span: Span) -> str:
    shown = [grid for grid in span.grids if grid != (1, 1, 1)] or list(span.grids)
    slots = len(span.grids) - len(shown)
    words = [
        f"{rows}×{columns} tokens" if times == 1 else f"{times}×{rows}×{columns} tokens"
        for times, rows, columns in shown
    ]
    if len(words) > 3:
        words = [*words[:2], f"… {len(words)} grids in all"]
    return " + ".join(words) + (f" + {slots} slots" if slots else "")
