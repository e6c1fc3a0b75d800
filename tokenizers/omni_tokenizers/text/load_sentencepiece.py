"""Sentencepiece `.model` files, run by sentencepiece itself."""

import base64
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.optional import need
from omni_tokenizers.text.bytelevel import surrogate_error
from omni_tokenizers.text.special import any_of, split

# Fields of sentencepiece_model.proto: ModelProto.normalizer_spec is 3, and in it add_dummy_prefix is 3,
# remove_extra_whitespaces 4. Both are true unless the file says otherwise.
NORMALIZER_SPEC, ADD_DUMMY_PREFIX, REMOVE_EXTRA_WHITESPACES = 3, 3, 4
VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5  # protobuf wire types


class Sentencepiece:
    """A sentencepiece model; ids equal those of the published library because it makes them."""

    kind = "sentencepiece"
    pattern = None
    composes = False
    whole = (
        "sentencepiece normalises and merges across the whole text, so no stream can equal encode: encode the whole "
        "text, or use a byte-level vocabulary"
    )

    def __init__(self, data: bytes, where: str) -> None:
        package = need("sentencepiece", extra="model", use="a sentencepiece model")
        self._data = data
        try:
            self._model = package.SentencePieceProcessor(model_proto=data)
            size = self._model.get_piece_size()
        except (RuntimeError, OSError) as error:
            raise ValueError(f"{where}: not a whole sentencepiece model ({error})") from None
        model = self._model
        self.special = {model.id_to_piece(i): i for i in range(size) if model.is_control(i)}
        self.added: dict[str, int] = {}  # user-defined pieces are matched by sentencepiece itself
        normalizer = _fields(_fields(data).get(NORMALIZER_SPEC, b""))
        extra = bool(normalizer.get(REMOVE_EXTRA_WHITESPACES, 1))
        prefix = bool(normalizer.get(ADD_DUMMY_PREFIX, 1))
        self.leading_space = "all" if extra else "one" if prefix else None
        self.pieces = {i: self._bytes(i) for i in range(size)}
        self._searches: dict[frozenset[str], re.Pattern[str] | None] = {}

    def _bytes(self, number: int) -> bytes:
        model = self._model
        if model.is_byte(number):
            return bytes([int(model.id_to_piece(number)[3:5], 16)])
        if model.is_control(number):
            return model.id_to_piece(number).encode()
        if model.is_unknown(number):
            return model.decode([number]).encode()
        return model.id_to_piece(number).replace("▁", " ").encode()

    def encode(self, text: str, allowed: frozenset[str]) -> list[int]:
        """Return the ids."""
        if not allowed:
            return self.literal(text)
        if allowed not in self._searches:
            self._searches[allowed] = any_of(allowed)
        ids: list[int] = []
        for piece, named in split(text, self._searches[allowed]):
            ids += [self.special[piece]] if named else self.literal(piece)
        return ids

    def array(self, text: str, allowed: frozenset[str]) -> NDArray[np.int32]:
        """Return the ids as an array."""
        return np.array(self.encode(text, allowed), dtype=np.int32)

    def count(self, text: str, allowed: frozenset[str]) -> int:
        """Return how many ids there are."""
        return len(self.encode(text, allowed))

    def literal(self, text: str) -> list[int]:
        """Return the ids of text in which no control piece is matched."""
        try:
            data = text.encode()  # sentencepiece itself says nothing useful of a surrogate
        except UnicodeEncodeError as error:
            raise surrogate_error(text, error.start) from None
        return list(self._model.encode(data))

    def state(self) -> dict[str, Any]:
        """Return the model file in base64."""
        return {"model": base64.b64encode(self._data).decode()}

    @classmethod
    def of(cls, state: Mapping[str, Any]) -> "Sentencepiece":
        """Make the engine again from `state()`."""
        return cls(base64.b64decode(state["model"], validate=True), "the saved model")


def looks_like_sentencepiece(data: bytes) -> bool:
    """Return whether this reads as a protobuf message whose first field is a list of pieces."""
    return data[:1] == b"\x0a" and data[2:3] == b"\x0a"


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        value |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return value, at


def _fields(data: bytes | int) -> dict[int, Any]:
    """Return the last value of each field of a protobuf message (messages and strings as bytes)."""
    found: dict[int, Any] = {}
    if isinstance(data, int):
        return found
    at = 0
    try:
        while at < len(data):
            key, at = _varint(data, at)
            number, wire = key >> 3, key & 7
            if wire == VARINT:
                found[number], at = _varint(data, at)
            elif wire == BYTES:
                size, at = _varint(data, at)
                found[number], at = data[at : at + size], at + size
            else:
                at += {FIXED64: 8, FIXED32: 4}[wire]
    except (IndexError, KeyError):
        raise ValueError("the sentencepiece model ends in the middle of a field") from None
    return found
