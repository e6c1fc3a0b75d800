"""The native engine: one model that hears, sees, thinks and speaks, for many conversations in lock-step.

The step runs on the event loop of the process that the engine lives in, which is a worker's and has nothing else to do.
So a tick is one atom: nothing is pushed, cancelled or closed during it, and what it chose is still wanted afterwards.
Codes become sound in a second thread (`voice.py`), beside the next step; the first of an answer before it.
"""

import asyncio
import logging
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from omni.bundle import Bundle
from omni.engine.clock import Clock, SystemClock
from omni.engine.native.admission import StepTimes
from omni.engine.native.embedding import Embedding
from omni.engine.native.flat import Flat
from omni.engine.native.graphs import Graphs
from omni.engine.native.lane import Lane
from omni.engine.native.pace import Beat
from omni.engine.native.prefixes import Prefixes
from omni.engine.native.rehearsal import choose_threads, rehearse
from omni.engine.native.schedule import Schedule
from omni.engine.native.session import NativeSession
from omni.engine.native.slots import Slots
from omni.engine.native.system import system_part
from omni.engine.native.tick import Alone, Tick
from omni.engine.native.transcripts import Transcripts
from omni.engine.native.voice import Voice
from omni.engine.protocol import SAMPLE_RATE, Closed, Full, Origin, SessionSpec
from omni.model.cache import untouched

RETRY = 1.0  # s; nobody knows when a conversation ends, so soon enough to be worth a try
IDLE = 300.0  # s of silence after which a session's slot goes to somebody who needs one
ROUNDS = 6  # of the event loop between two ticks: what comes from another process needs so many to have its effect
PREFIXES = 2  # slots for instructions that sessions share
HOPELESS = 3  # steps in a row that break, after which no other will do
# After an error of the device itself every later call in this process fails. Torch before 2.8 has no name for it.
LOST: Any = getattr(torch, "AcceleratorError", ())
log = logging.getLogger(__name__)


class NativeEngine:
    """Many sessions of one model. `await start()` measures first what the machine can do; without it nothing is known
    of step times until there were some."""

    def __init__(
        self,
        bundle: Bundle,
        *,
        sessions: int = 16,
        capacity: int | None = None,
        clock: Clock | None = None,
        idle: float = IDLE,
    ) -> None:
        if bundle.tokens.scheme != "linear":
            raise ValueError(f"the native engine counts positions one by one and this model has {bundle.tokens.scheme}")
        bundle.model.eval()
        self.bundle = bundle
        self.sessions = sessions
        self.clock = clock or SystemClock()
        self.idle = idle
        writers = max(1, sessions // 4)
        slots = sessions + writers + PREFIXES
        capacity = min(capacity or bundle.model.spec.longest, bundle.model.spec.longest)
        weight = bundle.model.embed.weight
        on_cpu = weight.device.type == "cpu" and weight.dtype in (torch.float32, torch.float64)
        self.stepper: Flat | Graphs = (Flat if on_cpu else Graphs)(bundle.model, slots=slots, capacity=capacity)
        vectors = untouched((slots, capacity, weight.shape[1]), weight.dtype, weight.device)
        self.slots = Slots(self.stepper.cache, vectors)
        self.embedding = Embedding(bundle.model, bundle.tokens.placeholders)
        self.voice = Voice(bundle.codec) if bundle.codec is not None else None
        self.transcripts = Transcripts(self, range(sessions, sessions + writers))
        self.prefixes = Prefixes(self.slots, range(sessions + writers, slots))
        self.tick = Tick(bundle, self.stepper, self.embedding, self.slots)
        self.times = StepTimes(self.clock.now)
        rate = bundle.codec.frame_rate if bundle.codec is not None else 25.0
        self.beat = Beat.of(rate)
        self.budget = 1 / rate  # s that a step of everybody may take
        self.schedule = Schedule(self.beat)
        self.open_sessions: list[NativeSession] = []
        self.broken = False  # for good: a worker process ends then, and the next one begins with a new device
        self._breaks = 0  # of the steps since the last one that went well
        self._ended = False
        self._loop: asyncio.Task[None] | None = None
        self._woken = False
        self._nap: asyncio.Timeout | None = None

    # The protocol

    @property
    def rate_out(self) -> int:
        """Hz, of the audio that comes out."""
        return self.bundle.codec.sample_rate if self.bundle.codec is not None else SAMPLE_RATE

    @property
    def sees(self) -> bool:
        """Whether pictures are taken."""
        return self.bundle.sees

    @property
    def ready(self) -> bool:
        """Whether a session can be opened now, but for `Full`."""
        return not (self._ended or self.broken)

    async def open(self, spec: SessionSpec) -> NativeSession:
        """Begin a session, or say at once that there is no room."""
        if self._ended:
            raise Closed("the engine is closed")
        if self.broken:
            raise Full("the model cannot be run in this process any more", RETRY)
        rows = min(len(self.open_sessions) + 1, self.sessions)
        if rows > 1 and not self.times.fits(rows, self.budget):  # who is alone disturbs nobody, and is learned from
            took = self.times.p99(rows) or 0.0
            raise Full(
                f"a step of {rows} sessions would take {1e3 * took:.0f} ms and has {1e3 * self.budget:.0f}: "
                f"try again in {RETRY:g} s",
                RETRY,
            )
        slot = self.slots.free(range(self.sessions))
        idle = self._idle() if slot is None else None
        full = Full(f"all {self.sessions} sessions are taken: try again in {RETRY:g} s", RETRY)
        if slot is None and idle is None:
            raise full
        system = system_part(self.bundle, spec, self.slots.capacity)  # refused before somebody has to go for it
        if idle is not None:
            slot = await self._release(idle)
            if self._ended:
                raise Closed("the engine is closed")
        if slot is None:
            raise full
        given: list[Lane] = []

        def lane(owner: NativeSession) -> Lane:
            given.append(self.slots.give(slot, owner))
            return given[0]

        try:
            session = NativeSession(spec, system, lane, self)
        except Exception as error:
            self.broken = self.broken or isinstance(error, LOST)
            for unused in given:
                self.slots.release(unused)
            raise
        self.open_sessions.append(session)
        if self._loop is None:
            self._loop = asyncio.create_task(self._run())
        self.wake()
        return session

    async def close(self) -> None:
        """End every session and stop."""
        self._ended = True
        for session in list(self.open_sessions):
            await session.close()
        if self.voice is not None:
            self.voice.close()

    async def start(self) -> None:
        """Measure, before anybody comes: how many threads are best, and how long a step takes for how many rows."""
        with torch.inference_mode():
            if isinstance(self.stepper, Flat):
                self.embedding.prepare()
                log.info("a step is fastest with %d threads", choose_threads(self.stepper, self.sessions))
            else:
                self.stepper.prepare(self.sessions + len(self.transcripts.slots))
            rehearse(self.stepper, self.tick, self.sessions, self.times)

    # What sessions use

    def wake(self) -> None:
        """There is something to do."""
        self._woken = True
        if self._nap is not None:
            self._nap.reschedule(asyncio.get_running_loop().time())
            self._nap = None

    def transcribe(self, session: NativeSession, upto: int, turn: int, origin: Origin) -> None:
        """Write down the last turn of so many tokens, which ends there on the tape and got this response."""
        self.transcripts.want(session, upto, turn, origin)

    def writes(self, session: NativeSession) -> bool:
        """Whether a turn of it is still being written down."""
        return self.transcripts.waits(session)

    def moves(self, session: NativeSession, start: int) -> None:
        """A tape is about to change from there on."""
        self.transcripts.moves(session, start)

    def drop(self, session: NativeSession) -> None:
        """A session cannot go on: its slot is free."""
        self._remove(session)

    async def forget(self, session: NativeSession) -> None:
        """A session is closed: its slot is free."""
        self._remove(session)
        if not self.open_sessions and self._loop is not None:
            task, self._loop = self._loop, None
            self.wake()
            await asyncio.wait({task})

    def _remove(self, session: NativeSession) -> None:
        if session in self.open_sessions:
            self.open_sessions.remove(session)
            self.transcripts.forget(session)
            self.slots.release(session.lane)

    # The loop

    async def _run(self) -> None:
        """While there are sessions: a tick whenever somebody has something to do."""
        me = asyncio.current_task()
        while self._loop is me and self.open_sessions:  # the next one begins a loop of its own
            self._woken = False
            try:
                due, now = self._due(), self.clock.now()
                if ticked := due is not None and due <= now:
                    self._tick(now)
                    self._breaks = 0
            except Exception as error:
                # What breaks here has no owner: nobody knows whose slot is sound, so everybody starts anew.
                log.exception("a step failed")
                self._breaks += 1
                self.broken = self._breaks >= HOPELESS or isinstance(error, LOST)
                for session in list(self.open_sessions):
                    session.fail("engine_error", f"a step of the model failed: {type(error).__name__}: {error}")
                    with suppress(RuntimeError):  # on a device that is lost, no slot can be wiped
                        self._remove(session)
                self._loop = None
                return
            if ticked:
                for _ in range(ROUNDS):
                    await asyncio.sleep(0)
            elif not self._woken:
                await self._sleep(None if due is None else due - now)
        if self._loop is me:
            self._loop = None

    async def _sleep(self, seconds: float | None) -> None:
        nap = self._nap = asyncio.timeout(None)
        try:
            async with nap:
                if seconds is None:
                    await asyncio.get_running_loop().create_future()
                else:
                    await self.clock.sleep(seconds)
        except TimeoutError:
            pass
        finally:
            if self._nap is nap:  # not that of the loop after this one: nobody could wake it any more
                self._nap = None

    def _due(self) -> float | None:
        """When the next tick is due; None while nobody has anything to do."""
        for session in list(self.open_sessions):
            with Alone(session.lane):
                session.deliver()
        self.transcripts.begin()
        return self.schedule.due(self.open_sessions, self.transcripts.branches, self.clock.now())

    def _tick(self, now: float) -> None:
        with torch.inference_mode():
            work = self.schedule.choose(self.open_sessions, self.transcripts.branches, now, self.embedding)
            if not work:
                return
            self.tick.step(work)
        for session in list(self.open_sessions):
            with Alone(session.lane):
                session.after_tick()
        if all(count == 1 for _, count in work):
            self.times.add(len(work), self.clock.now() - now)

    def _idle(self) -> NativeSession | None:
        """The session that has been silent the longest, if that is long enough."""
        idle = [s for s in self.open_sessions if s.delivery is None and s.lane.reply is None]
        longest = min(idle, key=lambda s: s.used, default=None)
        return longest if longest is not None and self.clock.now() - longest.used >= self.idle else None

    async def _release(self, idle: NativeSession) -> int | None:
        """End an idle session for somebody who needs its slot."""
        idle.fail("idle", f"nothing came for {self.idle:g} s and the place was needed: connect again")
        await self.forget(idle)
        return self.slots.free(range(self.sessions))  # somebody else may have been quicker


def native(folder: str | Path, *, sessions: int = 16, capacity: int | None = None, device: str = "cpu") -> NativeEngine:
    """An engine around a model in a folder: what a worker process builds from plain settings.

    On a GPU the model runs in bfloat16, elsewhere in float32.
    """
    dtype = torch.bfloat16 if device.startswith("cuda") else torch.float32
    return NativeEngine(Bundle.load(folder, device=device, dtype=dtype), sessions=sessions, capacity=capacity)
