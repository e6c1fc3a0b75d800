"""What goes wrong around a worker: it cannot be started, it is closed too early, it cannot say what it has to say."""

import asyncio
import errno
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from omni.engine.channel import mended
from omni.engine.echo import EchoEngine
from omni.engine.handle import WorkerEngine
from omni.engine.protocol import (
    AudioIn,
    Cancel,
    Closed,
    Done,
    EndOfTurn,
    Failed,
    Refused,
    SessionSpec,
    TextDelta,
    TextIn,
    Tool,
    ToolCall,
    Unit,
)  # fmt: skip
from omni.engine.scripted import Call, Say, ScriptedEngine, ScriptedSession, Speak
from tests.omni.talking import origin, run, speech, until_end

HERE = "tests.omni.test_worker_faults:"
ECHO = "omni.engine.echo:EchoEngine"


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    files, children = psutil.Process().num_fds(), {*psutil.Process().children(recursive=True)}
    yield
    assert {*psutil.Process().children(recursive=True)} <= children
    assert psutil.Process().num_fds() <= files


@asynccontextmanager
async def worker(factory: str, options: dict[str, Any] | None = None) -> AsyncIterator[WorkerEngine]:
    async with asyncio.timeout(60):
        engine = await WorkerEngine.start(factory, options)
        try:
            yield engine
        finally:
            await engine.close()


async def until_ready(engine: WorkerEngine, *, other_than: int | None) -> None:
    async with asyncio.timeout(30):
        while not engine.ready or engine.pid == other_than:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


def failing(times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let so many processes not be started, as on a machine that is full."""
    real, left = subprocess.Popen, [times]

    def popen(*given: Any, **named: Any) -> Any:
        if left[0]:
            left[0] -= 1
            raise OSError(errno.EAGAIN, "no more processes")
        return real(*given, **named)

    monkeypatch.setattr(subprocess, "Popen", popen)


# Starting


def test_a_worker_that_cannot_be_started_just_now_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with worker(ECHO) as engine:
            first = engine.pid
            assert first
            failing(2, monkeypatch)
            os.kill(first, signal.SIGKILL)
            await until_ready(engine, other_than=first)
            assert engine.restarts == 3
            session = await engine.open(SessionSpec())
            await session.push(EndOfTurn(origin(1)))
            assert (await until_end(session, origin(1)))[-1] == Done(origin(1))

    run(main())
    assert "could not be run: BlockingIOError" in caplog.text


def test_a_first_start_that_fails_is_an_error_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    async def fails(options: dict[str, Any]) -> BaseException | None:
        starting = asyncio.create_task(WorkerEngine.start(ECHO, options))
        await asyncio.wait({starting}, timeout=10)
        assert starting.done()
        return starting.exception()

    async def main() -> None:
        assert "not JSON serializable" in str(await fails({"folder": Path("model")}))
        failing(1, monkeypatch)
        assert isinstance(await fails({}), BlockingIOError)

    run(main())


def test_giving_up_at_any_moment_of_a_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    real = subprocess.Popen

    def slow(*given: Any, **named: Any) -> Any:
        time.sleep(0.1)
        child = real(*given, **named)
        time.sleep(0.1)
        return child

    before = {*psutil.Process().children(recursive=True)}

    async def main() -> None:
        for wait in (0.0, 0.05, 0.15, 0.25):
            starting = asyncio.create_task(WorkerEngine.start(ECHO))
            await asyncio.sleep(wait)
            starting.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asyncio.wait_for(starting, 10)
            assert {*psutil.Process().children(recursive=True)} <= before

    monkeypatch.setattr(subprocess, "Popen", slow)
    run(main())


# Opening and closing


class NeverOpening(EchoEngine):
    """Has no session for anybody, and does not say so."""

    async def open(self, spec: SessionSpec) -> Any:
        await asyncio.Event().wait()


def test_whoever_is_opening_a_session_is_told_when_the_engine_is_closed() -> None:
    async def main() -> None:
        async with worker(HERE + "NeverOpening") as engine:
            opening = asyncio.create_task(engine.open(SessionSpec()))
            await asyncio.sleep(0.05)
            await engine.close()
            with pytest.raises(Closed, match="the engine is closed"):
                await asyncio.wait_for(opening, 5)

    run(main())


class SlowlyOpening(ScriptedEngine):
    """Has one place, and thinks about the first guest for a while."""

    def __init__(self) -> None:
        super().__init__([Say("hi")], sessions=1)
        self.first = True

    async def open(self, spec: SessionSpec) -> Any:
        if self.first:
            self.first = False
            await asyncio.sleep(0.2)
        return await super().open(spec)


def test_a_session_that_nobody_waits_for_any_more_gives_its_place_back() -> None:
    async def main() -> None:
        async with worker(HERE + "SlowlyOpening") as engine:
            given_up = asyncio.create_task(engine.open(SessionSpec()))
            await asyncio.sleep(0.05)
            given_up.cancel()
            with pytest.raises(asyncio.CancelledError):
                await given_up
            await asyncio.sleep(0.3)
            session = await engine.open(SessionSpec())
            await session.push(EndOfTurn(origin(1)))
            assert (await until_end(session, origin(1)))[-1] == Done(origin(1))

    run(main())


def test_a_session_whose_settings_cannot_be_written_leaves_nothing() -> None:
    async def main() -> None:
        async with worker(ECHO) as engine:
            with pytest.raises(TypeError, match="not JSON serializable"):
                await engine.open(SessionSpec(tools=(Tool("light", parameters={"colors": {1, 2}}),)))
            assert engine._opening == {}
            assert engine._sessions == {}

    run(main())


# Errors


class _DeafSession(ScriptedSession):
    async def push(self, unit: Unit) -> None:
        if isinstance(unit, AudioIn):
            raise Refused("this engine is deaf")
        await super().push(unit)


class Deaf(ScriptedEngine):
    """Refuses all sound, and talks for ever."""

    def begin(self, spec: SessionSpec) -> ScriptedSession:
        script = (Say("I "), Speak(3600, pace=1.0))
        return _DeafSession(spec, self.clock, scripts=(script,), notices=(), closed=self.forget)


def test_a_cancel_cancels_also_after_sound_was_refused_and_the_error_comes_to_the_next_unit() -> None:
    async def main() -> None:
        async with worker(HERE + "Deaf") as engine:
            session = await engine.open(SessionSpec())
            await session.push(EndOfTurn(origin(1)))
            assert await anext(session.events()) == TextDelta(origin(1), "I ")
            await session.push(speech()[0])
            async with asyncio.timeout(5):
                while session._late is None:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
            await session.push(Cancel())
            assert (await until_end(session, origin(1)))[-1] == Done(origin(1), "cancelled")
            with pytest.raises(Refused, match="deaf"):
                await session.push(TextIn("Hello?"))
            await session.push(EndOfTurn(origin(2)))  # the worker refuses it while the first answer is open there
            assert await anext(session.events()) == TextDelta(origin(2), "I ")

    run(main())


def half_letters() -> ScriptedEngine:
    return ScriptedEngine([Say("hi \ud83d"), Call("light", '{"on": "\ud800"}')])


def test_half_a_letter_crosses_the_border_as_a_replacement_character() -> None:
    assert mended({"text": "\ud83d", "both": "\ud83d\ude00", "deep": ["\ude00a\ud800b"]}) == {
        "text": "�", "both": "😀", "deep": ["�a�b"],
    }  # fmt: skip

    async def main() -> None:
        async with worker(HERE + "half_letters") as engine:
            session = await engine.open(SessionSpec())
            await session.push(TextIn("\ud83d"))
            await session.push(EndOfTurn(origin(1)))
            events = await asyncio.wait_for(until_end(session, origin(1)), 10)
            assert events[0] == TextDelta(origin(1), "hi �")
            assert [e.arguments for e in events if isinstance(e, ToolCall)] == ['{"on": "�"}']
            assert events[-1] == Done(origin(1), "tool")

    run(main())


class _UnspeakableSession(ScriptedSession):
    async def answer(self, origin: Any, turn: Any) -> Any:
        await self.emit(TextDelta(origin, "so "))
        if self.spec.instructions == "Say it.":
            await self.emit(TextDelta(origin, object()))  # type: ignore[arg-type]
        return "stop"


class Unspeakable(ScriptedEngine):
    """Two sessions; answers with what cannot be sent, if told so."""

    def __init__(self) -> None:
        super().__init__(sessions=2)

    def begin(self, spec: SessionSpec) -> ScriptedSession:
        return _UnspeakableSession(spec, self.clock, scripts=((),), notices=(), closed=self.forget)


def test_an_event_that_cannot_be_sent_ends_its_session_with_a_word_and_no_other() -> None:
    async def main() -> None:
        async with worker(HERE + "Unspeakable") as engine:
            good = await engine.open(SessionSpec())
            for number in range(1, 4):
                bad = await engine.open(SessionSpec("Say it."))  # there is room for one more: the last one's is free
                await bad.push(EndOfTurn(origin(1)))
                async with asyncio.timeout(10):
                    events = [event async for event in bad.events()]
                assert events[0] == TextDelta(origin(1), "so ")
                failed = events[-1]
                assert isinstance(failed, Failed)
                assert (failed.origin, failed.code, failed.fatal) == (origin(1), "engine_error", True)
                assert "not JSON serializable" in failed.message
                await bad.close()
                await good.push(EndOfTurn(origin(number)))
                assert (await until_end(good, origin(number)))[-1] == Done(origin(number))
            assert len(engine._sessions) == 1

    run(main())


class Breaking(EchoEngine):
    """Is broken from the first session on, as a native engine whose device is lost."""

    broken = False

    async def open(self, spec: SessionSpec) -> Any:
        self.broken = True
        return await super().open(spec)


def test_an_engine_that_says_that_it_is_broken_gets_a_new_process() -> None:
    async def main() -> None:
        async with worker(HERE + "Breaking") as engine:
            first = engine.pid
            session = await engine.open(SessionSpec())
            async with asyncio.timeout(10):
                events = [event async for event in session.events()]
            assert [type(event) for event in events] == [Failed]
            await until_ready(engine, other_than=first)
            assert engine.restarts == 1

    run(main())


# Waiting


class Stuck(ScriptedSession):
    """Never done with a text."""

    async def push(self, unit: Unit) -> None:
        if isinstance(unit, TextIn):
            await asyncio.Event().wait()
        await super().push(unit)


class StuckEngine(ScriptedEngine):
    def begin(self, spec: SessionSpec) -> ScriptedSession:
        return Stuck(spec, self.clock, scripts=self._scripts, notices=self._notices, closed=self.forget)


def stuck() -> ScriptedEngine:
    return StuckEngine([Say("hello")])


def test_who_waits_when_the_session_is_closed_is_told_so() -> None:
    async def main() -> None:
        async with worker(HERE + "stuck") as engine:
            session = await engine.open(SessionSpec())
            waiting = asyncio.create_task(session.push(TextIn("hello")))
            await asyncio.sleep(0.1)
            await session.close()
            with pytest.raises(Closed):
                await asyncio.wait_for(waiting, 5)

    run(main())


def test_a_worker_is_not_blamed_for_a_pause_of_this_process() -> None:
    async def main() -> None:
        async with asyncio.timeout(60):
            engine = await WorkerEngine.start(ECHO, silence=1.5)
            try:
                session, pid = await engine.open(SessionSpec()), engine.pid
                await asyncio.sleep(0.3)
                time.sleep(2.5)  # noqa: ASYNC251  # as when it is stopped and goes on
                await asyncio.sleep(1.5)
                assert (engine.pid, session.outlet.ended) == (pid, False)
            finally:
                await engine.close()

    run(main())
