"""Who may come in, what becomes of a place, and of everybody when a step breaks."""

import asyncio

import pytest
import torch

from omni.engine.native.admission import StepTimes
from omni.engine.protocol import (
    Cancel,
    Closed,
    Done,
    EndOfTurn,
    Failed,
    Full,
    Refused,
    SessionSpec,
    TextIn,
    Tool,
)
from tests import virtual_time
from tests.omni.native_talk import engine_of, turn
from tests.omni.planted import planted
from tests.omni.talking import is_end, origin


def test_a_place_is_free_again_when_somebody_was_silent_for_long() -> None:
    async def main() -> None:
        engine = engine_of(planted(), sessions=1, idle=60.0)
        first = await engine.open(SessionSpec())
        await turn(first, 1, TextIn("hi"))
        with pytest.raises(Full, match="all 1 sessions"):
            await engine.open(SessionSpec())
        await asyncio.sleep(61)
        second = await engine.open(SessionSpec())
        assert [e async for e in first.events()][-1].fatal  # type: ignore[union-attr]
        with pytest.raises(Closed):
            await first.push(Cancel())
        await first.close()
        assert (await turn(second, 1, TextIn("hi")))[-1] == Done(origin(1))
        await engine.close()

    virtual_time.run(main())


def test_nobody_loses_an_idle_place_to_one_who_is_not_let_in() -> None:
    async def main() -> None:
        engine = engine_of(planted(), sessions=1, idle=60.0)
        first = await engine.open(SessionSpec())
        await asyncio.sleep(61)
        for refused in (SessionSpec("word " * 200), SessionSpec(tools=(Tool("t", "", {"properties": "x"}),))):
            with pytest.raises(Refused, match=r"instructions and tools make|are no object"):
                await engine.open(refused)
        assert (await turn(first, 1, TextIn("hi")))[-1] == Done(origin(1))
        await asyncio.sleep(61)
        await engine.open(SessionSpec("Be brief."))
        with pytest.raises(Closed):
            await first.push(Cancel())
        await engine.close()

    virtual_time.run(main())


def test_of_two_that_come_at_once_for_an_idle_place_one_has_it() -> None:
    async def main() -> None:
        engine = engine_of(planted(), sessions=1, idle=60.0)
        await engine.open(SessionSpec())
        await asyncio.sleep(61)
        opened = await asyncio.gather(*(engine.open(SessionSpec()) for _ in range(2)), return_exceptions=True)
        assert sorted(type(one).__name__ for one in opened) == ["Full", "NativeSession"]
        await engine.close()

    virtual_time.run(main())


def test_an_engine_that_is_closed_while_an_idle_place_is_freed_gives_it_to_nobody() -> None:
    async def main() -> None:
        engine = engine_of(planted(), sessions=1, idle=60.0)
        await engine.open(SessionSpec())
        await asyncio.sleep(61)
        opening = asyncio.create_task(engine.open(SessionSpec()))
        await asyncio.sleep(0)
        await engine.close()
        with pytest.raises(Closed):
            await opening
        assert engine.open_sessions == []

    virtual_time.run(main())


def test_a_session_that_opens_while_the_last_one_closes_is_answered() -> None:
    async def main() -> None:
        engine = engine_of(planted())
        for rounds in range(12):
            last = await engine.open(SessionSpec())
            await asyncio.sleep(1)  # the loop sleeps: nobody has anything to do
            closing = asyncio.create_task(last.close())
            for _ in range(rounds):
                await asyncio.sleep(0)
            session = await engine.open(SessionSpec())
            await asyncio.sleep(1)
            async with asyncio.timeout(30):
                assert is_end((await turn(session, 1, TextIn("hi")))[-1])
                await closing
                await session.close()
        await engine.close()

    virtual_time.run(main())


def test_one_more_is_admitted_only_while_a_step_fits_into_a_frame() -> None:
    now = [0.0]
    times = StepTimes(lambda: now[0])
    assert times.fits(100, 0.04), "nothing is known yet"
    for rows, seconds in ((1, 0.004), (2, 0.006), (4, 0.010), (8, 0.018)):
        for _ in range(40):
            times.add(rows, seconds)
    assert times.p99(8) == 0.018
    assert times.p99(16) == pytest.approx(0.034)
    assert times.fits(16, 0.04)
    assert not times.fits(20, 0.04)
    times.add(8, 0.9)
    assert times.fits(16, 0.04), "one step in a hundred may be slow"
    times.add(8, 0.9)
    assert not times.fits(16, 0.04), "two may not"
    for _ in range(256):
        times.add(1, 0.004)
    assert times.fits(16, 0.04), "but they are forgotten"
    for _ in range(9):
        times.add(1, 0.1)
    assert not times.fits(16, 0.04), "the machine is slow"
    now[0] += 9
    assert not times.fits(16, 0.04)
    now[0] += 2
    assert times.fits(16, 0.04), "it was, and nobody has talked since"

    async def main() -> None:
        engine = engine_of(planted(), sessions=32)
        engine.times = times
        for _ in range(19):
            await engine.open(SessionSpec())
        with pytest.raises(Full, match=r"a step of 20 sessions would take 42 ms and has 40") as full:
            await engine.open(SessionSpec())
        assert full.value.retry_after > 0
        await engine.close()

    virtual_time.run(main())


@pytest.mark.parametrize("where", ["the step", "what is before it"])
def test_a_step_that_breaks_ends_every_session_with_a_word_and_new_ones_work(
    where: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_given: object) -> torch.Tensor:
        raise RuntimeError("out of memory")

    async def main() -> None:
        engine = engine_of(planted())
        sessions = [await engine.open(SessionSpec()) for _ in range(2)]
        part, does = (engine.stepper, "step") if where == "the step" else (engine.transcripts, "begin")
        with monkeypatch.context() as during:
            during.setattr(part, does, broken)
            await sessions[0].push(EndOfTurn(origin(1)))
            for session in sessions:
                failed = [e async for e in session.events()][-1]
                assert isinstance(failed, Failed)
                assert (failed.code, failed.fatal) == ("engine_error", True)
                assert "out of memory" in failed.message
                await session.close()
        third = await engine.open(SessionSpec())
        assert (await turn(third, 1, TextIn("hi")))[-1] == Done(origin(1))
        await engine.close()

    virtual_time.run(main())
    assert "a step failed" in caplog.text
