"""A client with a session, in virtual time: what it measures is what script and network were told to take."""

import asyncio

import numpy as np
import pytest

from omni.engine.echo import EchoEngine
from omni.engine.pipeline.pipeline import pipeline
from omni.engine.scripted import Call, Hang, Say, ScriptedEngine, Speak
from omni_server.client import events
from omni_server.client.refusals import NoAnswer, NotTaken
from omni_server.client.wishes import Tool, Wishes
from omni_server.session.settings import SessionSettings
from tests.server.close_to_server import WIRES, question, talking, tone
from tests.virtual_time import run

MS = 1e-3
SILENCE = 500  # ms after which the server takes a turn for over
WINDOW = 32  # ms, of its voice detector


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize(("delay", "up", "down"), [(0.0, 0.0, 0.0), (0.25, 0.03, 0.05)])
def test_voice_to_voice_is_the_silence_the_engine_the_network_and_the_buffer(
    wire: str, delay: float, up: float, down: float
) -> None:
    async def main() -> None:
        engine = ScriptedEngine([Say("Four."), Speak(0.5, after=delay)])
        # Without speculation: an answer that is begun in the silence hides the engine's delay, as it should.
        async with talking(engine, wire, up=up, down=down, settings=SessionSettings(speculate_ms=0)) as talk:
            await talk.send_audio(question())
            answer = await talk.answer()
        known = SILENCE + 1000 * (delay + up + down) + 20
        measured = answer.ear.voice_to_voice_ms
        assert measured is not None
        assert known - 1 <= measured <= known + 2 * WINDOW + 20
        assert answer.text == "Four."
        assert answer.status == "completed"
        assert answer.excluded == ()
        assert len(answer.samples) / answer.rate == pytest.approx(0.5, abs=0.01)
        assert answer.ear.heard_s == pytest.approx(0.5, abs=0.01)
        assert answer.ear.underruns == 0
        stages = answer.waterfall
        assert sum(stage.ms for stage in stages) == pytest.approx(measured, abs=0.1)
        assert {"endpoint", "play-out"} <= {stage.name for stage in stages}
        assert talk.mouth.late_between() < MS

    run(main())


def test_the_way_to_the_server_is_a_stage_where_the_wire_carries_the_clients_clock() -> None:
    async def main() -> None:
        async with talking(ScriptedEngine([Speak(0.5)]), up=0.04, down=0.04) as talk:
            await talk.send_audio(question())
            answer = await talk.answer()
        assert talk.offset is not None
        assert talk.offset.seconds == pytest.approx(0.0, abs=1 * MS)
        assert talk.offset.error == pytest.approx(0.04, abs=1 * MS)
        uplink = [stage.ms for stage in answer.waterfall if stage.name == "uplink"]
        assert uplink == [pytest.approx(40, abs=2)]

    run(main())


@pytest.mark.parametrize("wire", WIRES)
def test_the_echo_says_back_what_was_said(wire: str) -> None:
    async def main() -> None:
        async with talking(EchoEngine(), wire) as talk:
            await talk.send_audio(question())
            answer = await talk.answer()
        spectrum = np.abs(np.fft.rfft(answer.samples))
        hertz = np.argmax(spectrum) * answer.rate / len(answer.samples)
        assert hertz == pytest.approx(220, abs=2)
        loud = np.abs(answer.samples) > 0.05
        assert loud.sum() / answer.rate == pytest.approx(0.7, abs=0.15)

    run(main())


@pytest.mark.parametrize("wire", WIRES)
def test_typed_words_are_answered(wire: str) -> None:
    async def main() -> None:
        engine = ScriptedEngine([Say("Hello ", after=0.1), Say("there."), Speak(0.2, after=0.1)])
        async with talking(engine, wire) as talk:
            await talk.say("hi")
            answer = await talk.answer()
        assert answer.text == "Hello there."
        assert answer.ear.first_text_ms == pytest.approx(100, abs=1)
        assert answer.ear.voice_to_voice_ms == pytest.approx(220, abs=1)

    run(main())


@pytest.mark.parametrize("wire", WIRES)
def test_an_answer_falls_silent_when_the_user_speaks_and_how_soon_is_measured(wire: str) -> None:
    async def main() -> None:
        engine = ScriptedEngine([Speak(30.0)], [Say("Yes?"), Speak(0.2)])
        async with talking(engine, wire, up=0.02, down=0.03) as talk:
            await talk.send_audio(question())
            first = asyncio.create_task(talk.answer())
            await asyncio.sleep(2.0)
            await talk.send_audio(question(lead=0.1))
            interrupted = await first
            second = await talk.answer()
        assert interrupted.status in ("cancelled", "completed")
        assert 1.0 < interrupted.ear.heard_s < 3.0
        stop = interrupted.ear.stop_ms
        assert stop is not None
        assert 50 <= stop <= 50 + 2 * WINDOW + 20
        assert second.text == "Yes?"
        assert second.ear.stop_ms is None

    run(main())


@pytest.mark.parametrize("wire", WIRES)
def test_interrupting_by_hand_is_silent_at_once(wire: str) -> None:
    async def main() -> None:
        async with talking(ScriptedEngine([Speak(30.0, pace=2.0)]), wire, up=0.1, down=0.1) as talk:
            await talk.say("go on")
            waiting = asyncio.create_task(talk.answer())
            await asyncio.sleep(1.22)
            await talk.interrupt()
            answer = await waiting
        assert answer.status == "cancelled"
        assert answer.ear.heard_s == pytest.approx(1.0, abs=0.05)

    run(main())


def test_a_client_that_ends_its_turns_itself_waits_for_no_silence() -> None:
    async def main() -> None:
        async with talking(EchoEngine(), wishes=Wishes(turns="client")) as talk:
            await talk.send_audio(question(tail=0.0))
            answer = await talk.answer()
        assert answer.ear.voice_to_voice_ms == pytest.approx(20, abs=12)

    run(main())


def test_sound_that_comes_too_slowly_is_an_underrun_at_the_ear() -> None:
    async def main() -> None:
        engine = ScriptedEngine([Speak(0.2), Speak(0.2, after=0.5)])
        async with talking(engine) as talk:
            await talk.say("go")
            answer = await talk.answer()
        assert answer.ear.underruns == 1
        assert answer.ear.starved_ms == pytest.approx(300, abs=5)

    run(main())


def test_a_live_source_is_spoken_as_it_comes() -> None:
    async def main() -> None:
        async def microphone():
            for at in range(0, 48_000, 480):
                await asyncio.sleep(0.01)
                yield tone(1.0, 48_000)[at : at + 480]

        async with talking(EchoEngine()) as talk:
            before = talk.clock.now()
            await talk.send_audio(microphone(), 48_000)
            assert talk.clock.now() - before == pytest.approx(1.0, abs=0.1)
            answer = await talk.answer()
        assert answer.asked is not None
        assert answer.asked.speech_ends is None
        assert answer.ear.voice_to_voice_ms is None  # nobody knows when the speech ended
        assert (np.abs(answer.samples) > 0.05).sum() / answer.rate == pytest.approx(0.9, abs=0.15)

    run(main())


@pytest.mark.parametrize("channels", [1, 2])
def test_a_live_source_may_bring_integers_and_channels(channels: int) -> None:
    async def main() -> None:
        async def microphone():
            whole = np.rint(tone(1.0) * 32_767).astype(np.int16)
            for at in range(0, len(whole), 320):
                await asyncio.sleep(0.02)
                yield np.stack([whole[at : at + 320]] * channels, axis=1)

        async with talking(EchoEngine()) as talk:
            await talk.send_audio(microphone(), 16_000)
            answer = await talk.answer()
        assert np.abs(answer.samples).max() == pytest.approx(0.3, abs=0.01)

    run(main())


@pytest.mark.parametrize("wire", WIRES)
def test_what_the_server_understood_comes_with_the_answer(wire: str) -> None:
    async def main() -> None:
        engine = pipeline("scripted:two and two", "scripted:Four.", "scripted:")
        async with talking(engine, wire) as talk:
            await talk.send_audio(question())
            answer = await talk.answer()
        await engine.close()
        assert answer.question == "two and two"
        assert answer.text.strip() == "Four."

    run(main())


@pytest.mark.parametrize("wire", WIRES)
def test_a_function_is_called_and_its_result_answered(wire: str) -> None:
    async def main() -> None:
        engine = ScriptedEngine([Call("light", '{"on": true}')], [Say("It is on.")])
        wishes = Wishes(tools=(Tool("light", "switch it", {"type": "object"}),), speaks=False)
        async with talking(engine, wire, wishes=wishes) as talk:
            await talk.say("light, please")
            asked = await talk.answer()
            assert [(call.name, call.arguments) for call in asked.calls] == [("light", '{"on": true}')]
            assert "tool" in asked.excluded
            await talk.tool_result(asked.calls[0].call, "done")
            answer = await talk.answer()
        assert answer.text == "It is on."

    run(main())


@pytest.mark.parametrize("wire", WIRES)
@pytest.mark.parametrize("at_once", [False, True])
def test_an_answer_that_called_two_functions_goes_on_once_with_both_results(wire: str, at_once: bool) -> None:
    async def main() -> None:
        engine = ScriptedEngine([Call("hour"), Call("day"), Say("", after=0.2)], [Say("Noon, Monday.")])
        wishes = Wishes(tools=(Tool("hour"), Tool("day")), speaks=False)
        async with talking(engine, wire, wishes=wishes) as talk:
            await talk.say("when is it?")
            calls, answers = [], 0
            async for event in talk:
                assert not isinstance(event, events.Trouble)
                if isinstance(event, events.Called):
                    calls.append(event.call)
                    if at_once:
                        await talk.tool_result(event.call, "known")
                elif isinstance(event, events.AnswerDone):
                    answers += 1
                    if answers == 2:
                        break
                    for call in calls if not at_once else ():
                        await talk.tool_result(call, "known")
            (told,) = engine._open
            assert sum(unit.role == "tool" for unit in told.noted.text) == 2
            with pytest.raises(NoAnswer):
                await talk.answer(patience=1.0)

    run(main())


@pytest.mark.parametrize("wire", WIRES)
def test_what_is_not_wished_any_more_is_gone_from_the_session(wire: str) -> None:
    async def main() -> None:
        before = Wishes(instructions="Be rude.", silence_ms=200, tools=(Tool("light"),))
        async with talking(ScriptedEngine([Say("Yes.")]), wire, wishes=before) as talk:
            await talk.configure(Wishes(transcribe=False))
            await talk.say("hi")
            await talk.answer()
            setup = talk._link._session.core.ground.setup
        assert (setup.instructions, setup.tools, setup.transcribing) == ("", (), None)
        assert setup.turns.silence_duration_ms == SILENCE

    run(main())


def test_an_answer_to_half_an_utterance_is_not_the_answer() -> None:
    async def main() -> None:
        engine = ScriptedEngine([Speak(5.0, after=1.0)], [Say("Now."), Speak(0.2)])
        halves = question(lead=0.2, speech=0.5, tail=0.9).samples
        whole = np.concatenate((halves, tone(0.5)))
        async with talking(engine) as talk:
            await talk.send_audio(whole, 16_000)
            answer = await talk.answer()
        assert answer.text == "Now."
        assert answer.reopened
        assert answer.excluded == ("reopened",)

    run(main())


def test_an_answer_that_waited_for_another_belongs_into_no_percentile() -> None:
    async def main() -> None:
        engine = ScriptedEngine([Say("One."), Speak(6.0, pace=1.0)], [Say("Two."), Speak(0.3)])
        async with talking(engine, wishes=Wishes(interrupts=False)) as talk:
            await talk.send_audio(question())
            await asyncio.sleep(1.0)
            await talk.send_audio(question())
            answers = [await talk.answer(), await talk.answer()]
        assert [answer.text for answer in answers] == ["One.", "Two."]
        assert answers[1].excluded == ("queued",)

    run(main())


def test_an_answer_to_an_utterance_that_went_on_belongs_into_no_percentile_though_nobody_saw_another() -> None:
    async def main() -> None:
        halves = question(lead=0.3, speech=0.5, tail=0.32).samples  # long enough for the engine to begin
        async with talking(ScriptedEngine([Say("Four."), Speak(0.3)])) as talk:
            await talk.send_audio(np.concatenate((halves, tone(0.5))), 16_000)
            answer = await talk.answer()
        assert not answer.reopened
        assert answer.excluded == ("reopened",)

    run(main())


def test_pictures_are_refused_by_an_engine_without_eyes_in_the_servers_words() -> None:
    async def main() -> None:
        engine = ScriptedEngine([Say("?")], sees=False)
        async with talking(engine) as talk:
            await talk.show(np.zeros((32, 32, 3), np.uint8))
            await talk.say("what is this?")
            with pytest.raises(NotTaken, match="no eyes"):
                await talk.answer()

    run(main())


def test_no_answer_is_an_error_after_patience() -> None:
    async def main() -> None:
        async with talking(ScriptedEngine([Hang()])) as talk:
            await talk.say("anybody?")
            with pytest.raises(NoAnswer, match="within 5 s"):
                await talk.answer(patience=5.0)

    run(main())


def test_events_can_be_read_one_by_one() -> None:
    async def main() -> None:
        seen = []
        async with talking(ScriptedEngine([Say("One."), Speak(0.1)])) as talk:
            await talk.say("count")
            async for event in talk:
                seen.append(type(event))
                if isinstance(event, events.AnswerDone):
                    break
        order = [kind for kind in seen if kind in (events.AnswerStarted, events.Words, events.Sound, events.SoundEnded)]
        assert order[0] is events.AnswerStarted
        assert order.index(events.Words) < order.index(events.Sound) < order.index(events.SoundEnded)

    run(main())
