"""How many ids a growing text has, without encoding it again from the start."""

from collections.abc import Callable

from omni_tokenizers.text.stream import Cutter


class Counter:
    """Counts under appends: after every `append`, `count` equals `len(encode(everything so far))`."""

    def __init__(self, cutter: Cutter, count: Callable[[str], int]) -> None:
        self._cutter, self._count = cutter, count
        self._certain = 0
        self._held: int | None = 0  # ids of the held text; None when it changed since they were counted

    def append(self, piece: str, /) -> None:
        """Add text at the end."""
        if not isinstance(piece, str):
            raise TypeError(f"a counter takes str, not {type(piece).__name__}")
        ready = self._cutter.push(piece)
        if ready:
            self._certain += self._count(ready)
        if piece:
            self._held = None

    @property
    def count(self) -> int:
        """The number of ids of the whole text so far."""
        if self._held is None:
            self._held = self._count(self._cutter.held)
        return self._certain + self._held
