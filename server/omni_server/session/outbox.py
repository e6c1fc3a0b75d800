"""What waits for the wire: bounded, so that an engine does not work for a client that does not read.

What the client itself causes may be as much again: no engine fills that, so an interruption never waits for the wire.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Protocol

from omni.engine.reader import Reader
from omni_server.session.events import (
    AudioDelta,
    CodesDelta,
    Event,
    ItemAdded,
    ItemDone,
    ItemRetrieved,
    SessionChanged,
    TextDelta,
)
from omni_server.session.items import content_bytes

SMALL = 200  # bytes that an event without sound counts


def weight(event: Event) -> int:
    """Bytes that an event counts for."""
    if type(event) is AudioDelta:
        return SMALL + event.samples.nbytes
    if isinstance(event, CodesDelta):
        return SMALL + event.codes.nbytes
    if isinstance(event, TextDelta):
        return SMALL + len(event.text)
    if isinstance(event, SessionChanged):
        return SMALL + len(json.dumps(event.setup.wire, default=dict))
    if isinstance(event, ItemAdded | ItemDone | ItemRetrieved):
        return SMALL + content_bytes(event.item)
    return SMALL


class Straight(Protocol):
    """The wire, for an event that need not queue."""

    def ready(self) -> bool:
        """Whether it can take one now."""
        ...

    def take(self, event: Event) -> None:
        """Send it."""
        ...


@dataclass
class Outbox(AsyncIterator[Event]):
    """Read by one reader with `async for`. Events always find a place; who makes them waits for `room` before."""

    most_events: int
    most_bytes: int
    leaving: Callable[[Event], Event] = lambda event: event  # may stamp an event as it leaves
    # Sound goes straight to the wire when nothing waits before it: a round of the event loop less for each piece.
    straight: Straight | None = field(default=None, init=False)
    waiting: int = field(default=0, init=False)  # bytes
    _events: deque[tuple[Event, int]] = field(default_factory=deque, init=False)  # with their weights
    _reader: Reader = field(default_factory=Reader, init=False)
    _taken: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _closed: bool = field(default=False, init=False)

    def put(self, event: Event) -> None:
        """Queue an event."""
        if self._closed:
            return
        straight = self.straight
        if type(event) is AudioDelta and straight is not None and not self._events and straight.ready():
            straight.take(self.leaving(event))
            return
        size = weight(event)
        self._events.append((event, size))
        self.waiting += size
        self._reader.wake()

    def drop_audio(self, response: str) -> None:
        """Forget the sound of a response that has not left."""
        kept: deque[tuple[Event, int]] = deque()
        for event, size in self._events:
            if isinstance(event, AudioDelta | CodesDelta) and event.place.response == response:
                self.waiting -= size
            else:
                kept.append((event, size))
        self._events = kept
        self._taken.set()

    @property
    def full(self) -> bool:
        """Whether an engine should wait."""
        return len(self._events) >= self.most_events or self.waiting >= self.most_bytes

    @property
    def overfull(self) -> bool:
        """Whether the client should wait, too."""
        return len(self._events) >= 2 * self.most_events or self.waiting >= 2 * self.most_bytes

    async def room(self, *, for_client: bool = False) -> None:
        """Wait until the reader has caught up, or nobody will read any more."""
        while (self.overfull if for_client else self.full) and not self._closed:
            self._taken.clear()
            await self._taken.wait()

    def close(self) -> None:
        """Nothing more comes; what waits can still be read."""
        self._closed = True
        self._taken.set()
        self._reader.wake()

    async def __anext__(self) -> Event:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            await self._reader.wait()
        event, size = self._events.popleft()
        self.waiting -= size
        self._taken.set()
        return self.leaving(event)
