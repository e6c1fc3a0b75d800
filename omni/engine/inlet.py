"""What waits in front of an engine: bounded in bytes, patient for a while, then an `Overflow`."""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from omni.engine.protocol import AudioIn, Closed, ImageIn, Overflow, TextIn, Unit

BYTES = 1 << 20  # 16 s of audio
PATIENCE = 5.0  # s that a push waits for room
SMALL = 64  # bytes that a unit without content counts


def weight(unit: Unit) -> int:
    """Bytes that a unit counts for.

    >>> weight(TextIn("Hello."))
    70
    """
    match unit:
        case AudioIn(samples=content) | ImageIn(pixels=content):
            return SMALL + content.nbytes
        case TextIn(text=text):
            return SMALL + len(text)
        case _:
            return SMALL


@dataclass
class Inlet:
    """A queue of units from one that pushes to one that takes. What is too big by itself waits until it is empty."""

    bytes: int = BYTES
    patience: float = PATIENCE  # s
    waiting: int = field(default=0, init=False)  # bytes
    _units: deque[Unit] = field(default_factory=deque, init=False)
    _filled: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _emptied: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _closed: bool = field(default=False, init=False)

    async def room(self, unit: Unit) -> None:
        """Wait until there is room for a unit, and raise `Overflow` when none comes."""
        size = weight(unit)
        if self._full(size):
            try:
                async with asyncio.timeout(self.patience):
                    while self._full(size):
                        self._emptied.clear()
                        await self._emptied.wait()
            except TimeoutError:
                raise Overflow(
                    f"the engine is behind: {self.waiting:,} bytes wait and none was taken for {self.patience:g} s"
                ) from None

    def put(self, unit: Unit) -> None:
        """Queue a unit; who has not waited for room must have a reason."""
        if self._closed:
            raise Closed("the session is over")
        self.waiting += weight(unit)
        self._units.append(unit)
        self._filled.set()

    async def get(self) -> Unit:
        """The next unit, as soon as there is one."""
        while not self._units:
            self._filled.clear()
            await self._filled.wait()
        unit = self._units.popleft()
        self.waiting -= weight(unit)
        self._emptied.set()
        return unit

    def close(self) -> None:
        """Let everybody go who waits for room."""
        self._closed = True
        self._emptied.set()

    def _full(self, size: int) -> bool:
        return not self._closed and self.waiting > 0 and self.waiting + size > self.bytes
