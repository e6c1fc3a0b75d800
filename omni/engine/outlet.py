"""The one place where epochs are fenced: what comes out of a session goes through here.

Whoever answers may be a coroutine, a slot loop or another process, and may be late. It offers events; the outlet lets
through what belongs to the open response, holds back what was only begun, drops what comes too late, and ends each
response exactly once. Every engine's session has one, on either side of a process border.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from omni.engine.protocol import (
    AudioOut,
    Closed,
    Done,
    Event,
    Failed,
    Origin,
    Overflow,
    Refused,
    Transcript,
    TurnPrediction,
)
from omni.engine.reader import Reader

CAPACITY = 128  # events; 40 ms of audio each, 5 s ahead of the reader


@dataclass
class Outlet(AsyncIterator[Event]):
    """The events of one session: bounded, fenced, read by one reader with `async for`."""

    capacity: int = CAPACITY
    taken: Callable[[int], None] = lambda _count: None  # told how many events left: read, purged or dropped
    # Sound may go straight to whoever reads, when nothing waits before it: a round of the event loop less each time.
    straight: Callable[[AudioOut], bool] | None = field(default=None, init=False)
    _origin: Origin | None = field(default=None, init=False)  # open, or only begun
    _begun: bool = field(default=False, init=False)  # only begun: nothing may leave
    _last: Origin | None = field(default=None, init=False)  # open, begun or spent
    _opened: Origin | None = field(default=None, init=False)  # the last that was known to the user
    _ended: bool = field(default=False, init=False)
    _held: deque[Event] = field(default_factory=deque, init=False)
    _queue: deque[Event] = field(default_factory=deque, init=False)
    _reader: Reader = field(default_factory=Reader, init=False)
    _room: asyncio.Event = field(default_factory=asyncio.Event, init=False)

    # Responses

    @property
    def origin(self) -> Origin | None:
        """The response that events are taken for now, open or begun."""
        return self._origin

    @property
    def begun(self) -> bool:
        """Whether that response is only begun."""
        return self._begun

    @property
    def open(self) -> bool:
        """Whether a response is open, and known to the user."""
        return self._origin is not None and not self._begun

    @property
    def ended(self) -> bool:
        """Whether the session is over."""
        return self._ended

    def begin(self, origin: Origin) -> None:
        """`Begin`: take events of this origin, and hold them. What was begun before is forgotten."""
        self._may_open(origin)
        self.take_back()
        self._origin = self._last = origin
        self._begun = True

    def confirm(self, origin: Origin) -> bool:
        """`EndOfTurn`: open this response. True if it was begun, and what it made so far now leaves."""
        if self._begun and origin == self._origin:
            self._begun, self._opened = False, origin
            held, self._held = self._held, deque()
            for event in held:
                self._put(event)
            self._wake()
            return True
        self._may_open(origin)
        self.take_back()
        self._origin = self._last = self._opened = origin
        return False

    def take_back(self) -> Origin | None:
        """Forget what was begun, without an event; says which response that was."""
        if not self._begun:
            return None
        origin, self._origin, self._begun = self._origin, None, False
        self._forget(self._held)
        return origin

    def cancel(self) -> Origin | None:
        """`Cancel`: end the open response now, and drop what nobody read of it; says which response that was.

        A response whose end nobody has read is still open to whoever reads, even if another one was begun after it.
        """
        begun, origin = self.take_back(), self._opened
        if origin is None or (self._origin is None and not any(_ends(event, origin) for event in self._queue)):
            return begun
        self._origin = None
        self._forget(self._queue, origin)
        self._put(Done(origin, "cancelled"))
        self._wake()
        return origin

    # Events

    def offer(self, event: Event, *, counted: bool = False) -> bool:
        """Take an event, now or never: False when there is no room. One that comes too late is taken, and dropped.

        An end always finds room; so does what is counted elsewhere.
        """
        origin = getattr(event, "origin", None)
        if self._ended or (origin is not None and origin != self._origin):
            self.taken(1)
            return True
        end = isinstance(event, Done) or (isinstance(event, Failed) and origin is not None)
        if not (end or counted or self.room):
            return False
        words = isinstance(event, Transcript) and event.final and event.turn in (None, self._origin)
        if self._begun and (origin is not None or words):
            if not any(_ends(held, origin) for held in self._held):
                self._held.append(event)
            return True
        if type(event) is AudioOut and self.straight is not None and not self._queue and self.straight(event):
            self.taken(1)
            return True
        self._put(event)
        self._wake()
        return True

    @property
    def room(self) -> bool:
        """Whether the next event would be taken."""
        return len(self._queue) + len(self._held) < self.capacity

    async def emit(self, event: Event) -> None:
        """Take an event, and wait for room if there is none."""
        while not self.offer(event):
            self._room.clear()
            await self._room.wait()

    def fail(self, code: str, message: str) -> None:
        """The session is over because of this; an open response ends with it."""
        if self._ended:
            return
        origin = self._origin if self.open else None
        self.take_back()
        self._put(Failed(origin, code, message, fatal=True))
        self._origin, self._ended = None, True
        self._wake()

    def close(self) -> None:
        """The session is over: an open response is cancelled, and the events end."""
        if not self._ended:
            self.cancel()
            self._origin, self._ended = None, True
            self._wake()

    # The reader

    async def __anext__(self) -> Event:
        while not self._queue:
            if self._ended:
                raise StopAsyncIteration
            await self._reader.wait()
        event = self._queue.popleft()
        self._room.set()
        self.taken(1)
        return event

    # Inside

    def _may_open(self, origin: Origin) -> None:
        if self._ended:
            raise Closed("the session is over")
        if self.open:
            raise Refused(f"response {self._origin} is open: cancel it, or wait for its end, before {origin}")
        last = self._last
        if last is not None and (origin.response == last.response or origin.epoch < last.epoch):
            raise Refused(f"{origin} cannot follow {last}: response ids are used once and epochs never go back")
        if len(self._queue) >= 2 * self.capacity:  # ends always find room, so beginnings must not
            raise Overflow(f"{len(self._queue)} events wait and nobody reads them")

    def _put(self, event: Event) -> None:
        if isinstance(event, TurnPrediction) or (isinstance(event, Transcript) and not event.final):
            for at in range(len(self._queue) - 1, -1, -1):  # an unread older one of its kind has nothing more to say
                older = self._queue[at]
                if isinstance(older, Transcript) and older.final:
                    break
                if type(older) is type(event):
                    self._queue[at] = event
                    self.taken(1)
                    return
        self._queue.append(event)
        if self._origin is not None and _ends(event, self._origin):
            self._origin = None

    def _forget(self, queue: deque[Event], origin: Origin | None = None) -> None:
        """Drop what is queued of one response; of all, without one."""
        kept = [event for event in queue if origin is not None and getattr(event, "origin", None) != origin]
        self.taken(len(queue) - len(kept))
        queue.clear()
        queue.extend(kept)
        self._room.set()

    def _wake(self) -> None:
        self._reader.wake()
        if self._ended:
            self._room.set()


def _ends(event: Event, origin: Origin | None) -> bool:
    """Whether this is the terminal event of that response."""
    return isinstance(event, Done | Failed) and origin is not None and event.origin == origin
