"""Ids of a text that arrives in pieces, equal to `encode` of the whole for every way of cutting it."""

from __future__ import annotations

from collections.abc import Callable, Collection

from omni_tokenizers.text.patterns import Seams, class_of, inert, seams_of
from omni_tokenizers.text.special import any_of
from omni_tokenizers.tokenizer import CannotStream


class Cutter:
    """Cuts a live text at the last place where both sides may be encoded apart.

    Such a place is a seam of the split pattern (see `patterns`) or the end of a special token, and it is not inside
    what could still become a special token. What stands behind the last one is held: at most one piece of the
    pattern, in practice a word, but a run of letters or white space has no limit and is held whole, since its merges
    may reach across all of it. Only new characters are looked at, so a push costs what its own text costs.
    """

    def __init__(self, seams: Seams, names: Collection[str], composes: bool) -> None:
        self._seams, self._composes = seams, composes
        self._search = any_of(names)
        self._starts = frozenset(name[:size] for name in names for size in range(1, len(name)))
        self._longest = max(map(len, names), default=1)
        self._done: list[str] = []  # held text in which there is no cut, whatever follows
        self._edge = ""  # held text that is still to be looked at, with the character before it
        self._at_start = True  # nothing is held in front of the edge

    def push(self, piece: str) -> str:
        """Take the next piece of text; return what may be encoded now."""
        fresh = max(len(self._edge) - self._longest, 0)
        edge = self._edge + piece
        cut, limit = self._after_names(edge)
        begin = max(cut + 1, fresh, 1)
        for at in range(limit if limit < len(edge) else len(edge) - 1, begin - 1, -1):
            if self._is_seam(edge[at - 1], edge[at]):
                cut = at
                break
        if cut:
            ready = "".join((*self._done, edge[:cut]))
            self._done = []
            self._keep(edge[cut:])
            return ready
        self._keep(edge)
        return ""

    def finish(self) -> str:
        """Return everything that was held."""
        rest = self.held
        self._done, self._edge = [], ""
        return rest

    @property
    def held(self) -> str:
        """What has arrived and is not certain yet."""
        return "".join((*self._done, self._edge))

    def _keep(self, edge: str) -> None:
        window = self._longest + 1
        if len(edge) > 2 * window:  # moving at every push would copy the window for every character
            self._done.append(edge[:-window])
            edge = edge[-window:]
        self._edge = edge

    def _after_names(self, edge: str) -> tuple[int, int]:
        """Return where the last certain name ends (0 for none) and from where on nothing is certain."""
        if self._search is None:
            return 0, len(edge)
        after = 0
        while True:
            limit = next(
                (at for at in range(max(after, len(edge) - self._longest + 1), len(edge)) if edge[at:] in self._starts),
                len(edge),
            )
            found = self._search.search(edge, after)
            if found is None or found.start() >= limit:
                return after, limit
            after = found.end()

    def _is_seam(self, left: str, right: str) -> bool:
        if class_of(right) not in self._seams.get(class_of(left), ()):
            return False
        return not self._composes or (inert(left) and inert(right))


def cutter(pattern: str | None, whole: str | None, names: Collection[str], composes: bool) -> Cutter:
    """Return a cutter for a vocabulary, or raise `CannotStream` with the reason."""
    if whole is not None:
        raise CannotStream(whole)
    seams = seams_of(pattern)
    if seams is None:
        raise CannotStream(
            f"no safe place to cut is known for the split pattern {pattern!r}: encode the whole text, or use a "
            "vocabulary with one of the published patterns (omni_tokenizers.text.PATTERNS)"
        )
    return Cutter(seams, names, composes)


class TextStream:
    """Encodes a text that arrives in pieces: `push(text)` gives the ids that are certain, `finish()` the rest."""

    def __init__(self, cutter: Cutter, encode: Callable[[str], list[int]]) -> None:
        self._cutter, self._encode = cutter, encode
        self._open = True

    def push(self, piece: str, /) -> list[int]:
        """Take the next piece of text; return the ids that are now certain (often none)."""
        self._require_open()
        if not isinstance(piece, str):
            raise TypeError(f"a text stream takes str, not {type(piece).__name__}")
        ready = self._cutter.push(piece)
        return self._encode(ready) if ready else []

    def finish(self) -> list[int]:
        """Return the ids of what was held back and close the stream."""
        self._require_open()
        self._open = False
        rest = self._cutter.finish()
        return self._encode(rest) if rest else []

    def _require_open(self) -> None:
        if not self._open:
            raise ValueError("this stream is finished: stream() gives a new one")
