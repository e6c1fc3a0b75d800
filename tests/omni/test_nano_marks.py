"""Marks are what they say: counted against other ways to count, and against models whose answers are known."""

import json
import math
from pathlib import Path
from random import Random
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.train.asking import Answer, Asked, Question, ask, over
from omni.train.card import require_described, write_card
from omni.train.exam import MEASURES, Measure, called, noisy, questions, seen
from omni.train.failures import write_failures
from omni.train.marking import Failure, Marks, Part, Row, mark, right, word_errors
from omni.train.plots import check_drawn, logged, plot_losses, plot_marks
from omni.wilson import wilson
from omni_tokenizers.sequence import Audio, Frames, Image
from omni_tokenizers.sequence.parts import TextPart
from tests.omni.bundles import random_bundle
from tests.omni.planted import planted

Z95 = NormalDist().inv_cdf(0.975)


def distance(a: tuple[str, ...], b: tuple[str, ...]) -> int:
    if not a or not b:
        return len(a) + len(b)
    return min(distance(a[1:], b) + 1, distance(a, b[1:]) + 1, distance(a[1:], b[1:]) + (a[0] != b[0]))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from("abc"), max_size=5), st.lists(st.sampled_from("abc"), max_size=5))
def test_word_errors_are_the_edit_distance(said: list[str], truth: list[str]) -> None:
    assert word_errors(" ".join(said), " ".join(truth)) == (distance(tuple(said), tuple(truth)), len(truth))


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 500), st.integers(0, 500))
def test_the_interval_is_where_the_share_is_no_further_than_its_error(n: int, right: int) -> None:
    right = min(right, n)
    for edge in wilson(right, n):
        if 1e-9 < edge < 1 - 1e-9:
            assert abs(right / n - edge) == pytest.approx(Z95 * math.sqrt(edge * (1 - edge) / n), rel=1e-6)


def test_an_answer_is_right_to_the_letter_and_only_when_it_ended() -> None:
    question = Question((Asked((TextPart("?"),), "Four."),))
    assert right(question, [Answer("Four.", False, True)])
    assert not right(question, [Answer("Four", False, True)])
    assert not right(question, [Answer("Four.", False, False)])
    assert not right(question, [Answer("Four.", True, True)])


def test_a_tool_has_to_be_called_where_it_is_there_and_not_where_it_is_not() -> None:
    there = Question((Asked((TextPart("?"),), "", call="{}"),))
    assert right(there, [Answer("{}", True, True)])
    assert not right(there, [Answer("{}", False, True)])
    assert not right(there, [Answer('{"a":1}', True, True)])
    absent = Question((Asked((TextPart("?"),), "", call=""),))
    assert right(absent, [Answer("I don't know.", False, True)])
    assert not right(absent, [Answer("{}", True, True)])


def test_answers_do_not_depend_on_who_is_asked_beside() -> None:
    bundle = random_bundle()
    draw = np.random.default_rng(0)
    questions = [
        Question((Asked((TextPart("what is it"),), ""), Asked((TextPart("and now"),), ""))),
        Question((Asked((Audio(draw.normal(0, 0.1, 9000).astype(np.float32), 16_000),), "", how="transcribe"),)),
        Question((Asked((Image(draw.integers(0, 255, (32, 32, 3)).astype(np.uint8)), TextPart("how many")), ""),)),
    ]
    together = ask(bundle, questions)
    assert together == [ask(bundle, [question])[0] for question in questions]
    assert [len(answers) for answers in together] == [2, 1, 1]


def test_what_a_planted_model_says_is_what_is_found() -> None:
    question = Question((Asked((TextPart("2+2"),), "four"), Asked((TextPart("again"),), "four")))
    assert ask(planted("four"), [question]) == [[Answer("four", False, True)] * 2]


def test_the_turns_end_is_read_at_the_tokens_of_sound() -> None:
    bundle = random_bundle()
    draw = np.random.default_rng(0)
    sounds = [Frames("audio", draw.normal(0, 1, (n, 80)).astype(np.float32)) for n in (40, 12)]
    found = over(bundle, sounds)
    assert [len(scores) for scores in found] == [10, 3]
    alone = over(bundle, sounds[1:])[0]
    assert np.allclose(found[1], alone, atol=1e-5)


def test_a_whole_examination_marks_every_measure() -> None:
    measures = tuple(m for m in MEASURES if "recorded" not in m.name)
    marks = mark(random_bundle(longest=2048), "dev", 1, measures)
    names = [row.measure for row in marks.rows]
    assert [m.name for m in measures] == [name for name in names if name != "false ends at pauses inside a sentence"]
    told = json.loads(marks.as_json({"date": "2026-01-01"}))
    assert {"measure", "value", "n", "interval", "bar", "holds"} == set(told["rows"][0])
    assert {"skill", "condition", "right", "n", "interval"} == set(told["skills"][0])
    assert all(name in marks.as_text() for name in names)


def test_what_is_asked_is_counted_by_skill() -> None:
    [typed] = [m for m in MEASURES if m.short == "typed"]
    marks = mark(random_bundle(longest=2048), "dev", 12, (typed,))
    assert sum(part.n for part in marks.parts) == 12
    assert sum(part.right for part in marks.parts) == round(12 * (marks.rows[0].value or 0))
    head, *lines = marks.by_skill()
    assert head == ["skill", "typed"]
    assert [line[0] for line in lines] == sorted({q.skill for q in questions(typed, "dev", 12)})
    assert f"{lines[0][0]:<20}" in marks.as_text()


def test_what_is_only_compared_with_has_no_bar() -> None:
    row = Row("pipeline", 0.5, 10, (0.2, 0.8), None, None)
    assert Marks([row]).as_text().splitlines()[1].split() == "pipeline 50.0 % 10 20.0 % … 80.0 %".split()
    unmeasured, missed, held = (Row("a", value, 10, None, 0.9, value == 1.0) for value in (None, 0.5, 1.0))
    assert [r.verdict for r in (row, unmeasured, missed, held)] == ["", "not measured", "missed", "holds"]


def test_no_question_is_asked_twice() -> None:
    [typed] = [m for m in MEASURES if m.short == "typed"]
    asked = [question.about for question in questions(typed, "test", 150)]
    assert len(set(asked)) == len(asked) == 150
    assert asked[:40] == [question.about for question in questions(typed, "test", 40)]


def test_the_same_words_about_another_picture_are_another_question() -> None:
    [pictures] = [m for m in MEASURES if m.short == "pictures"]
    asked = [question for question in questions(pictures, "test", 60) if question.about.startswith("typed")]
    assert len({question.about for question in asked}) < len({q.shown for q in asked}) == len(asked)


def test_an_examination_without_questions_is_refused() -> None:
    with pytest.raises(ValueError, match="0 questions a measure says nothing"):
        mark(random_bundle(), "dev", 0)


def test_failures_are_written_with_their_sounds_and_pictures(tmp_path: Path) -> None:
    parts = (Image(np.zeros((8, 8, 3), np.uint8)), Audio(np.zeros(160, np.float32), 16_000))
    failure = Failure("pictures", Question((Asked(parts, "Red | blue."),), about="somebody: what?"), "Green.")
    page = write_failures([failure], tmp_path).read_text()
    assert "Red \\| blue." in page
    assert "Green." in page
    assert {file.suffix for file in tmp_path.iterdir()} == {".md", ".png", ".wav"}


def test_a_card_has_new_numbers_and_keeps_its_history(tmp_path: Path) -> None:
    bundle = random_bundle()
    bundle.about = {"recipe_hash": "abc", "pool": 2, "shards": 1, "step": 7, "recipe": {"batch": 8}}
    file = tmp_path / "CARD.md"
    skills = [Part("sums", "typed", 3, 4, (0.3, 0.9)), Part("clock", "typed", 1, 6, (0.0, 0.5))]
    marks = Marks([Row("questions", 0.5, 10, (0.2, 0.8), 0.9, False)], skills)
    write_card(bundle, marks, 10, tmp_path, file)
    assert "| skill | typed |\n| --- | --- |\n| clock | 1 of 6 |\n| sums | 3 of 4 |\n" in file.read_text()
    assert "| questions | 50.0 % | 10 | 20.0 % … 80.0 % | 90.0 % | missed |" in file.read_text()
    file.write_text(file.read_text() + "\n## History\n\nIt was hard.\n")
    write_card(bundle, Marks([Row("questions", 0.95, 10, None, 0.9, True)]), 10, tmp_path, file)
    assert "| questions | 95.0 % | 10 |  | 90.0 % | holds |" in file.read_text()
    assert "50.0 %" not in file.read_text()
    assert file.read_text().endswith("\n\n## History\n\nIt was hard.\n")


def test_plots_are_drawn(tmp_path: Path) -> None:
    marks = Marks([Row("a", 0.5, 10, (0.3, 0.7), 0.9, False), Row("b", None, 0, None, 0.9, False)])
    marks.rows.append(Row("c", 0.5, 10, (0.3, 0.7), None, None))
    assert plot_marks(marks, tmp_path / "marks.png").stat().st_size > 1000
    (tmp_path / "log.jsonl").write_text('{"step": 10, "text": 1.0}\n{"step": 20, "text": 0.5, "heard": 2}\n')
    assert plot_losses(tmp_path).stat().st_size > 1000


def test_of_steps_that_were_done_again_the_later_ones_count(tmp_path: Path) -> None:
    steps = [(10, 1.0), (20, 0.9), (30, 0.8), (20, 0.7), (30, 0.6)]  # cut off behind 30, with a checkpoint at 10
    (tmp_path / "log.jsonl").write_text("".join(f'{{"step": {step}, "text": {loss}}}\n' for step, loss in steps))
    assert [(line["step"], line["text"]) for line in logged(tmp_path)] == [(10, 1.0), (20, 0.7), (30, 0.6)]


def test_whether_a_tool_is_called_is_asked_where_one_could_be() -> None:
    asked = [called(Random(f"{n}"), "test") for n in range(200)]
    assert all(question.tools for question in asked)
    assert 60 < sum(question.turns[-1].call == "" for question in asked) < 140


def test_signs_of_the_exam_are_many_words() -> None:
    drawn = (seen(Random(f"{n}"), split) for split in ("dev", "test") for n in range(300))
    shown = {question.shown.split("|")[0] for question in drawn if question.skill == "picture text"}
    assert len(shown) > 25


def test_a_card_and_a_plot_that_cannot_be_are_refused_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no recipe_hash, pool, shards, step, recipe"):
        require_described(planted("hi"))
    with pytest.raises(ValueError, match=r"marks.txt is no name of a picture: .*\.png"):
        check_drawn(tmp_path / "marks.txt")
    check_drawn(tmp_path / "marks.PNG")


def test_every_measure_asks_what_its_split_alone_has() -> None:
    draws = [Measure(m.name, m.short, m.kind, m.bar, m.draw) for m in MEASURES if m.kind == "silence"]
    asked = draws[0].draw(Random(0), "test")
    assert asked.turns[0].expected == ""
    sound = np.ones(1000, np.float32) * 0.1
    assert not np.array_equal(noisy(sound, Random(0), "test"), noisy(sound, Random(0), "dev"))
