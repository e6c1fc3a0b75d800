"""Live input of mixed modalities: pieces go in as they come, pieces of the sequence come out.

Pieces of the same kind that follow each other belong to one part, a picture is always a part of its own, and
`end()` closes the part that is open. All that came out, joined, equals `encode` of the joined parts to the bit.
"""

from typing import TYPE_CHECKING, Any

from omni_tokenizers.sequence.modality import Encoded
from omni_tokenizers.sequence.pack import join
from omni_tokenizers.sequence.parts import Film, Image, Part, Special, part_of
from omni_tokenizers.sequence.sequence import Sequence
from omni_tokenizers.tokenizer import Stream

if TYPE_CHECKING:
    from omni_tokenizers.sequence.omni import Omni


class LiveSequence:
    """The stream of an `Omni`; make one with `omni.stream()`."""

    def __init__(self, omni: "Omni") -> None:
        self._omni = omni
        self._open: Part | None = None  # the first piece of the part that is open
        self._stream: Stream[Any, Encoded] | None = None
        self._parts = 0  # parts begun
        self._first = 0  # tokens of the open part that are out
        self._tokens = 0
        self._finished = False

    def __len__(self) -> int:
        """Tokens that are out so far."""
        return self._tokens

    def push(self, piece: Any, /) -> Sequence:
        """Take the next piece; return the tokens that are now certain, often none.

        Raises `CannotStream` with the reason where a modality has no stream that equals its `encode`; the
        stream is then as it was, and `push_whole` takes such a source complete.
        """
        self._check()
        part = part_of(piece)
        if self._stream is not None and _goes_on(self._open, part):
            return self._out(part, self._stream.push(part))
        if isinstance(part, (Film, Image, Special)):
            return self.push_whole(part)
        stream = self._omni.modality_of(part).stream()
        encoded = stream.push(part)
        ended = self._end()
        self._open, self._stream = part, stream
        return join([ended, self._out(part, encoded)])

    def push_whole(self, piece: Any, /) -> Sequence:
        """Take a complete source as one part: pictures, and whatever cannot stream."""
        self._check()
        part = part_of(piece)
        encoded = self._omni.modality_of(part).encode(part)
        ended = self._end()
        fragment = self._out(part, encoded)
        self._parts, self._first = self._parts + 1, 0
        return join([ended, fragment])

    def end(self) -> Sequence:
        """Close the part that is open and return what it held back; the next piece begins a new part."""
        self._check()
        return self._end()

    def finish(self) -> Sequence:
        """Close the stream and return what was held back."""
        self._check()
        rest = self._end()
        self._finished = True
        return rest

    def _end(self) -> Sequence:
        if self._open is None or self._stream is None:
            return self._omni.empty()
        part, stream = self._open, self._stream
        # Closed first: a sound that ends too short for one frame raises, and must not stay open for ever.
        self._open = self._stream = None
        try:
            return self._out(part, stream.finish())
        finally:
            self._parts, self._first = self._parts + 1, 0

    def _out(self, part: Part, encoded: Encoded) -> Sequence:
        fragment = self._omni.fragment(part, encoded, self._parts, self._first)
        self._first += encoded.length
        self._tokens += encoded.length
        return fragment

    def _check(self) -> None:
        if self._finished:
            raise ValueError("this stream is finished: open another with omni.stream()")


def _goes_on(before: Part | None, part: Part) -> bool:
    return type(before) is type(part) and before is not None and before.modality == part.modality
