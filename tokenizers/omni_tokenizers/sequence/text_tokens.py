"""Text in a sequence: the ids of a vocabulary as they are."""

from typing import Any

import numpy as np

from omni_tokenizers.sequence.modality import Arrays, Encoded
from omni_tokenizers.sequence.parts import Ids, Part, Special, TextPart
from omni_tokenizers.sequence.span import Span


class TextTokens:
    """The text modality around a text tokenizer (`encode`, `decode`, `decode_bytes`, `count`, `stream`, `special`)."""

    def __init__(self, text: Any) -> None:
        self.text = text

    def encode(self, part: Part, /) -> Encoded:
        """The ids of a text, of ids that are already made, or of one special token."""
        if isinstance(part, Ids):
            return Encoded(ids=self._checked(part.ids), meta={"as": "ids"})
        if isinstance(part, Special):
            return Encoded(ids=np.array([self._special(part.name)], np.int64), meta={"as": "special"})
        if isinstance(part, TextPart):
            ids = np.array(self.text.encode(part.text, special=part.special), np.int64)
            return Encoded(ids=ids, meta=_policy(part))
        raise TypeError(f"text comes as a str, Ids or Special, got {type(part).__name__}")

    def count(self, part: Part, /) -> int:
        """How many tokens, without building their list where the vocabulary can count."""
        if isinstance(part, TextPart):
            return int(self.text.count(part.text, special=part.special))
        return self.encode(part).length

    def decode(self, span: Span, arrays: Arrays, /) -> Any:
        """The text back; bytes that are not UTF-8 (a cut inside a character) become U+FFFD."""
        ids = arrays["ids"].tolist()
        kind = span.meta.get("as")
        if kind == "ids":
            return Ids(tuple(ids))
        text = self.text.decode(ids)
        if kind == "special":
            return Special(text)
        return TextPart(text, span.meta["special"]) if "special" in span.meta else text

    def stream(self) -> "TextTokenStream":
        """Text that arrives in pieces."""
        return TextTokenStream(self)

    def _special(self, name: str) -> int:
        if name not in self.text.special:
            known = ", ".join(sorted(self.text.special)) or "none"
            raise ValueError(f"the vocabulary has no special token {name!r}; it has: {known}")
        return int(self.text.special[name])

    def _checked(self, ids: tuple[int, ...]) -> Any:
        array = np.array(ids)
        if array.ndim != 1:
            raise TypeError(f"ids are one row of whole numbers, not {type(ids).__name__}: pass a tuple of them")
        if len(array) and array.dtype.kind not in "iu":
            raise TypeError(f"ids are {array.dtype}; whole numbers are needed")
        size = self.text.size
        if len(array) and not (array.min() >= 0 and array.max() < size):
            wrong = next(i for i in ids if not 0 <= i < size)
            raise ValueError(f"id {wrong} is outside the vocabulary, which has {size} tokens (0 … {size - 1})")
        return array.astype(np.int64)


class TextTokenStream:
    """Pieces of one text (or of one row of ids) as they come."""

    def __init__(self, tokens: TextTokens) -> None:
        self._tokens = tokens
        self._stream: Any = None
        self._meta: dict[str, Any] = {}
        self._finished = False

    def push(self, piece: Part, /) -> Encoded:
        """Take the next piece; return the ids that no later text can change."""
        self._check()
        if not isinstance(piece, TextPart):
            encoded = self._tokens.encode(piece)
            self._meta = dict(encoded.meta)
            return encoded
        if piece.special != "error":
            raise ValueError(
                f"special={piece.special!r} cannot be streamed, a name could be cut in two: "
                "push the special token by itself as Special(name)"
            )
        if self._stream is None:
            self._stream = self._tokens.text.stream()
        return Encoded(ids=np.array(self._stream.push(piece.text), np.int64))

    def finish(self) -> Encoded:
        """The ids that were held back."""
        self._check()
        self._finished = True
        ids = [] if self._stream is None else self._stream.finish()
        return Encoded(ids=np.array(ids, np.int64), meta=self._meta)

    def _check(self) -> None:
        if self._finished:
            raise ValueError("this stream is finished: open another with stream()")


def _policy(part: TextPart) -> dict[str, Any]:
    if part.special == "error":
        return {}
    return {"special": part.special if isinstance(part.special, str) else sorted(part.special)}
