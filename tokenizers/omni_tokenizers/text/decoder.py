"""Ids to text one by one: never half a character, never a lost one."""

import codecs
from collections.abc import Mapping
from operator import index
from typing import Any

SPACE = b" "
UNKNOWN = " ⁇ ".encode()  # how sentencepiece writes what it does not know; this space is kept


def unknown(number: object, pieces: Mapping[int, bytes]) -> ValueError:
    """Say which id is not in the vocabulary and how far the vocabulary goes."""
    return ValueError(
        f"id {number!r} is not in this vocabulary: {len(pieces):,} ids, the highest is {max(pieces, default=-1)}"
    )


def known(number: Any, pieces: Mapping[int, bytes]) -> int:
    """Return an id of the vocabulary as a plain int, whatever kind of whole number it came as."""
    try:
        plain = index(number)
    except TypeError:
        raise unknown(number, pieces) from None
    if plain not in pieces:
        raise unknown(number, pieces)
    return plain


class Decoder:
    """Text of ids that arrive one at a time; what `push` and `finish` returned, joined, equals `decode`.

    Holds at most the three bytes of an unfinished character, so a push costs what its own bytes cost. A character
    that the ids never finish comes out of `finish` as U+FFFD, as `bytes.decode` would have it; a U+FFFD that is
    really in the text is a character like any other.
    """

    def __init__(
        self, pieces: Mapping[int, bytes], leading_space: str | None, errors: str, silent: frozenset[int]
    ) -> None:
        self._pieces, self._silent = pieces, silent
        self._trim = Trim(leading_space)
        self._utf8 = codecs.getincrementaldecoder("utf-8")(errors)
        self._open = True

    def push(self, number: int, /) -> str:
        """Take the next id; return the text that is now certain (often none)."""
        if not self._open:
            raise ValueError("this decoder is finished: decoder() gives a new one")
        if type(number) is not int:
            number = known(number, self._pieces)
        if number in self._silent:
            return ""
        if (piece := self._pieces.get(number)) is None:
            raise unknown(number, self._pieces)
        return self._utf8.decode(self._trim(piece))

    def finish(self) -> str:
        """Return what is left of an unfinished character and close the decoder."""
        if not self._open:
            raise ValueError("this decoder is finished: decoder() gives a new one")
        self._open = False
        return self._utf8.decode(b"", final=True)


class Trim:
    """Drops the leading space that a sentencepiece vocabulary puts in front of every text."""

    def __init__(self, leading_space: str | None) -> None:
        self._left = leading_space

    def __call__(self, piece: bytes) -> bytes:
        """Return the piece as it reads at this place."""
        if self._left is None or not piece:
            return piece
        if piece == UNKNOWN:
            self._left = None
            return piece
        if piece.startswith(SPACE):
            piece = piece[1:]
            if self._left == "one" or piece:
                self._left = None
            return piece
        self._left = None
        return piece
