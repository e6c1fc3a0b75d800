"""The sequence: ids, spans and payloads that are cut, packed and padded together, never one without the others."""

from collections.abc import Iterable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import cached_property
from os import PathLike
from typing import Any, Literal, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.sequence.masks import attention_mask
from omni_tokenizers.sequence.modality import Array, Arrays
from omni_tokenizers.sequence.positions import Scheme, positions
from omni_tokenizers.sequence.span import NO_DOCUMENT, PAD, Span, check_cover, cut_spans, laid_out

BUILT_IN = (PAD, "text", "image", "audio", "speech", "codec")  # the index is the modality id


class Reader(Protocol):
    """Who can say what the tokens were, for looking at them: an `Omni`."""

    def pieces(self, ids: Iterable[int], /) -> list[str]:
        """The text of each id alone."""
        ...

    def text(self, ids: Iterable[int], /) -> str:
        """The text of the ids together."""
        ...

    def picture(self, span: Span, arrays: Arrays, /) -> Array | None:
        """What a span looks like, uint8 [height, width, 3]."""
        ...


@dataclass(frozen=True, eq=False)
class Sequence:
    """Tokens of several modalities in one row.

    A pickle carries everything but the reader, whose vocabulary and weights would weigh more than the tokens: the
    copy in another process shows the numbers of its text tokens until `replace(sequence, reader=omni)`.
    """

    ids: NDArray[np.int64]  # [tokens]
    spans: tuple[Span, ...]
    payloads: tuple[Arrays, ...]  # one mapping a span, every array [span.length, …]; text has none
    kinds: tuple[str, ...] = BUILT_IN  # names of the modality ids
    pad_id: int = 0
    scheme: Scheme = "linear"
    reader: Reader | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        ids = np.asarray(self.ids)
        if ids.ndim != 1 or (len(ids) and ids.dtype.kind not in "iu"):
            raise ValueError(f"ids are one row of whole numbers, got {ids.dtype} of shape {ids.shape}")
        object.__setattr__(self, "ids", _locked(ids.astype(np.int64, copy=False)))
        object.__setattr__(self, "spans", tuple(self.spans))
        check_cover(self.spans, len(ids))
        if len(self.payloads) != len(self.spans):
            raise ValueError(f"{len(self.spans)} spans need as many payloads, got {len(self.payloads)}")
        payloads = []
        for span, payload in zip(self.spans, self.payloads, strict=True):
            if span.modality not in self.kinds:
                raise ValueError(f"the modality {span.modality!r} is not one of {', '.join(self.kinds)}")
            for name, array in payload.items():
                if len(array) != span.length:
                    raise ValueError(
                        f"{span.modality} at token {span.start} has {span.length} tokens, "
                        f"but its array {name!r} has {len(array)} rows"
                    )
            payloads.append({name: _locked(array) for name, array in payload.items()})
        object.__setattr__(self, "payloads", tuple(payloads))

    def __reduce__(self) -> tuple[Any, ...]:
        # By the constructor, which locks the arrays again.
        return Sequence, (self.ids, self.spans, self.payloads, self.kinds, self.pad_id, self.scheme)

    def __copy__(self) -> "Sequence":
        return replace(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> "Sequence":
        return replace(Sequence(*deepcopy(self.__reduce__()[1], memo)), reader=self.reader)

    def __len__(self) -> int:
        return len(self.ids)

    def __eq__(self, other: object) -> bool:
        # To the bit: a float payload that differs in its last place is another sequence. The reader does not count.
        return (
            isinstance(other, Sequence)
            and (self.spans, self.kinds, self.pad_id, self.scheme)
            == (other.spans, other.kinds, other.pad_id, other.scheme)
            and np.array_equal(self.ids, other.ids)
            and all(
                mine.keys() == theirs.keys() and all(_identical(mine[name], theirs[name]) for name in mine)
                for mine, theirs in zip(self.payloads, other.payloads, strict=True)
            )
        )

    __hash__ = None  # type: ignore[assignment]

    def __add__(self, other: "Sequence") -> "Sequence":
        from omni_tokenizers.sequence.pack import concatenate

        return concatenate([self, other])

    @cached_property
    def modality(self) -> NDArray[np.int8]:
        """The modality id of every token, an index into `kinds`: [tokens]."""
        ids = [self.kinds.index(span.modality) for span in self.spans]
        return _locked(np.repeat(np.array(ids, np.int8), [span.length for span in self.spans]))

    @cached_property
    def positions(self) -> NDArray[np.int64]:
        """Positions in the sequence's own scheme: [tokens], or [3, tokens] for "mrope" and "tmrope"."""
        return _locked(positions(self.spans, self.scheme))

    @property
    def documents(self) -> int:
        """How many documents it holds."""
        return len({span.document for span in self.spans} - {NO_DOCUMENT})

    def mask(self, *, queries: slice | None = None, window: int | None = None) -> NDArray[np.bool_]:
        """Who may look at whom: [queries, tokens]."""
        return attention_mask(self.spans, queries=queries, window=window)

    def counts(self) -> dict[str, int]:
        """Tokens by modality, in the order of their first appearance."""
        totals: dict[str, int] = {}
        for span in self.spans:
            totals[span.modality] = totals.get(span.modality, 0) + span.length
        return totals

    def slice(self, start: int = 0, stop: int | None = None) -> "Sequence":
        """The tokens [start, stop) with their spans and payloads. Text and sound can be cut, an image cannot."""
        stop = len(self) if stop is None else stop
        if not 0 <= start <= stop <= len(self):
            raise ValueError(f"slice({start}, {stop}) is outside 0 … {len(self)}, the tokens of this sequence")
        touched = cut_spans(self.spans, start, stop)
        return replace(
            self,
            ids=self.ids[start:stop],
            spans=laid_out(self.spans[index].cut(a, b) for index, a, b in touched),
            payloads=tuple(
                {name: array[a:b] for name, array in self.payloads[index].items()} for index, a, b in touched
            ),
        )

    def truncate(self, limit: int, *, keep: Literal["start", "end"] = "start", cut: Iterable[str] = ()) -> "Truncated":
        """At most `limit` tokens, never cutting inside a span; says what it dropped.

        `keep` is the side that stays. Modalities named in `cut` may be cut after all where their spans allow it:
        `cut=("text",)` keeps as much of a long text as fits.
        """
        if limit < 0:
            raise ValueError(f"a limit of {limit} tokens is below 0")
        if keep not in ("start", "end"):
            raise ValueError(f'keep={keep!r} is neither "start" nor "end"')
        names = {cut} if isinstance(cut, str) else set(cut)
        if unknown := names - set(self.kinds):
            raise ValueError(f"cut names {', '.join(sorted(unknown))}, which is not one of {', '.join(self.kinds)}")
        if len(self) <= limit:
            return Truncated(self, ())
        edge = limit if keep == "start" else len(self) - limit
        for span in self.spans:
            if span.start < edge < span.stop and (span.whole or span.modality not in names):
                edge = span.start if keep == "start" else span.stop
        kept = self.slice(0, edge) if keep == "start" else self.slice(edge, len(self))
        gone = (edge, len(self)) if keep == "start" else (0, edge)
        return Truncated(kept, tuple(self.spans[index].cut(a, b) for index, a, b in cut_spans(self.spans, *gone)))

    def pad(self, length: int, *, side: Literal["right", "left"] = "right") -> "Sequence":
        """Exactly `length` tokens, filled up with padding that nobody looks at."""
        if length < len(self):
            raise ValueError(f"the sequence has {len(self)} tokens and cannot be padded to {length}: truncate it first")
        if side not in ("right", "left"):
            raise ValueError(f'side={side!r} is neither "right" nor "left"')
        if length == len(self):
            return self
        fill = Span(PAD, 0, length - len(self), document=NO_DOCUMENT)
        ids = np.full(fill.length, self.pad_id, np.int64)
        if side == "right":
            parts = (np.concatenate([self.ids, ids]), (*self.spans, fill), (*self.payloads, {}))
        else:
            parts = (np.concatenate([ids, self.ids]), (fill, *self.spans), ({}, *self.payloads))
        return replace(self, ids=parts[0], spans=laid_out(parts[1]), payloads=parts[2])

    def in_scheme(self, scheme: Scheme) -> "Sequence":
        """The same tokens with positions of another scheme."""
        positions((), scheme)
        return replace(self, scheme=scheme)

    def to(self, device: Any = "cpu", *, dtype: Any = None) -> Any:
        """The sequence as torch tensors on a device, payloads joined by modality: a `Tensors`."""
        from omni_tokenizers.sequence.tensors import tensors

        return tensors(self, device, dtype=dtype)

    def save(self, folder: str | PathLike[str]) -> None:
        """Write a folder with sequence.json and sequence.safetensors."""
        from omni_tokenizers.sequence.store import save

        save(self, folder)

    @staticmethod
    def load(folder: str | PathLike[str], *, reader: Reader | None = None) -> "Sequence":
        """Read what `save` wrote; with an `Omni` as `reader`, the text and pictures can be shown again."""
        from omni_tokenizers.sequence.store import load

        return load(folder, reader=reader)

    @staticmethod
    def pack(sequences: Iterable["Sequence"]) -> "Sequence":
        """Several sequences as the documents of one: tokens never look across, positions start anew."""
        from omni_tokenizers.sequence.pack import pack

        return pack(sequences)

    def show(self, *, budget: int | None = None, width: int | None = None, colour: bool | None = None) -> str:
        """The sequence for a terminal: a bar, a line a span, and the budget. `print` it."""
        from omni_tokenizers.sequence.show import show

        return show(self, budget=budget, width=width, colour=colour)

    def to_html(self, *, title: str = "Token sequence", budget: int | None = None) -> str:
        """The sequence as one self-contained page."""
        from omni_tokenizers.sequence.html import to_html

        return to_html(self, title=title, budget=budget)

    def plot(self, axes: Any = None) -> Any:
        """Draw modality, positions and attention mask with matplotlib; returns the figure."""
        from omni_tokenizers.sequence.plot import plot

        return plot(self, axes)


class Truncated(NamedTuple):
    """What was kept, and the spans that were not."""

    sequence: Sequence
    dropped: tuple[Span, ...]

    def __str__(self) -> str:
        if not self.dropped:
            return f"kept all {len(self.sequence)} tokens"
        tokens = sum(span.length for span in self.dropped)
        what = ", ".join(f"{span.modality} {span.length} at {span.start}" for span in self.dropped)
        return f"kept {len(self.sequence)} of {len(self.sequence) + tokens} tokens, dropped {what}"


def _locked(array: Array) -> Array:
    # A view, so that the caller's own array stays writeable; in this machine's byte order, as files and torch have it.
    array = np.asarray(array)
    view = array.astype(array.dtype.newbyteorder("="), copy=False).view()
    view.flags.writeable = False
    return view


def _identical(a: Array, b: Array) -> bool:
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def payload_of(arrays: Mapping[str, Any]) -> dict[str, Array]:
    """The arrays of a payload as numpy arrays."""
    return {name: np.asarray(array) for name, array in arrays.items()}
