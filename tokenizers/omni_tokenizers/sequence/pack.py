"""Several sequences as one, and back: join the pieces of a live one, append, pack, fill bins, unpack."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Literal

import numpy as np

from omni_tokenizers.sequence.modality import Array, Arrays
from omni_tokenizers.sequence.sequence import Sequence
from omni_tokenizers.sequence.span import PAD, Span, laid_out


def join(pieces: Iterable[Sequence]) -> Sequence:
    """Put the pieces of one cut or streamed sequence together again; a span that was cut becomes one.

    `join([s.slice(0, k), s.slice(k)]) == s` for every k (of a sequence that has a token).
    """
    pieces = _alike(pieces)
    spans: list[Span] = []
    payloads: list[list[Arrays]] = []
    for piece in pieces:
        for span, payload in zip(piece.spans, piece.payloads, strict=True):
            if spans and span.continues(spans[-1]):
                last = spans[-1]
                spans[-1] = replace(last, length=last.length + span.length, units=last.units + span.units)
                payloads[-1].append(payload)
            else:
                spans.append(span)
                payloads.append([payload])
    return replace(
        pieces[0],
        ids=np.concatenate([piece.ids for piece in pieces]),
        spans=laid_out(spans),
        payloads=tuple(_joined(of_one_span) for of_one_span in payloads),
    )


def concatenate(sequences: Iterable[Sequence]) -> Sequence:
    """One after the other as one document: the parts of each come after those of the one before."""
    sequences = _alike(sequences)
    spans: list[Span] = []
    parts = 0
    clocks = 0
    for sequence in sequences:
        if sequence.documents > 1:
            raise ValueError(
                f"a pack of {sequence.documents} documents cannot be appended to: unpack it first, or pack again"
            )
        moved = [
            span if span.modality == PAD else replace(
                span, part=span.part + parts, document=0, clock=span.clock + clocks if span.clock >= 0 else span.clock
            )
            for span in sequence.spans
        ]  # fmt: skip
        spans += moved
        parts = max((span.part + 1 for span in spans if span.modality != PAD), default=0)
        clocks = max((span.clock + 1 for span in spans), default=0)
    return _in_a_row(sequences, spans)


def pack(sequences: Iterable[Sequence]) -> Sequence:
    """Several sequences as the documents of one: tokens never look across, positions start anew."""
    sequences = _alike(sequences)
    spans: list[Span] = []
    documents = 0
    for sequence in sequences:
        numbers: dict[int, int] = {}
        for span in sequence.spans:
            if span.modality == PAD:
                spans.append(span)
            else:
                document = numbers.setdefault(span.document, documents + len(numbers))
                spans.append(span if span.document == document else replace(span, document=document))
        documents += len(numbers)
    return _in_a_row(sequences, spans)


def unpack(sequence: Sequence) -> list[Sequence]:
    """The documents of a pack, each as a sequence of its own, without padding."""
    members: dict[int, list[int]] = {}
    for index, span in enumerate(sequence.spans):
        if span.modality != PAD:
            members.setdefault(span.document, []).append(index)
    return [
        replace(
            sequence,
            ids=np.concatenate([sequence.ids[sequence.spans[i].start : sequence.spans[i].stop] for i in indices]),
            spans=laid_out(replace(sequence.spans[i], document=0) for i in indices),
            payloads=tuple(sequence.payloads[i] for i in indices),
        )
        for indices in members.values()
    ]


def pack_into(sequences: Iterable[Sequence], limit: int) -> list[Sequence]:
    """Packs of at most `limit` tokens, the longest sequences first, each into the first pack with room."""
    sequences = list(sequences)
    for index, sequence in enumerate(sequences):
        if len(sequence) > limit:
            raise ValueError(f"sequence {index} has {len(sequence)} tokens, a pack holds {limit}: truncate it first")
    bins: list[list[Sequence]] = []
    room: list[int] = []
    for sequence in sorted(sequences, key=len, reverse=True):
        for index, free in enumerate(room):
            if len(sequence) <= free:
                bins[index].append(sequence)
                room[index] -= len(sequence)
                break
        else:
            bins.append([sequence])
            room.append(limit - len(sequence))
    return [pack(members) for members in bins]


def pad_together(
    sequences: Iterable[Sequence], *, multiple: int = 1, side: Literal["right", "left"] = "right"
) -> list[Sequence]:
    """All of them as long as the longest, rounded up to a multiple: the rows of a batch."""
    if multiple < 1:
        raise ValueError(f"multiple={multiple} must be 1 or more")
    sequences = list(sequences)
    longest = max((len(sequence) for sequence in sequences), default=0)
    length = -(-longest // multiple) * multiple
    return [sequence.pad(length, side=side) for sequence in sequences]


def _alike(sequences: Iterable[Sequence]) -> list[Sequence]:
    sequences = list(sequences)
    if not sequences:
        raise ValueError("no sequences to put together")
    first = sequences[0]
    for other in sequences[1:]:
        if (other.kinds, other.pad_id, other.scheme) != (first.kinds, first.pad_id, first.scheme):
            raise ValueError(
                "these sequences were made by different settings: modalities, padding id and position scheme are "
                f"{first.kinds}, {first.pad_id}, {first.scheme} and {other.kinds}, {other.pad_id}, {other.scheme}"
            )
    return sequences


def _in_a_row(sequences: list[Sequence], spans: Iterable[Span]) -> Sequence:
    return replace(
        sequences[0],
        ids=np.concatenate([sequence.ids for sequence in sequences]),
        spans=laid_out(spans),
        payloads=tuple(payload for sequence in sequences for payload in sequence.payloads),
    )


def _joined(payloads: list[Arrays]) -> Arrays:
    if len(payloads) == 1:
        return payloads[0]
    arrays: dict[str, Array] = {}
    for name in payloads[0]:
        arrays[name] = np.concatenate([payload[name] for payload in payloads])
    return arrays
