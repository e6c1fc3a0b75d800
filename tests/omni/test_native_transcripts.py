"""The user's words, by the native engine: while they are said, and when they were said."""

import asyncio
import json

import numpy as np
import pytest
import torch

from omni.engine.native.admission import FEWEST
from omni.engine.native.engine import NativeEngine
from omni.engine.native.session import NativeSession
from omni.engine.native.transcripts import SKETCH, Branch
from omni.engine.protocol import (
    AudioIn,
    Begin,
    Cancel,
    Configure,
    Discard,
    Done,
    EndOfTurn,
    Event,
    Failed,
    ImageIn,
    Overflow,
    Refused,
    SessionSpec,
    TextDelta,
    TextIn,
    Transcript,
)
from omni.engine.wire import pack, unpack
from omni.model.reach import Reach
from omni.script import END, TRANSCRIBE
from tests import virtual_time
from tests.omni.bundles import random_bundle
from tests.omni.native_talk import engine_of
from tests.omni.planted import planted
from tests.omni.talking import ask, origin, speech, until_end, until_quiet

SECONDS_A_TOKEN = 0.04
QUIET = 5.0  # s of virtual time after which nothing more comes


async def talk(session: NativeSession, seconds: float) -> None:
    """Speak as a user does: 40 ms in 40 ms."""
    for unit in speech(seconds):
        await asyncio.sleep(len(unit.samples) / unit.rate)
        await session.push(unit)


def words_of(events: list[Event]) -> list[Transcript]:
    return [event for event in events if isinstance(event, Transcript)]


def writers(engine: NativeEngine) -> list[object]:
    return [engine.slots.lanes[slot] for slot in engine.transcripts.slots]


def test_the_words_of_a_turn_come_once_and_do_not_wait_for_the_answer_nor_it_for_them() -> None:
    bundle = planted(frames=40, heard="abcdeghijkl")

    async def main() -> None:
        session = await (engine := engine_of(bundle)).open(SessionSpec())
        await ask(session, origin(1))
        events = await until_end(session, origin(1))
        assert words_of(events) == [Transcript("abcdeghijkl", final=True, turn=origin(1))]
        kinds = [type(event) for event in events]
        assert kinds.index(Transcript) > kinds.index(TextDelta)
        await session.push(TextIn("written"))
        await session.push(EndOfTurn(origin(2)))
        assert not words_of(await until_end(session, origin(2))), "nothing was said aloud"
        assert writers(engine) == [None]
        await engine.close()

    virtual_time.run(main())


@pytest.mark.parametrize("begun", [True, False])
def test_the_end_of_a_short_answer_follows_the_words_it_answers(begun: bool) -> None:
    bundle = planted("c", frames=1, heard="abdeghijkl")

    async def main() -> None:
        session = await (engine := engine_of(bundle)).open(SessionSpec())
        await talk(session, 0.3)
        if begun:
            await session.push(Begin(origin(1)))
            assert not words_of(await until_quiet(session, QUIET)), "nothing of what is only begun"
        await session.push(EndOfTurn(origin(1)))
        events = await until_end(session, origin(1))
        assert words_of(events) == [Transcript("abdeghijkl", final=True, turn=origin(1))]
        assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "c"
        await engine.close()

    virtual_time.run(main())


@pytest.mark.parametrize("wanted", [True, False])
def test_words_in_which_two_sketches_agree_come_while_the_user_still_speaks(wanted: bool) -> None:
    bundle = planted(heard="big hat?")

    async def main() -> None:
        session = await (engine := engine_of(bundle)).open(SessionSpec(transcribes=wanted))
        await talk(session, 3.0)
        assert words_of(await until_quiet(session, QUIET)) == [Transcript("big hat")] * wanted
        await session.push(EndOfTurn(origin(1)))
        found = words_of(await until_quiet(session, QUIET))
        assert found == [Transcript("big hat?", final=True, turn=origin(1))] * wanted
        await talk(session, 2.0)
        assert words_of(await until_quiet(session, QUIET)) == [Transcript("big hat")] * wanted, "of the next turn"
        assert writers(engine) == [None]
        await engine.close()

    virtual_time.run(main())


@pytest.mark.parametrize("seed", range(4))
def test_a_sketch_is_what_the_model_writes_down_of_what_it_has_read(seed: int) -> None:
    bundle = random_bundle(seed, longest=256)
    bundle.model.double()
    samples = np.concatenate([unit.samples for unit in speech(0.9, seed)])

    async def main() -> None:
        engine = engine_of(bundle)
        session = await engine.open(SessionSpec(instructions="listen"))
        await session.push(AudioIn(samples))
        await until_quiet(session, QUIET)
        tape, turn = session.lane.tape, session.turn
        assert tape.read == tape.length
        assert turn.sketched == turn.tokens
        assert turn.sketch == offline(tape.vectors[: tape.length], turn.tokens + 16)
        await engine.close()

    def offline(vectors: torch.Tensor, longest: int) -> str:
        table, special = bundle.model.embed.weight, bundle.special
        legal = [i for i in range(bundle.model.spec.text) if i not in special.values()] + [special[END]]
        said: list[int] = []
        with torch.no_grad():
            while len(said) < longest:
                x = torch.cat([vectors, table[[special[TRANSCRIBE], *said]]])[None]
                hidden = bundle.model.stack(x, Reach(causal=True), positions=torch.arange(x.shape[1])[None])
                scores = bundle.model.text(hidden)[0, -1]
                chosen = max(legal, key=lambda i: float(scores[i]))
                if chosen == special[END]:
                    break
                said.append(chosen)
        return bundle.text.decode(said)

    virtual_time.run(main())


@pytest.mark.parametrize("moment", np.linspace(SKETCH * SECONDS_A_TOKEN, 2 * SKETCH * SECONDS_A_TOKEN, 3))
@pytest.mark.parametrize("what", ["discard", "begin", "end", "end, cancel", "close"])
def test_a_sketch_goes_with_its_turn(moment: float, what: str) -> None:
    bundle = planted(heard="abcdeghijkl")

    async def main() -> None:
        engine = engine_of(bundle)
        session, other = await engine.open(SessionSpec()), await engine.open(SessionSpec())
        await talk(session, moment)
        if what == "close":
            await session.close()
        else:
            units = {"discard": Discard(), "begin": Begin(origin(1)), "end": EndOfTurn(origin(1)), "cancel": Cancel()}
            for name in what.split(", "):
                await session.push(units[name])
            found = words_of(await until_quiet(session, QUIET))
            assert found == [Transcript("abcdeghijkl", final=True, turn=origin(1))] * what.startswith("end")
        await talk(other, 2.0)
        assert words_of(await until_quiet(other, QUIET)) == [Transcript("abcdeghijkl")], "the others go on"
        assert writers(engine) == [None]
        await engine.close()

    virtual_time.run(main())


def test_a_busy_engine_sketches_nothing_and_writes_down_what_was_said() -> None:
    bundle = planted(heard="big hat?")

    async def main() -> None:
        session = await (engine := engine_of(bundle)).open(SessionSpec())
        for _ in range(FEWEST):
            engine.times.add(2, 0.6 * engine.budget)
        await talk(session, 3.0)
        assert not words_of(await until_quiet(session, QUIET))
        await session.push(EndOfTurn(origin(1)))
        assert words_of(await until_quiet(session, QUIET)) == [Transcript("big hat?", final=True, turn=origin(1))]
        await engine.close()

    virtual_time.run(main())


def test_a_turn_that_is_over_takes_the_slot_of_a_sketch() -> None:
    bundle = planted(heard="abcdeghijkl")

    async def main() -> None:
        engine = engine_of(bundle)
        one, other = await engine.open(SessionSpec()), await engine.open(SessionSpec())
        await ask(one, origin(1), seconds=0.2)
        await until_end(one, origin(1))
        await until_quiet(one, QUIET)
        async with asyncio.timeout(QUIET):
            while engine.transcripts.sketch is None:
                await talk(other, SECONDS_A_TOKEN)
        assert engine.transcripts.sketch.session is other
        await ask(one, origin(2), seconds=0.2)
        await asyncio.sleep(2 * SECONDS_A_TOKEN)
        assert [type(branch) for branch in engine.transcripts.branches] == [Branch]
        assert words_of(await until_quiet(one, QUIET)) == [Transcript("abcdeghijkl", final=True, turn=origin(2))]
        await engine.close()

    virtual_time.run(main())


async def late(engine: NativeEngine, long: SessionSpec | None, *units: object) -> list[Transcript]:
    """The words of a turn that was cancelled at once, on a tape that moved before they could be written (`long`)."""
    session = await engine.open(SessionSpec(speaks=False, longest=4))
    for unit in units:
        await session.push(unit)  # type: ignore[arg-type]
    await session.push(EndOfTurn(origin(1)))
    await session.push(Cancel())
    if long is not None:
        await session.push(Configure(long))
    found = words_of(await until_quiet(session, QUIET))
    await session.close()
    return found


@pytest.mark.parametrize("seed", [0, 3, 4])
def test_a_turn_on_a_tape_that_moved_before_it_was_read_is_written_down_as_it_was(seed: int) -> None:
    bundle = random_bundle(seed, longest=256)
    bundle.model.double()
    picture = ImageIn(np.random.default_rng(seed).integers(0, 256, (20, 30, 3), dtype=np.uint8))
    said = speech(1.0, seed)

    async def main() -> None:
        moved = SessionSpec(instructions="listen", speaks=False)
        expected = await late(engine_of(bundle, sessions=1), None, picture, *said)
        engine = engine_of(bundle, sessions=1)
        before = await engine.open(SessionSpec())  # whose sound must not be written down for the next owner of its slot
        for unit in speech(8.0, seed + 10):
            await before.push(unit)
            await asyncio.sleep(SECONDS_A_TOKEN)
        await before.close()
        assert not engine.slots.vectors[0].any(), "what somebody said is not kept"
        assert await late(engine, moved, picture, *said) == expected
        assert [(w.final, w.turn) for w in expected] == [(True, origin(1))]

    virtual_time.run(main())


def test_the_words_of_a_cancelled_turn_are_written_down_though_it_was_dropped_to_make_room() -> None:
    bundle = random_bundle(4, longest=256)  # one whose words depend on what stands on the tape
    bundle.model.double()
    said = speech(1.0, 5)

    async def words_after(first: float) -> list[Transcript]:
        engine = engine_of(bundle, sessions=1)
        if first:
            before = await engine.open(SessionSpec())
            for unit in speech(first, 9):
                await before.push(unit)
                await asyncio.sleep(SECONDS_A_TOKEN)
            await before.close()
        return await late(engine, None, TextIn("x" * 150), EndOfTurn(origin(0)), Cancel(), *said)

    async def main() -> None:
        found = await words_after(8.6)
        assert [words.turn for words in found] == [origin(1)]
        assert found == await words_after(0)

    virtual_time.run(main())


def test_the_words_of_a_cancelled_turn_say_whose_they_are_and_more_speech_does_not_lose_them() -> None:
    bundle = planted(heard="abcdeghijkl")

    async def main() -> None:
        session = await (engine := engine_of(bundle)).open(SessionSpec())
        await talk(session, 0.3)
        await session.push(EndOfTurn(origin(1)))
        await asyncio.sleep(0.1)
        await session.push(Cancel())
        await talk(session, 0.1)
        await session.push(Begin(origin(2)))
        await asyncio.sleep(1.0)
        await talk(session, 0.1)
        await session.push(EndOfTurn(origin(3)))
        found = [words for words in words_of(await until_quiet(session, QUIET)) if words.final]
        assert [words.turn for words in found] == [origin(1), origin(3)]
        await engine.close()

    virtual_time.run(main())


def test_a_transcript_says_whose_it_is_on_the_other_side_of_the_wire_too() -> None:
    for words in (Transcript("four"), Transcript("four", final=True, turn=origin(1))):
        packed, array = pack(words)
        assert unpack(json.loads(json.dumps(packed)), array) == words


def test_a_transcript_that_breaks_leaves_the_answers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_branch: Branch) -> None:
        raise RuntimeError("no pen")

    monkeypatch.setattr(Branch, "chosen", broken)

    async def main() -> None:
        session = await (engine := engine_of(planted())).open(SessionSpec())
        await ask(session, origin(1))
        events = await until_end(session, origin(1))
        assert events[-1] == Done(origin(1))
        assert [e.code for e in events if isinstance(e, Failed)] == ["no_transcript"]
        assert writers(engine) == [None]
        await engine.close()

    virtual_time.run(main())


def test_a_session_that_nobody_reads_keeps_no_other_from_its_end() -> None:
    bundle = planted("c", frames=1, heard="ab")

    async def main() -> None:
        engine = engine_of(bundle)
        unread, other = await engine.open(SessionSpec()), await engine.open(SessionSpec())
        for number in range(1, 80):  # until it may not go on
            try:
                await ask(unread, origin(number))
            except (Overflow, Refused):
                break
            await asyncio.sleep(1)
        assert not unread.outlet.room
        await ask(other, origin(1))
        events = await until_end(other, origin(1))
        assert words_of(events) == [Transcript("ab", final=True, turn=origin(1))]
        assert writers(engine) == [None]
        await engine.close()

    virtual_time.run(main())


def test_where_the_context_is_full_nothing_is_written_down_and_everybody_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def main() -> None:
        engine = engine_of(planted("c", frames=1))
        session, other = await engine.open(SessionSpec()), await engine.open(SessionSpec())
        await talk(session, 1.0)
        tape = session.lane.tape
        tape.put(torch.zeros(tape.room, tape.vectors.shape[1]))
        tape.read = engine.slots.cache.lengths[session.lane.slot] = tape.capacity
        monkeypatch.setattr(NativeSession, "grown", SKETCH)
        engine.transcripts.begin()
        assert writers(engine) == [None]
        engine.transcripts.want(session, tape.capacity, 10, origin(1))
        engine.transcripts.begin()
        assert writers(engine) == [None]
        (failed,) = [event for event in await until_quiet(session, QUIET) if isinstance(event, Failed)]
        assert (failed.code, failed.fatal) == ("no_transcript", False)
        monkeypatch.undo()
        await ask(other, origin(1))
        assert (await until_end(other, origin(1)))[-1] == Done(origin(1))
        await engine.close()

    virtual_time.run(main())
