"""What happens in the pauses: while an answer is prepared, waits behind another, or cannot be begun at all."""

import asyncio
from dataclasses import dataclass
from typing import Any

import numpy as np

from omni.engine.protocol import Refused, SessionSpec
from omni.engine.scripted import Hang, Say, ScriptedEngine, ScriptedSession, Speak
from omni_server.session.input_audio import InputAudio
from omni_server.session.settings import Interruption, SessionSettings
from omni_server.turns.detector import Heard
from tests.server.realtime_talk import Talk, pcm, silence, talk, tone
from tests.virtual_time import run


def text(name: str) -> dict[str, Any]:
    return {"id": name, "type": "message", "role": "user", "content": [{"type": "input_text", "text": name}]}


def ends(t: Talk) -> list[str]:
    return [done["response"]["status"] for done in t.of("response.done")]


async def speak_into_the_answer(t: Talk) -> None:
    """Two turns; the second waits, since the answer to the first may not be interrupted."""
    await t.turns({"type": "server_vad", "interrupt_response": False})
    await t.say(tone(0.5))
    await t.say(silence(0.8))
    await t.until("response.created")
    await t.say(tone(0.5))
    await t.say(silence(0.8))


class Narrow(ScriptedEngine):
    """Takes no long instructions."""

    def begin(self, spec: SessionSpec) -> ScriptedSession:
        if len(spec.instructions) > 100:
            raise Refused("the instructions are too long")
        return super().begin(spec)


def test_an_item_that_comes_while_an_answer_is_prepared_is_answered_too() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("hi")])) as t:
            await t.say(tone(0.5))
            await t.say(silence(0.32))  # probably over: the answer is begun
            await t.send("conversation.item.create", item=text("look"))
            await t.say(silence(0.6))
            await t.until("response.done")
            assert ends(t) == ["completed"]
            assert [unit.text for unit in t.noted.text] == ["look"]

    run(main())


def test_a_truncation_that_comes_while_an_answer_is_prepared_takes_it_back_and_it_is_made_anew() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("hello there you"), Speak(3.0)], [Say("second")])) as t:
            await t.say(tone(0.5))
            await t.say(silence(0.7))
            item = (await t.until("response.done"))["response"]["output"][0]["id"]
            await t.say(tone(0.5))
            await t.say(silence(0.32))
            await t.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=700)
            await t.say(silence(0.6))
            await t.until("response.done", 2)
            assert ends(t) == ["completed", "completed"]

    run(main())


def test_a_late_truncation_does_not_end_the_answer_that_is_being_made() -> None:
    async def main() -> None:
        engine = ScriptedEngine([Say("hello there you"), Speak(3.0)], [Say("second", after=1.0), Speak(0.5)])
        async with talk(engine) as t:
            await t.turns(None)
            for _ in range(2):
                await t.say(tone(0.5))
                await t.send("input_audio_buffer.commit")
                await t.send("response.create")
                if not ends(t):
                    item = (await t.until("response.done"))["response"]["output"][0]["id"]
            await t.send("conversation.item.truncate", item_id=item, content_index=0, audio_end_ms=700)
            await t.until("response.done", 2)
            assert ends(t) == ["completed", "completed"]

    run(main())


def test_settings_that_the_engine_refuses_fail_one_answer_and_the_session_goes_on() -> None:
    async def main() -> None:
        async with talk(Narrow([Say("hi")])) as t:
            await t.send("response.create", response={"conversation": "none", "instructions": "x" * 200, "input": []})
            done = await t.until("response.done")
            assert done["response"]["status_details"]["error"]["code"] == "engine_refused"
            await t.send("conversation.item.create", item=text("a"))
            await t.send("response.create")
            await t.until("response.done", 2)
            await t.send("conversation.item.delete", item_id="a")  # the engine has to begin anew
            await t.send("response.create", response={"instructions": "x" * 200})
            await t.until("response.done", 3)
            await t.send("response.create")
            await t.until("response.done", 4)
            assert ends(t) == ["failed", "completed", "failed", "completed"]

    run(main())


def test_an_answer_that_waited_for_another_counts_from_the_end_of_its_turn_and_in_no_percentile() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("one"), Speak(5.0, pace=1.0)], [Say("two"), Speak(0.2)])) as t:
            await speak_into_the_answer(t)
            waterfall = (await t.until("response.done", 2))["waterfall"]
            stages = {stage["name"]: stage["ms"] for stage in waterfall["stages"]}
            assert stages["endpoint"] < 700
            assert waterfall["excluded"] == ["queued"]

    run(main())


def test_a_turn_that_ends_after_the_answer_counts_from_its_own_end_though_another_waited_before_it() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("one"), Speak(2.5, pace=1.0)], [Say("two"), Speak(0.2)])) as t:
            await speak_into_the_answer(t)
            assert not ends(t)
            await t.say(tone(2.0))  # meanwhile the answer ends, and nobody is interrupted by the next
            assert ends(t) == ["completed"]
            assert len(t.of("response.created")) == 1
            await t.say(silence(0.8))
            waterfall = (await t.until("response.done", 2))["waterfall"]
            stages = {stage["name"]: stage["ms"] for stage in waterfall["stages"]}
            assert 400 < stages["endpoint"] < 700
            assert waterfall["excluded"] == []

    run(main())


def test_a_turn_that_waits_is_not_answered_once_turns_are_not_taken_any_more() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("one"), Speak(3.0, pace=1.0)], [Say("two")])) as t:
            await speak_into_the_answer(t)
            await t.turns(None)
            await asyncio.sleep(6)
            assert len(t.of("response.created")) == 1

    run(main())


def test_a_conversation_never_has_more_items_than_it_may() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("hi")]), settings=SessionSettings(items=4, kept_audio_s=2)) as t:
            for turn in range(5):
                await t.say(tone(0.3))
                await t.say(silence(0.7))
                await t.until("response.done", turn + 1)
                assert len(t.session.core.ground.conversation) <= 4
            assert len(t.of("conversation.item.deleted")) == 6

    run(main())


def test_what_waits_for_the_engine_is_bounded_whatever_it_is() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Hang()]), query={"intent": "transcription"}) as t:
            await t.say(tone(0.5))
            await t.say(silence(0.8))  # nothing more is told before the words are there
            minute = {"type": "input_audio", "audio": pcm(np.zeros(24_000 * 60, np.float32))}
            item = {"type": "message", "role": "user", "content": [minute]}

            async def much() -> None:
                for _ in range(10):
                    await t.send("conversation.item.create", item=item)

            sending = asyncio.create_task(much())
            await asyncio.sleep(1)
            assert not sending.done()
            assert len(t.session.core.ground.telling.units) < 150
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    run(main())


@dataclass
class Hears:
    """Any sound is a voice with this probability, and silence with that one."""

    sound: float
    silence: float
    waiting: int = 0

    def ear(self) -> "Hears":
        return self

    def hear(self, window: np.ndarray, heard: Heard) -> None:
        heard(self.sound if float(np.sqrt(np.mean(window * window))) > 0.02 else self.silence)

    def forget(self) -> None:
        pass


def test_a_soft_voice_interrupts_where_the_threshold_says_that_it_is_one() -> None:
    async def main() -> None:
        settings = SessionSettings(interruption=Interruption(speech_ms=200))
        engine = ScriptedEngine([Say("a"), Speak(8.0)], [Say("b")])
        async with talk(engine, detector=Hears(0.42, silence=0.01), settings=settings) as t:
            await t.turns({"type": "server_vad", "threshold": 0.3})
            await t.say(tone(0.6))
            await t.say(silence(0.7))
            await t.until("response.done")
            await t.say(tone(1.0))
            await t.say(silence(1.0))
            assert len(t.of("input_audio_buffer.speech_started")) == 2
            await t.until("response.created", 2)

    run(main())


def test_silence_is_no_voice_however_low_the_threshold_is() -> None:
    async def main() -> None:
        settings = SessionSettings(interruption=Interruption(speech_ms=400))
        engine = ScriptedEngine([Say("a"), Speak(8.0)], [Say("b")])
        async with talk(engine, detector=Hears(0.9, silence=0.001), settings=settings) as t:
            await t.turns({"type": "server_vad", "threshold": 0})
            await t.say(tone(0.6))
            await t.say(silence(0.7))
            await t.until("response.done")
            await t.say(tone(0.2))
            await t.say(silence(2.0))
            assert len(t.of("input_audio_buffer.speech_started")) == 1
            assert len(t.of("response.created")) == 1

    run(main())


def test_sound_after_full_duplex_has_the_time_at_which_it_came() -> None:
    audio, now = InputAudio(), 0.0
    for number in range(300):
        now += 0.02
        audio.push(np.zeros(320, np.float32), 16_000, now, None, keep=number >= 200)
    assert audio.arrived(audio.position - 1)[0] == now
