"""The sequences of the protocol, event by event, in virtual time."""

import asyncio
import base64
import json
from collections.abc import Sequence
from typing import Any

import pytest

from omni.engine.answering import Reason
from omni.engine.clock import LoopClock
from omni.engine.echo import EchoEngine
from omni.engine.pipeline.pipeline import PipelineEngine
from omni.engine.pipeline.scripted import ScriptedEars, ScriptedModel, ScriptedVoice
from omni.engine.protocol import Origin, SessionSpec, Transcript
from omni.engine.scripted import Break, Call, Hang, Say, ScriptedEngine, ScriptedSession, Speak, Stamp, Step, Stop
from omni_server.session.settings import SessionSettings
from tests.server.realtime_talk import Talk, silence, talk, tone
from tests.virtual_time import run

SPOKEN = [
    "response.created",
    "response.output_item.added",
    "conversation.item.added",
    "response.content_part.added",
    "response.output_audio_transcript.delta",
    "response.output_audio.delta",
    "response.output_audio.done",
    "response.output_audio_transcript.done",
    "response.content_part.done",
    "conversation.item.done",
    "response.output_item.done",
    "response.done",
]
OPENED = ["session.created"]
ANSWER = [Say("It is four."), Speak(1.0)]


def after(kinds: list[str], start: str) -> list[str]:
    return kinds[kinds.index(start) :]


async def ask(t: Talk) -> None:
    """One second of speech and enough silence."""
    await t.say(tone(1.0))
    await t.say(silence(0.8))


def test_a_turn_by_silence_runs_through_the_sequence_of_the_protocol() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER)) as t:
            await ask(t)
            done = await t.until("response.done")
        assert t.kinds == [
            *OPENED,
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            *SPOKEN,
        ]
        started, stopped = t.of("input_audio_buffer.speech_started")[0], t.of("input_audio_buffer.speech_stopped")[0]
        assert started["audio_start_ms"] == 0  # padding reaches back to the beginning, not before it
        assert 1480 <= stopped["audio_end_ms"] <= 1560
        user = t.of("conversation.item.added")[0]["item"]
        assert started["item_id"] == stopped["item_id"] == user["id"]
        assert user["content"] == [{"type": "input_audio", "transcript": None}]
        assert done["response"]["status"] == "completed"
        assert done["response"]["output"][0]["content"] == [{"type": "output_audio", "transcript": "It is four."}]
        assert abs(t.heard_seconds() - 1.0) < 0.001

    run(main())


def test_push_to_talk_takes_commit_and_create_back_to_back() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER)) as t:
            await t.turns(None)
            await t.say(tone(1.0))
            await t.send("input_audio_buffer.commit")
            await t.send("response.create")
            await t.until("response.done")
            assert t.noted.played == [ANSWER]
        assert t.kinds == [
            *OPENED,
            "session.updated",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            *SPOKEN,
        ]

    run(main())


def test_a_commit_alone_starts_no_response() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER)) as t:
            await t.turns(None)
            await t.say(tone(0.5))
            await t.send("input_audio_buffer.commit")
            await asyncio.sleep(5)
        assert t.kinds[-1] == "conversation.item.done"

    run(main())


def test_text_in_and_text_out() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("Fo"), Say("ur.")])) as t:
            await t.update(output_modalities=["text"])
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "2+2?"}]}
            await t.send("conversation.item.create", item=item)
            await t.send("response.create")
            done = await t.until("response.done")
            assert [unit.text for unit in t.noted.text] == ["2+2?"]
        assert after(t.kinds, "response.created") == [
            "response.created",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
        assert t.of("response.content_part.added")[0]["part"] == {"type": "text", "text": ""}
        assert "".join(e["delta"] for e in t.of("response.output_text.delta")) == "Four."
        assert done["response"]["output"][0]["content"] == [{"type": "output_text", "text": "Four."}]

    run(main())


def test_a_voice_interrupts_the_answer_and_truncate_is_clamped() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("One two three four. "), Speak(4.0, pace=1.0), Hang()], ANSWER)) as t:
            await ask(t)
            await t.until("response.output_audio.delta")
            await asyncio.sleep(2)
            await ask(t)
            first = await t.until("response.done")
            second = await t.until("response.done", 2)
            await t.send(
                "conversation.item.truncate",
                item_id=first["response"]["output"][0]["id"],
                content_index=0,
                audio_end_ms=99_000,
            )
            await t.until("conversation.item.truncated")
            assert t.noted.shortened[0] > 1.9
        details = first["response"]["status_details"]
        assert details == {"type": "cancelled", "reason": "turn_detected"}
        assert first["response"]["output"][0]["status"] == "incomplete"
        assert second["response"]["status"] == "completed"
        kinds = t.kinds
        at = [n for n, kind in enumerate(kinds) if kind == "input_audio_buffer.speech_started"][1]
        assert kinds[at : at + 7] == [
            "input_audio_buffer.speech_started",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]
        end = t.events.index(first)
        assert not [e for e in t.events[end + 1 :] if e.get("response_id") == first["response"]["id"]]
        truncated = t.of("conversation.item.truncated")[0]
        assert truncated["audio_end_ms"] < 99_000
        assert not t.of("error")

    run(main())


def test_a_function_call_and_its_result() -> None:
    async def main() -> None:
        scripts = [Say("One moment."), Call("light", '{"on": true}')], [Say("It is on.")]
        async with talk(ScriptedEngine(*scripts)) as t:
            tool = {"type": "function", "name": "light", "parameters": {"type": "object"}}
            await t.update(tools=[tool], output_modalities=["text"])
            await t.send("response.create")
            done = await t.until("response.done")
            call = done["response"]["output"][1]
            result = {"type": "function_call_output", "call_id": call["call_id"], "output": "done"}
            await t.send("conversation.item.create", item=result)
            await t.send("response.create")
            await t.until("response.done", 2)
            assert (t.noted.text[-1].role, t.noted.text[-1].call) == ("tool", call["call_id"])
        assert call["type"] == "function_call"
        assert call["name"] == "light"
        assert call["arguments"] == '{"on": true}'
        added = t.of("response.output_item.added")[1]
        assert added["output_index"] == 1
        assert (added["item"]["status"], added["item"]["arguments"]) == ("in_progress", "")
        assert after(t.kinds, "response.function_call_arguments.delta")[:5] == [
            "response.function_call_arguments.delta",
            "response.function_call_arguments.done",
            "conversation.item.done",
            "response.output_item.done",
            "response.done",
        ]

    run(main())


def test_a_failed_answer_is_no_error_and_the_session_goes_on() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Break("llm_failed", "no memory")], ANSWER)) as t:
            await t.send("response.create")
            failed = await t.until("response.done")
            await t.send("response.create")
            fine = await t.until("response.done", 2)
        assert failed["response"]["status"] == "failed"
        assert failed["response"]["status_details"]["error"]["code"] == "llm_failed"
        assert fine["response"]["status"] == "completed"
        assert not t.of("error")

    run(main())


class DiesOnce(ScriptedEngine):
    """The first session of it ends in the middle of a word."""

    def begin(self, spec: SessionSpec) -> ScriptedSession:
        self._scripts = ([Say("First."), Break(fatal=True)],) if not self.died else (ANSWER,)
        self.died = True
        return super().begin(spec)

    died = False


def test_an_engine_that_dies_fails_the_answer_and_the_next_one_is_told_everything_again() -> None:
    async def main() -> None:
        async with talk(DiesOnce()) as t:
            item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
            await t.send("conversation.item.create", item=item)
            await t.send("response.create")
            failed = await t.until("response.done")
            await t.send("response.create")
            await t.until("response.done", 2)
            assert [unit.text for unit in t.noted.text][:1] == ["hello"]
        assert failed["response"]["status"] == "failed"

    run(main())


def test_length_ends_an_answer_as_incomplete() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("And so"), Stop("length")])) as t:
            await t.send("response.create", response={"max_output_tokens": 5})
            done = await t.until("response.done")
        assert done["response"]["status"] == "incomplete"
        assert done["response"]["status_details"] == {"type": "incomplete", "reason": "max_output_tokens"}
        assert done["response"]["max_output_tokens"] == 5

    run(main())


def test_metadata_comes_back_in_created_and_in_done() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER)) as t:
            await t.send("response.create", response={"metadata": {"mine": "42"}})
            done = await t.until("response.done")
        assert t.of("response.created")[0]["response"]["metadata"] == {"mine": "42"}
        assert done["response"]["metadata"]["mine"] == "42"
        assert json.loads(done["response"]["metadata"]["waterfall"]) == done["waterfall"]

    run(main())


def test_an_answer_beside_the_conversation_runs_at_the_same_time_and_leaves_nothing_in_it() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("a"), Speak(1.0, pace=1.0)])) as t:
            await t.send("response.create")
            aside = {"conversation": "none", "input": [], "output_modalities": ["text"], "metadata": {"topic": "x"}}
            await t.send("response.create", response=aside)
            await t.until("response.done", 2)
        ids = {e["response"]["metadata"] and e["response"]["metadata"].get("topic"): e for e in t.of("response.done")}
        assert ids["x"]["response"]["conversation_id"] is None
        assert len(t.of("conversation.item.added")) == 1
        assert [e["response"]["status"] for e in t.of("response.done")] == ["completed", "completed"]
        kinds = [event["type"] for event in t.events]
        assert kinds.index("response.done") > [n for n, kind in enumerate(kinds) if kind == "response.created"][1]

    run(main())


def test_a_transcription_session_writes_down_and_never_answers() -> None:
    async def main() -> None:
        engine = ScriptedEngine(
            [Hang()],
            notices=[(0.3, Transcript("two and")), (0.9, Transcript("two and two")), (1.2, Transcript("", True))],
        )
        async with talk(engine, query={"intent": "transcription"}) as t:
            await ask(t)
            await t.until("input_audio_buffer.committed")
            await asyncio.sleep(1)
        deltas = t.of("conversation.item.input_audio_transcription.delta")
        assert "".join(e["delta"] for e in deltas) == "two and two"
        assert not [kind for kind in t.kinds if kind.startswith("response.")]
        assert t.events[0]["session"]["type"] == "transcription"

    run(main())


class CountsSeconds(ScriptedSession):
    """Writes down how long a turn was."""

    heard = 0.0

    def settle(self, turn: Sequence[Step]) -> None:
        self.heard = self.noted.audio
        super().settle(turn)

    async def answer(self, origin: Origin, turn: Sequence[Step]) -> Reason:
        await self.emit(Transcript(f"{self.heard:.1f} s", final=True, turn=origin))
        return "stop"


class CountsSecondsEngine(ScriptedEngine):
    def begin(self, spec: SessionSpec) -> CountsSeconds:
        return CountsSeconds(spec, self.clock, scripts=self._scripts, notices=(), closed=self.forget)


@pytest.mark.parametrize("why", ["an item was deleted", "the engine died"])
def test_a_transcription_session_hears_the_turn_for_which_the_engine_begins_anew(why: str) -> None:
    async def main() -> None:
        completed = "conversation.item.input_audio_transcription.completed"
        async with talk(CountsSecondsEngine(), query={"intent": "transcription"}) as t:
            await ask(t)
            first = await t.until(completed)
            if why == "an item was deleted":
                await t.send("conversation.item.delete", item_id=first["item_id"])
            else:
                t.session._told.outlet.fail("gone", "a test")  # type: ignore[union-attr]
            await ask(t)
            second = await t.until(completed, 2)
        assert second["transcript"] == "1.8 s"  # with the silence around it

    run(main())


def test_sound_of_g711_goes_both_ways() -> None:
    async def main(kind: str) -> None:
        async with talk(ScriptedEngine([Speak(0.5)])) as t:
            await t.update(
                audio={
                    "input": {"format": {"type": kind}, "turn_detection": None},
                    "output": {"format": {"type": kind}},
                }
            )
            quiet = {"audio/pcmu": 0xFF, "audio/pcma": 0xD5}[kind]
            await t.send("input_audio_buffer.append", audio=base64.b64encode(bytes([quiet]) * 8000).decode())
            await t.send("input_audio_buffer.commit")
            await asyncio.sleep(0.1)
            assert abs(t.noted.audio - 1.0) < 0.001
            await t.send("response.create")
            await t.until("response.done")
        sound = b"".join(base64.b64decode(e["delta"]) for e in t.of("response.output_audio.delta"))
        assert abs(len(sound) - 4000) <= 1
        assert t.of("session.updated")[0]["session"]["audio"]["output"]["format"] == {"type": kind}

    for kind in ("audio/pcmu", "audio/pcma"):
        run(main(kind))


def marks(t: Talk) -> dict[str, Any]:
    return {stage["name"]: stage["ms"] for stage in t.of("response.done")[0]["waterfall"]["stages"]}


def test_the_waterfall_has_the_stages_that_were_seen_and_no_others() -> None:
    async def main() -> None:
        script = [Stamp("transcript", 0.1), Stamp("llm_first_token", 0.2), Say("Hi."), Stamp("first_clause", 0.05)]
        async with talk(
            ScriptedEngine([*script, Stamp("tts_first_audio", 0.15), Speak(0.2)]),
            settings=SessionSettings(speculate_ms=0),
        ) as t:
            await ask(t)
            await t.until("response.done")
        fall = t.of("response.done")[0]["waterfall"]
        found = marks(t)
        assert list(found) == ["endpoint", "stt", "llm", "clause", "tts", "send"]
        assert (found["stt"], found["llm"], found["clause"], found["tts"]) == (100, 200, 50, 150)
        assert 480 <= found["endpoint"] <= 560
        assert abs(sum(found.values()) + fall["residual_ms"] - fall["total_ms"]) < 0.05
        assert fall["residual_ms"] < 1

    run(main())


def test_the_waterfall_of_a_typed_question_has_the_text_model_in_it() -> None:
    async def main() -> None:
        script = [Stamp("llm_first_token", 0.2), Say("Hi."), Stamp("first_clause", 0.05), Stamp("tts_first_audio", 0.1)]
        async with talk(ScriptedEngine([*script, Speak(0.2)])) as t:
            content = [{"type": "input_text", "text": "What is two plus two?"}]
            await t.send("conversation.item.create", item={"type": "message", "role": "user", "content": content})
            await t.send("response.create")
            await t.until("response.done")
        assert {name: ms for name, ms in marks(t).items() if name != "send"} == {"llm": 200, "clause": 50, "tts": 100}
        assert t.of("response.done")[0]["waterfall"]["residual_ms"] < 1

    run(main())


def test_speech_is_written_down_where_the_client_asks_for_it() -> None:
    async def main() -> None:
        engine = PipelineEngine(ScriptedEars("two and two"), ScriptedModel("Four."), ScriptedVoice())
        async with talk(engine) as t:
            await t.update(audio={"input": {"transcription": {"model": "whisper-1"}}})
            for turn in (1, 2):
                await ask(t)
                await t.until("response.done", turn)
            await t.send("conversation.item.retrieve", item_id=t.of("input_audio_buffer.committed")[0]["item_id"])
            retrieved = await t.until("conversation.item.retrieved")
        kind = "conversation.item.input_audio_transcription"
        completed = t.of(f"{kind}.completed")
        assert [e["transcript"] for e in completed] == ["two and two"] * 2
        assert [e["item_id"] for e in completed] == [e["item_id"] for e in t.of("input_audio_buffer.committed")]
        first = [e["delta"] for e in t.of(f"{kind}.delta") if e["item_id"] == completed[0]["item_id"]]
        assert "".join(first) == "two and two"
        assert len(first) > 1
        assert completed[0]["usage"]["type"] == "duration"
        assert retrieved["item"]["content"] == [{"type": "input_audio", "transcript": "two and two"}]

    run(main())


def test_an_engine_that_writes_nothing_down_is_not_passed_off_as_silence() -> None:
    async def main() -> None:
        async with talk(EchoEngine(clock=LoopClock()), query={"intent": "transcription"}) as t:
            await ask(t)
            failed = await t.until("conversation.item.input_audio_transcription.failed")
        assert failed["error"]["code"] == "transcription_unavailable"

    run(main())
