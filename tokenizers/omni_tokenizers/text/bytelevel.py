"""Byte-level BPE on tiktoken: for every vocabulary whose ids are in the order of their merges."""

import base64
import re
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import tiktoken
from numpy.typing import NDArray
from tokenizers.normalizers import NFC

from omni_tokenizers.text.patterns import PATTERNS
from omni_tokenizers.text.special import any_of, split
from omni_tokenizers.text.spelling import for_tiktoken

# Never allowed and never matched. Without any special token tiktoken's buffer call looks for the empty string at every
# character, and `count` took 1.3 times as long.
NEVER = "\uffff no special token \uffff"
# Every class of character that patterns tell apart.
PROBE = "".join(map(chr, range(128))) + "é\u0301 你好٣ ½\u3000😀  \r\n\t x"


class ByteLevel:
    """A rank for every token, lower merges first; tiktoken does the merging."""

    kind = "tiktoken"
    leading_space = None
    whole = None

    def __init__(
        self,
        ranks: Mapping[bytes, int],
        pattern: str,
        *,
        special: Mapping[str, int],
        added: Mapping[str, int],
        composes: bool = False,
    ) -> None:
        check_ranks(ranks, {**special, **added})
        self.ranks, self.pattern, self.composes = dict(ranks), pattern, composes
        self.special, self.added = dict(special), dict(added)
        try:
            # Specials are split off here, where "longest name first" holds; tiktoken's own order is that of a hash map.
            self._core = tiktoken.Encoding(
                "text",
                pat_str=for_tiktoken(pattern),
                mergeable_ranks=self.ranks,
                special_tokens={NEVER: max(ranks.values()) + 1},
            )._core_bpe
        except ValueError as error:
            raise ValueError(f"the split pattern {pattern!r} does not compile: {error}") from error
        self.pieces = {rank: token for token, rank in ranks.items()}
        self.pieces |= {number: name.encode() for name, number in {**special, **added}.items()}
        if b"".join(map(self.pieces.__getitem__, self._core.encode_ordinary(PROBE))) != PROBE.encode():
            raise ValueError(
                f"the split pattern {pattern!r} does not match every character, and what it leaves out would be lost: "
                f"complete it, or take one of the published patterns ({', '.join(PATTERNS)})"
            )
        self._named = {**self.added, **self.special}
        self._searches: dict[frozenset[str], re.Pattern[str] | None] = {frozenset(): any_of(added)}
        self._plain = not added and not composes
        self._nfc = NFC().normalize_str

    def _search(self, allowed: frozenset[str]) -> re.Pattern[str] | None:
        if allowed not in self._searches:
            self._searches[allowed] = any_of({*self.added, *allowed})
        return self._searches[allowed]

    def _normal(self, text: str) -> str:
        return self._nfc(text) if self.composes and not text.isascii() else text

    def encode(self, text: str, allowed: frozenset[str]) -> list[int]:
        """Return the ids."""
        if self._plain and not allowed:
            return self._guard(self._core.encode_ordinary, text)
        ids: list[int] = []
        for piece, named in split(text, self._search(allowed)):
            if named:
                ids.append(self._named[piece])
            else:
                ids += self._guard(self._core.encode_ordinary, piece)
        return ids

    def _buffer(self, text: str) -> Any:
        return self._core.encode_to_tiktoken_buffer(text, _NONE)

    def array(self, text: str, allowed: frozenset[str]) -> NDArray[np.int32]:
        """Return the ids as an array, without a list in between."""
        parts = [
            np.array([self._named[piece]], dtype=np.int32)
            if named
            else np.frombuffer(self._guard(self._buffer, piece), dtype=np.int32)
            for piece, named in split(text, self._search(allowed))
        ]
        return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int32)

    def count(self, text: str, allowed: frozenset[str]) -> int:
        """Return how many ids there are from the size of tiktoken's buffer, 4 bytes an id."""
        if self._plain and not allowed:
            return memoryview(self._guard(self._buffer, text)).nbytes // 4
        return sum(
            1 if named else memoryview(self._guard(self._buffer, piece)).nbytes // 4
            for piece, named in split(text, self._search(allowed))
        )

    def literal(self, text: str) -> list[int]:
        """Return the ids of text in which no name at all is matched."""
        return self._guard(self._core.encode_ordinary, text)

    def _guard(self, work: Callable[[str], Any], text: str) -> Any:
        try:
            return work(self._normal(text))
        except UnicodeEncodeError as error:
            raise surrogate_error(text, error.start) from None
        except ValueError as error:
            raise _too_long(text) from error
        except BaseException as error:
            if type(error).__name__ != "PanicException":  # what Rust's unwrap becomes; it has no importable class
                raise
            raise _too_long(text) from error

    def state(self) -> dict[str, Any]:
        """Return the vocabulary in rank order, in base64, and what goes with it."""
        in_order = sorted(self.ranks.items(), key=lambda item: item[1])
        return {
            "pattern": self.pattern,
            "composes": self.composes,
            "tokens": [base64.b64encode(token).decode() for token, _ in in_order],
            "ids": None if in_order[-1][1] == len(in_order) - 1 else [rank for _, rank in in_order],
            "special": self.special,
            "added": self.added,
        }

    def __reduce__(self) -> tuple[Any, ...]:
        return ByteLevel.of, (self.state(),)  # tiktoken's core does not pickle, so another process makes it again

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> "ByteLevel":
        """Make the engine again from `state()`."""
        tokens = [base64.b64decode(token, validate=True) for token in state["tokens"]]
        ids = range(len(tokens)) if state["ids"] is None else state["ids"]
        return cls(
            dict(zip(tokens, ids, strict=True)),
            state["pattern"],
            special=state["special"],
            added=state["added"],
            composes=state["composes"],
        )


_NONE: frozenset[str] = frozenset()


def surrogate_error(text: str, at: int) -> ValueError:
    """Say where a lone surrogate is and how to be rid of it."""
    return ValueError(
        f"the text has the surrogate U+{ord(text[at]):04X} at character {at}, which no UTF-8 can carry: clean it with "
        'text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")'
    )


def check_ranks(ranks: Mapping[bytes, int], named: Mapping[str, int]) -> None:
    """Refuse a vocabulary with holes, with two tokens of one id, or without all 256 bytes."""
    missing = [byte for byte in range(256) if bytes([byte]) not in ranks]
    if missing:
        raise ValueError(
            f"the vocabulary has no token for {len(missing)} of the 256 bytes (first: 0x{missing[0]:02X}), so it "
            "cannot carry every text: the file is damaged or not byte-level"
        )
    used = sorted(ranks.values())
    for before, after in pairwise(used):
        if before == after:
            raise ValueError(f"two tokens of the vocabulary have the id {before}")
    taken = set(used)
    for name, number in named.items():
        if not name:
            raise ValueError(f"the special token with the id {number} has an empty name: give it one, or leave it out")
        if number in taken:
            raise ValueError(f"the special token {name!r} has the id {number}, which another token has")
        taken.add(number)
    if min(taken) < 0 or max(taken) > 0x7FFFFFFF:
        raise ValueError(f"ids run from {min(taken)} to {max(taken)}; they must lie in 0..2³¹−1")
    hole = next((number for number in range(used[-1] + 1) if number not in taken), None)
    if hole is not None:
        raise ValueError(
            f"the vocabulary has a hole: no token has the id {hole}, though ids run to {used[-1]}; "
            "the file is incomplete"
        )


def _too_long(text: str) -> ValueError:
    return ValueError(
        f"the split pattern ran out of stack on a text of {len(text):,} characters, as it does on one run of about a "
        "million white-space characters: cut the text"
    )
