"""What was heard of an answer: by the clock, by what the client says, and what is left of one that is cut."""

import asyncio

import pytest

from omni.engine.clock import LoopClock
from omni.engine.scripted import Call, Hang, Say, ScriptedEngine, Speak
from omni_server.session.commands import CancelResponse, CreateResponse, PlayedOut
from omni_server.session.events import AudioDelta
from omni_server.session.items import Message, SpeechPart, TextPart
from omni_server.session.playback import Playback
from omni_server.session.session import Session
from omni_server.session.settings import SessionSettings
from omni_server.session.setup import Setup
from tests.server.loud_is_speech import LoudIsSpeech
from tests.server.realtime_talk import Talk, answered, silence, talk, told, tone
from tests.virtual_time import run

WORDS = "one two three four five six seven eight nine ten"


def test_the_history_holds_what_was_heard_by_the_clock_and_then_what_the_client_says() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say(WORDS), Speak(4.0)], [Hang()])) as t:
            await t.send("response.create")
            done = await t.until("response.done")
            name = done["response"]["output"][0]["id"]
            await asyncio.sleep(2.0)
            await t.say(tone(0.2))  # into the answer, which still plays
            await t.until("input_audio_buffer.speech_started")
            await asyncio.sleep(0.1)
            heard = t.noted.shortened[0]
            assert 2.0 < heard < 2.2
            await t.send("conversation.item.retrieve", item_id=name)
            found = (await t.until("conversation.item.retrieved"))["item"]["content"][0]["transcript"]
            assert found == "one two three four five"
            await t.send("conversation.item.truncate", item_id=name, content_index=0, audio_end_ms=1000)
            await t.send("conversation.item.retrieve", item_id=name)
            found = (await t.until("conversation.item.retrieved", 2))["item"]["content"][0]["transcript"]
            assert found == "one two"
            await t.send("conversation.item.truncate", item_id=name, content_index=0, audio_end_ms=3000)
            await t.send("conversation.item.retrieve", item_id=name)
            found = (await t.until("conversation.item.retrieved", 3))["item"]["content"][0]["transcript"]
            assert found == "one two three four five six seven"
            await asyncio.sleep(0.1)
            assert t.noted.shortened[1:] == [1.0, 3.0]

    run(main())


async def two_answers_at_once(t: Talk) -> tuple[str, str]:
    """Two spoken answers of 4 s whose sound all leaves now; the names of their messages."""
    for _ in range(2):
        await answered(t)
    first, second = (done["response"]["output"][0]["id"] for done in t.of("response.done"))
    return first, second


async def words_of(t: Talk, name: str) -> str:
    """What the conversation holds of a spoken message."""
    count = len(t.of("conversation.item.retrieved"))
    await t.send("conversation.item.retrieve", item_id=name)
    found = await t.until("conversation.item.retrieved", count + 1)
    return str(found["item"]["content"][0]["transcript"])


def test_an_answer_that_waits_behind_another_is_not_heard_when_that_is_interrupted() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say(WORDS), Speak(4.0)], [Say(WORDS), Speak(4.0)], [Hang()])) as t:
            first, second = await two_answers_at_once(t)
            await asyncio.sleep(1.0)
            await t.say(tone(0.2))
            await t.until("input_audio_buffer.speech_started")
            assert await words_of(t, first) == "one two"
            assert await words_of(t, second) == ""
            assert t.noted.shortened == [0.0]
            await t.say(silence(1.0))
            await t.until("response.created", 3)
            await asyncio.sleep(0.1)
            assert told(t) == ["one two"]  # by an engine that begins anew

    run(main())


def test_a_voice_into_the_second_of_two_answers_interrupts_it_where_it_had_come_to() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say(WORDS), Speak(4.0)], [Say(WORDS), Speak(4.0)], [Hang()])) as t:
            first, second = await two_answers_at_once(t)
            await asyncio.sleep(6.0)
            await t.say(tone(0.2))
            await t.until("input_audio_buffer.speech_started")
            assert await words_of(t, first) == WORDS
            assert await words_of(t, second) == "one two three four five"
            assert 2.0 < t.noted.shortened[0] < 2.2

    run(main())


def test_an_answer_that_still_plays_is_cut_when_the_next_is_interrupted_before_its_first_word() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say(WORDS), Speak(4.0)], [Hang()])) as t:
            await answered(t)
            name = t.of("response.done")[0]["response"]["output"][0]["id"]
            await t.send("response.create")
            await asyncio.sleep(2.0)
            await t.say(tone(0.2))
            await t.until("response.done", 2)
            assert await words_of(t, name) == "one two three four five"

    run(main())


def test_of_an_answer_in_two_pieces_the_engine_is_told_how_much_was_heard_of_both() -> None:
    async def main() -> None:
        script = [Say(WORDS), Speak(2.0), Call("f"), Say(WORDS), Speak(2.0)]
        async with talk(ScriptedEngine(script, [Hang()])) as t:
            await answered(t)
            await asyncio.sleep(3.0)
            await t.say(tone(0.2))
            await t.until("input_audio_buffer.speech_started")
            await asyncio.sleep(0.1)
            assert 3.0 < t.noted.shortened[-1] < 3.2
            output = t.of("response.done")[0]["response"]["output"]
            assert await words_of(t, output[0]["id"]) == WORDS
            assert await words_of(t, output[2]["id"]) == "one two three four five"

    run(main())


def test_what_a_client_says_that_it_played_is_believed_of_an_earlier_answer_too() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say(WORDS), Speak(4.0)])) as t:
            first, _ = await two_answers_at_once(t)
            await asyncio.sleep(3.0)
            await t.session.handle(PlayedOut(first, 1000))
            await t.say(tone(0.2))
            await t.until("input_audio_buffer.speech_started")
            assert await words_of(t, first) == "one two"

    run(main())


def test_silence_counts_from_the_end_of_the_last_of_two_answers() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say(WORDS), Speak(4.0)])) as t:
            await t.turns({"type": "server_vad", "idle_timeout_ms": 5000})
            await two_answers_at_once(t)
            begun = asyncio.get_running_loop().time()
            await t.until("input_audio_buffer.timeout_triggered")
            assert asyncio.get_running_loop().time() - begun == pytest.approx(4.0 + 4.0 + 5.0, abs=0.1)

    run(main())


def test_words_that_were_written_ahead_of_their_sound_were_not_heard() -> None:
    async def main() -> None:
        ahead = " ".join(f"word{n}" for n in range(40))  # 18 s of speech
        async with talk(ScriptedEngine([Say(ahead), Speak(20.0, pace=1.0)])) as t:
            await t.send("response.create")
            await asyncio.sleep(2.0)
            await t.send("response.cancel")
            done = await t.until("response.done")
            assert (await words_of(t, done["response"]["output"][0]["id"])).split() == ahead.split()[:5]

    run(main())


def test_words_without_any_sound_were_not_heard_and_written_ones_are_kept() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say(WORDS), Hang()])) as t:
            for count, kind in enumerate(("audio", "text"), 1):
                await t.send("response.create", response={"output_modalities": [kind]})
                await asyncio.sleep(2.0)
                await t.send("response.cancel")
                await t.until("response.done", count)
            said = [item.parts[0] for item in t.session.core.ground.conversation]  # type: ignore[union-attr]
            assert said == [SpeechPart(""), TextPart(WORDS)]
            assert t.noted.shortened == [0.0]

    run(main())


def test_sound_that_was_made_and_never_sent_was_not_heard() -> None:
    async def main() -> None:
        sent = 0.0
        engine = ScriptedEngine([Say(WORDS), Speak(10.0, pace=4.0), Hang()])
        session = await Session.open(engine, Setup(), SessionSettings(), LoopClock(), LoudIsSpeech())

        async def read() -> None:
            nonlocal sent
            async for event in session.events():
                if isinstance(event, AudioDelta):
                    sent += len(event.samples) / event.rate
                    await asyncio.sleep(len(event.samples) / event.rate)  # it takes what it plays

        reading = asyncio.create_task(read())
        await session.handle(CreateResponse())
        await asyncio.sleep(5.0)
        await session.handle(CancelResponse())
        (item,) = session.core.ground.conversation
        assert sent == pytest.approx(5.0, abs=0.1)
        assert isinstance(item, Message)
        assert isinstance(item.parts[0], SpeechPart)
        assert item.parts[0].transcript == "one two three four five"
        await session.close()
        await reading
        await engine.close()

    run(main())


def test_an_earlier_answer_that_is_cut_is_told_as_it_was_heard() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say(WORDS), Speak(4.0)])) as t:
            await answered(t)
            name = t.of("response.done")[0]["response"]["output"][0]["id"]
            await asyncio.sleep(10)
            await answered(t)
            await t.send("conversation.item.truncate", item_id=name, content_index=0, audio_end_ms=1000)
            await answered(t)
            assert told(t)[0] == "one two"

    run(main())


def test_what_a_truncation_says_during_the_answer_holds_when_it_is_over() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say(WORDS), Speak(4.0, pace=1.0)])) as t:
            await t.send("response.create")
            place = await t.until("response.output_audio.delta", 5)
            await t.send("conversation.item.truncate", item_id=place["item_id"], content_index=0, audio_end_ms=100)
            await t.until("response.done")
            await asyncio.sleep(0.1)
            assert t.noted.shortened == [0.1]

    run(main())


def test_playback_counts_gaps_and_believes_the_client() -> None:
    played = Playback(Message("a", "assistant", [SpeechPart("", 3.0)]))
    assert not played.audible(0.0)
    played.add(1.0, now=10.0)
    assert played.heard(10.5) == pytest.approx(0.5)
    assert played.heard(12.0) == pytest.approx(1.0)  # the engine was late: silence
    played.add(1.0, now=12.0)
    assert played.heard(12.25) == pytest.approx(1.25)
    assert played.ends() == pytest.approx(13.0)
    played.told(1.0, now=12.5)  # it plays later than the clock thought
    assert played.heard(12.75) == pytest.approx(1.25)
    assert played.ends() == pytest.approx(13.5)
    assert played.stop(1.4) == pytest.approx(1.4)
    assert not played.audible(12.6)


def test_playback_waits_for_what_was_sent_before_it() -> None:
    played = Playback(Message("a", "assistant", [SpeechPart("", 2.0)]), after=15.0)
    played.add(1.0, now=10.0)
    played.add(1.0, now=10.0)
    assert played.heard(10.5) == 0.0
    assert played.audible(10.5)
    assert played.heard(15.5) == pytest.approx(0.5)
    assert played.ends() == pytest.approx(17.0)
    played.told(0.0, now=15.2)
    assert played.ends() == pytest.approx(17.2)
