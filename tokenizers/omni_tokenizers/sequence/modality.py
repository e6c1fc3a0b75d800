"""What a modality has to offer to take part in a sequence, the built-in ones and plug-ins alike."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.sequence.parts import Frames, Part
from omni_tokenizers.sequence.span import NO_CLOCK, Attention, Grid, Span
from omni_tokenizers.tokenizer import Stream

Array = NDArray[Any]
Arrays = Mapping[str, Array]  # by name, each [tokens, …]: row i belongs to token i


@dataclass(frozen=True, eq=False)
class Encoded:
    """The tokens of one source, or of the next piece of a live one.

    >>> Encoded({"values": np.zeros((3, 4, 80), np.float32)}, group=4, units=11).length
    3
    """

    arrays: Arrays = field(default_factory=dict)
    ids: Array | None = None  # [tokens], where the tokens are ids of the text vocabulary
    attention: Attention = "causal"
    whole: bool = False
    grids: tuple[Grid, ...] = ()
    step: float = 0.0  # seconds
    clock: int = NO_CLOCK
    group: int = 1
    units: int = -1
    meta: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lengths = {name: len(array) for name, array in self.arrays.items()}
        if self.ids is not None:
            lengths["ids"] = len(self.ids)
        if not lengths:
            raise ValueError("an encoding needs ids, or at least one array with a row for each token")
        if len(set(lengths.values())) > 1:
            raise ValueError(f"the arrays of one encoding need a row for each token, got different lengths: {lengths}")

    @property
    def length(self) -> int:
        """How many tokens."""
        return len(self.ids) if self.ids is not None else len(next(iter(self.arrays.values())))

    def span(self, modality: str, start: int, part: int, first: int = 0) -> Span:
        """The span of these tokens at `start`."""
        return Span(
            modality, start, self.length, part=part, attention=self.attention, whole=self.whole,
            grids=tuple((int(times), int(rows), int(columns)) for times, rows, columns in self.grids),
            step=float(self.step), first=first, clock=int(self.clock), group=int(self.group), units=int(self.units),
            meta=_plain(self.meta),
        )  # fmt: skip


@runtime_checkable
class Modality(Protocol):
    """One kind of source in a sequence. Parts come in, tokens with their arrays come out, and back.

    It may also have `picture(span, arrays) -> uint8 [height, width, 3]`, which `to_html` shows.
    """

    def encode(self, part: Any, /) -> Encoded:
        """Turn a whole part into tokens."""
        ...

    def count(self, part: Any, /) -> int:
        """How many tokens `encode` gives, from sizes alone where they are enough."""
        ...

    def decode(self, span: Span, arrays: Arrays, /) -> Any:
        """Give the part back."""
        ...

    def stream(self) -> Stream[Any, Encoded]:
        """A fresh stream over pieces of one part; raises `CannotStream` with the reason where there is none."""
        ...


def _plain(value: Any) -> Any:
    """Tuples as lists, keys as words and numpy's as Python's, as JSON has it: a saved and loaded span equals this."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    return [_plain(inner) for inner in value] if isinstance(value, (list, tuple)) else value


METHODS = ("encode", "count", "decode", "stream")


def grouped(rows: Array, group: int) -> Encoded:
    """Rows [frames, …] as tokens of `group` rows each; the last token is filled up with zeros.

    >>> grouped(np.ones((5, 2)), 4).arrays["values"].shape
    (2, 4, 2)
    """
    if group == 1:
        return Encoded({"values": rows})
    tokens = -(-len(rows) // group)
    if missing := tokens * group - len(rows):
        rows = np.concatenate([rows, np.zeros((missing, *rows.shape[1:]), rows.dtype)])
    units = tokens * group - missing
    return Encoded({"values": rows.reshape(tokens, group, *rows.shape[1:])}, group=group, units=units)


def ungrouped(span: Span, values: Array) -> Array:
    """The real rows behind the tokens of a span: [frames, …], without what filled up the last token."""
    return values if span.group == 1 else values.reshape(-1, *values.shape[2:])[: span.units]


def frames_of(part: Part, modality: str, width: int | None) -> Array | None:
    """The rows of a `Frames` part, checked; None if the part is something else."""
    if not isinstance(part, Frames):
        return None
    frames = np.asarray(part.frames)
    if frames.ndim != 2 or (width is not None and frames.shape[1] != width):
        raise ValueError(f"{modality} frames have the shape {frames.shape}, expected [frames, {width or 'width'}]")
    return frames


class Grouper:
    """Rows that arrive piece by piece, as tokens of `group` rows: the same tokens as `grouped` of all rows."""

    def __init__(
        self, group: int, dress: Callable[[Encoded], Encoded], push: Callable[[Any], Array], finish: Callable[[], Array]
    ) -> None:
        self._group, self._dress, self._push, self._finish = group, dress, push, finish
        self._held: Array | None = None
        self._finished = False

    def push(self, piece: Any, /) -> Encoded:
        """Take the next piece; return the tokens whose rows are complete."""
        if self._finished:
            raise ValueError("this stream is finished: open another with stream()")
        rows = self._join(self._push(piece))
        ready = len(rows) // self._group * self._group
        self._held = rows[ready:]
        return self._dress(grouped(rows[:ready], self._group))

    def finish(self) -> Encoded:
        """Return the last tokens, the very last one filled up, and close the stream."""
        if self._finished:
            raise ValueError("this stream is already finished")
        rows = self._join(self._finish())
        self._finished = True
        return self._dress(grouped(rows, self._group))

    def _join(self, rows: Array) -> Array:
        if self._held is not None and not len(rows):
            return self._held  # which has the type of the rows before; what a source gives at its end may have another
        return rows if self._held is None or not len(self._held) else np.concatenate([self._held, rows])


def dressed(encoded: Encoded, **changes: Any) -> Encoded:
    """The same tokens with other properties."""
    return replace(encoded, **changes)
