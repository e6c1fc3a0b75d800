"""An engine in a process of its own: the same rules, and what happens when the process is gone."""

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from omni.engine.handle import EngineDied, WorkerEngine
from omni.engine.protocol import (
    AudioOut,
    Begin,
    Cancel,
    Closed,
    Configure,
    Done,
    EndOfTurn,
    Engine,
    EngineSession,
    Event,
    Failed,
    Full,
    ImageIn,
    Origin,
    Refused,
    SessionSpec,
    TextDelta,
    TextIn,
    Tokens,
    Tool,
    ToolCall,
    Usage,
)  # fmt: skip
from omni.engine.wire import pack, unpack
from omni.sampling import Sampling
from tests.omni.conformance import CASES, Subject, name_of
from tests.omni.talking import ask, origin, run, speech, until_end

ECHO = "omni.engine.echo:EchoEngine"
FACTORIES = "tests.omni.engine_factories:"


def names_in_shared_memory() -> set[str]:
    folder = Path("/dev/shm")
    return {file.name for file in folder.glob("*omni*")} if folder.exists() else set()


@pytest.fixture(scope="module")
def uvloop() -> Any:
    package = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=package.new_event_loop) as runner:
        runner.run(asyncio.sleep(0))  # it keeps two file descriptors from its first use on
    return package


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Any:
    shared, children = names_in_shared_memory(), {*psutil.Process().children(recursive=True)}
    files = psutil.Process().num_fds()
    yield
    assert {*psutil.Process().children(recursive=True)} <= children
    assert names_in_shared_memory() <= shared
    assert psutil.Process().num_fds() <= files


def test_the_count_of_an_answers_tokens_crosses_the_wire() -> None:
    done = Done(origin(1), "stop", Usage(Tokens(3, 25, 64), Tokens(3, 20, 64), Tokens(4, 30)))
    packed, _ = pack(done)
    assert unpack(json.loads(json.dumps(packed)), None).usage == done.usage
    assert unpack(pack(Done(origin(1)))[0], None).usage is None


@asynccontextmanager
async def worker(factory: str, options: dict[str, Any] | None = None, **settings: Any) -> AsyncIterator[WorkerEngine]:
    engine = await WorkerEngine.start(factory, options, **settings)
    try:
        yield engine
    finally:
        await engine.close()


async def scripted(*, sessions: int = 4, long: bool = False) -> Engine:
    return await WorkerEngine.start(FACTORIES + "scripted", {"sessions": sessions, "long": long}, patience=1.0)


class Lent:
    """A worker that goes on to the next case when this one closes it: starting one for each takes too long."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._sessions: list[EngineSession] = []
        self.rate_out, self.sees = engine.rate_out, engine.sees
        self.ready = engine.ready

    async def open(self, spec: SessionSpec) -> EngineSession:
        self._sessions.append(await self._engine.open(spec))
        return self._sessions[-1]

    async def close(self) -> None:
        for session in self._sessions:
            await session.close()


REAL = {"closing_the_engine_ends_every_session", "close_ends_an_open_response_and_the_events_and_twice_is_once"}


def test_an_engine_behind_a_handle_keeps_the_rules(subtests: pytest.Subtests) -> None:
    async def main() -> None:
        workers: dict[tuple[int, bool], Engine] = {}

        async def lent(*, sessions: int = 4, long: bool = False) -> Engine:
            if (sessions, long) not in workers:
                workers[sessions, long] = await scripted(sessions=sessions, long=long)
            return Lent(workers[sessions, long])

        for case in CASES:
            with subtests.test(name_of(case)):
                make = scripted if name_of(case) in REAL else lent
                await asyncio.wait_for(case(Subject(make, virtual=False, quiet=0.2)), 30)
        for engine in workers.values():
            await engine.close()

    asyncio.run(main())


def test_every_sample_comes_back_through_the_shared_memory_and_around_it() -> None:
    async def main() -> None:
        async with worker(ECHO) as engine:
            assert engine.rate_out == 16_000
            session = await engine.open(SessionSpec())
            for number in range(1, 5):  # 40 s each way: the rings wrap around
                units = speech(40.0, seed=number)
                for unit in units:
                    await session.push(unit)
                await session.push(EndOfTurn(origin(number)))
                events = await until_end(session, origin(number))
                heard = np.concatenate([e.samples for e in events if isinstance(e, AudioOut)])
                assert np.array_equal(heard, np.concatenate([u.samples for u in units]))

    run(main())


def test_tools_settings_pictures_and_failures_cross_the_border() -> None:
    async def main() -> None:
        async with worker(FACTORIES + "calling") as engine:
            spec = SessionSpec("Brief.", tools=(Tool("light", parameters={"type": "object"}),), sampling=Sampling(0.5))
            session = await engine.open(spec)
            await session.push(Configure(spec))
            await session.push(TextIn("Ünïcødé 🎈"))
            await session.push(ImageIn(np.zeros((1200, 1600, 3), np.uint8)))  # larger than a ring
            await session.push(EndOfTurn(origin(1)))
            call = ToolCall(origin(1), "light", '{"on": true}', "call_resp_1_0")
            assert await until_end(session, origin(1)) == [call, Done(origin(1), "tool")]
            await session.push(EndOfTurn(origin(2)))
            assert await until_end(session, origin(2)) == [Failed(origin(2), "no_model", "gone")]
            await session.push(EndOfTurn(origin(3)))
            assert [e async for e in session.events()] == [Failed(origin(3), "over", "all", fatal=True)]
            with pytest.raises(Closed):
                await session.push(TextIn("Hello?"))

    run(main())


def test_a_text_that_the_worker_refuses_takes_nothing_back() -> None:
    async def main() -> None:
        async with worker(FACTORIES + "Picky") as engine:
            session = await engine.open(SessionSpec())
            await session.push(TextIn("Hi."))
            await session.push(Begin(origin(1)))
            with pytest.raises(Refused, match="too long"):
                await session.push(TextIn("x" * 11))
            await session.push(EndOfTurn(origin(1)))
            assert await until_end(session, origin(1)) == [TextDelta(origin(1), "Hi."), Done(origin(1))]
            await session.push(TextIn("Hi."))
            await session.push(Begin(origin(2)))
            await session.push(TextIn("Hello."))
            with pytest.raises(Refused, match="cannot follow"):
                await session.push(EndOfTurn(origin(2)))
            await session.push(EndOfTurn(origin(3)))
            assert len(await until_end(session, origin(3))) == 3

    run(main())


async def rest(session: Any) -> list[Event]:
    return [event async for event in session.events()]


@pytest.mark.parametrize("blow", [signal.SIGKILL, signal.SIGSEGV])
def test_a_killed_worker_fails_every_session_once_within_a_second_and_comes_back(blow: signal.Signals) -> None:
    async def main() -> None:
        async with worker(FACTORIES + "talking_for_ever") as engine:
            talking, idle = [await engine.open(SessionSpec()) for _ in range(2)]
            await ask(talking, origin(1))
            assert await anext(talking.events()) == TextDelta(origin(1), "I ")
            first = engine.pid
            assert first
            os.kill(first, blow)
            begin = time.monotonic()
            ends = await asyncio.gather(rest(talking), rest(idle))
            assert time.monotonic() - begin < 1
            assert [e for e in ends[0] if isinstance(e, Failed)] == ends[0][-1:]
            assert (ends[0][-1].origin, ends[0][-1].code, ends[0][-1].fatal) == (origin(1), "engine_died", True)  # type: ignore[union-attr]
            assert [(e.origin, e.fatal) for e in ends[1] if isinstance(e, Failed)] == [(None, True)]
            assert not engine.ready
            with pytest.raises(Full) as full:
                await engine.open(SessionSpec())
            assert full.value.retry_after > 0
            with pytest.raises(Closed):
                await talking.push(TextIn("Hello?"))
            await talking.close()
            await idle.close()
            while not engine.ready:  # noqa: ASYNC110
                await asyncio.sleep(0.02)
            assert engine.pid != first
            assert engine.restarts == 1
            again = await engine.open(SessionSpec())
            await ask(again, origin(1))
            assert await anext(again.events()) == TextDelta(origin(1), "I ")

    run(main())


@pytest.mark.parametrize("word", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_that_every_process_of_a_service_gets_does_not_end_an_answer(word: signal.Signals) -> None:
    async def main() -> None:
        async with worker(FACTORIES + "talking_for_ever") as engine:
            session, pid = await engine.open(SessionSpec()), engine.pid
            await ask(session, origin(1))
            assert pid
            os.kill(pid, word)
            said = [await asyncio.wait_for(anext(session.events()), 5) for _ in range(10)]
            assert not [event for event in said if isinstance(event, Failed)]
            assert (engine.pid, engine.restarts) == (pid, 0)

    run(main())


def test_a_worker_that_dies_by_its_own_hand_fails_the_answer_it_was_making() -> None:
    async def main() -> None:
        async with worker(FACTORIES + "Dying") as engine:
            session = await engine.open(SessionSpec())
            await ask(session, origin(1))
            events = await rest(session)
            assert [(type(e), e.origin, e.code) for e in events] == [(Failed, origin(1), "engine_died")]  # type: ignore[union-attr]

    run(main())


def test_cancel_is_answered_at_once_while_the_worker_hangs_and_then_it_is_killed() -> None:
    async def main() -> None:
        async with worker(FACTORIES + "Blocking", silence=2.0) as engine:
            session = await engine.open(SessionSpec())
            await ask(session, origin(1))
            await asyncio.sleep(0.1)
            begin = time.monotonic()
            await session.push(Cancel())
            assert await anext(session.events()) == Done(origin(1), "cancelled")
            assert time.monotonic() - begin < 0.1
            events = await rest(session)
            assert [(type(e), e.origin, e.fatal) for e in events] == [(Failed, None, True)]  # type: ignore[union-attr]
            assert 1 < time.monotonic() - begin < 8

    run(main())


def test_an_engine_that_cannot_start_is_an_error_at_once() -> None:
    async def main() -> None:
        with pytest.raises(EngineDied, match=r"one_that_cannot_start did not start: .* RuntimeError: no such model"):
            await WorkerEngine.start(FACTORIES + "one_that_cannot_start")

    run(main())


def test_closing_while_the_worker_is_down_and_starting_again_leaves_nothing() -> None:
    async def main() -> None:
        async with worker(ECHO) as engine:
            assert engine.pid
            os.kill(engine.pid, signal.SIGKILL)
            while engine.ready:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.15)  # the next one is on its way

    run(main())


def test_a_worker_ends_when_its_socket_does() -> None:
    async def main() -> None:
        async with worker(ECHO) as engine:
            assert engine._process
            child = engine._process.child
            engine._process.channel.close()  # what a dead parent looks like
            assert await asyncio.to_thread(child.wait, 5) == 0

    run(main())


def test_the_handle_lives_on_uvloop_too(uvloop: Any) -> None:
    async def main() -> None:
        async with worker(ECHO) as engine:
            session = await engine.open(SessionSpec())
            await ask(session, origin(1))
            assert (await until_end(session, origin(1)))[-1] == Done(origin(1))
            assert engine.pid
            os.kill(engine.pid, signal.SIGKILL)
            assert [type(e) for e in await rest(session)] == [Failed]

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(asyncio.wait_for(main(), 60))


def test_opening_and_closing_many_sessions_keeps_nothing() -> None:
    async def main() -> None:
        async with worker(ECHO, {"sessions": 2}) as engine:
            for number in range(200):
                session = await engine.open(SessionSpec())
                if number % 3:
                    await session.push(EndOfTurn(Origin(f"r{number}", 1)))
                await session.close()
            assert engine._sessions == {}
            assert engine._opening == {}

    run(main())
