"""What every engine must do at its ends: closed, full, behind, not read, and given what is no unit."""

import asyncio
from contextlib import suppress
from typing import Any

import numpy as np
import pytest

from omni.engine.outlet import CAPACITY
from omni.engine.protocol import (
    SAMPLE_RATE,
    AudioIn,
    Begin,
    Cancel,
    Closed,
    Discard,
    EndOfTurn,
    EngineSession,
    Full,
    ImageIn,
    Origin,
    Overflow,
    Refused,
    SessionSpec,
    TextIn,
)
from tests.omni.subject import Subject, case
from tests.omni.talking import ask, check_response, is_end, origin, say, speech, until_end, until_quiet

# Ends


@case
async def close_ends_an_open_response_and_the_events_and_twice_is_once(subject: Subject) -> None:
    before = asyncio.all_tasks()
    engine = await subject.make(long=True)
    with_engine = asyncio.all_tasks()
    session = await engine.open(SessionSpec())
    await ask(session, origin(1), 4.0)
    first = await anext(session.events())
    await session.close()
    rest = [event async for event in session.events()]
    check_response([first, *rest], origin(1))
    await session.close()
    assert [event async for event in session.events()] == []
    for unit in (*speech(0.04), TextIn("Hello?"), EndOfTurn(origin(2)), Cancel()):
        with pytest.raises(Closed):
            await session.push(unit)
    assert asyncio.all_tasks() - with_engine == set()
    await engine.close()
    await engine.close()
    assert asyncio.all_tasks() - before == set()


@case
async def a_reader_that_waits_is_let_go_by_close(subject: Subject) -> None:
    async with subject.session() as session:
        reading = asyncio.create_task(until_quiet(session, subject.quiet))
        await asyncio.sleep(0)
        await session.close()
        assert await reading == []


@case
async def closing_the_engine_ends_every_session(subject: Subject) -> None:
    engine = await subject.make(long=True)
    sessions = [await engine.open(SessionSpec()) for _ in range(3)]
    await ask(sessions[0], origin(1), 4.0)
    await say(sessions[1])
    assert engine.ready
    await engine.close()
    assert not engine.ready
    for session in sessions:
        own = [e async for e in session.events() if getattr(e, "origin", None)]
        if session is sessions[0]:
            check_response(own, origin(1))
        else:
            assert own == []
        with pytest.raises(Closed):
            await session.push(TextIn("Hello?"))
    with pytest.raises(Closed):
        await engine.open(SessionSpec())


@case
async def a_full_engine_says_so_at_once_and_when_to_try_again(subject: Subject) -> None:
    engine = await subject.make(sessions=2)
    first, second = [await engine.open(SessionSpec()) for _ in range(2)]
    for _ in range(3):
        async with asyncio.timeout(0.5):
            with pytest.raises(Full) as full:
                await engine.open(SessionSpec())
        assert 0 < full.value.retry_after < 600
    await first.close()
    third = await engine.open(SessionSpec())
    await ask(third, origin(1))
    check_response(await until_end(third, origin(1)), origin(1))
    await ask(second, origin(1))
    check_response(await until_end(second, origin(1)), origin(1))
    await engine.close()


@case
async def one_session_never_disturbs_another(subject: Subject) -> None:
    engine = await subject.make(long=True)
    calm, restless = await engine.open(SessionSpec()), await engine.open(SessionSpec())
    await ask(calm, Origin("calm", 1), 4.0)
    reading = asyncio.create_task(until_end(calm, Origin("calm", 1)))
    for number in range(1, 6):
        await ask(restless, origin(number))
        await restless.push(Cancel())
        with suppress(Refused):
            await restless.push(AudioIn(np.full(640, np.nan, np.float32)))
    await restless.close()
    check_response(await reading, Origin("calm", 1))
    await engine.close()


# Bounds


@case
async def what_nobody_reads_waits_in_bounds_and_is_not_lost(subject: Subject) -> None:
    async with subject.session(long=True) as session:
        await ask(session, origin(1), 16.0)
        await asyncio.sleep(min(subject.quiet, 0.5) if not subject.virtual else 3600)
        events = await until_quiet(session, 0)
        assert len(events) <= 2 * CAPACITY, f"{len(events)} events wait for a reader"
        if not is_end(events[-1]):
            events += await until_end(session, origin(1))
        check_response(events, origin(1))
        assert len(events) > 2 * CAPACITY, f"{len(events)} events are too few to show anything: the answer must be long"


async def begin_and_cancel(session: EngineSession, times: int) -> None:
    for number in range(times):
        await session.push(EndOfTurn(origin(number)))
        await session.push(Cancel())


@case
async def beginning_again_and_again_without_reading_overflows(subject: Subject) -> None:
    async with subject.session() as session:
        with pytest.raises(Overflow):
            await begin_and_cancel(session, 10 * CAPACITY)
        assert len(await until_quiet(session, subject.quiet)) <= 4 * CAPACITY


@case
async def endless_audio_overflows_instead_of_filling_the_memory(subject: Subject) -> None:
    minute = AudioIn(np.zeros(60 * SAMPLE_RATE, np.float32))
    async with subject.session() as session:
        with suppress(Overflow) if subject.endless else pytest.raises(Overflow):
            for _ in range(60):
                await session.push(minute)
        await session.push(Discard())
        await ask(session, origin(1))
        check_response([e for e in await until_end(session, origin(1)) if getattr(e, "origin", None)], origin(1))


@case
async def the_events_have_one_reader(subject: Subject) -> None:
    async with subject.session() as session:
        first = asyncio.create_task(until_end(session, origin(1)))
        await asyncio.sleep(0)
        with pytest.raises(RuntimeError, match="one reader"):
            await anext(session.events())
        await ask(session, origin(1))
        check_response(await first, origin(1))


# Wrong units

WRONG: dict[str, tuple[Any, str]] = {
    "int16": (AudioIn(np.zeros(640, np.int16)), "float32"),  # type: ignore[arg-type]
    "float64": (AudioIn(np.zeros(640)), "float32"),  # type: ignore[arg-type]
    "stereo": (AudioIn(np.zeros((640, 2), np.float32)), "float32"),
    "a list": (AudioIn([0.0] * 640), "list"),  # type: ignore[arg-type]
    "NaN": (AudioIn(np.full(640, np.nan, np.float32)), "nan"),
    "infinity": (AudioIn(np.full(640, np.inf, np.float32)), "inf"),
    "int16 values in floats": (AudioIn(np.full(640, 20_000, np.float32)), "divide"),
    "rate": (AudioIn(np.zeros(640, np.float32), rate=24_000), "24000 Hz"),
    "picture": (ImageIn(np.zeros((8, 8), np.uint8)), "picture|eyes"),
    "empty picture": (ImageIn(np.zeros((0, 8, 3), np.uint8)), "picture|eyes"),
    "text": (TextIn(b"bytes"), "bytes"),  # type: ignore[arg-type]
    "endless text": (TextIn("x" * 1_000_001), "1000001"),
    "heard": (Cancel(heard=-1.0), "heard"),
    "heard NaN": (Cancel(heard=float("nan")), "heard"),
    "no unit": ("Hello.", "no unit"),
}


@case
async def wrong_units_are_refused_by_name_and_the_session_goes_on(subject: Subject) -> None:
    engine = await subject.make()
    session = await engine.open(SessionSpec())
    await say(session)
    for wrong, says in WRONG.values():
        with pytest.raises(Refused, match=says):
            await session.push(wrong)
    picture = ImageIn(np.zeros((8, 8, 3), np.uint8))
    if engine.sees:
        await session.push(picture)
    else:
        with pytest.raises(Refused, match="eyes"):
            await session.push(picture)
    await session.push(AudioIn(np.zeros(0, np.float32)))  # nothing is nothing wrong
    await session.push(EndOfTurn(origin(1)))
    events = await until_end(session, origin(1))
    check_response(events, origin(1))
    assert len(events) > 1
    await engine.close()


@case
async def a_refused_unit_takes_nothing_back(subject: Subject) -> None:
    async with subject.session() as session:
        await say(session)
        await session.push(Begin(origin(1)))
        for wrong, says in WRONG.values():
            with pytest.raises(Refused, match=says):
                await session.push(wrong)
        await session.push(EndOfTurn(origin(1)))
        check_response(await until_end(session, origin(1)), origin(1))
