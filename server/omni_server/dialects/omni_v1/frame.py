"""The 16 bytes in front of every binary frame, little-endian:

type u8 · flags u8 · stream u16 · sequence u32 · sample u64 · [client time f64, where the flag says so] · payload
"""

import struct
from dataclasses import dataclass

PCM16, OPUS, PCMU, PCMA, CODES = 1, 2, 3, 4, 5
TYPES = {"pcm16": PCM16, "opus": OPUS, "pcmu": PCMU, "pcma": PCMA, "codes": CODES}
FIRST, LAST, TIMED = 0x01, 0x02, 0x04  # flags
HEADER = struct.Struct("<BBHIQ")
TIME = struct.Struct("<d")
SIZE = HEADER.size  # 16 bytes


class BadFrame(ValueError):
    """No frame of this protocol; `field` says which part of it."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Frame:
    """One binary frame.

    >>> Frame(PCM16, b"ab", sequence=7, sample=640) == unpack(Frame(PCM16, b"ab", sequence=7, sample=640).pack())
    True
    """

    type: int
    payload: bytes | memoryview
    flags: int = 0
    stream: int = 0  # number of the answer's item; of the user's sound 0
    sequence: int = 0  # of this stream, from 0, one more with every frame, modulo 2³²
    sample: int = 0  # index in its stream of the first sample, or for codes of the first frame
    time: float | None = None  # s on the client's clock at which the last sample was taken

    def pack(self) -> bytes:
        """As bytes."""
        flags = self.flags | (TIMED if self.time is not None else 0)
        header = HEADER.pack(self.type, flags, self.stream, self.sequence & 0xFFFFFFFF, self.sample)
        return b"".join((header, TIME.pack(self.time) if self.time is not None else b"", self.payload))


def unpack(data: bytes) -> Frame:
    """Read a frame; raises `BadFrame`."""
    if len(data) < SIZE:
        raise BadFrame("header", f"a binary frame has {len(data)} bytes: its header alone has {SIZE}")
    kind, flags, stream, sequence, sample = HEADER.unpack_from(data)
    if not PCM16 <= kind <= CODES:
        raise BadFrame("type", f"type is {kind}: there are 1 to {CODES}")
    start, time = SIZE, None
    if flags & TIMED:
        start += TIME.size
        if len(data) < start:
            raise BadFrame("time", "the flag says that a time follows the header, and the frame ends there")
        (time,) = TIME.unpack_from(data, SIZE)
    return Frame(kind, memoryview(data)[start:], flags, stream, sequence, sample, time)
