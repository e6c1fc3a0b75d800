"""Everything that tiktoken cannot express, on Hugging Face `tokenizers`."""

import json
from collections.abc import Mapping
from functools import cached_property
from operator import index
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.text.alphabet import to_bytes
from omni_tokenizers.text.bytelevel import surrogate_error
from tokenizers import Tokenizer

BYTE_TOKEN_LENGTH = len("<0x00>")


class Published:
    """A `tokenizer.json` as its own library runs it, with special tokens off unless they are allowed."""

    kind = "tokenizers"
    pattern: str | None
    composes: bool

    def __init__(self, content: Mapping[str, Any], pattern: str | None, composes: bool, why: str) -> None:
        self._content = dict(content)
        self.pattern, self.composes, self.why = pattern, composes, why
        entries = content.get("added_tokens") or []
        self.special = {entry["content"]: entry["id"] for entry in entries if entry.get("special")}
        self.added = {entry["content"]: entry["id"] for entry in entries if not entry.get("special")}
        self._text = _compiled(content)
        self._text.encode_special_tokens = True
        self._allow = _compiled(content)
        self.pieces, self.leading_space = _pieces(content, self._text)
        self.whole = _whole(content, pattern, why)

    @cached_property
    def _literal(self) -> Tokenizer:
        entries = [{**entry, "special": True} for entry in self._content.get("added_tokens") or []]
        tokenizer = _compiled({**self._content, "added_tokens": entries})
        tokenizer.encode_special_tokens = True
        return tokenizer

    def encode(self, text: str, allowed: frozenset[str]) -> list[int]:
        """Return the ids."""
        return _run(self._allow if allowed else self._text, text).ids

    def array(self, text: str, allowed: frozenset[str]) -> NDArray[np.int32]:
        """Return the ids as an array."""
        return np.array(self.encode(text, allowed), dtype=np.int32)

    def count(self, text: str, allowed: frozenset[str]) -> int:
        """Return how many ids there are; the list stays in Rust."""
        return len(_run(self._allow if allowed else self._text, text))

    def literal(self, text: str) -> list[int]:
        """Return the ids of text in which no name at all is matched."""
        return _run(self._literal, text).ids

    def decode(self, ids: list[int], *, skip_special: bool) -> str:
        """Decode with the vocabulary's own decoder, where ids have no bytes of their own."""
        return self._text.decode(ids, skip_special_tokens=skip_special)

    def known(self, number: Any) -> int:
        """Return an id of the vocabulary as a plain int, or say that it is none."""
        try:
            plain = index(number)
        except TypeError:
            plain = -1
        if 0 <= plain < 1 << 32 and self._text.id_to_token(plain) is not None:
            return plain
        raise ValueError(f"id {number!r} is not in this vocabulary of {self.size:,} ids")

    @property
    def size(self) -> int:
        """The highest id and one."""
        return max(self._text.get_vocab(with_added_tokens=True).values()) + 1

    def state(self) -> dict[str, Any]:
        """Return the published file as it was."""
        return {"tokenizer": self._content}


def _compiled(content: Mapping[str, Any]) -> Tokenizer:
    # Padding and truncation of a published file would add ids or lose text.
    content = {**content, "padding": None, "truncation": None, "post_processor": None}
    try:
        return Tokenizer.from_str(json.dumps(content))
    except Exception as error:  # tokenizers raises bare Exception
        raise ValueError(f"tokenizer.json does not load: {error}") from None


def _run(tokenizer: Tokenizer, text: str) -> Any:
    try:
        return tokenizer.encode_batch_fast([text], add_special_tokens=False)[0]  # without offsets: a third faster
    except (TypeError, UnicodeEncodeError):
        at = next((at for at, character in enumerate(text) if 0xD800 <= ord(character) <= 0xDFFF), None)
        if at is None:
            raise
        raise surrogate_error(text, at) from None


def steps(part: Mapping[str, Any] | None, key: str) -> list[Mapping[str, Any]]:
    """Return the steps of a normalizer, pre-tokenizer or decoder, a sequence laid flat."""
    if part is None:
        return []
    if part["type"] == "Sequence":
        return [step for inner in part[key] for step in steps(inner, key)]
    return [part]


def _pieces(content: Mapping[str, Any], tokenizer: Tokenizer) -> tuple[dict[int, bytes] | None, str | None]:
    """Return the bytes of every id and how decoding treats a leading space, or None where that is not the rule."""
    decoders = steps(content.get("decoder"), "decoders")
    kinds = [step["type"] for step in decoders]
    named = {entry["id"]: entry["content"] for entry in content.get("added_tokens") or []}
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    if kinds == ["ByteLevel"]:
        try:
            level = {n: to_bytes(token) for token, n in vocabulary.items() if n not in named}
        except ValueError:
            return None, None
        return level | {n: name.encode() for n, name in named.items()}, None
    if kinds[:3] == ["Replace", "ByteFallback", "Fuse"]:
        replace, strip = decoders[0], decoders[3:]
        if replace["pattern"] != {"String": "▁"} or replace["content"] != " ":
            return None, None
        leading = None
        if strip:
            if len(strip) > 1 or strip[0] != {"type": "Strip", "content": " ", "start": 1, "stop": 0}:
                return None, None
            leading = "one"
        tokens = {n: token for token, n in vocabulary.items()} | named  # this decoder reads added tokens like any other
        return {n: fallback_bytes(token) for n, token in tokens.items()}, leading
    return None, None


def fallback_bytes(token: str) -> bytes:
    """Return the bytes of a sentencepiece token.

    >>> fallback_bytes("▁hello"), fallback_bytes("<0xF0>")
    (b' hello', b'\\xf0')
    """
    if len(token) == BYTE_TOKEN_LENGTH and token.startswith("<0x") and token.endswith(">"):
        try:
            return bytes([int(token[3:5], 16)])
        except ValueError:
            pass
    return token.replace("▁", " ").encode()


def _whole(content: Mapping[str, Any], pattern: str | None, why: str) -> str | None:
    if pattern is None:
        return f"this vocabulary sees the whole text at once ({why}), so no stream can equal encode"
    for entry in content.get("added_tokens") or []:
        if entry.get("lstrip") or entry.get("rstrip") or entry.get("single_word"):
            return f"the added token {entry['content']!r} also looks at its neighbours, so no stream can equal encode"
    return None
