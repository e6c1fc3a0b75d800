"""Small tokenizers for the sequence's tests: a byte vocabulary, and two modalities of other packages."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from omni_tokenizers.sequence import Encoded, Span, Tagged
from omni_tokenizers.tokenizer import CannotStream


class Bytes:
    """Text as its UTF-8 bytes, with two special tokens: the interface of `Text`, without a vocabulary."""

    special: Mapping[str, int] = {"<|start|>": 256, "<|end|>": 257}
    size = 258

    def encode(self, text: str, special: str = "error") -> list[int]:
        if special == "error":
            for name in self.special:
                if name in text:
                    raise ValueError(f"the text holds the special token {name}")
        return list(text.encode())

    def count(self, text: str, special: str = "error") -> int:
        return len(text.encode())

    def decode_bytes(self, ids: list[int]) -> bytes:
        names = {number: name.encode() for name, number in self.special.items()}
        return b"".join(names.get(number) or bytes([number]) for number in ids)

    def decode(self, ids: list[int]) -> str:
        return self.decode_bytes(ids).decode("utf-8", "replace")

    def stream(self) -> "Bytes":
        return self

    def push(self, piece: str) -> list[int]:
        return list(piece.encode())

    def finish(self) -> list[int]:
        return []


class Depth:
    """A depth frame in metres: a token is a square block of pixels, kept as millimetres.

    Its rows may come one band after the other, as a line scanner sends them.
    """

    def __init__(self, block: int = 4, farthest: float = 65.0) -> None:
        self.block = block  # pixels
        self.farthest = farthest  # m

    def encode(self, part: Tagged, /) -> Encoded:
        frame = np.asarray(part.source)
        height, width = frame.shape
        if height % self.block or width % self.block:
            raise ValueError(f"a depth frame of {width}×{height} is no whole number of blocks of {self.block}")
        return self._tokens(frame)

    def count(self, part: Tagged, /) -> int:
        height, width = part.source.shape
        return (height // self.block) * (width // self.block)

    def decode(self, span: Span, arrays: Mapping[str, Any], /) -> Tagged:
        b, columns = self.block, span.meta["columns"]
        blocks = arrays["millimetres"].reshape(-1, columns, b, b)
        rows = blocks.transpose(0, 2, 1, 3).reshape(-1, columns * b)
        return Tagged("depth", rows.astype(np.float32) / np.float32(1000))

    def picture(self, _span: Span, arrays: Mapping[str, Any], /) -> Any:
        metres = self.decode(_span, arrays).source
        grey = np.clip(255 - metres / self.farthest * 255, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)

    def stream(self) -> "DepthStream":
        return DepthStream(self)

    def _tokens(self, rows: Any) -> Encoded:
        b = self.block
        height, width = rows.shape
        millimetres = np.rint(rows * np.float32(1000)).astype(np.uint16)
        blocks = millimetres.reshape(height // b, b, width // b, b).transpose(0, 2, 1, 3).reshape(-1, b, b)
        return Encoded({"millimetres": blocks}, attention="bidirectional", whole=True, meta={"columns": width // b})


class DepthStream:
    def __init__(self, depth: Depth) -> None:
        self.depth = depth
        self.held: Any = None

    def push(self, piece: Tagged, /) -> Encoded:
        rows = np.asarray(piece.source)
        rows = rows if self.held is None else np.concatenate([self.held, rows])
        ready = len(rows) // self.depth.block * self.depth.block
        self.held = rows[ready:]
        return self.depth._tokens(rows[:ready])

    def finish(self) -> Encoded:
        if len(self.held):
            raise ValueError(f"{len(self.held)} rows are left over, a block has {self.depth.block}")
        return self.depth._tokens(self.held)


class Heartbeat:
    """A modality that needs its whole source: beats scaled by their own maximum."""

    def encode(self, part: Tagged, /) -> Encoded:
        beats = np.asarray(part.source, np.float32)
        return Encoded({"values": beats / beats.max()}, step=1.0, meta={"largest": float(beats.max())})

    def count(self, part: Tagged, /) -> int:
        return len(part.source)

    def decode(self, span: Span, arrays: Mapping[str, Any], /) -> Tagged:
        return Tagged("heartbeat", arrays["values"] * np.float32(span.meta["largest"]))

    def stream(self) -> Any:
        raise CannotStream("heartbeats are scaled by the largest of the whole recording")
