"""A span: one run of tokens of one modality, and everything about them that is not in the ids.

Positions, masks, modality ids and the alignment of payloads are pure functions of the spans, so whatever
cuts, packs or pads a sequence only has to get its spans right.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, get_args

Attention = Literal["causal", "bidirectional", "prefix"]
Grid = tuple[int, int, int]  # steps in time, rows, columns; in tokens

PAD = "pad"  # the modality of padding
NO_DOCUMENT = -1  # the document of padding
NO_CLOCK = -1


@dataclass(frozen=True)
class Span:
    """A run of `length` tokens that begins at token `start`.

    >>> Span("audio", start=3, length=2, group=4, units=7).stop
    5
    """

    modality: str
    start: int  # tokens
    length: int  # tokens
    part: int = 0  # which part of its document it is (a piece of)
    document: int = 0  # tokens never attend to another document; −1 for padding
    attention: Attention = "causal"
    whole: bool = False  # an image has no meaning when cut; text and sound do
    grids: tuple[Grid, ...] = ()  # pictures: one grid, or several for tiles; they cover the span in order
    step: float = 0.0  # seconds a token lasts, or a grid's step in time; 0 where there is no time
    first: int = 0  # steps of the same source that came before this span
    clock: int = NO_CLOCK  # spans of one document with the same clock ≥ 0 start at the same moment
    group: int = 1  # source units (Mel frames, patches) in one token
    units: int = -1  # real source units; the last token may be filled up. −1: all of them
    meta: Mapping[str, Any] = field(default_factory=dict, hash=False)  # JSON: what decoding needs

    def __post_init__(self) -> None:
        if self.length < 0 or self.start < 0:
            raise ValueError(f"a span cannot start at {self.start} and have {self.length} tokens: both must be ≥ 0")
        if self.attention not in get_args(Attention):
            raise ValueError(f"attention {self.attention!r} is not one of {', '.join(get_args(Attention))}")
        if self.grids and (covered := sum(t * h * w for t, h, w in self.grids)) != self.length:
            raise ValueError(f"the grids {self.grids} hold {covered} tokens, the {self.modality} span {self.length}")
        if self.units == -1:
            object.__setattr__(self, "units", self.length * self.group)
        if not max(0, (self.length - 1) * self.group) <= self.units <= self.length * self.group:
            raise ValueError(
                f"{self.units} units do not fill {self.length} {self.modality} tokens of {self.group} units each"
            )

    @property
    def stop(self) -> int:
        """The token after the last."""
        return self.start + self.length

    @property
    def seconds(self) -> float:
        """How long the real units last; 0 where there is no time."""
        steps = sum(t for t, _, _ in self.grids) if self.grids else self.units / self.group
        return steps * self.step

    def moved(self, tokens: int) -> "Span":
        """The same span, `tokens` further on."""
        return replace(self, start=self.start + tokens)

    def cut(self, start: int, stop: int) -> "Span":
        """The tokens [start, stop) of this span, counted from its beginning.

        >>> Span("audio", 10, 3, group=4, units=9).cut(1, 3)
        Span(modality='audio', start=11, length=2, part=0, document=0, attention='causal', whole=False, grids=(), \
step=0.0, first=1, clock=-1, group=4, units=5, meta={})
        """
        if (start, stop) == (0, self.length):
            return self
        if self.whole:
            raise ValueError(
                f"cutting at {self.start + (start or stop)} would split the {self.modality} at tokens "
                f"{self.start} to {self.stop}, which is one whole: cut at {self.start} or {self.stop}"
            )
        length = stop - start
        units = min(max(self.units - start * self.group, 0), length * self.group)
        return replace(self, start=self.start + start, length=length, first=self.first + start, units=units)

    def continues(self, before: "Span") -> bool:
        """Whether this span goes on where `before` stopped, so that the two are one run cut in two."""
        return (
            not (self.grids or before.grids)
            and self.first == before.first + before.length
            and before.units == before.length * before.group
            and replace(self, start=0, length=0, first=0, units=0)
            == replace(before, start=0, length=0, first=0, units=0)
        )


def check_cover(spans: Sequence[Span], tokens: int) -> None:
    """Raise unless the spans follow each other without gaps and cover exactly `tokens` tokens."""
    at = 0
    for span in spans:
        if span.start != at:
            raise ValueError(f"the {span.modality} span starts at token {span.start}, the one before ended at {at}")
        at = span.stop
    if at != tokens:
        raise ValueError(f"the spans cover {at} tokens, the sequence has {tokens}")


def cut_spans(spans: Sequence[Span], start: int, stop: int) -> list[tuple[int, int, int]]:
    """Which spans the tokens [start, stop) touch: (index, first token, last token + 1), counted inside the span.

    An empty span belongs to the cut that holds its place, one at the very end to the cut that reaches the end; a
    cut without tokens holds none, unless there are no tokens at all.
    """
    end = spans[-1].stop if spans else 0
    touched = []
    for index, span in enumerate(spans):
        if span.length == 0:
            if start <= span.start < stop or (span.start == stop == end and (start < stop or end == 0)):
                touched.append((index, 0, 0))
        elif span.start < stop and span.stop > start:
            touched.append((index, max(start - span.start, 0), min(stop, span.stop) - span.start))
    return touched


def laid_out(spans: Iterable[Span]) -> tuple[Span, ...]:
    """The spans one after another from token 0."""
    at = 0
    placed = []
    for span in spans:
        placed.append(span if span.start == at else replace(span, start=at))
        at += span.length
    return tuple(placed)
