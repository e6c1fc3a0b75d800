"""A comparison of engines that take known times, in virtual time: it has to find those times, and who is right."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
import soundfile

from omni.engine.protocol import Engine
from omni.engine.scripted import Hang, Say, ScriptedEngine, Speak, Stamp
from omni.train.words import in_words
from omni_server.client.answer import Stage
from omni_server.client.talk import Talk
from omni_server.client.wishes import Wishes
from omni_server.compare.figures import stacked
from omni_server.compare.numerals import words
from omni_server.compare.page import page
from omni_server.compare.questions import Question, read
from omni_server.compare.rows import Row, rows
from omni_server.compare.run import Contestant, Plan, Run
from omni_server.compare.terminal import report
from omni_server.compare.turn import Measured, Turn
from omni_server.session.settings import SessionSettings
from tests.server.close_to_server import question, talking
from tests.virtual_time import run

SILENCE = 500.0  # ms after which the server takes a turn for over
WINDOWS = 84.0  # ms: two windows of the voice detector and a chunk of the microphone
QUESTIONS = (
    Question(question(lead=0.2, speech=0.6), "two and two", ("four",)),
    Question(question(lead=0.3, speech=0.85), "capital of France", ("paris",)),
)


def answering(delay: float, text: str = "Four.", seconds: float = 2.0) -> ScriptedEngine:
    return ScriptedEngine(
        [Stamp("first_text", after=delay / 2), Say(text), Stamp("first_audio", after=delay / 2), Speak(seconds)],
        sessions=64,
    )


def contestant(name: str, engine: Engine, **options: float) -> Contestant:
    settings = SessionSettings(speculate_ms=0)
    return Contestant(name, lambda: talking(engine, settings=settings, **options))  # type: ignore[arg-type]


def compared(*contestants: Contestant, **plan: object) -> Measured:
    wanted = Plan(**{"rounds": 3, "interruptions": 3, "users": (2,), "turns_each": 2, **plan})  # type: ignore[arg-type]
    return run(Run(contestants, QUESTIONS, wanted).all())


@pytest.fixture(scope="module")
def measured() -> Measured:
    return compared(contestant("pipeline", answering(0.6)), contestant("native", answering(0.1), down=0.02))


def row(found: list[Row], measure: str) -> Row:
    return next(one for one in found if one.measure == measure)


def test_the_known_delays_are_found(measured: Measured) -> None:
    for name, known in (("pipeline", 600.0), ("native", 120.0)):
        values = measured.counted(name)
        assert len(values) == 6
        for value in values:
            assert SILENCE + known + 19 <= value <= SILENCE + known + 20 + WINDOWS


def test_the_difference_of_pairs_is_known_to_a_millisecond(measured: Measured) -> None:
    found = row(rows(measured), "pipeline − native, median of pairs")
    assert found.value == pytest.approx(480, abs=1)
    assert found.interval == pytest.approx((480, 480), abs=1)


def test_bars_hold_only_where_they_do(measured: Measured) -> None:
    found = rows(measured)
    assert row(found, "native voice-to-voice p50").holds is False  # half a second of silence alone is more
    ratio = row(found, "pipeline / native at p50, paired")
    assert ratio.value == pytest.approx(1.7, abs=0.15)
    assert ratio.holds is False
    assert row(found, "native barge-in stop p95").holds is True
    assert row(found, "pipeline voice-to-voice p50").bar is None


def test_a_fast_wrong_answer_is_counted_as_wrong() -> None:
    found = rows(compared(contestant("native", answering(0.1)), rounds=1, interruptions=0, users=()))
    right = row(found, "native answers right")
    assert (right.value, right.n) == (0.5, 2)  # "Four." is no capital


@pytest.mark.parametrize(
    ("said", "right"),
    [
        ("Six.", True),
        ("One times six is six.", True),
        ("That is six, since one times six is what it was.", True),
        ("One times six is seven.", False),
        ("Five or six.", True),
        ("One times six is 6.", True),
        ("Twenty six.", False),
        ("It's sixty-six, or 16.", False),
        ("One hundred and six.", False),
        ("6.5", False),
        ("", False),
    ],
)
def test_what_an_answer_repeats_of_the_question_is_not_what_it_says(said: str, right: bool) -> None:
    asked = Question(question(lead=0.2, speech=0.6), "What is one times six?", ("Six.",))
    assert asked.judged(said) is right
    assert replace(asked, right=()).judged(said) is None


def test_a_number_is_right_in_words_and_in_digits() -> None:
    for number in range(1000):
        for said in (in_words(number), in_words(number).replace(" ", "-"), f"{number}"):
            assert words(f"that's {said}, or so") == ["that's", f"{number}", "or", "so"]
    asked = Question(question(lead=0.2, speech=0.6), "How much is 15 plus 17?", ("Thirty two.",))
    assert asked.judged("15 plus 17 is 32.")
    assert not asked.judged("Fifteen plus seventeen is one hundred thirty two.")
    assert words("one two twenty three, the 4th") == ["1", "2", "23", "the", "4th"]
    assert words("three o’clock") == ["3", "o'clock"]


def test_a_right_answer_without_a_word_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "one.wav", question(lead=0.1, speech=0.3).samples, 16_000)
    (tmp_path / "questions.jsonl").write_text('{"file": "one.wav", "right": ["four", "?"]}')
    with pytest.raises(ValueError, match=r"line 1 is no question \(right is .*, and one of them holds no word\)"):
        read([tmp_path])


def test_an_interrupted_answer_stops_within_the_network_and_the_detector(measured: Measured) -> None:
    stops = {name: [t.stop_ms for t in measured.of(name) if t.stop_ms is not None] for name in measured.contestants}
    assert [len(values) for values in stops.values()] == [3, 3]
    assert all(0 < stop <= WINDOWS for stop in stops["pipeline"])
    assert all(20 < stop <= 20 + WINDOWS for stop in stops["native"])


def test_turns_of_several_users_are_kept_apart_from_those_of_one(measured: Measured) -> None:
    assert measured.users("native") == [1, 2]
    assert len(measured.counted("native", 2)) == 4
    assert row(rows(measured), "native p95, 2 users").n == 4


def test_a_waterfall_of_each_turn_sums_to_what_was_measured(measured: Measured) -> None:
    for turn in measured.turns:
        if turn.counts:
            assert sum(stage.ms for stage in turn.stages) == pytest.approx(turn.voice_to_voice_ms, abs=0.1)
    endpoint = [s.ms for t in measured.of("native") if t.counts for s in t.stages if s.name == "endpoint"]
    assert min(endpoint) >= SILENCE - WINDOWS


def test_contestants_take_turns() -> None:
    asked: list[str] = []
    engine = answering(0.0)

    def noted(name: str) -> Contestant:
        def opened():
            asked.append(name)
            return talking(engine)

        return Contestant(name, opened)

    run(Run([noted("a"), noted("b")], QUESTIONS, Plan(rounds=2, interruptions=0, users=(), warm=0)).all())
    assert "".join(asked) in ("abbabaab", "abbaabba")
    assert asked.count("a") == asked.count("b") == 4


def test_who_does_not_answer_is_told_and_in_no_percentile(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omni_server.compare.run.PATIENCE", 3.0)
    found = compared(contestant("native", ScriptedEngine([Hang()], sessions=8)), rounds=1, interruptions=1, users=())
    assert found.counted("native") == []
    assert all("no answer came" in (turn.error or "") for turn in found.of("native"))
    assert all("the last that came was" in (turn.error or "") for turn in found.of("native"))
    assert "SpeechStopped" in (found.of("native")[0].error or "")
    p50 = row(rows(found), "native voice-to-voice p50")
    assert (p50.value, p50.holds) == (None, False)
    assert row(rows(found), "native turns not counted: failed").value == 2
    right = row(rows(found), "native answers right")
    assert (right.value, right.n) == (0, 2)
    assert "–" in report(found, rows(found))


def test_few_fast_answers_do_not_hold_a_bar_that_most_never_reached() -> None:
    def eight(answered: int) -> Row:
        turns = [Turn("native", "q", n, 8, voice_to_voice_ms=150.0) for n in range(answered)]
        refused = [Turn("native", "q", n, 8, error="the server is full") for n in range(answered, 24)]
        return row(rows(Measured(("native",), turns + refused)), "native p95, 8 users")

    assert (eight(24).holds, eight(24).bar) == (True, "≤ 320 ms")
    assert eight(23).holds is True  # one of 24 is fewer than 5 %
    assert (eight(3).holds, eight(3).value, eight(3).bar) == (False, 150.0, "≤ 320 ms of all 24 asked")


def test_a_turn_that_the_measuring_machine_spoiled_is_not_the_contestants_fault() -> None:
    assert Turn("native", "q", 0, 1, error="closed").unanswered
    assert Turn("native", "q", 0, 1, error="full", excluded=("full",)).unanswered
    assert Turn("native", "q", 0, 1).unanswered  # no sound
    assert not Turn("native", "q", 0, 1, voice_to_voice_ms=150.0, excluded=("late",)).unanswered
    assert not Turn("native", "q", 0, 1, excluded=("interrupted",)).unanswered


class Outline(HTMLParser):
    """Every tag is closed, and nothing comes from elsewhere."""

    VOID = ("meta",)

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        assert not {"src", "href"} & {name for name, _ in attrs}
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_the_page_is_whole_needs_nothing_and_says_every_number(measured: Measured) -> None:
    found = rows(measured)
    text = page(measured, found, {"machine": "two <cores> & more"}, len(QUESTIONS))
    outline = Outline()
    outline.feed(text)
    assert outline.open == []
    assert "script" not in outline.seen
    assert outline.seen.count("figure") == 4
    said = " ".join(outline.words)
    assert "two <cores> & more" in said
    for one in found:
        assert one.measure in said
        assert one.shown in said
    assert "published" in said
    assert "http" not in text
    assert "nan" not in text


def test_the_terminal_says_the_same(measured: Measured) -> None:
    text = report(measured, rows(measured))
    assert all(one.measure in text and one.shown in text for one in rows(measured))
    assert "Published elsewhere" in text
    assert "endpoint" in text


def test_rows_are_plain_json(measured: Measured) -> None:
    written = json.loads(json.dumps([one.as_json() for one in rows(measured)], allow_nan=False))
    assert {"measure", "value", "n", "interval", "bar", "holds"} <= set(written[0])


@pytest.mark.parametrize(("at", "excluded"), [(0.1, ()), (0.75, ("late",))])
def test_sound_that_left_late_is_held_against_nobody_if_it_mattered(at: float, excluded: tuple[str, ...]) -> None:
    """The measuring machine stalls for 80 ms: long before the speech ends at 0.8 s, or when it ends."""
    engine = answering(0.0)

    @asynccontextmanager
    async def stalling() -> AsyncIterator[Talk]:
        async with talking(engine) as talk:
            send = talk.mouth.send

            async def late(samples: np.ndarray, left_at: float) -> None:
                if left_at <= at < left_at + 0.02:
                    await asyncio.sleep(0.08)
                await send(samples, left_at)

            talk.mouth.send = late
            yield talk

    found = run(Run([Contestant("native", stalling)], QUESTIONS[:1], Plan(1, 0, (), warm=0)).all())
    assert found.turns[0].excluded == excluded


def test_an_answer_that_nothing_stops_holds_no_bar() -> None:
    """Three of ten crashed, and two were heard for as long as the user spoke."""
    stopped = [Turn("native", "q", n, 1, stop_ms=90.0, excluded=("interrupted",)) for n in range(5)]
    crashed = [Turn("native", "q", n, 1, excluded=("interrupted",), error="closed") for n in range(3)]
    deaf = [Turn("native", "q", n, 1, excluded=("interrupted", "talked on")) for n in range(2)]
    ended = [Turn("native", "q", n, 1, excluded=("interrupted", "ended before")) for n in range(2)]
    assert row(rows(Measured(("native",), stopped + ended)), "native barge-in stop p95").holds is True
    never = row(rows(Measured(("native",), stopped + crashed + deaf + ended)), "native barge-in stop p95")
    assert (never.value, never.holds, never.bar) == (90.0, False, "≤ 200 ms of all 10 asked")


def test_an_answer_that_talks_on_is_told_from_one_that_had_ended() -> None:
    def interrupted(seconds: float) -> Turn:
        engine, settings = answering(0.0, seconds=seconds), SessionSettings(speculate_ms=0)
        wishes = Wishes(interrupts=False)
        deaf = Contestant("native", lambda: talking(engine, settings=settings, wishes=wishes))
        return run(Run([deaf], QUESTIONS[:1], Plan(0, 1, (), warm=0)).all()).turns[0]

    assert interrupted(5.0).excluded == ("interrupted", "talked on")
    assert interrupted(0.4).excluded == ("interrupted", "ended before")


def test_the_same_question_in_two_voices_makes_two_pairs(tmp_path: Path) -> None:
    for name in ("one.wav", "two.wav"):
        soundfile.write(tmp_path / name, question(lead=0.1, speech=0.3).samples, 16_000)
    lines = [json.dumps({"file": name, "ask": "two and two"}) for name in ("one.wav", "two.wav")]
    (tmp_path / "questions.jsonl").write_text("\n".join(lines))
    names = [one.name for one in read([tmp_path, tmp_path / "one.wav"])]
    assert names == ["two and two", "two and two (2)", "two and two (3)"]


def test_bars_of_the_page_are_as_long_as_their_stages_where_another_is_negative() -> None:
    drawn = stacked({"a": [Stage("endpoint", 200.0), Stage("llm", 300.0), Stage("rest", -150.0)]})
    first, second = (float(width) for width in re.findall(r'<rect class="s\d" x.*? width="([\d.]+)"', drawn))
    assert second / first == pytest.approx(1.5, abs=0.01)
