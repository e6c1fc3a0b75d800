"""`Text`: one small class in front of three engines."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.text.chat import Chat
from omni_tokenizers.text.counter import Counter
from omni_tokenizers.text.decoder import Decoder, Trim, known
from omni_tokenizers.text.engine import Engine
from omni_tokenizers.text.published import Published
from omni_tokenizers.text.special import Policies, Policy
from omni_tokenizers.text.store import load, save
from omni_tokenizers.text.stream import Cutter, TextStream, cutter
from omni_tokenizers.text.train import train
from omni_tokenizers.tokenizer import CannotStream


class Text:
    """Text to ids and back.

    >>> text = Text.train(["hello hello hello world"], vocab_size=270, special=["<|end|>"])
    >>> text.decode(text.encode("hello world"))
    'hello world'
    >>> text.encode("<|end|>", special="allow") == [text.special["<|end|>"]]
    True
    """

    def __init__(self, engine: Engine, *, templates: Mapping[str, str] | None = None,
                 roles: Mapping[str, str] | None = None) -> None:  # fmt: skip
        self._engine = engine
        self._policies = Policies(engine.special)
        self._chat = Chat(templates or {}, roles or {})
        self._silent = frozenset(engine.special.values())

    # Making one

    @classmethod
    def load(
        cls,
        source: str | os.PathLike[str] | bytes,
        *,
        pattern: str | None = None,
        special: Mapping[str, int] | Sequence[str] = (),
    ) -> Text:
        """Load a vocabulary from a file, its bytes, or a folder; its kind is read from its content.

        Kinds: our own JSON, `tokenizer.json`, `.tiktoken`, sentencepiece `.model`, tekken JSON. A `.tiktoken` file
        holds ranks alone, so it needs `pattern` (a name in `PATTERNS` or a regular expression), and takes `special`
        (names with their ids, or names that get the ids after the last rank).
        """
        engine, templates, roles = load(source, pattern, special)
        return cls(engine, templates=templates, roles=roles)

    @classmethod
    def train(
        cls,
        texts: Iterable[str],
        *,
        vocab_size: int,
        pattern: str = "cl100k",
        special: Sequence[str] = (),
        min_frequency: int = 2,
    ) -> Text:
        """Train a byte-level BPE vocabulary of at most `vocab_size` ids, special tokens among them."""
        return cls(train(texts, vocab_size, pattern, special, min_frequency))

    @classmethod
    def of_bytes(cls) -> Text:
        """The vocabulary that needs no training: 256 tokens, the id of a token is its byte.

        >>> Text.of_bytes().encode("né")
        [110, 195, 169]
        """
        return cls.train([""], vocab_size=256)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write everything to one JSON file that `Text.load` reads."""
        return save(path, self._engine, self._chat)

    # Looking at it

    @property
    def special(self) -> dict[str, int]:
        """The special tokens by name."""
        return dict(self._engine.special)

    @property
    def size(self) -> int:
        """The highest id and one: the rows that an embedding table needs."""
        pieces = self._engine.pieces
        if pieces is None:
            assert isinstance(self._engine, Published)
            return self._engine.size
        return max(pieces) + 1

    @property
    def engine(self) -> str:
        """The library that does the work: "tiktoken", "tokenizers" or "sentencepiece"."""
        return self._engine.kind

    @property
    def why(self) -> str | None:
        """Why the ids cannot come from tiktoken; None where they do."""
        return getattr(self._engine, "why", None)

    def __repr__(self) -> str:
        return f"<Text of {self.size:,} ids, {len(self._engine.special)} special, by {self.engine}>"

    # Text to ids

    def encode(self, text: str, *, special: Policy = "error") -> list[int]:
        """Return the ids of a text.

        `special` says what the name of a special token means in it: "error" (the default) raises
        `SpecialTokenInText`, "text" encodes it as plain text, "allow" makes it the token, and a set of names allows
        those and refuses the others.
        """
        _require_str(text)
        return self._engine.encode(text, self._policies.check(text, special))

    def encode_array(self, text: str, *, special: Policy = "error") -> NDArray[np.int32]:
        """Return the ids of a text as an int32 array [n]."""
        _require_str(text)
        return self._engine.array(text, self._policies.check(text, special))

    def encode_batch(
        self, texts: Iterable[str], *, special: Policy = "error", threads: int | None = None
    ) -> list[list[int]]:
        """Return the ids of each text; the engines let go of Python's lock, so threads help (default: one a core)."""
        if isinstance(texts, str):
            raise TypeError("encode_batch takes many texts, not one str: use encode, or pass [text]")
        texts = list(texts)
        workers = min(threads or os.cpu_count() or 1, len(texts))
        if workers <= 1:
            return [self.encode(text, special=special) for text in texts]
        with ThreadPoolExecutor(workers) as pool:
            return list(pool.map(lambda text: self.encode(text, special=special), texts))

    def count(self, text: str, *, special: Policy = "error") -> int:
        """Return `len(encode(text))` without building the list."""
        _require_str(text)
        return self._engine.count(text, self._policies.check(text, special))

    def stream(self, *, special: Policy = "error") -> TextStream:
        """Return a stream whose ids, joined, equal `encode` of the whole; raises `CannotStream` with the reason."""
        return TextStream(self._cutter(special), lambda text: self.encode(text, special=special))

    def counter(self, *, special: Policy = "error") -> Counter:
        """Return a counter for a text that grows: `append(text)`, then `count`."""
        return Counter(self._cutter(special), lambda text: self.count(text, special=special))

    def _cutter(self, special: Policy) -> Cutter:
        engine = self._engine
        self._policies.allowed(special)  # refuses an unknown policy now rather than at the first push
        names = set(engine.added) | (set() if special == "text" else set(engine.special))
        return cutter(engine.pattern, engine.whole, names, engine.composes)

    # Ids to text

    def decode_bytes(self, ids: Iterable[int], *, skip_special: bool = False) -> bytes:
        """Return the bytes of the ids, whatever they are."""
        pieces = self._engine.pieces
        if pieces is None:
            raise ValueError(f"the ids of this vocabulary have no bytes of their own ({self.why}): use decode")
        numbers = _numbers(ids)
        try:
            return self._joined(pieces, map(index, numbers), skip_special)  # 104.0 would be found as 104
        except (KeyError, TypeError):
            for number in numbers:
                known(number, pieces)  # raises for the first that is wrong
            raise

    def _joined(self, pieces: Mapping[int, bytes], numbers: Iterable[int], skip_special: bool) -> bytes:
        if not skip_special and self._engine.leading_space is None:
            return b"".join(map(pieces.__getitem__, numbers))
        trim = Trim(self._engine.leading_space)
        silent = self._silent if skip_special else frozenset[int]()
        return b"".join([trim(pieces[number]) for number in numbers if number not in silent])

    def decode(self, ids: Iterable[int], *, errors: str = "replace", skip_special: bool = False) -> str:
        """Return the text of the ids; bytes that are not UTF-8 become U+FFFD, or as `errors` says."""
        if self._engine.pieces is None:
            assert isinstance(self._engine, Published)
            numbers = [self._engine.known(number) for number in _numbers(ids)]
            return self._engine.decode(numbers, skip_special=skip_special)
        return self.decode_bytes(ids, skip_special=skip_special).decode("utf-8", errors)

    def decoder(self, *, errors: str = "replace", skip_special: bool = False) -> Decoder:
        """Return a decoder for ids that arrive one at a time."""
        if self._engine.pieces is None:
            raise CannotStream(
                f"the ids of this vocabulary have no bytes of their own ({self.why}), so their text depends on what "
                "follows: decode the whole list"
            )
        silent = self._silent if skip_special else frozenset[int]()
        return Decoder(self._engine.pieces, self._engine.leading_space, errors, silent)

    # Conversations

    @property
    def templates(self) -> dict[str, str]:
        """The chat templates by name; the usual one is "default"."""
        return dict(self._chat.templates)

    def render_chat(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
        """Return a conversation as the template writes it; takes the options of `apply_chat`.

        A string cannot say which special tokens came from a message: give ids to a model with `apply_chat`.
        """
        return self._chat.render(messages, **options)

    def apply_chat(self, messages: Sequence[Mapping[str, Any]], **options: Any) -> list[int]:
        """Return the ids of a conversation. Only the template's own special tokens are special.

        Options: `template` (a name in `templates`, or a template), `add_generation_prompt`, `continue_final_message`,
        `tools`, `documents`, and whatever variables the template knows.
        """
        return self._chat.encode(self._engine, messages, **options)


def _require_str(text: object) -> None:
    if not isinstance(text, str):
        raise TypeError(f"a text is str, not {type(text).__name__}" + (
            ": decode it first, with bytes.decode" if isinstance(text, bytes | bytearray) else ""
        ))  # fmt: skip


def _numbers(ids: Any) -> list[int]:
    if isinstance(ids, str | bytes):
        raise TypeError(f"ids are integers, not {type(ids).__name__}")
    numbers = ids.tolist() if hasattr(ids, "tolist") else ids
    if isinstance(numbers, int | float):
        raise TypeError(f"decode takes many ids, not one: pass [{numbers}]")
    return list(numbers)
