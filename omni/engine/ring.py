"""Shared memory that audio crosses processes in: one writes, one reads, in order.

The memory has no name, so nothing is left behind when both sides are killed.
"""

import mmap
import os
import struct
import tempfile

COUNTER = struct.Struct("<Q")
HEAD = 64  # bytes before the data: a cache line for the reader's counter


class Ring:
    """`size` bytes that are used again and again. Positions count up for ever; the place is the remainder."""

    def __init__(self, memory: mmap.mmap, start: int, size: int) -> None:
        self._memory = memory
        self._head = start
        self._data = start + HEAD
        self._size = size - HEAD
        self._written = 0

    def put(self, data: bytes | memoryview) -> int | None:
        """Where the bytes were put; None when the reader is too far behind."""
        count = len(data)
        position = self._written
        place = position % self._size
        if place + count > self._size:  # a block is never cut: go on at the beginning
            position += self._size - place
            place = 0
        read = COUNTER.unpack_from(self._memory, self._head)[0]
        if count > self._size or position + count - read > self._size:
            return None
        self._memory[self._data + place : self._data + place + count] = bytes(data)
        self._written = position + count
        return position

    def take(self, position: int, count: int) -> bytes:
        """A copy of the bytes that were put there; everything before them is free again."""
        place = self._data + position % self._size
        data = self._memory[place : place + count]
        # The message that told the position is what orders this against the writer; the counter only ever lags.
        COUNTER.pack_into(self._memory, self._head, position + count)
        return data

    def close(self) -> None:
        """Let go of the memory, for the ring of the other direction too."""
        self._memory.close()


def nameless(size: int) -> int:
    """A file descriptor of memory that only its holders can reach."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("omni-audio")
    else:
        descriptor, name = tempfile.mkstemp(prefix="omni-audio-")
        os.unlink(name)  # noqa: PTH108
    try:
        os.ftruncate(descriptor, size)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def pair(descriptor: int, size: int, *, first: bool) -> tuple[Ring, Ring]:
    """The ring to write and the ring to read, of one side; the other side has them the other way round."""
    memory = mmap.mmap(descriptor, size)
    half = size // 2
    rings = Ring(memory, 0, half), Ring(memory, half, half)
    return rings if first else (rings[1], rings[0])
