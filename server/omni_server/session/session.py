"""One conversation, alive: hands commands, what the engine says, and time to the core, and the core's units on.

`Session.open(engine, …)` begins one. One task gives it commands with `handle`, in order; another reads `events`.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVarTuple

import numpy as np
from numpy.typing import NDArray

from omni.engine.clock import Clock
from omni.engine.outlet import Outlet
from omni.engine.protocol import (
    AudioIn,
    AudioOut,
    Cancel,
    Closed,
    Done,
    EndOfTurn,
    Engine,
    EngineSession,
    Failed,
    Full,
    Overflow,
    Prompt,
    Refused,
    SessionSpec,
)
from omni_server.session.answers import StartApart, StopApart
from omni_server.session.commands import AddItem, AppendAudio, Command, CommitAudio, CreateResponse, DeleteItem
from omni_server.session.core import Core
from omni_server.session.events import Ended, Event, Problem, Transcribed
from omni_server.session.outbox import Outbox, Straight
from omni_server.session.pictures import NoPicture, NoRoom, see
from omni_server.session.settings import SessionSettings
from omni_server.session.setup import Setup
from omni_server.session.slots import Slots
from omni_server.session.telling import Reopen, Task, Wait
from omni_server.session.word_times import WordTimes, timed
from omni_server.turns.detector import Detector, Ear, Heard

MOST_UNITS = 64  # that wait for the engine before the client has to
MOST_WINDOWS = 64  # 2 s that wait for the voice detector before the client has to
IN_ORDER = (EndOfTurn, Reopen, Wait)  # what a cancel must not overtake
TURNED_DOWN = (Refused, Overflow, Closed)
NOT_OPENED = (Full, Closed, Refused)
MORE_TO_TELL = (AddItem, CommitAudio, CreateResponse, DeleteItem)  # each may be many units
About = TypeVarTuple("About")
log = logging.getLogger(__name__)


@dataclass
class _Listened:
    """An ear whose every answer is followed by what the session has to do then."""

    ear: Ear
    session: "Session"

    @property
    def waiting(self) -> int:
        return self.ear.waiting

    def hear(self, window: NDArray[np.float32], heard: Heard) -> None:
        def answered(probability: float) -> None:
            try:
                heard(probability)
                self.session.moved()
            except Exception as error:
                self.session.failed(error)

        self.ear.hear(window, answered)

    def forget(self) -> None:
        self.ear.forget()


class Session:
    """One conversation."""

    def __init__(
        self,
        engine: Engine,
        setup: Setup,
        settings: SessionSettings,
        clock: Clock,
        detector: Detector,
        word_times: WordTimes | None = None,
    ) -> None:
        self._slots = Slots(engine)
        self._told: EngineSession | None = None  # the engine's session that is told everything
        self._push_now: Callable[[AudioIn], bool] | None = None  # its shorter way for sound, where it has one
        self._outbox = Outbox(settings.outbox_events, settings.outbox_bytes)
        self._settings = settings
        self.core = Core(
            setup, settings, clock.now, self._outbox.put, self._outbox.drop_audio, _Listened(detector.ear(), self),
            engine_rate=engine.rate_out, engine_sees=engine.sees,
        )  # fmt: skip
        self._word_times = word_times
        self.core.ground.transcripts.timed = word_times is not None
        self._outbox.leaving = self.core.answers.leaving
        self._units = self.core.ground.telling.units
        self._now = clock.now
        self._tasks: set[asyncio.Task[None]] = set()
        self._apart: dict[str, asyncio.Task[None]] = {}
        self._pushing = self._closed = False
        self._held_up = False  # an event of the engine waits for room
        self._stirred = asyncio.Event()
        self._timer: asyncio.TimerHandle | None = None
        self._timer_at = float("inf")

    @classmethod
    async def open(
        cls,
        engine: Engine,
        setup: Setup,
        settings: SessionSettings,
        clock: Clock,
        detector: Detector,
        word_times: WordTimes | None = None,
    ) -> "Session":
        """Begin; raises `Full` when the engine has no room."""
        session = cls(engine, setup, settings, clock, detector, word_times)
        spec = session.core.ground.telling.spec
        assert spec is not None
        session._attach(await session._slots.take(spec))
        session.core.open()
        return session

    @property
    def name(self) -> str:
        """Its id, as the client sees it."""
        return self.core.session

    async def handle(self, command: Command) -> None:
        """Take the next command of the client. Waits while the engine or the wire is behind; call it in order."""
        if self._outbox.overfull:
            await self._outbox.room(for_client=True)
        if isinstance(command, MORE_TO_TELL):
            await self._caught_up()
        if self._closed:
            return
        if isinstance(command, AddItem | CreateResponse) and self.core.refusal(command) is None:
            try:
                await self._see(command)
            except NoPicture as wrong:
                code = "conversation_full" if isinstance(wrong, NoRoom) else "invalid_value"
                where = "item.content" if isinstance(command, AddItem) else "response.input"
                self._outbox.put(Problem(code, str(wrong), where, ref=command.ref))
                return
        self.core.take(command)
        if self._units and not self._pushing:
            await self._push()
        self.moved()
        if isinstance(command, AppendAudio):
            if len(command.samples) > command.rate // 2:
                await asyncio.sleep(0)  # a long piece has taken milliseconds: let others run
            await self._caught_up()

    async def _caught_up(self) -> None:
        """Wait while the engine or the voice detector has much before it."""
        ear = self.core.listening.ear
        while (len(self._units) > MOST_UNITS or ear.waiting > MOST_WINDOWS) and not self._closed:
            self._stirred.clear()
            await self._stirred.wait()

    async def _see(self, command: AddItem | CreateResponse) -> None:
        """Read the pictures that come with it."""
        brought = [command.item] if isinstance(command, AddItem) else command.context or ()
        await see(brought, self._settings.max_pixels, self.core.editing.room)

    @property
    def prompt(self) -> bool:
        """Whether sound can be taken without waiting, as it nearly always can."""
        return not (
            self._units
            or self._pushing
            or self._closed
            or self._outbox.overfull
            or self.core.listening.ear.waiting > MOST_WINDOWS
        )

    def handle_now(self, command: AppendAudio) -> None:
        """Take sound without waiting, if `prompt`; the engine gets it now, or as soon as it has room."""
        self.core.take(command)
        push_now, units = self._push_now, self._units
        if push_now is not None:
            self._pushing = True  # nobody else does meanwhile
            while units and type(unit := units[0]) is AudioIn:
                units.popleft()
                try:
                    if not push_now(unit):
                        units.appendleft(unit)
                        break
                except TURNED_DOWN as error:
                    self.core.refused(unit, error)
            self._pushing = False
        self.moved()

    def straight(self, wire: Straight) -> None:
        """Give sound to the wire at once when nothing waits before it, besides `events`."""
        self._outbox.straight = wire

    def events(self) -> AsyncIterator[Event]:
        """Everything it says, in order, until it is closed. One reader."""
        return self._outbox

    async def close(self) -> None:
        """End it and free the engine's slot. Closing twice is closing once."""
        if self._closed:
            return
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        self.core.listening.ear.forget()
        self._stirred.set()
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
        self._outbox.close()
        await self._slots.free_all()

    def failed(self, error: Exception) -> None:
        """Something is wrong in here: the client is told, and that it is over."""
        log.error("session %s failed", self.name, exc_info=error)
        self._outbox.put(Ended("internal_error", "something went wrong inside the server; the session is over"))
        self._outbox.close()

    # What the core wants done

    def moved(self) -> None:
        """The core has taken something: do what it wants now."""
        if self._closed:
            return
        self._stirred.set()
        chores = self.core.answers.chores
        while chores:
            chore = chores.popleft()
            if isinstance(chore, StartApart):
                self._apart[chore.origin.response] = self._spawn(self._answer_apart, chore)
            elif isinstance(chore, StopApart) and (task := self._apart.pop(chore.response, None)):
                task.cancel()
        times = self.core.ground.transcripts.to_time
        while times:
            self._spawn(self._time_words, *times.popleft())
        units = self._units
        if units and not self._pushing:
            self._pushing = True  # a task is on its way: no second one
            self._spawn(self._push)
        elif units and isinstance(units[-1], Cancel) and not any(isinstance(unit, IN_ORDER) for unit in units):
            # Somebody waits for the engine to take audio. Nobody should have to wait to be silent.
            self._spawn(self._tell, units.pop())
        deadline = self.core.deadline()
        if deadline is not None and deadline < self._timer_at:
            self._alarm(deadline)

    def _alarm(self, deadline: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer_at = deadline
        self._timer = asyncio.get_running_loop().call_later(max(0.0, deadline - self._now()), self._ring)

    def _ring(self) -> None:
        self._timer, self._timer_at = None, float("inf")
        try:
            self.core.tick()
            self.moved()
        except Exception as error:
            self.failed(error)

    def _spawn(self, work: Callable[[*About], Coroutine[Any, Any, None]], *about: *About) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._guarded(work, *about))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Callable[[*About], Coroutine[Any, Any, None]], *about: *About) -> None:
        try:
            await work(*about)
        except Exception as error:
            self.failed(error)

    async def _time_words(self, said: Transcribed, samples: NDArray[np.int16]) -> None:
        assert self._word_times is not None
        self._outbox.put(replace(said, words=await timed(self._word_times, samples, said.text)))

    # The engine

    def _attach(self, told: EngineSession) -> None:
        self._told = told
        self._push_now = told.push_now if isinstance(told, Prompt) else None
        self._spawn(self._listen, told)

    async def _push(self) -> None:
        self._pushing = True
        try:
            while self._units and not self._closed:
                await self._tell(self._units.popleft())
        finally:
            self._pushing = False
            self._stirred.set()

    async def _tell(self, unit: Task) -> None:
        if isinstance(unit, Reopen):
            await self._reopen(unit.spec)
        elif isinstance(unit, Wait):
            while unit.response in self.core.answers.only_transcribing and not self._closed:
                self._stirred.clear()
                await self._stirred.wait()
        elif self._told is None:
            if isinstance(unit, EndOfTurn):
                self.core.refused(unit, Closed("the engine is not there"))
        else:
            try:
                await self._told.push(unit)
            except TURNED_DOWN as error:
                self.core.refused(unit, error)
                self.moved()

    async def _reopen(self, spec: SessionSpec) -> None:
        told, self._told, self._push_now = self._told, None, None
        if told is not None:
            await self._slots.free(told)
        try:
            self._attach(await self._slots.take(spec))
        except NOT_OPENED as error:
            self.core.lost(_why(error), str(error))

    def _hear(self, told: EngineSession, event: AudioOut) -> bool:
        """Sound of the engine, straight; False where it has to wait in its queue."""
        if self._outbox.full or self._held_up or told is not self._told:
            return False
        self.core.from_engine(event)
        if self._units or self.core.answers.chores:
            self.moved()
        return True

    async def _listen(self, told: EngineSession) -> None:
        events = told.events()
        if isinstance(events, Outlet):
            events.straight = partial(self._hear, told)
        async for event in events:
            if self._outbox.full:
                self._held_up = True
                await self._outbox.room()
                self._held_up = False
            if told is not self._told:
                return
            self.core.from_engine(event)
            self.moved()
        if told is self._told and not self._closed:
            self._told = self._push_now = None
            self.core.lost("engine_died", "the engine stopped working on this session; the next answer begins anew")
            self.moved()
            await self._slots.free(told)

    async def _answer_apart(self, chore: StartApart) -> None:
        response, ended = chore.origin.response, False
        try:
            apart = await self._slots.take(chore.spec)
        except NOT_OPENED as error:
            self._fail_apart(response, _why(error), str(error))
            return
        try:
            for unit in (*chore.units, EndOfTurn(chore.origin)):
                await apart.push(unit)
            async for event in apart.events():
                if self._outbox.full:
                    await self._outbox.room()
                if getattr(event, "origin", None) == chore.origin:
                    self.core.from_engine(event)
                    self.moved()
                    if ended := isinstance(event, Done | Failed):
                        break
            if not ended:
                self._fail_apart(response, "engine_died", "the engine stopped working on this answer")
        except TURNED_DOWN as error:
            self._fail_apart(response, "engine_refused", str(error))
        finally:
            self._apart.pop(response, None)
            await self._slots.free(apart)

    def _fail_apart(self, response: str, code: str, message: str) -> None:
        self.core.fail(response, code, message)
        self.moved()


def _why(error: Exception) -> str:
    return {Full: "engine_full", Refused: "engine_refused"}.get(type(error), "engine_closed")
