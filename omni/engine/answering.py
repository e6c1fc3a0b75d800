"""A session whose answers are coroutines: what echo, the scripted fake and the pipeline have in common.

One task takes the units in order; one more answers. `Cancel` and the taking back of a `Begin` do not queue: the outlet
is closed for that response at once, and the answering task is cancelled, while the units before it are still heard.
"""

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any, Generic, Literal, TypeVar

from omni.engine.accept import accept
from omni.engine.clock import Clock
from omni.engine.inlet import PATIENCE, Inlet
from omni.engine.outlet import CAPACITY, Outlet
from omni.engine.protocol import (
    SAMPLE_RATE,
    AudioIn,
    Begin,
    Cancel,
    Closed,
    Configure,
    Discard,
    Done,
    EndOfTurn,
    Event,
    Failed,
    Full,
    ImageIn,
    Mark,
    Origin,
    Overflow,
    SessionSpec,
    Stage,
    TextIn,
    Unit,
)

Turn = TypeVar("Turn")  # what an engine keeps of a turn
Reason = Literal["stop", "length", "cancelled", "tool"]
LONGEST_TURN = 600.0  # s of audio that one turn may hold
log = logging.getLogger(__name__)


class StageFailed(RuntimeError):
    """A part of the engine could not do its work; `code` goes to the client."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.code = code


class AnsweringSession(ABC, Generic[Turn]):
    """One conversation. An engine fills in `hear`, `turn`, `settle` and `answer`."""

    def __init__(
        self,
        spec: SessionSpec,
        clock: Clock,
        *,
        sees: bool = False,
        capacity: int = CAPACITY,
        patience: float = PATIENCE,
        longest_turn: float = LONGEST_TURN,
        closed: Callable[[Any], None] = lambda _session: None,
    ) -> None:
        self.spec = spec  # of the answer that is being made, or was made last
        self._next_spec = spec
        self.clock = clock
        self.outlet = Outlet(capacity)
        self._inlet = Inlet(patience=patience)
        self._sees = sees
        self._longest_turn = longest_turn
        self._heard = 0.0  # s of audio in this turn
        self._closed = closed
        self._answering: asyncio.Task[None] | None = None
        self._begun: tuple[Origin, Turn] | None = None  # what was started last, while its turn is not settled
        self._listening = asyncio.create_task(self._listen())

    # What an engine fills in

    @abstractmethod
    async def hear(self, unit: AudioIn | TextIn | ImageIn) -> None:
        """Take in a piece of the turn."""

    @abstractmethod
    def turn(self) -> Turn:
        """The turn as it stands, for an answer to it; the turn may still go on."""

    @abstractmethod
    def settle(self, turn: Turn) -> None:
        """The turn is over, with this answer or without one: what comes next is the next turn."""

    @abstractmethod
    async def answer(self, origin: Origin, turn: Turn) -> Reason:
        """Answer, through `emit` and `mark`. May be cancelled at any await."""

    def discard(self) -> None:
        """Forget what was heard of this turn."""

    def shorten(self, heard: float) -> None:
        """Only so many seconds of the last answer were heard."""

    async def release(self) -> None:
        """Free what the session holds."""

    # What an engine uses

    async def emit(self, event: Event) -> None:
        """Hand an event out; waits while nobody reads."""
        await self.outlet.emit(event)

    async def mark(self, origin: Origin, stage: Stage) -> None:
        """Stamp a stage of the answer."""
        await self.outlet.emit(Mark(origin, stage, self.clock.now()))

    # The protocol

    async def push(self, unit: Unit) -> None:
        """Hand over the next unit."""
        if self.outlet.ended:
            raise Closed("the session is over")
        accept(unit, sees=self._sees)
        if isinstance(unit, Cancel):
            if self.outlet.cancel() is not None:
                self._interrupt()
                self._inlet.put(unit)  # at most one for each response, so without waiting for room
                return
            if unit.heard is None:
                return
        await self._inlet.room(unit)
        match unit:
            case Begin(origin=origin):
                self.outlet.begin(origin)
                self._interrupt()  # what was begun before
            case EndOfTurn(origin=origin):
                if not self.outlet.confirm(origin):
                    self._interrupt()
                self._heard = 0.0
            case AudioIn() | TextIn() | ImageIn() | Discard():
                if isinstance(unit, AudioIn):
                    seconds = len(unit.samples) / SAMPLE_RATE
                    if self._heard + seconds > self._longest_turn:
                        raise Overflow(f"the turn is longer than {self._longest_turn:g} s: end it, or discard it")
                    self._heard += seconds
                elif isinstance(unit, Discard):
                    self._heard = 0.0
                if self.outlet.take_back() is not None:
                    self._interrupt()
        self._inlet.put(unit)

    def events(self) -> AsyncIterator[Event]:
        """Everything that comes out."""
        return self.outlet

    async def close(self) -> None:
        """End the session and free what it holds."""
        if self._listening.done() and self.outlet.ended:
            return
        self.outlet.close()
        self._inlet.close()
        self._listening.cancel()
        with suppress(asyncio.CancelledError):
            await self._listening
        await self._answered()
        await self.release()
        self._closed(self)

    # Inside

    def _interrupt(self) -> None:
        if self._answering is not None:
            self._answering.cancel()

    async def _answered(self) -> None:
        """Wait until the answering task is gone, so that a new one finds everything in order."""
        task, self._answering = self._answering, None
        if task is not None:
            task.cancel()
            await asyncio.wait({task})

    async def _listen(self) -> None:
        while True:
            unit = await self._inlet.get()
            try:
                await self._take(unit)
            except Exception as error:
                # What cannot be heard ends no answer; a turn that cannot be answered does.
                origin = unit.origin if isinstance(unit, Begin | EndOfTurn) else None
                self.outlet.offer(_failed(origin, error))

    async def _take(self, unit: Unit) -> None:
        match unit:
            case AudioIn() | TextIn() | ImageIn():
                await self.hear(unit)
            case Begin(origin=origin):
                if self.outlet.origin == origin:
                    await self._start(origin, self.turn())
            case EndOfTurn(origin=origin):
                begun = self._begun
                if begun is not None and begun[0] == origin:
                    self.settle(begun[1])
                    self._begun = None
                    return
                turn = self.turn()
                self.settle(turn)
                if self.outlet.origin == origin:  # or it was cancelled meanwhile
                    await self._start(origin, turn)
                self._begun = None
            case Cancel(heard=heard):
                await self._answered()
                if heard is not None:
                    self.shorten(heard)
            case Discard():
                self.discard()
            case Configure(spec=spec):
                self._next_spec = spec

    async def _start(self, origin: Origin, turn: Turn) -> None:
        await self._answered()
        if self.outlet.origin == origin:
            self.spec = self._next_spec
            self._begun = (origin, turn)
            self._answering = asyncio.create_task(self._answer(origin, turn))

    async def _answer(self, origin: Origin, turn: Turn) -> None:
        end: Event
        try:
            end = Done(origin, await self.answer(origin, turn))
        except Exception as error:
            end = _failed(origin, error)
        self.outlet.offer(end)


def _failed(origin: Origin | None, error: Exception) -> Failed:
    if isinstance(error, StageFailed):
        log.warning("%s: %s", error.code, error)
        return Failed(origin, error.code, str(error))
    log.error("an engine failed", exc_info=error)
    return Failed(origin, "engine_error", f"{type(error).__name__}: {error}")


Session = TypeVar("Session", bound=AnsweringSession[Any])


class AnsweringEngine(ABC, Generic[Session]):
    """An engine of such sessions, at most `sessions` at a time."""

    sees = False

    def __init__(self, clock: Clock, sessions: int) -> None:
        self.clock = clock
        self.sessions = sessions
        self.retry_after = 1.0  # s; nobody knows when a conversation ends, so soon enough to be worth a try
        self._open: set[Session] = set()
        self._ended = False

    @property
    @abstractmethod
    def rate_out(self) -> int:
        """Hz, of the audio that comes out."""

    @abstractmethod
    def begin(self, spec: SessionSpec) -> Session:
        """A new session; it calls `self.forget` when it is closed."""

    @property
    def ready(self) -> bool:
        """Whether a session can be opened now, but for `Full`."""
        return not self._ended

    async def open(self, spec: SessionSpec) -> Session:
        """Begin a session, or say at once that there is no room."""
        if self._ended:
            raise Closed("the engine is closed")
        if len(self._open) >= self.sessions:
            raise Full(f"all {self.sessions} sessions are taken: try again in {self.retry_after:g} s", self.retry_after)
        session = self.begin(spec)
        self._open.add(session)
        return session

    def forget(self, session: Session) -> None:
        """A session was closed: its place is free."""
        self._open.discard(session)

    async def close(self) -> None:
        """End every session and stop."""
        self._ended = True
        for session in list(self._open):
            await session.close()
        await self.release()

    async def release(self) -> None:
        """Free what the engine holds."""
