"""Who speaks, when: the strategies window by window, and what they lead to in a session."""

import asyncio
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.engine.answering import Reason
from omni.engine.protocol import Origin, Transcript, TurnPrediction
from omni.engine.scripted import Hang, Say, ScriptedEngine, ScriptedSession, Speak, Step
from omni_server.session.settings import Interruption, SessionSettings
from omni_server.session.setup import SemanticVad, ServerVad
from omni_server.turns.detector import WINDOW
from omni_server.turns.interruption import doubt
from omni_server.turns.semantic import LONGEST, BySemantics
from omni_server.turns.server_vad import ByServerVad
from omni_server.turns.strategy import Likely, Resumed, Started, Stopped, Strategy, Verdict
from tests.server.realtime_talk import silence, talk, tone
from tests.virtual_time import run

MS = 32  # of a window
SPEECH, QUIET, BANG = (0.99, 0.1), (0.01, 0.001), (0.02, 0.2)


def hear(strategy: Strategy, *sounds: tuple[tuple[float, float], int]) -> list[Verdict]:
    """So many milliseconds of each sound, one after the other."""
    found: list[Verdict] = []
    at = 0
    for (probability, level), ms in sounds:
        for _ in range(ms // MS):
            found += strategy.window(at, probability, level)
            at += WINDOW
    return found


def stops(found: list[Verdict]) -> list[float]:
    return [verdict.at / 16 for verdict in found if isinstance(verdict, Stopped)]


def test_silence_ends_a_turn_after_the_time_that_was_asked_for() -> None:
    for wanted in (200, 500, 1200):
        found = hear(ByServerVad(ServerVad(silence_duration_ms=wanted), 0), (SPEECH, 640), (QUIET, 3200))
        assert [type(verdict) for verdict in found] == [Started, Stopped]
        assert wanted <= stops(found)[0] - 640 < wanted + MS
        assert found[1].spoke_until / 16 == 640  # type: ignore[union-attr]


def test_a_pause_shorter_than_that_cuts_nobody_off() -> None:
    pauses = [(SPEECH, 640), (QUIET, 448)] * 5
    found = hear(ByServerVad(ServerVad(), 0), *pauses)
    assert [type(verdict) for verdict in found] == [Started]


def test_loud_noise_in_a_pause_stops_the_silence_clock() -> None:
    quiet = hear(ByServerVad(ServerVad(), 0), (SPEECH, 640), (QUIET, 2048))
    noisy = hear(ByServerVad(ServerVad(), 0), (SPEECH, 640), (QUIET, 224), (BANG, 640), (QUIET, 2048))
    assert stops(noisy)[0] == stops(quiet)[0] + 640


def test_noise_without_end_does_not_keep_a_turn_open_for_ever() -> None:
    found = hear(ByServerVad(ServerVad(), 0), (SPEECH, 640), (BANG, 6400))
    assert 640 + 500 < stops(found)[0] < 640 + 500 + 1500 + 2 * MS


def test_quiet_noise_counts_as_silence() -> None:
    found = hear(ByServerVad(ServerVad(), 0), (SPEECH, 640), ((0.02, 0.02), 2048))
    assert stops(found)[0] < 640 + 500 + MS


def test_speech_goes_on_a_little_below_the_threshold_and_does_not_begin_there() -> None:
    faint = (0.4, 0.1)
    assert not hear(ByServerVad(ServerVad(), 0), (faint, 640))
    assert not stops(hear(ByServerVad(ServerVad(), 0), (SPEECH, 320), (faint, 6400)))


def test_an_answer_is_prepared_in_a_pause_and_taken_back_when_it_was_one() -> None:
    found = hear(ByServerVad(ServerVad(), 200), (SPEECH, 640), (QUIET, 320), (SPEECH, 320), (QUIET, 1024))
    assert [type(verdict) for verdict in found] == [Started, Likely, Resumed, Likely, Stopped]


def test_noise_in_a_pause_prepares_no_answer_that_is_taken_back_at_once() -> None:
    found = hear(ByServerVad(ServerVad(), 200), (SPEECH, 320), (QUIET, 256), (BANG, 384), (QUIET, 640))
    assert [type(verdict) for verdict in found] == [Started, Likely, Resumed, Likely, Stopped]


@pytest.mark.parametrize("threshold", [0.05, 0.1, 0.15, 0.2])
def test_a_low_threshold_ends_turns_too(threshold: float) -> None:
    found = hear(ByServerVad(ServerVad(threshold=threshold), 0), (SPEECH, 320), ((0.004, 0.0001), 1600))
    assert [type(verdict) for verdict in found] == [Started, Stopped]


def test_a_threshold_of_nought_hears_speech_everywhere() -> None:
    assert not stops(hear(ByServerVad(ServerVad(threshold=0.0), 0), (QUIET, 6400)))


def waited(prediction: float | None, eagerness: str) -> float:
    strategy = BySemantics(SemanticVad(eagerness=eagerness))  # type: ignore[arg-type]
    found = hear(strategy, (SPEECH, 640))
    at = 640 * 16
    while not stops(found):
        if prediction is not None:
            found += strategy.prediction(prediction)
        found += strategy.window(at, *QUIET)
        at += WINDOW
    return stops(found)[0] - 640


def test_the_surer_the_engine_is_the_shorter_the_silence() -> None:
    for eagerness in ("low", "medium", "high"):
        waits = [waited(sure, eagerness) for sure in (0.0, 0.3, 0.6, 0.9)]
        assert all(long > short for long, short in pairwise(waits))
        assert waits[0] <= LONGEST[eagerness] + MS  # type: ignore[index]
        assert waits[-1] <= 500
        assert waited(1.0, eagerness) <= waits[-1]


def test_a_sure_prediction_ends_the_turn_when_it_comes_and_prepares_the_answer_before() -> None:
    strategy = BySemantics(SemanticVad(eagerness="high"))
    found = hear(strategy, (SPEECH, 640))
    assert strategy.prediction(1.0) == []  # nobody is silent yet
    found += strategy.window(640 * 16, *QUIET)
    assert [type(verdict) for verdict in found] == [Started, Likely]
    found = strategy.window((640 + MS) * 16, *QUIET)
    assert [(type(verdict), verdict.at / 16) for verdict in found] == [(Stopped, 640 + 2 * MS)]
    found = hear(strategy, (SPEECH, 640), (QUIET, 3 * MS))
    assert [type(verdict) for verdict in found] == [Started]
    assert [type(verdict) for verdict in strategy.prediction(0.99)] == [Stopped]


def test_eagerness_shortens_the_wait_and_a_silent_engine_has_a_middle_one() -> None:
    assert waited(0.5, "high") < waited(0.5, "medium") == waited(0.5, "auto") < waited(0.5, "low")
    assert waited(1.0, "medium") < waited(None, "medium") < waited(0.0, "medium")


@settings(deadline=None, max_examples=200)
@given(
    st.lists(st.tuples(st.sampled_from([SPEECH, QUIET, BANG, (0.4, 0.05)]), st.integers(1, 40)), max_size=30),
    st.booleans(),
)
def test_verdicts_come_in_an_order_that_makes_sense(
    sounds: list[tuple[tuple[float, float], int]], semantic: bool
) -> None:
    strategy: Strategy = BySemantics(SemanticVad()) if semantic else ByServerVad(ServerVad(), 200)
    found = hear(strategy, *((sound, count * MS) for sound, count in sounds))
    may_follow = {
        Started: (Likely, Stopped), Likely: (Resumed, Stopped), Resumed: (Likely, Stopped), Stopped: (Started,),
    }  # fmt: skip
    assert not found or isinstance(found[0], Started)
    for before, after in pairwise(found):
        assert isinstance(after, may_follow[type(before)])
        assert after.at >= before.at


def test_a_doubt_is_settled_by_time_and_words_and_by_time_alone_where_no_words_come() -> None:
    habits = Interruption(speech_ms=300, speech_words=2, thought_ms=100)
    heard, thought = doubt(habits, 0, heard=True), doubt(habits, 0, heard=False)
    heard.voiced_ms = thought.voiced_ms = 150
    assert thought.settled
    heard.voiced_ms = 400
    assert not heard.settled
    heard.heard_words = 1
    assert not heard.settled
    heard.heard_words = 2
    assert heard.settled
    wordless = doubt(habits, 0, heard=True)
    wordless.voiced_ms = 2_100
    assert wordless.settled


def test_words_confirm_an_interruption() -> None:
    async def main() -> None:
        notices = [(2.0, Transcript("uh")), (2.4, Transcript("uh stop")), (3.0, Transcript("uh stop please"))]
        habits = SessionSettings(interruption=Interruption(speech_words=2))
        engine = ScriptedEngine([Say("Long."), Speak(9.0, pace=1.0)], [Say("Yes?")], notices=notices)
        async with talk(engine, settings=habits) as t:
            t.checked = lambda frame: json.loads(frame)
            await t.update(include=["omni.ducking"])
            await t.say(tone(0.5))
            await t.say(silence(0.8))
            await t.until("response.output_audio.delta")
            await t.say(tone(2.5))
            done = await t.until("response.done")
        assert done["response"]["status_details"]["reason"] == "turn_detected"
        assert [event["on"] for event in t.of("omni.ducking")] == [True, False]

    run(main())


def test_a_turn_goes_on_when_its_patience_is_changed_while_somebody_speaks() -> None:
    async def main(kind: str, before: dict[str, Any], after: dict[str, Any]) -> None:
        async with talk(ScriptedEngine([Say("Yes.")])) as t:
            await t.turns({"type": kind, **before})
            await t.say(silence(0.5))
            await t.say(tone(2.0))
            await t.turns({"type": kind, **after})
            await t.say(tone(2.0))
            await t.say(silence(3.0))
            await t.until("response.done")
            (started,) = t.of("input_audio_buffer.speech_started")
            (stopped,) = t.of("input_audio_buffer.speech_stopped")
            assert started["item_id"] == stopped["item_id"]
            assert stopped["audio_end_ms"] - started["audio_start_ms"] > 4_000
            if kind == "server_vad":
                assert 5_300 - MS <= stopped["audio_end_ms"] <= 5_300 + 2 * MS  # 800 ms of silence, as now wanted

    run(main("server_vad", {"silence_duration_ms": 500}, {"silence_duration_ms": 800}))
    run(main("semantic_vad", {"eagerness": "high"}, {"eagerness": "medium"}))


@pytest.mark.parametrize("after", [None, {"type": "semantic_vad", "create_response": False}])
def test_a_turn_ends_when_turns_are_to_be_taken_in_another_way(after: dict[str, Any] | None) -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("Yes.")])) as t:
            await t.say(silence(0.5))
            await t.say(tone(1.0))
            await t.turns(after)
            await t.until("session.updated")
            await t.say(tone(1.0))
            await t.say(silence(3.0))
            if after is None:
                await t.send("input_audio_buffer.commit")
            await t.until("input_audio_buffer.committed", 2)
            begun, ended = t.of("input_audio_buffer.speech_started"), t.of("input_audio_buffer.speech_stopped")
            assert [event["item_id"] for event in begun] == [event["item_id"] for event in ended]
            assert ended[0]["item_id"] == t.of("input_audio_buffer.committed")[0]["item_id"]
            assert t.kinds.index("input_audio_buffer.committed") < t.kinds.index("session.updated")
            assert abs(ended[0]["audio_end_ms"] - 1_500) <= MS
            assert not t.of("response.created")

    run(main())


def test_an_answer_that_was_prepared_follows_instructions_that_came_after(monkeypatch: pytest.MonkeyPatch) -> None:
    followed: list[str] = []
    answer = ScriptedSession.answer

    async def noting(self: ScriptedSession, origin: Origin, turn: Sequence[Step]) -> Reason:
        followed.append(self.spec.instructions)
        return await answer(self, origin, turn)

    async def main() -> None:
        async with talk(ScriptedEngine([Say("Yes.")])) as t:
            await t.say(tone(1.0))
            await t.say(silence(0.4))
            await t.update(instructions="Speak Latin.")
            await t.say(silence(0.6))
            await t.until("response.done")
            assert len(t.of("response.created")) == 1

    monkeypatch.setattr(ScriptedSession, "answer", noting)
    run(main())
    assert followed == ["", "Speak Latin."]


def test_a_semantic_turn_ends_sooner_when_the_engine_is_sure() -> None:
    async def main(sure: float) -> float:
        notices = [(n * 0.1, TurnPrediction(sure, n * 0.1)) for n in range(1, 60)]
        async with talk(ScriptedEngine([Say("Yes."), Speak(0.1)], notices=notices)) as t:
            await t.turns({"type": "semantic_vad", "eagerness": "medium"})
            await t.say(tone(1.0))
            began = asyncio.get_running_loop().time()
            speaking = asyncio.create_task(t.say(silence(6.0)))
            await t.until("response.created")
            speaking.cancel()
            return asyncio.get_running_loop().time() - began

    assert run(main(0.99)) < 0.4
    assert 1.5 < run(main(0.2)) < 4.2


def test_a_microphone_that_is_switched_off_ends_the_turn() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("Yes."), Speak(0.1)])) as t:
            await t.say(tone(1.0))
            done = await t.until("response.done")
        assert done["response"]["status"] == "completed"

    run(main())


def test_the_pause_before_a_resumed_turn_reaches_the_engine_too() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Hang()])) as t:
            await t.say(tone(0.64))
            await t.say(silence(0.4))
            await t.say(tone(0.64))
            await asyncio.sleep(0.1)
            assert abs(t.noted.audio - 1.68) < 0.05
            await t.say(silence(0.8))
            await t.until("response.created")

    run(main())


def test_silence_between_turns_is_not_told_to_the_engine() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("Yes.")])) as t:
            await t.say(silence(5.0))
            await asyncio.sleep(0.1)
            assert t.noted.audio == 0
            await t.say(tone(0.5))
            await asyncio.sleep(0.1)
            assert 0.75 < t.noted.audio < 0.85  # with 300 ms of padding in front

    run(main())


def test_samples_are_neither_lost_nor_doubled_on_their_way_to_the_engine() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Hang()])) as t:
            await t.turns(None)
            total = 0
            for piece in (1, 7, 960, 33, 2400, 500):
                wave = np.full(piece * 3, 0.2, np.float32)
                total += len(wave)
                await t.say(wave, piece=1.0)
            await t.send("input_audio_buffer.commit")
            await asyncio.sleep(0.1)
            assert round(t.noted.audio * 16_000) == round(total * 2 / 3)

    run(main())
