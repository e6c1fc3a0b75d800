"""The world that nano learns: what is drawn is answered right, and what is tested was never trained on."""

from dataclasses import replace
from random import Random

import numpy as np
import pytest

from omni.train.dialogue import TOOLS, split_of
from omni.train.pictures import PLACES, draw, random_scene
from omni.train.skills import SIGNS, SKILLS, Skill, draw_dialogue, in_use
from omni.train.words import COLORS, NUMBERS, TENS, in_words

SPLITS = ("train", "dev", "test")


def drawn(split: str, count: int, seed: int = 0) -> list:
    random = Random(seed)
    return [draw_dialogue(random, split) for _ in range(count)]  # type: ignore[arg-type]


def test_no_combination_is_in_two_splits() -> None:
    keys = {split: {d.key for d in drawn(split, 3000)} - {""} for split in SPLITS}
    assert all(len(found) > 300 for found in keys.values())
    assert not keys["train"] & keys["dev"]
    assert not keys["train"] & keys["test"]
    assert not keys["dev"] & keys["test"]


def test_the_splits_have_the_sizes_they_were_given() -> None:
    splits = [split_of(f"key {i}") for i in range(20_000)]
    assert splits.count("test") / 20_000 == pytest.approx(0.10, abs=0.01)
    assert splits.count("dev") / 20_000 == pytest.approx(0.05, abs=0.01)


def test_the_same_seed_draws_the_same_dialogues() -> None:
    assert drawn("train", 200, seed=5) == drawn("train", 200, seed=5)
    assert drawn("train", 200, seed=5) != drawn("train", 200, seed=6)


def test_there_are_twelve_skills_and_six_hundred_words() -> None:
    words = set().union(*(in_use(d) for d in drawn("train", 8000)))
    assert len(SKILLS) >= 12
    assert len(words) >= 600


@pytest.mark.parametrize("skill", SKILLS, ids=lambda skill: skill.__name__)
def test_every_skill_draws_whole_dialogues_for_every_split(skill: Skill) -> None:
    for split in SPLITS:
        for _ in range(20):
            dialogue = draw_dialogue(Random(_), split, skill)  # type: ignore[arg-type]
            assert dialogue.turns
            for turn in dialogue.turns:
                assert turn.question[-1] in ".?"
                assert turn.answer[0].isupper()
                assert turn.answer[-1] in ".?"
                assert turn.call is None or turn.call.name in dialogue.tools
            assert set(dialogue.tools) <= set(TOOLS)


def number(words: str) -> int:
    """The number that words say, worked out apart from the code that makes them."""
    total = 0
    for word in words.lower().strip(".").split():
        if word == "hundred":
            total *= 100
        elif word in TENS:
            total += 10 * (TENS.index(word) + 2)
        else:
            total += NUMBERS.index(word)
    return total


def test_numbers_are_said_so_that_they_can_be_read_back() -> None:
    assert [number(in_words(n)) for n in range(1000)] == list(range(1000))
    assert in_words(-3) == "minus three"
    with pytest.raises(ValueError, match="1000 is not below a thousand"):
        in_words(1000)


def test_sums_are_right() -> None:
    operations = {"plus": int.__add__, "minus": int.__sub__, "times": int.__mul__}
    checked = 0
    for dialogue in drawn("test", 3000):
        if dialogue.skill == "arithmetic":
            a, operation, b = dialogue.key.split()
            assert number(dialogue.turns[0].answer) == operations[operation](int(a), int(b))
            checked += 1
    assert checked > 50


def test_a_picture_shows_the_colors_where_its_scene_says() -> None:
    random = Random(0)
    for _ in range(100):
        scene = random_scene(random, "figures")
        pixels = draw(scene).astype(int)
        for figure in scene.figures:
            cell = pixels[figure.row * 64 : figure.row * 64 + 64, figure.column * 64 : figure.column * 64 + 64]
            near = np.abs(cell - np.array(COLORS[figure.color])).max(axis=2) <= 14
            assert near.sum() > 60, (scene, figure)


def test_the_same_scene_gives_the_same_pixels_and_another_seed_others() -> None:
    scene = random_scene(Random(3), "text", SIGNS)
    assert np.array_equal(draw(scene), draw(scene))
    assert not np.array_equal(draw(scene), draw(replace(scene, seed=scene.seed + 1)))


def test_no_picture_question_has_two_right_answers() -> None:
    for dialogue in drawn("train", 4000, seed=1):
        if dialogue.skill != "picture position":
            continue
        turn = dialogue.turns[0]
        assert turn.picture is not None
        asked = turn.question.rstrip("?").split()[-2:]
        places = [PLACES[f.row, f.column] for f in turn.picture.figures if [f.color, f.shape] == asked]
        assert [turn.answer.lower().strip(".")] == places
