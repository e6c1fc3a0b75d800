"""An engine in a process of its own, behind the same protocol.

    engine = await WorkerEngine.start("omni.engine.echo:EchoEngine", {"duplex": True})

When the worker dies, every open session gets one fatal `Failed`, a new worker starts, and `ready` says so meanwhile.
What is opened here has its outlet here: a `Cancel` is answered at once, even while the worker is busy.
"""

import asyncio
import itertools
import logging
from collections import deque
from collections.abc import AsyncIterator, Mapping
from contextlib import suppress
from functools import partial
from typing import Any

from omni.engine.accept import accept
from omni.engine.clock import Clock, SystemClock
from omni.engine.inlet import PATIENCE, weight
from omni.engine.outlet import Outlet
from omni.engine.process import Process
from omni.engine.protocol import (
    AudioIn,
    Begin,
    Cancel,
    Closed,
    Discard,
    EndOfTurn,
    Event,
    Failed,
    Full,
    ImageIn,
    Overflow,
    SessionSpec,
    TextIn,
    Unit,
)
from omni.engine.wire import pack, pack_spec, unpack, unpack_error

WINDOW = 256 << 10  # bytes of one session that the worker has not taken yet: 4 s of audio
CREDIT = 16  # events after whose reading the worker is told so
HEARTBEAT = 1.0  # s between pings
BACKOFF = (0.1, 10.0)  # s before the first start anew, doubling up to the last
STEADY = 60.0  # s of life after which the backoff begins anew
log = logging.getLogger(__name__)


class EngineDied(RuntimeError):
    """The worker process ended while somebody waited for it."""


class WorkerSession:
    """One conversation with the engine in the worker."""

    def __init__(self, number: int, engine: "WorkerEngine", process: Process) -> None:
        self.number = number
        self.outlet = Outlet(taken=self._taken)
        self._engine = engine
        self._process = process
        self._sent: deque[tuple[int, int]] = deque()  # numbers and bytes of units that the worker has not taken yet
        self._waiting = 0  # bytes
        self._numbers = itertools.count()
        self._replies: dict[int, asyncio.Future[None]] = {}
        self._moved = asyncio.Event()
        self._late: Exception | None = None  # what was wrong with audio that nobody waited for
        self._read = 0
        self.shut: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    # The protocol

    async def push(self, unit: Unit) -> None:
        """Hand over the next unit."""
        if self.outlet.ended:
            raise Closed("the session is over")
        accept(unit, sees=self._engine.sees)
        if isinstance(unit, Cancel):  # before anything that may raise: nothing else stops the answer
            if self.outlet.cancel() is None and unit.heard is None:
                return
            self._send(unit)
            return
        late, self._late = self._late, None
        if late is not None and not isinstance(unit, Discard):
            raise late
        await self._room(unit)
        if isinstance(unit, Begin):
            self.outlet.begin(unit.origin)
        elif isinstance(unit, EndOfTurn):
            self.outlet.confirm(unit.origin)
        elif isinstance(unit, AudioIn):
            self.outlet.take_back()
        begun = self.outlet.origin
        number = self._send(unit)
        if not isinstance(unit, AudioIn):  # live audio does not wait for the way there and back
            await self._reply(number, unit)
        if isinstance(unit, TextIn | ImageIn | Discard) and self.outlet.origin == begun:
            self.outlet.take_back()  # only now: what is refused takes nothing back
        if isinstance(unit, Discard):
            self._late = None  # what was wrong with the audio is forgotten with it
        await self._process.channel.drain()

    def push_now(self, unit: AudioIn) -> bool:
        """Hand over sound, if the worker keeps up."""
        if self.outlet.ended or self._late is not None or self._full(weight(unit)) or self._process.channel.behind:
            return False
        accept(unit, sees=False)
        self.outlet.take_back()
        self._send(unit)
        return True

    def events(self) -> AsyncIterator[Event]:
        """Everything that comes out."""
        return self.outlet

    async def close(self) -> None:
        """End the session; its place in the worker is free when this returns."""
        if not self.outlet.ended:
            self.outlet.close()
        self._moved.set()
        replies, self._replies = self._replies, {}
        for reply in replies.values():
            if not reply.done():
                reply.set_exception(Closed("the session is over"))
        await self._engine.end(self)

    # From the engine

    def took(self, number: int, error: Exception | None) -> None:
        """The worker took a unit, or could not."""
        while self._sent and self._sent[0][0] <= number:  # it takes them in order, and does not tell of each
            self._waiting -= self._sent.popleft()[1]
        self._moved.set()
        reply = self._replies.pop(number, None)
        if reply is not None and not reply.done():
            if error is None:
                reply.set_result(None)
            else:
                reply.set_exception(error)
        elif error is not None and not isinstance(error, Closed):
            self._late = error

    def came(self, event: Event) -> None:
        """The worker sent an event."""
        if isinstance(event, Failed) and event.fatal:
            self._over(event.code, event.message)
        else:
            self.outlet.offer(event, counted=True)  # the worker counts what is unread

    def died(self, code: str, message: str) -> None:
        """The worker is gone, and the session's place with it."""
        self._over(code, message)
        if not self.shut.done():
            self.shut.set_result(None)

    # Inside

    def _over(self, code: str, message: str) -> None:
        """Nothing more comes. A worker that lives keeps the session's place until `close` asks for it."""
        self.outlet.fail(code, message)
        self._moved.set()
        for reply in self._replies.values():
            if not reply.done():
                reply.set_result(None)  # the failure is in the events
        self._replies.clear()

    async def _room(self, unit: Unit) -> None:
        size = weight(unit)
        if not self._full(size):
            return
        try:
            async with asyncio.timeout(self._engine.patience):
                while self._full(size):
                    self._moved.clear()
                    await self._moved.wait()
        except TimeoutError:
            raise Overflow(
                f"the engine is behind: {self._waiting:,} bytes wait and none was taken for {self._engine.patience:g} s"
            ) from None
        if self.outlet.ended:
            raise Closed("the session is over")

    def _full(self, size: int) -> bool:
        # What was taken without telling is less than half; a unit that is too big by itself goes then.
        return self._waiting > WINDOW // 2 and self._waiting + size > WINDOW and not self.outlet.ended

    def _send(self, unit: Unit) -> int:
        number = next(self._numbers)
        packed, array = pack(unit)
        self._process.channel.send({"t": "unit", "s": self.number, "n": number, "unit": packed}, array)
        self._sent.append((number, weight(unit)))  # only now: what cannot be written takes no room
        self._waiting += weight(unit)
        return number

    async def _reply(self, number: int, unit: Unit) -> None:
        reply: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._replies[number] = reply
        try:
            await reply
        except Exception as error:
            if not isinstance(unit, EndOfTurn):
                raise
            self.outlet.offer(Failed(unit.origin, "refused", str(error)))  # the response is open here already

    def _taken(self, count: int) -> None:
        self._read += count
        if self._read >= CREDIT and not self.outlet.ended:
            self._process.channel.send({"t": "read", "s": self.number, "count": self._read})
            self._read = 0


class WorkerEngine:
    """The handle. `start` it; then it is an engine."""

    def __init__(
        self,
        factory: str,
        options: Mapping[str, Any] | None = None,
        *,
        name: str = "",  # of the engine for people, instead of `factory`
        patience: float = PATIENCE,  # s that a push waits
        longest_start: float = 300.0,  # s to load a model in
        silence: float = 10.0,  # s without any sign of life, after which a worker is taken for dead
        clock: Clock | None = None,
    ) -> None:
        self.patience = patience
        self.restarts = 0
        self._factory = factory
        self._name = name or factory
        self._options = dict(options or {})
        self._longest_start = longest_start
        self._silence = silence
        self._clock = clock or SystemClock()
        self._process: Process | None = None  # while it is ready
        self._sessions: dict[int, WorkerSession] = {}
        self._opening: dict[int, asyncio.Future[None]] = {}
        self._numbers = itertools.count()
        self._heard = 0.0  # when the worker last gave a sign of life
        self._able = True  # what the worker says of its own readiness
        self._closed = False
        self._life: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[int] | None = None
        self._first: asyncio.Future[None] | None = None
        self._again = BACKOFF[0]
        self._why = ""  # what the worker says of its engine that cannot be started
        self.rate_out = 0
        self.sees = False

    @classmethod
    async def start(cls, factory: str, options: Mapping[str, Any] | None = None, **settings: Any) -> "WorkerEngine":
        """Start the worker and wait until its engine is ready."""
        engine = cls(factory, options, **settings)
        engine._first = asyncio.get_running_loop().create_future()
        engine._life = asyncio.create_task(engine._live())
        try:
            await engine._first
        except BaseException:
            await engine.close()
            raise
        return engine

    @property
    def ready(self) -> bool:
        """Whether the worker is up."""
        return self._process is not None and self._able and not self._closed

    @property
    def pid(self) -> int | None:
        """The process id of the worker, while it is up."""
        return None if self._process is None else self._process.child.pid

    async def open(self, spec: SessionSpec) -> WorkerSession:
        """Begin a session in the worker."""
        if self._closed:
            raise Closed("the engine is closed")
        process = self._process
        if process is None:
            raise Full("the engine is starting again", retry_after=self._again)
        number = next(self._numbers)
        session = self._sessions[number] = WorkerSession(number, self, process)
        opening = self._opening[number] = asyncio.get_running_loop().create_future()
        try:
            process.channel.send({"t": "open", "s": number, "spec": pack_spec(spec)})
            await opening
        except BaseException as error:
            if isinstance(error, asyncio.CancelledError):
                process.channel.send({"t": "close", "s": number})
            self._sessions.pop(number, None)
            raise
        finally:
            del self._opening[number]
        return session

    async def end(self, session: WorkerSession) -> None:
        """Free a session's place in the worker, and wait until it is free."""
        if self._sessions.get(session.number) is session and not session.shut.done():
            with suppress(OSError):
                session._process.channel.send({"t": "close", "s": session.number})
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(session.shut), self.patience)
        self._sessions.pop(session.number, None)

    async def close(self) -> None:
        """End every session and the worker."""
        self._closed = True
        life, self._life = self._life, None
        if life is not None:
            life.cancel()
            with suppress(asyncio.CancelledError):
                await life
        if self._ending is not None:
            await self._ending

    # The life of the worker

    async def _live(self) -> None:
        try:
            while True:
                begin = self._clock.now()
                failure: Exception | None = None
                self._why = ""
                try:
                    how = f"ended with {await self._one_life()}{self._why}"
                except Exception as error:  # no file descriptor or no memory is left just now: there may be later
                    how, failure = f"could not be run: {type(error).__name__}: {error}", error
                if self._closed:  # this failure came in place of the cancel
                    return
                if self._first is not None and not self._first.done():
                    self._first.set_exception(
                        failure or EngineDied(f"the engine {self._name} did not start: its process {how}")
                    )
                    return
                if self._clock.now() - begin > STEADY:
                    self._again = BACKOFF[0]
                log.error("the engine's process %s; starting again in %.1f s", how, self._again, exc_info=failure)
                await self._clock.sleep(self._again)
                self._again = min(2 * self._again, BACKOFF[1])
                self.restarts += 1
        finally:
            self._refuse_openings(Closed("the engine is closed"))
            for session in list(self._sessions.values()):
                session.outlet.close()
                session.died("", "")
            self._sessions.clear()

    async def _one_life(self) -> int:
        """Start a worker and listen to it until it is gone; its exit code."""
        up: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        process = await Process.start(self._factory, self._options, partial(self._dispatch, up))
        gone = asyncio.create_task(process.channel.gone.wait())
        first: set[asyncio.Future[Any]] = {up, gone}
        try:
            await asyncio.wait(first, timeout=self._longest_start, return_when=asyncio.FIRST_COMPLETED)
            if up.done():
                self._process, self._able = process, True
                self._heard = self._clock.now()
                log.info("the engine is ready in process %d", process.child.pid)
                if self._first is not None and not self._first.done():
                    self._first.set_result(None)
                watching = asyncio.create_task(self._watch(process))
                try:
                    await asyncio.wait({watching, *first - {up}}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    watching.cancel()
            elif not gone.done():
                log.error("the engine was not ready after %.0f s", self._longest_start)
        finally:
            gone.cancel()
            self._process = None
            if not self._closed:
                self._bury()
            # Whoever closes the engine at this moment waits for the end of it too.
            self._ending = asyncio.create_task(process.end())
            code = await asyncio.shield(self._ending)
        return code

    def _bury(self) -> None:
        sessions, self._sessions = self._sessions, {}
        for session in sessions.values():
            session.died("engine_died", "the engine's process ended; a new session can be opened when it is back")
        self._refuse_openings(Full("the engine is starting again", retry_after=self._again))

    def _refuse_openings(self, error: Exception) -> None:
        for opening in self._opening.values():
            if not opening.done():
                opening.set_exception(error)

    async def _watch(self, process: Process) -> None:
        """Kill a worker that says nothing any more: its event loop hangs, or somebody stopped it."""
        while True:
            asked = self._clock.now()
            process.channel.send({"t": "ping"})
            await self._clock.sleep(HEARTBEAT)
            if self._clock.now() - asked > 2 * HEARTBEAT:  # it was this process that stood still
                self._heard = self._clock.now()
            elif (quiet := self._clock.now() - self._heard) > self._silence:
                log.error("the engine's process has said nothing for %.0f s: killing it", quiet)
                process.child.kill()
                return

    def _dispatch(self, up: "asyncio.Future[None]", message: dict[str, Any], array: Any) -> None:
        self._heard = self._clock.now()
        session = self._sessions.get(message.get("s", -1))
        match message:
            case {"t": "event", "event": packed}:
                if session is not None:
                    session.came(unpack(packed, array))
            case {"t": "took", "n": number}:
                if session is not None:
                    session.took(number, unpack_error(message) if "error" in message else None)
            case {"t": "opened", "s": number}:
                opening = self._opening.get(number)
                if opening is not None and not opening.done():
                    if "error" in message:
                        opening.set_exception(unpack_error(message))
                    else:
                        opening.set_result(None)
            case {"t": "ended"}:
                if session is not None:
                    session.outlet.close()
            case {"t": "closed"}:
                if session is not None and not session.shut.done():
                    session.shut.set_result(None)
            case {"t": "failed", "says": says}:
                self._why = f": {says}"
            case {"t": "pong", "ready": able}:
                self._able = able
            case {"t": "ready", "rate_out": rate, "sees": sees}:
                self.rate_out, self.sees = rate, sees
                up.set_result(None)
