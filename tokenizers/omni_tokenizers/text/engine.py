"""What `Text` asks of an engine, whichever library does the work."""

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray


class Engine(Protocol):
    """Encodes valid text in which the names in `allowed` are tokens; knows the bytes behind every id."""

    @property
    def kind(self) -> str:
        """ "tiktoken", "tokenizers" or "sentencepiece"."""
        ...

    @property
    def pieces(self) -> Mapping[int, bytes] | None:
        """The bytes of every id; None where ids have no bytes of their own."""
        ...

    @property
    def leading_space(self) -> str | None:
        """How decoding drops the space that encoding put in front: "one", "all" or None."""
        ...

    @property
    def pattern(self) -> str | None:
        """The one split pattern of a byte-level vocabulary, None where there is not one."""
        ...

    @property
    def composes(self) -> bool:
        """Whether it normalises to NFC first."""
        ...

    @property
    def special(self) -> Mapping[str, int]:
        """Named ids that a policy governs."""
        ...

    @property
    def added(self) -> Mapping[str, int]:
        """Names that are always matched in text, as their vocabulary says."""
        ...

    @property
    def whole(self) -> str | None:
        """Why a text cannot be cut for a stream, or None."""
        ...

    def encode(self, text: str, allowed: frozenset[str]) -> list[int]:
        """Return the ids."""
        ...

    def array(self, text: str, allowed: frozenset[str]) -> NDArray[np.int32]:
        """Return the ids as an array."""
        ...

    def count(self, text: str, allowed: frozenset[str]) -> int:
        """Return how many ids there are, without building their list."""
        ...

    def literal(self, text: str) -> list[int]:
        """Return the ids of text in which no name at all is matched, special or added."""
        ...

    def state(self) -> dict[str, Any]:
        """Return everything needed to make this engine again, as plain JSON."""
        ...
