"""Habits and limits of a session over the realtime wire, in virtual time: waiting, interrupting, filling up."""

import asyncio
import json

from omni.engine.scripted import Say, ScriptedEngine, Speak
from omni_server.session.settings import Interruption, SessionSettings
from tests.server.realtime_talk import Talk, silence, talk, tone
from tests.virtual_time import run

ANSWER = [Say("It is four."), Speak(1.0)]


async def ask(t: Talk) -> None:
    """One second of speech and enough silence."""
    await t.say(tone(1.0))
    await t.say(silence(0.8))


def test_an_answer_that_takes_long_is_announced_as_thinking_to_those_who_ask() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("Hm.", after=3.0), Speak(0.2)])) as t:
            t.checked = lambda frame: json.loads(frame)
            await t.update(include=["omni.thinking", "omni.waterfall"])
            await t.send("response.create")
            await t.until("response.done")
            await t.until("omni.waterfall")
        assert [event["on"] for event in t.of("omni.thinking")] == [True, False]

    run(main())


def test_an_idle_timeout_makes_the_model_speak_first() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER)) as t:
            await t.turns({"type": "server_vad", "idle_timeout_ms": 5000})
            await t.say(tone(1.0))
            asking = asyncio.create_task(t.say(silence(0.8)))
            done = await t.until("response.done")
            began = asyncio.get_running_loop().time()
            fired = await t.until("input_audio_buffer.timeout_triggered")
            waited = asyncio.get_running_loop().time() - began
            await asking
            await t.until("response.done", 2)
        assert 5.9 < waited < 6.1  # after the answer's one second has been played
        assert fired["item_id"] == t.of("input_audio_buffer.committed")[1]["item_id"]
        assert done["response"]["status"] == "completed"

    run(main())


def test_a_cough_ducks_the_answer_and_does_not_end_it() -> None:
    async def main() -> None:
        settings = SessionSettings(interruption=Interruption(speech_ms=400))
        async with talk(ScriptedEngine([Say("Long."), Speak(6.0, pace=1.0)]), settings=settings) as t:
            t.checked = lambda frame: json.loads(frame)
            await t.update(include=["omni.ducking"])
            await ask(t)
            await t.until("response.output_audio.delta")
            await t.say(tone(0.15))
            await t.say(silence(0.8))
            done = await t.until("response.done")
        assert done["response"]["status"] == "completed"
        assert [event["on"] for event in t.of("omni.ducking")] == [True, False]
        assert len(t.of("input_audio_buffer.speech_started")) == 1

    run(main())


def test_without_interruption_the_second_turn_is_answered_after_the_first() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("Long."), Speak(6.0, pace=1.0)], ANSWER)) as t:
            await t.turns({"type": "server_vad", "interrupt_response": False})
            await ask(t)
            await t.until("response.output_audio.delta")
            await ask(t)
            await t.until("response.done", 2)
        assert [e["response"]["status"] for e in t.of("response.done")] == ["completed", "completed"]
        assert len(t.of("input_audio_buffer.speech_started")) == 2

    run(main())


def test_a_voice_stops_the_answer_within_150_ms() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("Long."), Speak(30.0, pace=1.0)])) as t:
            await ask(t)
            await t.until("response.output_audio.delta")
            await asyncio.sleep(1.7)
            onset = asyncio.get_running_loop().time()
            speaking = asyncio.create_task(t.say(tone(2.0), piece=0.02))
            await t.until("response.done")
            assert asyncio.get_running_loop().time() - onset < 0.08
            last = len(t.of("response.output_audio.delta"))
            await speaking
            assert len(t.of("response.output_audio.delta")) == last

    run(main())


def test_a_buffer_that_nobody_commits_is_full_in_the_end_and_says_so_once() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER), settings=SessionSettings(longest_turn_s=2.0)) as t:
            await t.turns(None)
            await t.say(tone(4.0))
            await t.send("input_audio_buffer.commit")
            committed = await t.until("conversation.item.done")
            await t.say(tone(1.0))
            await t.send("input_audio_buffer.commit")
            await t.until("conversation.item.done", 2)
        assert [e["error"]["code"] for e in t.of("error")] == ["input_audio_buffer_full"]
        assert committed["item"]["status"] == "completed"

    run(main())


def test_a_turn_without_end_ends_at_the_longest_that_is_allowed() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER), settings=SessionSettings(longest_turn_s=2.0)) as t:
            await t.say(tone(2.5))
            await t.until("response.done")
        assert not t.of("error")

    run(main())


def test_texts_and_pictures_fill_a_conversation_up_to_a_limit() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER), settings=SessionSettings(content_bytes=1000)) as t:
            for text in ("x" * 700, "y" * 700):
                item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
                await t.send("conversation.item.create", item=item)
            await t.until("error")
        assert t.of("error")[0]["error"]["code"] == "conversation_full"
        assert len(t.of("conversation.item.added")) == 1

    run(main())
