"""The native engine at its edges: tools, pictures, long conversations, too much, and poison."""

import asyncio
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from omni.bundle import Bundle
from omni.engine.handle import WorkerEngine
from omni.engine.native.pace import AHEAD
from omni.engine.native.reply import Reply
from omni.engine.native.session import NativeSession
from omni.engine.native.tape import Piece, Tape
from omni.engine.native.voice import Speech
from omni.engine.protocol import (
    SAMPLE_RATE,
    AudioIn,
    AudioOut,
    Begin,
    Cancel,
    Configure,
    Discard,
    Done,
    EndOfTurn,
    Failed,
    ImageIn,
    Mark,
    Overflow,
    Refused,
    SessionSpec,
    TextDelta,
    TextIn,
    Tool,
    ToolCall,
    TurnPrediction,
)
from omni.engine.worker import build
from omni.model.sampling import Sampler
from omni.sampling import GREEDY
from omni.script import ANSWER, CALL, END, RESULT, SYSTEM, USER
from omni_tokenizers.sequence import Span
from tests import virtual_time
from tests.omni.bundles import random_bundle
from tests.omni.native_talk import engine_of, turn
from tests.omni.planted import planted
from tests.omni.talking import ask, is_end, origin, say, speech, until_end, until_quiet

LIGHT = Tool("light", parameters={"properties": {"on": {}}})


def tape_ids(session: NativeSession) -> list[int]:
    """The ids nearest to what is on the tape."""
    table = session.engine.bundle.model.embed.weight
    return [
        int((table - v).abs().sum(1).nan_to_num(1e9).argmin())
        for v in session.lane.tape.vectors[: session.lane.tape.length]
    ]


def test_a_call_is_an_event_and_its_result_is_read_before_the_next_answer() -> None:
    bundle = planted(call="xyz")

    async def main() -> None:
        session = await (engine := engine_of(bundle)).open(SessionSpec(tools=(LIGHT,)))
        events = await turn(session, 1, TextIn("dark"))
        assert isinstance(events[-1], Failed), "xyz is no call"
        assert events[-1].code == "no_call"
        forced = await (other := engine_of(planted())).open(SessionSpec(tools=(LIGHT,), must_call=True))
        events = await turn(forced, 1, TextIn("dark"))
        assert isinstance(events[-1], Failed), "it began a call, which its weights know nothing of"
        assert events[-1].code == "no_call"
        assert not [e for e in events if isinstance(e, TextDelta)]
        await other.close()
        plain = await engine.open(SessionSpec())
        events = await turn(plain, 1, TextIn("dark"))
        assert not [e for e in events if isinstance(e, ToolCall)], "without tools nothing is called"
        await plain.push(TextIn("done", role="tool", call="call_resp_1"))
        await turn(plain, 2)
        special = bundle.special
        assert special[RESULT] in tape_ids(plain)
        assert tape_ids(plain).count(special[USER]) == 1, "a result stands like a turn of the user"
        await engine.close()

    virtual_time.run(main())


def test_a_written_call_has_name_arguments_and_an_id() -> None:
    bundle = planted()
    text = '{"name":"light","arguments":{"on":true}}'
    reply = Reply(origin(1), "speak", bundle.special, bundle.text.decoder(), Sampler(GREEDY), 9, calls="may", start=0)
    assert reply.legal == "may"
    for at, chosen in enumerate([bundle.special[CALL], *bundle.text.encode(text), bundle.special[END]]):
        reply.say(chosen, at)
    assert list(reply.out) == [ToolCall(origin(1), "light", '{"on":true}', "call_resp_1"), Done(origin(1), "tool")]


def test_every_token_of_sound_says_whether_the_turn_is_over() -> None:
    async def main() -> None:
        session = await (engine := engine_of(planted())).open(SessionSpec())
        seen = []
        for number, unit in enumerate(speech(0.4)):
            await session.push(unit)
            await asyncio.sleep(0.04)
            seen += [e for e in await until_quiet(session, 0.001) if isinstance(e, TurnPrediction)]
            assert len(seen) >= number - 1
        assert all(0 <= e.probability <= 1 for e in seen)
        assert [round(e.at, 2) for e in seen] == sorted({round(e.at, 2) for e in seen})
        await engine.close()

    virtual_time.run(main())


def test_an_answer_runs_ahead_of_the_ear_by_a_bounded_time() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        session = await (engine := engine_of(planted("abcdefgjklmnop", frames=300, longest=1024))).open(SessionSpec())
        await ask(session, origin(1))
        heard, first, most = 0.0, None, 0.0
        async for event in session.events():
            if isinstance(event, AudioOut):
                first = loop.time() if first is None else first
                heard += len(event.samples) / engine.rate_out
                most = max(most, heard - (loop.time() - first))
            if is_end(event):
                break
        assert round(heard, 6) == 12.0
        assert loop.time() >= 12 - AHEAD - 0.1, "it was made at the pace at which it is heard"
        assert AHEAD - 0.1 <= most <= AHEAD + 0.1
        await engine.close()

    virtual_time.run(main())


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


def test_a_picture_to_a_model_without_eyes_is_refused() -> None:
    async def main() -> None:
        engine = engine_of(random_bundle(sees=False))
        session = await engine.open(SessionSpec())
        assert not engine.sees
        with pytest.raises(Refused, match="no eyes"):
            await session.push(ImageIn(np.zeros((8, 8, 3), np.uint8)))
        await engine.close()

    virtual_time.run(main())


def test_poison_fails_the_session_that_met_it_and_no_other() -> None:
    bundle = planted(frames=30)
    poison = bundle.text.encode("~")[0]
    with torch.no_grad():
        bundle.model.embed.weight[poison] = float("nan")

    async def main() -> None:
        engine = engine_of(bundle)
        calm, ill = await engine.open(SessionSpec()), await engine.open(SessionSpec(instructions="Be well, be well."))
        await calm.push(EndOfTurn(origin(1)))
        await ill.push(TextIn("a ~ b"))
        await ill.push(EndOfTurn(origin(1)))
        await ill.push(TextIn("c"))  # of the next turn already
        failed = (await until_end(ill, origin(1)))[-1]
        assert isinstance(failed, Failed)
        assert (failed.code, failed.fatal) == ("not_finite", False)
        await ill.push(TextIn("a b"))
        assert (await turn(ill, 2))[-1] == Done(origin(2)), "the turn was forgotten, and only that"
        assert bundle.text.decode([i for i in tape_ids(ill) if i < 256]).startswith("Be well, be well.ca b")
        await ill.push(TextIn("~"))
        assert next(e for e in await until_quiet(ill, 1) if isinstance(e, Failed)).origin is None
        await ill.push(TextIn("~"))
        await ill.push(Begin(origin(3)))
        await asyncio.sleep(1)
        await ill.push(EndOfTurn(origin(3)))
        assert isinstance((await until_end(ill, origin(3)))[-1], Failed)
        assert (await turn(ill, 4, TextIn("a b")))[-1] == Done(origin(4))
        assert (await until_end(calm, origin(1)))[-1] == Done(origin(1))
        await engine.close()

    virtual_time.run(main())


def test_instructions_that_sessions_share_are_read_once() -> None:
    async def main() -> None:
        engine = engine_of(planted())
        spec = SessionSpec(instructions="You are a friendly voice.")
        first = await engine.open(spec)
        said = [type(e) for e in await turn(first, 1, TextIn("hi"))]
        second = await engine.open(spec)
        assert second.lane.tape.unread == 0
        assert engine.prefixes.hits == 1
        assert [type(e) for e in await turn(second, 1, TextIn("hi"))] == said
        for number in range(5):  # more different ones than there are slots for
            other = await engine.open(SessionSpec(instructions=f"You are number {number}."))
            await turn(other, 1, TextIn("hi"))
            await other.close()
        assert len(engine.prefixes.kept) == 2
        await second.push(Configure(SessionSpec(instructions="Be brief.")))
        assert [type(e) for e in await turn(second, 2, TextIn("hi"))] == said
        ids, special = tape_ids(second), engine.bundle.special
        begin = [special[SYSTEM], *engine.bundle.text.encode("Be brief."), special[END]]
        assert ids[: len(begin)] == begin
        assert ids.count(special[USER]) == 2
        await engine.close()

    virtual_time.run(main())


def test_words_of_the_assistant_and_new_instructions_stand_in_the_history_as_the_script_writes_them() -> None:
    async def main() -> None:
        engine = engine_of(planted())
        session = await engine.open(SessionSpec())
        await turn(session, 1, TextIn("a"), TextIn("b", role="assistant"), TextIn("c", role="system"), TextIn("d"))
        special, byte = engine.bundle.special, engine.bundle.text.encode
        assert tape_ids(session)[:10] == [
            special[USER], *byte("a"), special[ANSWER], *byte("b"), special[END],
            special[SYSTEM], *byte("c"), special[END], special[USER], *byte("d"),
        ]  # fmt: skip
        await say(session)
        before = session.lane.tape.length
        await session.push(Discard())
        assert session.lane.tape.length < before
        await engine.close()

    virtual_time.run(main())


def test_marks_say_when_the_turn_was_read_and_when_words_codes_and_sound_began() -> None:
    async def main() -> None:
        session = await (engine := engine_of(planted())).open(SessionSpec())
        await ask(session, origin(1))
        stages = [e.stage for e in await until_end(session, origin(1)) if isinstance(e, Mark)]
        assert stages == ["prefill", "first_text", "first_codes", "first_audio"]
        await engine.close()

    virtual_time.run(main())


def test_an_engine_is_built_from_a_folder_by_plain_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 1)  # tests run one process a core
    random_bundle(speaks=False).save(tmp_path)
    engine = build("omni.engine.native.engine:native", {"folder": str(tmp_path), "sessions": 2, "capacity": 256})

    async def main() -> None:
        await engine.start()
        session = await engine.open(SessionSpec(longest=5))
        assert session.lane.tape.capacity == 256
        assert (await turn(session, 1, *speech(0.3)))[-1].origin == origin(1)  # type: ignore[union-attr]
        await engine.close()

    asyncio.run(main())


@pytest.mark.slow
def test_in_a_process_of_its_own_it_answers(tmp_path: Path) -> None:
    random_bundle(speaks=False).save(tmp_path)

    async def main() -> None:
        engine = await WorkerEngine.start("omni.engine.native.engine:native", {"folder": str(tmp_path)})
        session = await engine.open(SessionSpec(longest=5))
        await ask(session, origin(1))
        assert (await until_end(session, origin(1)))[-1].origin == origin(1)  # type: ignore[union-attr]
        await engine.close()

    asyncio.run(asyncio.wait_for(main(), 120))


def test_other_settings_that_came_during_an_answer_hold_from_the_next_one_on() -> None:
    async def main() -> None:
        engine = engine_of(planted(frames=20))
        session = await engine.open(SessionSpec())
        await session.push(EndOfTurn(origin(1)))
        await session.push(Configure(SessionSpec(instructions="Be brief.", speaks=False)))
        first = await until_end(session, origin(1))
        assert sum(isinstance(e, AudioOut) for e in first) == 20
        assert not [e for e in await turn(session, 2, TextIn("hi")) if isinstance(e, AudioOut)]
        assert tape_ids(session)[0] == engine.bundle.special[SYSTEM]
        await session.push(Begin(origin(3)))
        await session.push(Configure(SessionSpec(instructions="", speaks=True)))
        await session.push(TextIn("more"))  # the beginning is taken back
        events = await turn(session, 4)
        assert [e for e in events if isinstance(e, AudioOut)]
        assert tape_ids(session)[0] == engine.bundle.special[USER]
        await engine.close()

    virtual_time.run(main())


def test_a_codec_that_breaks_fails_the_answer_and_the_session_goes_on() -> None:
    bundle = planted()

    class Broken:
        def push(self, codes: object) -> np.ndarray:
            raise RuntimeError("no sound")

    async def main() -> None:
        engine = engine_of(bundle)
        session = await engine.open(SessionSpec())
        assert engine.voice is not None
        begin, engine.voice.begin = engine.voice.begin, lambda: Speech(Broken(), 640)  # type: ignore[method-assign]
        failed = (await turn(session, 1, TextIn("hi")))[-1]
        assert isinstance(failed, Failed)
        assert failed.code == "codec_failed"
        assert "no sound" in failed.message
        engine.voice.begin = begin  # type: ignore[method-assign]
        assert (await turn(session, 2, TextIn("hi")))[-1] == Done(origin(2))
        await engine.close()

    virtual_time.run(main())


def test_a_codec_that_breaks_at_a_first_sound_leaves_nobody_waiting() -> None:
    bundle = planted()
    go_on = threading.Event()

    class Broken:
        def push(self, codes: object) -> np.ndarray:
            assert go_on.wait(10)
            raise RuntimeError("no sound")

    async def main() -> None:
        engine = engine_of(bundle)
        works, breaks = await engine.open(SessionSpec()), await engine.open(SessionSpec())
        assert engine.voice is not None
        begin, engine.voice.begin = engine.voice.begin, lambda: Speech(Broken(), 640)  # type: ignore[method-assign]
        await breaks.push(TextIn("hi"))
        await breaks.push(EndOfTurn(origin(1)))
        async for event in breaks.events():
            if isinstance(event, Mark) and event.stage == "first_codes":
                break
        assert breaks.delivery is not None
        assert breaks.delivery.awaits_first_sound
        engine.voice.begin = begin  # type: ignore[method-assign]
        await works.push(TextIn("hi"))
        await works.push(EndOfTurn(origin(1)))
        for _ in range(50):  # it waits for the sound of the other
            await asyncio.sleep(0)
        go_on.set()
        assert (await until_end(works, origin(1)))[-1] == Done(origin(1))
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


def test_what_breaks_in_one_session_ends_it_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        engine = engine_of(planted())
        ill, calm = await engine.open(SessionSpec()), await engine.open(SessionSpec())

        def broken() -> None:
            raise RuntimeError("no way")

        monkeypatch.setattr(ill, "chosen", broken)
        await calm.push(EndOfTurn(origin(1)))
        failed = (await turn(ill, 1, TextIn("hi")))[-1]
        assert isinstance(failed, Failed)
        assert (failed.code, failed.fatal) == ("engine_error", True)
        assert (await until_end(calm, origin(1)))[-1] == Done(origin(1))
        await calm.close()
        alone = await engine.open(SessionSpec())
        monkeypatch.setattr(alone, "after_tick", broken)
        assert (await turn(alone, 1, TextIn("hi")))[-1].fatal  # type: ignore[union-attr]
        after = await engine.open(SessionSpec())
        assert (await turn(after, 1, TextIn("hi")))[-1] == Done(origin(1)), "whoever was there last"
        await engine.close()

    virtual_time.run(main())


def poisoned_by_a_tilde(bundle: Bundle) -> Bundle:
    with torch.no_grad():
        bundle.model.embed.weight[bundle.text.encode("~")[0]] = float("nan")
    return bundle


@pytest.mark.parametrize("begun", [False, True])
def test_what_was_heard_of_an_answer_that_failed_shortens_no_other(begun: bool) -> None:
    async def main() -> None:
        session = await (engine := engine_of(poisoned_by_a_tilde(planted(frames=30)))).open(SessionSpec())
        await turn(session, 1, TextIn("hi"))
        before = tape_ids(session)
        await session.push(TextIn("~"))
        if begun:
            await session.push(Begin(origin(2)))
            await asyncio.sleep(1)
        assert [e for e in await turn(session, 2) if isinstance(e, Failed)]
        await session.push(Cancel(heard=0.0))
        assert tape_ids(session) == before
        await engine.close()

    virtual_time.run(main())


def test_poison_in_the_next_turn_ends_an_answer_that_is_made_and_still_on_its_way() -> None:
    async def main() -> None:
        session = await (engine := engine_of(poisoned_by_a_tilde(planted("c", frames=1, heard="abdeghijkl")))).open(
            SessionSpec()
        )
        await ask(session, origin(1))
        await asyncio.sleep(0.2)
        assert session.lane.reply is None
        assert session.delivery is not None, "its end waits for the words"
        await session.push(TextIn("~"))
        failed = (await until_end(session, origin(1)))[-1]
        assert isinstance(failed, Failed)
        assert failed.code == "not_finite"
        assert (await turn(session, 2, TextIn("hi")))[-1] == Done(origin(2))
        await engine.close()

    virtual_time.run(main())


def test_poison_in_an_answer_that_nobody_asked_for_leaves_nothing_behind() -> None:
    async def main() -> None:
        bundle = planted("c", frames=1)
        healthy = bundle.model.embed.weight[bundle.text.encode("c")[0]].clone()
        with torch.no_grad():
            bundle.model.embed.weight[bundle.text.encode("c")[0]] = float("nan")
        session = await (engine := engine_of(bundle)).open(SessionSpec())
        failed = (await turn(session, 1))[-1]
        assert isinstance(failed, Failed)
        assert "the turn was forgotten" in failed.message
        with torch.no_grad():
            bundle.model.embed.weight[bundle.text.encode("c")[0]] = healthy
        assert tape_ids(session) == []
        assert (await turn(session, 2, TextIn("hi")))[-1] == Done(origin(2))
        await engine.close()

    virtual_time.run(main())


def test_instructions_with_poison_stay_where_they_are_and_are_given_to_nobody_else() -> None:
    async def main() -> None:
        engine = engine_of(poisoned_by_a_tilde(planted()))
        session = await engine.open(SessionSpec(instructions="You are ~ well."))
        failed = next(e for e in await until_quiet(session, 1) if isinstance(e, Failed))
        assert "the instructions cannot be read" in failed.message
        assert not engine.prefixes.kept
        assert isinstance((await turn(session, 1, TextIn("hi")))[-1], Failed)
        assert not engine.prefixes.kept
        await session.push(Configure(SessionSpec(instructions="You are very well.")))
        assert (await turn(session, 2, TextIn("hi")))[-1] == Done(origin(2))
        special, byte = engine.bundle.special, engine.bundle.text.encode
        begin = [special[SYSTEM], *byte("You are very well."), special[END], special[USER], *byte("hi")]
        assert tape_ids(session)[: len(begin)] == begin
        await engine.close()

    virtual_time.run(main())


def test_instructions_that_were_read_beside_poison_are_read_again() -> None:
    async def main() -> None:
        engine = engine_of(poisoned_by_a_tilde(random_bundle(longest=256, tied=False)))
        session = await engine.open(SessionSpec(instructions="You are very well."))
        await session.push(TextIn("~"))
        assert [e.code for e in await until_quiet(session, 1) if isinstance(e, Failed)] == ["not_finite"]
        (kept,) = engine.prefixes.kept.values()
        assert engine.stepper.cache.both[:, :, kept.lane.slot, :, : kept.tokens].isfinite().all()
        assert isinstance((await turn(session, 1, TextIn("hi")))[-1], Done)
        await engine.close()

    virtual_time.run(main())


def test_what_was_predicted_of_a_turn_that_is_over_is_not_said_again_when_it_is_read_again() -> None:
    async def main() -> None:
        session = await (engine := engine_of(random_bundle())).open(SessionSpec(longest=2, transcribes=False))
        for unit in speech(4.0):
            await session.push(unit)
            await asyncio.sleep(len(unit.samples) / unit.rate)
        await session.push(EndOfTurn(origin(1)))
        assert any(isinstance(event, TurnPrediction) for event in await until_end(session, origin(1)))
        await session.push(Configure(SessionSpec(instructions="Be brief.", longest=2, transcribes=False)))
        assert not await until_quiet(session, 5.0)
        assert not session.lane.tape.unread
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
