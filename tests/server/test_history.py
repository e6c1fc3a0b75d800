"""What the engine is told when the conversation is changed behind its back, and what is left of a cut answer."""

import asyncio
import tracemalloc
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from omni.engine.clock import LoopClock
from omni.engine.protocol import SessionSpec, TextIn
from omni.engine.scripted import Call, Hang, Say, ScriptedEngine, ScriptedSession, Speak, Step
from omni_server.session.commands import CancelResponse, CreateResponse, PlayedOut
from omni_server.session.events import AudioDelta
from omni_server.session.items import Message, SpeechPart, TextPart
from omni_server.session.low_latency import LowLatency
from omni_server.session.playback import Playback
from omni_server.session.session import Session
from omni_server.session.settings import SessionSettings
from omni_server.session.setup import Setup
from tests.server.loud_is_speech import LoudIsSpeech
from tests.server.realtime_talk import Talk, silence, talk, tone
from tests.virtual_time import run

WORDS = "one two three four five six seven eight nine ten"


def message(name: str, text: str, role: str = "user") -> dict[str, Any]:
    part = {"type": "output_text" if role == "assistant" else "input_text", "text": text}
    return {"type": "message", "id": name, "role": role, "content": [part]}


async def add(t: Talk, name: str, after: str | None = None, role: str = "user") -> None:
    fields = {} if after is None else {"previous_item_id": after}
    await t.send("conversation.item.create", item=message(name, f"text of {name}", role), **fields)


def told(t: Talk) -> list[str]:
    """Texts that the engine's present session was given."""
    return [unit.text for unit in t.noted.text]


async def answered(t: Talk) -> None:
    count = len(t.of("response.done"))
    await t.send("response.create")
    await t.until("response.done", count + 1)


async def order(t: Talk) -> list[str]:
    """The conversation as the server has it."""
    return [item.id for item in t.session.core.ground.conversation]


def test_an_item_in_front_of_others_is_told_in_its_place() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("ok")])) as t:
            await add(t, "a")
            await answered(t)
            await add(t, "b", after="root")
            await add(t, "c", after="a")
            await asyncio.sleep(0.1)
            added = [(e["item"]["id"], e.get("previous_item_id")) for e in t.of("conversation.item.added")]
            assert added[-2:] == [("b", None), ("c", "a")]
            await answered(t)
            assert told(t)[:3] == ["text of b", "text of a", "text of c"]
            assert (await order(t))[:3] == ["b", "a", "c"]

    run(main())


def test_a_deleted_item_is_not_told_again() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("ok")])) as t:
            for name in "abc":
                await add(t, name)
            await answered(t)
            await t.send("conversation.item.delete", item_id="b")
            await answered(t)
            assert told(t)[:3] == ["text of a", "text of c", "ok"]
            assert [unit.role for unit in t.noted.text] == ["user", "user", "assistant"]
        assert t.of("conversation.item.deleted")[0]["item_id"] == "b"

    run(main())


class Forgets(ScriptedSession):
    """Texts of a turn that has not ended are gone with a `Discard`, as in a real engine."""

    settled: Sequence[TextIn] = ()

    def settle(self, turn: Sequence[Step]) -> None:
        super().settle(turn)
        self.settled = list(self.noted.text)

    def discard(self) -> None:
        super().discard()
        self.noted.text = list(self.settled)


class ForgetsEngine(ScriptedEngine):
    def begin(self, spec: SessionSpec) -> Forgets:
        return Forgets(spec, self.clock, scripts=self._scripts, notices=(), closed=self.forget)


def test_an_engine_that_begins_anew_while_somebody_speaks_knows_the_conversation() -> None:
    async def main() -> None:
        async with talk(ForgetsEngine([Say("ok")])) as t:
            await t.turns(None)
            for name in "ab":
                await add(t, name)
                await answered(t)
            await t.send("conversation.item.delete", item_id="b")
            await t.say(tone(1.0))
            await add(t, "c")
            await answered(t)
            await asyncio.sleep(0.1)
            assert told(t) == ["text of a", "ok", "ok", "text of c"]
            assert abs(t.noted.audio - 1.0) < 0.01  # of the next turn

    run(main())


def test_cleared_audio_is_forgotten_and_what_was_committed_before_it_is_not() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Hang()])) as t:
            await t.turns(None)
            await t.say(tone(1.0))
            await t.send("input_audio_buffer.commit")
            await t.say(tone(3.0))
            await t.send("input_audio_buffer.clear")
            await asyncio.sleep(0.1)
            assert abs(t.noted.audio - 1.0) < 0.01
        assert t.kinds[-1] == "input_audio_buffer.cleared"

    run(main())


def test_audio_that_nobody_committed_belongs_to_the_next_turn() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("ok")])) as t:
            await t.turns(None)
            await t.say(tone(1.0))
            await answered(t)
            await t.send("input_audio_buffer.commit")
            await asyncio.sleep(0.1)
            assert abs(t.noted.audio - 1.0) < 0.01

    run(main())


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


def test_the_newest_audio_is_kept_and_the_oldest_forgotten() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Hang()]), settings=SessionSettings(kept_audio_s=2.5)) as t:
            await t.turns(None)
            for _ in range(4):
                await t.say(tone(1.0))
                await t.send("input_audio_buffer.commit")
            kept = [item.parts[0].samples is not None for item in t.session.core.ground.conversation]  # type: ignore[union-attr]
            assert kept == [False, False, True, True]

    run(main())


def test_of_speech_that_is_longer_than_what_is_kept_the_newest_is() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Hang()]), settings=SessionSettings(kept_audio_s=2.5)) as t:
            await t.turns(None)
            await t.say(tone(1.0))
            await t.send("input_audio_buffer.commit")
            await t.say(np.concatenate([silence(1.0), tone(3.0)]))
            await t.send("input_audio_buffer.commit")
            older, newest = [item.parts[0].samples for item in t.session.core.ground.conversation]  # type: ignore[union-attr]
            assert older is None
            assert len(newest) == 2.5 * 16_000
            assert newest[:4_000].any()  # not the silence in front
            await t.say(tone(0.5))
            await add(t, "a")  # in front of sound that nobody committed: the turn is told anew
            await asyncio.sleep(0.1)
            assert abs(t.noted.audio - 3.0) < 0.01

    run(main())


def test_a_full_conversation_says_so_to_text_and_makes_room_for_speech() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Hang()]), settings=SessionSettings(items=3)) as t:
            for name in "abcd":
                await add(t, name)
            assert t.of("error") == []
            await asyncio.sleep(0.1)
            assert [e["error"]["code"] for e in t.of("error")] == ["conversation_full"]
            await t.turns(None)
            await t.say(tone(0.5))
            await t.send("input_audio_buffer.commit")
            await t.until("input_audio_buffer.committed")
        assert [e["item_id"] for e in t.of("conversation.item.deleted")] == ["a"]

    run(main())


def test_an_answer_to_a_context_of_its_own_is_in_the_conversation_that_the_engine_hears_next() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("apart")])) as t:
            await add(t, "a")
            context = [{"type": "item_reference", "id": "a"}, message("", "only this")]
            await t.send("response.create", response={"input": context, "output_modalities": ["text"]})
            await t.until("response.done")
            await answered(t)
            assert told(t) == ["text of a", "apart"]

    run(main())


def test_a_change_of_settings_reaches_the_engine_for_one_answer_only() -> None:
    async def main() -> None:
        seen: list[str] = []

        class Notes(ScriptedEngine):
            def begin(self, spec: Any) -> ScriptedSession:
                session = super().begin(spec)
                plain = session.answer

                async def answer(origin: Any, turn: Any) -> Any:
                    seen.append(session.spec.instructions)
                    return await plain(origin, turn)

                session.answer = answer  # type: ignore[method-assign]
                return session

        async with talk(Notes([Say("ok")])) as t:
            await t.update(instructions="Be kind.")
            await answered(t)
            await t.send("response.create", response={"instructions": "Be brief."})
            await t.until("response.done", 2)
            await answered(t)
        assert seen == ["Be kind.", "Be brief.", "Be kind."]

    run(main())


def test_text_that_comes_while_the_user_speaks_is_in_front_of_the_speech() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Hang()])) as t:
            await t.turns(None)
            await t.say(tone(1.0))
            await add(t, "a")
            await t.send("input_audio_buffer.commit")
            await asyncio.sleep(0.1)
            assert (await order(t))[0] == "a"
            assert t.noted.text[-1] == TextIn("text of a")
            assert abs(t.noted.audio - 1.0) < 0.01

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


@pytest.mark.parametrize(
    ("rate_in", "rate_out"),
    [(24_000, 16_000), (16_000, 24_000), (8_000, 16_000), (44_100, 16_000), (15_999, 16_000), (16_000, 47_999)],
)
def test_a_resampler_of_low_latency_keeps_a_tone_whatever_the_pieces(rate_in: int, rate_out: int) -> None:
    rng = np.random.default_rng(rate_in)

    def wave(rate: int) -> np.ndarray:
        times = np.arange(rate) / rate
        return (0.3 * np.sin(2 * np.pi * 440 * times) + 0.2 * np.sin(2 * np.pi * 2500 * times)).astype(np.float32)

    sound, resampler = wave(rate_in), LowLatency(rate_in, rate_out)
    ends = np.sort(rng.integers(0, rate_in, 60))
    pieces = [resampler.push(piece) for piece in np.split(sound, ends)]
    given = sum(map(len, pieces))
    assert given / rate_out > 1 - 0.012  # no more than 12 ms wait inside at the end
    found = np.concatenate([*pieces, resampler.finish()])
    assert len(found) == rate_out
    edge = rate_out // 100
    assert np.abs(found - wave(rate_out))[edge:-edge].max() < 1e-3


@pytest.mark.parametrize(("rate_in", "rate_out"), [(4_001, 16_000), (191_999, 16_000), (24_000, 191_999)])
def test_no_two_rates_take_much_memory(rate_in: int, rate_out: int) -> None:
    tracemalloc.start()
    try:
        resampler = LowLatency(rate_in, rate_out)
        made = len(resampler.push(silence(0.1, rate_in))) + len(resampler.finish())
        assert made == round(round(0.1 * rate_in) * rate_out / rate_in)
        assert tracemalloc.get_traced_memory()[1] < 40 << 20
    finally:
        tracemalloc.stop()


def test_sound_above_the_lower_rate_does_not_fold_into_what_is_heard() -> None:
    times = np.arange(24_000) / 24_000
    high = np.sin(2 * np.pi * 10_000 * times).astype(np.float32)
    assert np.abs(LowLatency(24_000, 16_000).push(high)[200:]).max() < 0.002


def test_silence_stays_silence() -> None:
    assert not LowLatency(24_000, 16_000).push(silence(0.1)).any()
