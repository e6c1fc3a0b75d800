"""Three stages in a row: what each is given, when, and what is left when the user interrupts. In virtual time."""

import asyncio
from collections.abc import Coroutine
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.engine.answering import StageFailed
from omni.engine.clock import LoopClock
from omni.engine.pipeline.clauses import Clauses
from omni.engine.pipeline.pipeline import PipelineEngine, PipelineSession, pipeline
from omni.engine.pipeline.registry import PLUGINS, make, register
from omni.engine.pipeline.scripted import ScriptedEars, ScriptedHearing, ScriptedModel, ScriptedVoice
from omni.engine.pipeline.stages import Call, Message, Stopped
from omni.engine.protocol import (
    AudioOut,
    Begin,
    Cancel,
    Configure,
    Discard,
    Done,
    EndOfTurn,
    Engine,
    Event,
    Failed,
    ImageIn,
    Mark,
    SessionSpec,
    TextDelta,
    TextIn,
    Tool,
    ToolCall,
    Transcript,
)
from omni.sampling import Sampling
from tests import virtual_time
from tests.omni.conformance import CASES, ENUMERATED, Case, Subject, conforms, name_of
from tests.omni.talking import ask, origin, say, until_end, until_quiet

REPLY = "It is four. Is there anything else that you want to know?"


async def fakes(*, sessions: int = 4, long: bool = False) -> Engine:
    voice = ScriptedVoice(0.4 if long else 0.02, delay=0.001)
    return PipelineEngine(
        ScriptedEars("two and two"), ScriptedModel(REPLY, 0.01), voice, sessions=sessions, clock=LoopClock()
    )


@pytest.mark.parametrize("case", [*CASES, *ENUMERATED], ids=name_of)
def test_a_pipeline_keeps_the_rules(case: Case) -> None:
    conforms(Subject(fakes), case)


class Talk:
    """A pipeline of fakes and one session of it."""

    def __init__(self, model: ScriptedModel | None = None, ears: ScriptedEars | None = None, **voice: Any) -> None:
        self.ears = ears or ScriptedEars("two and two", 0.3)
        self.model = model or ScriptedModel(REPLY, 0.1)
        self.voice = ScriptedVoice(0.05, **voice)
        self.engine = PipelineEngine(self.ears, self.model, self.voice, clock=LoopClock())
        self.session: PipelineSession
        self._number = 0

    async def __aenter__(self) -> "Talk":
        self.session = await self.engine.open(SessionSpec("Be brief."))
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.engine.close()

    async def turn(self, text: str | None = None) -> list[Event]:
        self._number += 1
        if text is None:
            await say(self.session)
        else:
            await self.session.push(TextIn(text))
        await self.session.push(EndOfTurn(origin(self._number)))
        return await until_end(self.session, origin(self._number))


def run(main: Coroutine[Any, Any, None]) -> None:
    virtual_time.run(main)


def test_each_hand_over_is_marked_at_its_moment_and_speech_begins_before_the_text_is_complete() -> None:
    async def main() -> None:
        async with Talk(delay=0.2) as talk:
            start = asyncio.get_running_loop().time()
            events = await talk.turn()
            marks = [(e.stage, round(e.time - start, 3)) for e in events if isinstance(e, Mark)]
            # The transcript takes 0.3 s, each word 0.1 s, "It is four. " is three of them, each chunk of sound 0.2 s.
            assert marks == [
                ("transcript", 0.3), ("llm_first_token", 0.4), ("first_clause", 0.6), ("tts_first_audio", 0.8),
            ]  # fmt: skip
            kinds = [type(e) for e in events]
            assert kinds.index(AudioOut) < max(i for i, kind in enumerate(kinds) if kind is TextDelta)
            assert talk.voice.spoken == ["It is four. ", "Is there anything else that you want to know? "]
            assert "".join(e.text for e in events if isinstance(e, TextDelta)).strip() == REPLY

    run(main())


def test_the_model_is_given_instructions_history_and_transcripts() -> None:
    async def main() -> None:
        async with Talk() as talk:
            events = await talk.turn()
            done = events[-1]
            assert isinstance(done, Done)
            assert Transcript("two and two", final=True, turn=done.origin) in events
            assert Transcript("two and") in events
            await talk.turn("And three?")
            assert talk.model.asked[1] == (
                Message("system", "Be brief."), Message("user", "two and two"), Message("assistant", REPLY),
                Message("user", "And three?"),
            )  # fmt: skip

    run(main())


def test_what_was_not_heard_was_never_said() -> None:
    async def main() -> None:
        async with Talk() as talk:
            await talk.turn()
            # "It is four. " sounds for 0.6 s; 1 s more is 20 characters of the next clause: "Is there anything el".
            await talk.session.push(Cancel(heard=1.6))
            await talk.turn("Sorry?")
            assert talk.model.asked[1][2] == Message("assistant", "It is four. Is there anything")

    run(main())


def test_an_interrupted_answer_stops_the_model_and_keeps_what_was_heard() -> None:
    async def main() -> None:
        async with Talk(ScriptedModel("One. " * 50, 0.1), delay=0.02) as talk:
            await ask(talk.session, origin(50))
            await asyncio.sleep(2.0)
            await talk.session.push(Cancel(heard=0.3))
            assert (await until_end(talk.session, origin(50)))[-1] == Done(origin(50), "cancelled")
            assert await until_quiet(talk.session, 60) == []
            assert talk.model.stopped == 1
            spoken = len(talk.voice.spoken)
            talk._number = 50
            await talk.turn("Go on.")
            assert spoken < 25
            assert talk.model.asked[1][1:] == (
                Message("user", "two and two"), Message("assistant", "One."), Message("user", "Go on."),
            )  # fmt: skip

    run(main())


def test_a_turn_that_was_interrupted_before_it_was_written_down_is_not_forgotten() -> None:
    async def main() -> None:
        async with Talk() as talk:
            await ask(talk.session, origin(1))
            await talk.session.push(Cancel())
            await until_end(talk.session, origin(1))
            talk._number = 1
            await talk.turn("And three?")
            assert talk.model.asked == [(Message("system", "Be brief."), Message("user", "two and two And three?"))]

    run(main())


def test_an_answer_cancelled_before_its_first_word_leaves_the_one_before_as_it_was() -> None:
    async def main() -> None:
        async with Talk() as talk:
            await talk.turn()
            await ask(talk.session, origin(2))  # writing it down takes 0.3 s
            await asyncio.sleep(0.1)
            await talk.session.push(Cancel(heard=0.0))
            await until_end(talk.session, origin(2))
            talk._number = 2
            await talk.turn("And three?")
            assert [m.text for m in talk.model.asked[-1]] == [
                "Be brief.",
                "two and two",
                REPLY,
                "two and two And three?",
            ]

    run(main())


def test_silence_is_no_answer_that_could_be_shortened() -> None:
    async def main() -> None:
        async with Talk() as talk:
            await talk.turn()
            talk.ears.text = ""
            await talk.turn()
            await talk.session.push(Cancel(heard=0.65))
            await talk.turn("Sorry?")
            assert [m.text for m in talk.model.asked[-1]] == ["Be brief.", "two and two", "It is four.", "Sorry?"]

    run(main())


@pytest.mark.parametrize("heard", [0.0, 0.62])
def test_what_was_written_or_spoken_ahead_of_the_ear_is_not_kept(heard: float) -> None:
    async def main() -> None:
        async with Talk(delay=0.2) as talk:  # a chunk of 40 ms takes 0.2 s
            await ask(talk.session, origin(1))
            async for event in talk.session.events():
                if isinstance(event, AudioOut) and (not heard or len(talk.voice.spoken) == 2):
                    break
            await talk.session.push(Cancel(heard=heard))
            await until_end(talk.session, origin(1))
            talk._number = 1
            await talk.turn("Sorry?")
            kept = [m.text for m in talk.model.asked[-1]][1:]
            assert kept == (["two and two", "It is four.", "Sorry?"] if heard else ["two and two Sorry?"])

    run(main())


def test_a_begun_answer_is_there_at_once_when_the_turn_is_over_and_gone_when_it_goes_on() -> None:
    async def main() -> None:
        async with Talk() as talk:
            loop = asyncio.get_running_loop()
            await say(talk.session)
            await talk.session.push(Begin(origin(1)))
            await asyncio.sleep(5)
            await say(talk.session)  # the user goes on
            await talk.session.push(Begin(origin(2)))
            await asyncio.sleep(5)
            start = loop.time()
            await talk.session.push(EndOfTurn(origin(2)))
            await until_end(talk.session, origin(2))
            assert loop.time() == start
            talk._number = 2
            await talk.turn("And three?")
            assert [m.text for m in talk.model.asked[2]] == ["Be brief.", "two and two", REPLY, "And three?"]

    run(main())


def test_a_tool_is_called_and_its_result_is_read() -> None:
    async def main() -> None:
        call = Call("light", '{"on": true}', "call_7")
        async with Talk(ScriptedModel([["One moment. ", call], "It is on."])) as talk:
            tools, sampling = (Tool("light"),), Sampling(0.7)
            await talk.session.push(Configure(SessionSpec(tools=tools, sampling=sampling)))
            events = await talk.turn("Light, please.")
            assert events[-1] == Done(origin(1), "tool")
            assert ToolCall(origin(1), "light", '{"on": true}', "call_7") in events
            await talk.session.push(TextIn("done", role="tool", call="call_7"))
            await talk.session.push(EndOfTurn(origin(9)))
            assert (await until_end(talk.session, origin(9)))[-1] == Done(origin(9), "stop")
            assert talk.model.settings == [(tools, sampling, False)] * 2
            assert talk.model.asked[1] == (
                Message("user", "Light, please."), Message("assistant", "One moment.", calls=(call,)),
                Message("tool", "done", call="call_7"),
            )  # fmt: skip

    run(main())


def test_a_result_that_comes_late_stands_behind_its_call() -> None:
    async def main() -> None:
        call = Call("light", "{}", "call_7")
        async with Talk(ScriptedModel([[call], "Sure.", "It is on."])) as talk:
            await talk.turn("Light, please.")
            await talk.turn("Well?")
            assert [m.text for m in talk.model.asked[1]] == ["Be brief.", "Light, please. Well?"]
            await talk.session.push(TextIn("done", role="tool", call="call_7"))
            await talk.turn("And now?")
            assert talk.model.asked[2][1:] == (
                Message("user", "Light, please."), Message("assistant", "", calls=(call,)),
                Message("tool", "done", call="call_7"), Message("user", "Well?"), Message("assistant", "Sure."),
                Message("user", "And now?"),
            )  # fmt: skip

    run(main())


def test_a_turn_of_text_and_speech_is_one_message() -> None:
    async def main() -> None:
        async with Talk() as talk:
            await talk.session.push(TextIn("Look at this."))
            await talk.turn()
            assert talk.model.asked[0][1:] == (Message("user", "Look at this. two and two"),)

    run(main())


def test_a_picture_goes_to_a_model_that_sees_with_the_words_about_it() -> None:
    async def main() -> None:
        async with Talk() as talk:
            pixels = np.full((4, 4, 3), 7, np.uint8)
            await talk.session.push(ImageIn(pixels))
            await talk.turn("What is this?")
            assert talk.model.asked[0][1].text == "What is this?"
            assert talk.model.asked[0][1].images[0] is pixels

    run(main())


def test_silence_gets_no_answer_and_a_discarded_turn_is_not_heard() -> None:
    async def main() -> None:
        async with Talk(ears=ScriptedEars("")) as talk:
            assert (await talk.turn())[-1] == Done(origin(1), "stop")
            assert talk.model.asked == []
        async with Talk() as talk:
            await say(talk.session)
            await talk.session.push(Discard())
            await talk.turn("Hello.")
            assert [m.text for m in talk.model.asked[0]] == ["Be brief.", "Hello."]

    run(main())


def test_an_answer_as_long_as_it_may_be_says_so() -> None:
    async def main() -> None:
        async with Talk(ScriptedModel([["a ", "b ", Stopped()]])) as talk:
            assert (await talk.turn("Go."))[-1] == Done(origin(1), "length")

    run(main())


@pytest.mark.parametrize("stage", ["stt", "llm", "tts"])
def test_a_stage_that_fails_fails_the_answer_by_name_and_the_session_goes_on(stage: str) -> None:
    async def main() -> None:
        async with Talk() as talk:
            part: Any = {"stt": talk.ears, "llm": talk.model, "tts": talk.voice}[stage]
            kept, part.delay = part.delay, "a word"  # no number: the stage breaks where it sleeps
            events = await talk.turn()
            assert [(e.code, e.fatal) for e in events if isinstance(e, Failed)] == [(f"{stage}_failed", False)]
            assert "could not convert" in events[-1].message  # type: ignore[union-attr]
            part.delay = kept
            assert (await talk.turn())[-1] == Done(origin(2), "stop")

    run(main())


class Deaf(ScriptedHearing):
    """Cannot write down what is longer than half a second."""

    async def finish(self) -> str:
        if self.heard > 0.5:
            raise StageFailed("too_long", "that is too long")
        return await super().finish()


def test_speech_that_cannot_be_written_down_fails_one_answer_by_its_own_code() -> None:
    async def main() -> None:
        async with Talk() as talk:
            talk.ears.listen = lambda: Deaf(talk.ears)  # type: ignore[method-assign]
            await say(talk.session, 1.0)
            end = (await talk.turn())[-1]
            assert isinstance(end, Failed)
            assert end.code == "too_long"
            for number in (2, 3):
                assert (await talk.turn())[-1] == Done(origin(number), "stop")
            await talk.turn("And three?")
            heard = [m.text for m in talk.model.asked[-1] if m.role == "user"]
            assert heard == ["two and two", "two and two", "And three?"]

    run(main())


def test_an_interrupted_turn_that_cannot_be_written_down_fails_no_other_answer() -> None:
    async def main() -> None:
        async with Talk() as talk:
            talk.ears.listen = lambda: Deaf(talk.ears)  # type: ignore[method-assign]
            await ask(talk.session, origin(1), 1.0)
            await talk.session.push(Cancel())
            await until_end(talk.session, origin(1))
            talk._number = 1
            assert (await talk.turn("And three?"))[-1] == Done(origin(2), "stop")
            assert [m.text for m in talk.model.asked[-1] if m.role == "user"] == ["And three?"]

    run(main())


def test_other_instructions_hold_from_the_next_answer_on() -> None:
    async def main() -> None:
        async with Talk() as talk:  # writing it down takes 0.3 s
            await ask(talk.session, origin(1))
            await asyncio.sleep(0.1)
            await talk.session.push(Configure(SessionSpec("Be kind.", speaks=False)))
            events = await until_end(talk.session, origin(1))
            assert [e for e in events if isinstance(e, AudioOut)]
            talk._number = 1
            assert not [e for e in await talk.turn("And three?") if isinstance(e, AudioOut)]
            assert [asked[0].text for asked in talk.model.asked] == ["Be brief.", "Be kind."]

    run(main())


def test_a_history_keeps_whole_turns_and_only_so_many() -> None:
    async def main() -> None:
        async with Talk(ScriptedModel("Yes.")) as talk:
            talk.engine.turns = 3
            for number in range(10):
                await talk.turn(f"Number {number}")
            assert [m.text for m in talk.model.asked[-1] if m.role == "user"] == ["Number 7", "Number 8", "Number 9"]

    run(main())


# Clauses

TEXTS = st.text(alphabet="ab .,;:!?…\n。，3'\")é", max_size=200)


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.lists(st.integers(1, 7), min_size=1, max_size=60))
def test_clauses_are_the_text_however_it_streams(text: str, sizes: list[int]) -> None:
    whole = Clauses(longest=30)
    expected = whole.push(text) + whole.finish()
    assert "".join(expected) == text
    streamed, found, at = Clauses(longest=30), [], 0
    for size in sizes:
        found += streamed.push(text[at : at + size])
        at += size
    found += streamed.push(text[at:]) + streamed.finish()
    assert "".join(found) == text
    assert max(map(len, [*expected, *found]), default=0) <= 30


def test_a_text_that_comes_at_once_is_cut_as_one_that_streams() -> None:
    text = "word " * 200 + "end. And more."
    streamed = Clauses()
    found = [clause for letter in text for clause in streamed.push(letter)]
    assert Clauses().push(text) == found
    assert [len(clause) for clause in found] == [240, 240, 240, 240, 45]


@pytest.mark.parametrize(
    ("text", "clauses"),
    [
        ("Dr. Who paid 3.50 at 5 p.m. today. Right?", ["Dr. Who paid 3.50 at 5 p.m. ", "today. ", "Right?"]),
        ("Well, I think so, but who knows.", ["Well, I think so, ", "but who knows."]),
        ("你好。今天天气很好，我们去公园吧。", ["你好。", "今天天气很好，我们去公园吧。"]),
        ("1. Milk\n2. Bread\n", ["1. Milk\n", "2. Bread\n"]),
        ('He said "No!" And left.', ['He said "No!" ', "And left."]),
        ("a" * 300, ["a" * 240, "a" * 60]),
    ],
)
def test_clauses_end_where_a_speaker_breathes(text: str, clauses: list[str]) -> None:
    cut = Clauses()
    found = [clause for letter in text for clause in cut.push(letter)]
    assert found + cut.finish() == clauses


# The registry


def test_a_plug_in_is_chosen_by_name_with_its_options() -> None:
    voice = make("tts", "scripted:0.2?delay=0.5")
    assert (voice.seconds, voice.delay) == ("0.2", "0.5")
    engine = pipeline("scripted:hello", "scripted:Hi.", "scripted:")
    assert engine.rate_out == 16_000


@pytest.mark.parametrize(
    ("stage", "text", "says"),
    [
        ("stt", "whispr:/x", "--stt whispr:/x: there is no 'whispr'; there are nano, scripted, whisper"),
        ("tts", "scripted:0.1?speed=2", "speed"),
        ("llm", "openai:http://localhost:1/v1", "model"),
        ("llm", "openai:ftp://localhost/v1?model=m", "--llm .* is no address of a chat endpoint: write it as http"),
        ("llm", "openai:http://localhost:1/v1?model", "options are written as name=value"),
        ("llm", "openai:http://localhost:1/v1?model=m&patience=-1", "--llm .*: patience is -1"),
        ("tts", "espeak:en-us?pitch=high", "--tts .*'high'"),
        ("stt", "whisper:", "--stt whisper:: which model"),
        ("llm", "hf:/models/nothing", "--llm hf:/models/nothing: /models/nothing is not a folder"),
        ("tts", "vits:~/nothing", "--tts vits:~/nothing: ~/nothing is not a folder"),
    ],
)
def test_a_name_that_is_wrong_is_an_error_with_the_flag_in_it(stage: Any, text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        make(stage, text)


def test_a_plug_in_of_ones_own_is_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PLUGINS, "stt", dict(PLUGINS["stt"]))
    register("stt", "mine", ScriptedEars)
    assert make("stt", "mine:good evening").text == "good evening"
    with pytest.raises(ValueError, match="already"):
        register("stt", "mine", ScriptedEars)
