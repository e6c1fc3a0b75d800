"""The seam that every modality shares: what a tokenizer is, and what a stream of one is.

A tokenizer turns one kind of source (a string, a picture, a waveform) into tokens. It says how many
tokens there will be from sizes alone, gives the source back where an inverse exists, and, where the
arithmetic allows it, works on a live source piece by piece with results equal to the offline ones.
"""

from typing import Protocol, TypeVar, runtime_checkable

Source_contra = TypeVar("Source_contra", contravariant=True)
Tokens_co = TypeVar("Tokens_co", covariant=True)


@runtime_checkable
class Stream(Protocol[Source_contra, Tokens_co]):
    """Tokens of a source that arrives in pieces.

    All that `push` and `finish` returned, joined, equals `encode` of the joined pieces, to the bit and
    for every way of cutting the source. After `finish` the stream is closed: another `push` raises.
    """

    def push(self, piece: Source_contra, /) -> Tokens_co:
        """Take the next piece; return the tokens that are now certain (often none)."""
        ...

    def finish(self) -> Tokens_co:
        """Return what was held back and close the stream."""
        ...


@runtime_checkable
class Tokenizer(Protocol[Source_contra, Tokens_co]):
    """Source to tokens and back. `count` takes sizes, so its signature differs by modality."""

    def encode(self, source: Source_contra, /) -> Tokens_co:
        """Turn the whole source into tokens. Never changes its argument."""
        ...

    def stream(self) -> Stream[Source_contra, Tokens_co]:
        """Return a fresh stream; raises `CannotStream` with the reason where none can equal `encode`."""
        ...


class CannotStream(TypeError):
    """This configuration depends on the whole source, so no stream can equal its `encode`."""
