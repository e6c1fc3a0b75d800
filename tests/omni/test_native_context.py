"""A context that is full: what goes, what is refused, and how the conversation goes on."""

import asyncio

import numpy as np
import pytest
import torch

from omni.engine.native.tape import Piece, Tape
from omni.engine.protocol import (
    SAMPLE_RATE,
    AudioIn,
    Cancel,
    Configure,
    Done,
    EndOfTurn,
    Overflow,
    Refused,
    SessionSpec,
    TextIn,
    Tool,
)
from omni.script import END, SYSTEM, USER
from omni_tokenizers.sequence import Span
from tests import virtual_time
from tests.omni.native_talk import engine_of, tape_ids, turn
from tests.omni.planted import planted
from tests.omni.talking import origin, speech, until_end


def test_old_items_are_dropped_whole_and_the_conversation_goes_on() -> None:
    bundle = planted(longest=128)

    async def main() -> None:
        session = await (engine := engine_of(bundle)).open(SessionSpec(instructions="Be brief."))
        special = bundle.special
        system = [special[SYSTEM], *bundle.text.encode("Be brief."), special[END]]
        dropped = 0
        for number in range(1, 12):
            before = session.lane.tape.length
            events = await turn(session, number, TextIn(f"turn {number:02d}"))
            assert events[-1] == Done(origin(number))
            tape = session.lane.tape
            dropped += tape.length < before
            assert tape.length <= tape.capacity
            ids = tape_ids(session)
            assert ids[: len(system)] == system
            assert ids[len(system)] == special[USER], "never half an item"
            written = bundle.text.decode([i for i in ids[len(system) :] if i < 256])
            assert f"turn {number:02d}" in written, "the latest stays"
        assert dropped >= 2
        await engine.close()

    virtual_time.run(main())


def test_what_is_too_long_is_refused_or_overflows_and_the_session_goes_on() -> None:
    async def main() -> None:
        engine = engine_of(planted(longest=128))
        session = await engine.open(SessionSpec())
        with pytest.raises(Refused, match=r"204 tokens and a turn has room for 108"):
            await session.push(TextIn("x" * 200))
        for _ in range(4):
            await session.push(AudioIn(np.zeros(SAMPLE_RATE, np.float32)))
        with pytest.raises(Overflow, match="the context of 128"):
            await session.push(AudioIn(np.zeros(SAMPLE_RATE, np.float32)))
        assert session.turn.tokens <= 108
        assert (await turn(session, 1))[-1] == Done(origin(1))
        taken = [lane for lane in engine.slots.lanes if lane]
        with pytest.raises(
            Refused, match="instructions and tools make 202 tokens and the context of 128 has room for 64"
        ):
            await engine.open(SessionSpec(instructions="y" * 200))
        with pytest.raises(Refused, match="instructions and tools"):
            await session.push(Configure(SessionSpec(instructions="y" * 200)))
        assert [lane for lane in engine.slots.lanes if lane] == taken, "who was refused left nothing behind"
        await engine.close()

    virtual_time.run(main())


def test_audio_faster_than_it_is_read_waits_and_then_overflows() -> None:
    async def main() -> None:
        engine = engine_of(planted(longest=1024))
        session = await engine.open(SessionSpec())
        engine.schedule.beat.period = 1e6  # an engine that is far behind
        for unit in speech(10.0):
            await session.push(unit)
        assert asyncio.get_running_loop().time() == 0
        with pytest.raises(Overflow, match="the engine is behind"):
            await asyncio.gather(*(session.push(unit) for unit in speech(1.0)))
        assert 5 <= asyncio.get_running_loop().time() <= 6
        await engine.close()

    virtual_time.run(main())


def test_a_context_that_is_full_to_the_brim_lets_everything_go_for_the_next_answer() -> None:
    async def main() -> None:
        engine = engine_of(planted(frames=60, longest=256))
        full, calm = await engine.open(SessionSpec()), await engine.open(SessionSpec())
        await full.push(TextIn("x" * 215))
        assert (await turn(full, 1))[-1] == Done(origin(1), "length")
        assert full.lane.tape.room <= 2, "the answer was cut in the middle of its speech, and closed"
        assert (await turn(full, 2))[-1] == Done(origin(2)), "nothing new was said, and it is answered all the same"
        assert full.lane.tape.length < 100
        assert (await turn(calm, 1, TextIn("hi")))[-1] == Done(origin(1))
        await engine.close()

    virtual_time.run(main())


def test_a_tape_takes_no_more_than_it_has_room_for() -> None:
    tape = Tape(torch.zeros(4, 2))
    tape.put(torch.ones(4, 2))
    with pytest.raises(Overflow, match="1 more tokens do not fit into the 0"):
        tape.put(torch.ones(1, 2))
    with pytest.raises(Overflow, match="do not fit"):
        tape.wait(Piece(Span("audio", 0, 3), {}))
    assert (tape.length, len(tape.waiting)) == (4, 0)


def test_sound_that_was_dropped_before_it_was_read_is_not_written_over_what_came_after_it() -> None:
    async def main() -> None:
        session = await (engine := engine_of(planted(longest=256))).open(SessionSpec(transcribes=False))
        for unit in speech(5.0):
            await session.push(unit)
        await session.push(EndOfTurn(origin(1)))
        await session.push(Cancel())
        await turn(session, 2, TextIn("x" * 150))
        special, byte = engine.bundle.special, engine.bundle.text.encode
        assert tape_ids(session)[:151] == [special[USER], *byte("x" * 150)]
        await engine.close()

    virtual_time.run(main())


def test_longer_instructions_during_an_answer_make_old_items_go() -> None:
    async def main() -> None:
        engine = engine_of(planted(frames=20, longest=256))
        session, calm = await engine.open(SessionSpec()), await engine.open(SessionSpec())
        await session.push(TextIn("x" * 200))
        await session.push(EndOfTurn(origin(1)))
        await session.push(Configure(SessionSpec(instructions="y" * 110)))
        with pytest.raises(Refused, match="a turn has room for 108"):  # beside what is to come
            await session.push(TextIn("z" * 150))
        assert (await until_end(session, origin(1)))[-1] == Done(origin(1))
        assert (await turn(session, 2, TextIn("hi")))[-1] == Done(origin(2))
        special, byte = engine.bundle.special, engine.bundle.text.encode
        begin = [special[SYSTEM], *byte("y" * 110), special[END], special[USER], *byte("hi")]
        assert tape_ids(session)[: len(begin)] == begin
        assert (await turn(calm, 1, TextIn("hi")))[-1] == Done(origin(1))
        await engine.close()

    virtual_time.run(main())


@pytest.mark.parametrize("answering", [True, False])
def test_instructions_that_do_not_fit_beside_the_turn_are_refused_and_nothing_changes(answering: bool) -> None:
    async def main() -> None:
        engine = engine_of(planted(longest=256))
        session = await engine.open(SessionSpec(instructions="Be brief."))
        if answering:
            await session.push(EndOfTurn(origin(1)))
        await session.push(TextIn("x" * 190))
        with pytest.raises(Refused, match="make them shorter, or end the turn first"):
            await session.push(Configure(SessionSpec(instructions="y" * 110, speaks=False)))
        if answering:
            assert (await until_end(session, origin(1)))[-1] == Done(origin(1))
        assert session.spec == SessionSpec(instructions="Be brief.")
        assert (await turn(session, 2))[-1] == Done(origin(2))
        special, byte = engine.bundle.special, engine.bundle.text.encode
        begin, ids = [special[SYSTEM], *byte("Be brief."), special[END], special[USER]], tape_ids(session)
        assert ids[: len(begin)] == begin
        assert ids.count(byte("x")[0]) == 190
        await engine.close()

    virtual_time.run(main())


def test_what_can_never_fit_is_refused_without_being_weighed(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        session = await (engine := engine_of(planted())).open(SessionSpec())
        monkeypatch.setattr(session.turn, "weigh", None)
        with pytest.raises(Refused, match="a text of 1000000 characters is longer than a turn"):
            await session.push(TextIn("a" * 1_000_000))
        with pytest.raises(Refused, match="tool light: the properties of its parameters are no object"):
            await session.push(Configure(SessionSpec(tools=(Tool("light", parameters={"properties": [1]}),))))
        await engine.close()

    virtual_time.run(main())
