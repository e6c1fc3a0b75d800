"""The native engine at its edges: tools, predictions, pictures, instructions, settings."""

import asyncio
from pathlib import Path

import numpy as np
import pytest

from omni.engine.handle import WorkerEngine
from omni.engine.native.pace import AHEAD
from omni.engine.native.reply import Reply
from omni.engine.protocol import (
    AudioOut,
    Begin,
    Configure,
    Discard,
    Done,
    EndOfTurn,
    Failed,
    ImageIn,
    Mark,
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
from tests import virtual_time
from tests.omni.bundles import random_bundle
from tests.omni.native_talk import engine_of, tape_ids, turn
from tests.omni.planted import planted
from tests.omni.talking import ask, is_end, origin, say, speech, until_end, until_quiet

LIGHT = Tool("light", parameters={"properties": {"on": {}}})


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


def test_a_picture_to_a_model_without_eyes_is_refused() -> None:
    async def main() -> None:
        engine = engine_of(random_bundle(sees=False))
        session = await engine.open(SessionSpec())
        assert not engine.sees
        with pytest.raises(Refused, match="no eyes"):
            await session.push(ImageIn(np.zeros((8, 8, 3), np.uint8)))
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
