"""Echo and the scripted fake keep every rule that an engine has."""

import asyncio

import numpy as np
import pytest

from omni.engine.echo import EchoEngine
from omni.engine.protocol import (
    SAMPLE_RATE,
    AudioIn,
    AudioOut,
    Cancel,
    Closed,
    Done,
    EndOfTurn,
    Engine,
    Failed,
    Origin,
    Overflow,
    SessionSpec,
    TextDelta,
    TextIn,
    ToolCall,
    Transcript,
    TurnPrediction,
)
from omni.engine.scripted import Break, Call, Hang, Say, ScriptedEngine, Speak, Stamp, Stop
from tests import virtual_time
from tests.omni.conformance import CASES, ENUMERATED, Case, Subject, conforms, name_of
from tests.omni.talking import ask, origin, say, speech, until_end, until_quiet


async def echo(*, sessions: int = 4, long: bool = False) -> Engine:
    return EchoEngine(sessions=sessions)


async def scripted(*, sessions: int = 4, long: bool = False) -> Engine:
    script = [Stamp("prefill"), Say("It is ", 0.1), Stamp("first_audio"), Speak(0.2, pace=1.0), Say("four.", 0.01)]
    return ScriptedEngine([*script, Speak(14.0)] if long else script, sessions=sessions)


ENGINES = {"echo": Subject(echo), "scripted": Subject(scripted)}


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("case", [*CASES, *ENUMERATED], ids=name_of)
def test_every_engine_keeps_the_rules(engine: str, case: Case) -> None:
    conforms(ENGINES[engine], case)


def test_echo_says_the_turn_back_in_chunks_of_40_ms() -> None:
    async def main() -> None:
        session = await EchoEngine().open(SessionSpec())
        units = speech(1.01)
        await session.push(TextIn("Hello."))
        await ask(session, origin(1), 1.01)
        events = await until_end(session, origin(1))
        assert TextDelta(origin(1), "Hello.") in events
        chunks = [e.samples for e in events if isinstance(e, AudioOut)]
        assert {len(c) for c in chunks[:-1]} == {640}
        assert np.array_equal(np.concatenate(chunks), np.concatenate([u.samples for u in units]))
        await session.close()

    virtual_time.run(main())


def test_echo_in_text_alone_says_nothing_aloud() -> None:
    async def main() -> None:
        session = await EchoEngine().open(SessionSpec(speaks=False))
        await session.push(TextIn("Hello."))
        await ask(session, origin(1))
        assert await until_end(session, origin(1)) == [TextDelta(origin(1), "Hello."), Done(origin(1))]
        await session.close()

    virtual_time.run(main())


def test_duplex_echo_answers_each_frame_at_once_until_it_is_cancelled() -> None:
    async def main() -> None:
        session = await EchoEngine(duplex=True).open(SessionSpec())
        frames = speech(1.0)
        await session.push(frames[0])  # nobody listens yet
        await session.push(EndOfTurn(origin(1)))
        for frame in frames[1:]:
            await session.push(frame)
            event = await anext(session.events())
            assert isinstance(event, AudioOut)
            assert event.origin == origin(1)
            assert np.array_equal(event.samples, frame.samples)
        await session.push(Cancel())
        await session.push(frames[0])
        assert await until_quiet(session, 10) == [Done(origin(1), "cancelled")]
        await session.close()

    virtual_time.run(main())


def test_duplex_echo_without_a_reader_overflows() -> None:
    async def main() -> None:
        session = await EchoEngine(duplex=True).open(SessionSpec())
        await session.push(EndOfTurn(origin(1)))
        with pytest.raises(Overflow, match="behind"):
            await say(session, seconds=60)  # more than is kept
        await session.close()

    virtual_time.run(main())


def test_a_script_plays_turn_by_turn_on_its_clock() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        call, break_ = [Say("Let me see.", 1.0), Call("light", '{"on": true}', 2.0)], [Break("no_model", "gone")]
        engine = ScriptedEngine(call, break_, [Stop("length", 3.0)])
        session = await engine.open(SessionSpec())
        await session.push(EndOfTurn(origin(1)))
        tool = ToolCall(origin(1), "light", '{"on": true}', "call_resp_1_1")
        assert await until_end(session, origin(1)) == [
            TextDelta(origin(1), "Let me see."),
            tool,
            Done(origin(1), "tool"),
        ]
        assert loop.time() == 3.0
        await session.push(EndOfTurn(origin(2)))
        assert await until_end(session, origin(2)) == [Failed(origin(2), "no_model", "gone")]
        for number in (3, 4):
            await session.push(EndOfTurn(origin(number)))
            assert await until_end(session, origin(number)) == [Done(origin(number), "length")]
        assert loop.time() == 9.0
        await engine.close()

    virtual_time.run(main())


def test_a_scripted_session_dies_with_one_failure_and_takes_nothing_more() -> None:
    async def main() -> None:
        engine = ScriptedEngine([Say("I "), Break("engine_died", "gone", fatal=True, after=1.0)])
        session = await engine.open(SessionSpec())
        await session.push(EndOfTurn(origin(1)))
        assert [e async for e in session.events()] == [
            TextDelta(origin(1), "I "), Failed(origin(1), "engine_died", "gone", fatal=True),
        ]  # fmt: skip
        with pytest.raises(Closed):
            await session.push(TextIn("Hello?"))
        await engine.close()

    virtual_time.run(main())


def test_a_script_that_hangs_is_ended_by_cancel() -> None:
    async def main() -> None:
        engine = ScriptedEngine([Hang()])
        session = await engine.open(SessionSpec())
        await session.push(EndOfTurn(origin(1)))
        await asyncio.sleep(1000)
        await session.push(Cancel())
        assert await until_end(session, origin(1)) == [Done(origin(1), "cancelled")]
        await engine.close()

    virtual_time.run(main())


def test_a_scripted_session_notices_what_it_is_told_to_while_it_listens() -> None:
    async def main() -> None:
        notices = [(0.1, Transcript("What")), (0.2, TurnPrediction(0.9, 0.2))]
        session = await ScriptedEngine([], notices=notices).open(SessionSpec())
        for frame in speech(0.12):
            await session.push(frame)
        assert await anext(session.events()) == Transcript("What")
        for frame in speech(0.12):
            await session.push(frame)
        assert await anext(session.events()) == TurnPrediction(0.9, 0.2)
        await session.push(Cancel(heard=1.5))
        await asyncio.sleep(1)
        assert session.noted.shortened == [1.5]
        await session.close()

    virtual_time.run(main())


def test_audio_in_one_turn_has_an_end() -> None:
    async def main() -> None:
        session = await EchoEngine().open(SessionSpec())
        for _ in range(60):
            await session.push(AudioIn(np.zeros(10 * SAMPLE_RATE, np.float32)))
        with pytest.raises(Overflow, match="the turn is longer than 600 s"):
            await session.push(AudioIn(np.zeros(SAMPLE_RATE, np.float32)))
        await session.push(EndOfTurn(Origin("a", 1)))
        await session.push(Cancel())
        await session.close()

    virtual_time.run(main())
