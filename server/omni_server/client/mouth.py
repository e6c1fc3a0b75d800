"""The user's mouth: sound leaves in real time, and every sample has its moment on the pacing clock.

A microphone hands over a chunk when its last sample has been taken, so a chunk leaves at its end. While the microphone
is open and nobody speaks, silence leaves.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from math import inf

import numpy as np
from numpy.typing import NDArray

from omni.engine.clock import Clock

Wave = NDArray[np.float32]
CHUNK = 0.02  # s
MOST_REMEMBERED = 1_000  # chunks, the last 20 s, whose lateness is known
AHEAD = 1.0  # s of a live source that may wait here before it has to


@dataclass
class Mouth:
    """One microphone. `send(samples, left_at)` takes each chunk; `keeps_open`: silence leaves between utterances."""

    rate: int  # Hz
    clock: Clock
    send: Callable[[Wave, float], Awaitable[None]]
    keeps_open: bool = True
    chunk: float = CHUNK
    taken: int = 0  # samples that have left, or are leaving now
    sent: int = 0  # samples that have left
    _late: deque[tuple[float, float]] = field(default_factory=lambda: deque(maxlen=MOST_REMEMBERED))  # (due, s late)
    _anchor: float | None = None  # the moment of sample 0; None while the microphone is closed
    _queue: deque[Wave] = field(default_factory=deque)
    _waiting: int = 0  # samples in it
    _stirred: asyncio.Event = field(default_factory=asyncio.Event)
    _left: asyncio.Event = field(default_factory=asyncio.Event)

    def moment(self, sample: int) -> float:
        """When a sample leaves."""
        assert self._anchor is not None
        return self._anchor + sample / self.rate

    def put(self, samples: Wave) -> int:
        """Say this next; the index of its first sample. What is not yet over is said first."""
        if self._anchor is None:
            self._anchor = self.clock.now() - self.taken / self.rate
        elif not self._waiting:
            # The chunk that is being taken has begun already: the time since then was silent.
            past = round((self.clock.now() - self._anchor) * self.rate) - self.taken
            if past > 0:
                self._append(np.zeros(past, np.float32))
        first = self.taken + self._waiting
        self._append(samples)
        self._stirred.set()
        return first

    def late_between(self, begin: float = 0.0, end: float = inf) -> float:
        """The most, in seconds, that a chunk which was due then left late: this machine's own lateness."""
        return max((late for due, late in self._late if begin <= due <= end), default=0.0)

    async def said(self, sample: int) -> None:
        """Wait until so many samples have left."""
        while self.sent < sample:
            self._left.clear()
            await self._left.wait()

    async def room(self) -> None:
        """Wait until a live source may bring more."""
        while self._waiting > AHEAD * self.rate:
            self._left.clear()
            await self._left.wait()

    async def run(self) -> None:
        """Let it leave, for ever."""
        size = round(self.chunk * self.rate)
        while True:
            if self._anchor is None or not (self._waiting or self.keeps_open):
                self._anchor = None
                self._stirred.clear()
                await self._stirred.wait()
                continue
            count = size if self.keeps_open else min(size, self._waiting)
            due = self.moment(self.taken + count)
            wait = due - self.clock.now()
            if wait > 0:
                await self.clock.sleep(wait)
            samples = self._take(count)
            self.taken += count
            self._late.append((due, self.clock.now() - due))
            await self.send(samples, due)
            self.sent += count
            self._left.set()

    def _append(self, samples: Wave) -> None:
        if len(samples):
            self._queue.append(samples)
            self._waiting += len(samples)

    def _take(self, count: int) -> Wave:
        taken: list[Wave] = []
        lacking = count
        while lacking and self._queue:
            first = self._queue.popleft()
            if len(first) > lacking:
                self._queue.appendleft(first[lacking:])
                first = first[:lacking]
            taken.append(first)
            lacking -= len(first)
        self._waiting -= count - lacking
        if lacking:
            taken.append(np.zeros(lacking, np.float32))
        return np.concatenate(taken) if len(taken) > 1 else taken[0]
