"""The world that nano learns: what is drawn is answered right, and what is tested was never trained on."""

import re
from dataclasses import replace
from functools import partial
from random import Random

import numpy as np
import pytest

from omni.train.dialogue import TOOLS, Dialogue, split_of
from omni.train.drills import (
    SEEN,
    SPOKEN,
    TYPED,
    backwards,
    describe,
    described,
    difference,
    hours,
    length,
    letter,
    letters,
    line,
    look,
    sign,
    spelled,
    swapped,
)
from omni.train.pictures import PLACES, draw, lettered, random_scene
from omni.train.skills import SIGNS, SKILLS, Skill, arithmetic, draw_dialogue
from omni.train.words import COLORS, NUMBERS, SHAPES, TENS, in_words

DRILLS = [*TYPED, *SEEN, *SPOKEN]
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


def test_training_asks_nothing_that_is_examined_not_even_on_the_way() -> None:
    def asked(dialogue: Dialogue, last: bool) -> set[str]:
        return {turn.question for turn in dialogue.turns[-1 if last else 0 :] if turn.picture is None}

    random = Random(1)
    trained = set().union(*(asked(d, last=False) for d in drawn("train", 20_000)))
    for drill in DRILLS:
        trained |= set().union(*(asked(draw_dialogue(random, "train", drill), last=False) for _ in range(400)))
    for split in ("dev", "test"):
        held_out = [d for d in drawn(split, 1500) if d.key and len(d.turns) == 1 and d.skill not in ("tool", "unknown")]
        examined = set().union(*(asked(d, last=True) for d in held_out if not d.skill.startswith("picture")))
        assert len(examined) > 300
        assert not trained & examined


def test_the_splits_have_the_sizes_they_were_given() -> None:
    splits = [split_of(f"key {i}") for i in range(20_000)]
    assert splits.count("test") / 20_000 == pytest.approx(0.10, abs=0.01)
    assert splits.count("dev") / 20_000 == pytest.approx(0.05, abs=0.01)


def test_the_same_seed_draws_the_same_dialogues() -> None:
    assert drawn("train", 200, seed=5) == drawn("train", 200, seed=5)
    assert drawn("train", 200, seed=5) != drawn("train", 200, seed=6)


def in_use(dialogue: Dialogue) -> set[str]:
    """The words a dialogue uses, lower case, without punctuation."""
    text = " ".join(f"{turn.question} {turn.answer}" for turn in dialogue.turns)
    return {word.strip(".,?!:").lower() for word in text.split()}


def test_there_are_twelve_skills_and_six_hundred_words() -> None:
    words = set().union(*(in_use(d) for d in drawn("train", 8000)))
    assert len(SKILLS) >= 12
    assert len(words) >= 600


def named(skill: Skill) -> str:
    return f"wide {skill.func.__name__}" if isinstance(skill, partial) else skill.__name__


@pytest.mark.parametrize("drill", DRILLS, ids=named)
def test_every_drill_is_held_out_as_the_skills_are(drill: Skill) -> None:
    random = Random(2)
    keys = {split: {draw_dialogue(random, split, drill).key for _ in range(60)} for split in ("train", "test")}  # type: ignore[arg-type]
    assert "" not in keys["train"] | keys["test"]
    assert all(split_of(key) == split for split, found in keys.items() for key in found)


def test_drills_are_right() -> None:
    operations = {"plus": int.__add__, "minus": int.__sub__, "times": int.__mul__}
    random = Random(3)
    for _ in range(300):
        sum_of = draw_dialogue(random, "train", partial(arithmetic, most=99, factor=12))
        a, operation, b = sum_of.key.split()
        assert number(sum_of.turns[0].answer) == operations[operation](int(a), int(b))
        near = draw_dialogue(random, "train", line)
        a, operation, b = near.key.split()
        assert number(near.turns[0].answer) == operations[operation](int(a), int(b))
        words = draw_dialogue(random, "train", spelled)
        asked = "".join(re.findall(r"\b[A-Z]\b", words.turns[0].question))
        assert words.turns[0].answer == f"{asked.capitalize()}."
        one = draw_dialogue(random, "train", letter)
        place, word = re.findall(r"the (\w+) letter of (\w+)", one.turns[0].question)[0]
        at = {"first": 0, "second": 1, "third": 2, "fourth": 3, "last": -1}[place]
        assert one.turns[0].answer == f"{word[at].upper()}."
        some = draw_dialogue(random, "train", letters)
        end, count, word = re.findall(r"the (\w+) (\w+) letters of (\w+)", some.turns[0].question)[0]
        part = word[: number(count)] if end == "first" else word[-number(count) :]
        assert some.turns[0].answer == " ".join(part.upper()) + "."
        assert len(part) < len(word)
        long = draw_dialogue(random, "train", length)
        assert number(long.turns[0].answer) == len(long.key.split()[-1])
        back = draw_dialogue(random, "train", backwards)
        assert "".join(re.findall(r"\b[A-Z]\b", back.turns[0].answer)).lower()[::-1] == back.key.split()[-1]
        same = draw_dialogue(random, "train", swapped)
        one, other, again = re.findall(r"^(.+) times (.+) is the same as (.+) times what\?$", same.turns[0].question)[0]
        assert (f"{one}.", other) == (same.turns[0].answer, again)


def test_differences_and_hours_are_right_in_whatever_words() -> None:
    random = Random(6)
    for _ in range(300):
        between = draw_dialogue(random, "train", difference)
        a, b = (int(n) for n in between.key.split(" minus "))
        assert number(between.turns[0].answer) == a - b
        time = draw_dialogue(random, "train", hours)
        _, hour, later = time.key.split()
        ask, answer = time.turns[0].question, time.turns[0].answer.split()[0]
        backwards = "ago" in ask or "before" in ask
        asked = [number(n) for n in re.findall(r"(\w+) o'clock|(\w+) hours?", ask.lower()) for n in n if n]
        assert sorted(asked) == sorted([int(later), (int(hour) + int(later) - 1) % 12 + 1 if backwards else int(hour)])
        then = int(hour) if backwards else (int(hour) + int(later)) % 12 or 12
        assert number(answer) == then


def test_what_is_asked_of_a_sign_is_what_it_shows() -> None:
    random, kinds = Random(5), set()
    for _ in range(200):
        dialogue = draw_dialogue(random, "train", sign)
        shown = dialogue.turns[0].picture
        assert shown is not None
        assert all(turn.picture is None for turn in dialogue.turns[1:])
        for turn in dialogue.turns:
            if "number" in turn.question:
                assert number(turn.answer) == int(shown.text)
            elif "letters" in turn.question:
                assert turn.answer.rstrip(".").split() == list(shown.text)
            else:
                assert turn.answer == f"{shown.text.capitalize()}."
        kinds.add((len(dialogue.turns), "letters" in dialogue.turns[0].question, shown.text.isdigit()))
    assert kinds == {(1, False, True), (1, True, False), (2, True, False), (2, False, False)}


def test_a_description_names_every_figure_and_what_is_asked_of_a_picture_is_in_it() -> None:
    random = Random(4)
    for _ in range(200):
        scene = draw_dialogue(random, "train", describe).turns[0].picture
        assert scene is not None
        said = described(scene).lower()
        assert all(f"{f.color} {f.shape}" in said and PLACES[f.row, f.column] in said for f in scene.figures)
        assert said.count(",") == len(scene.figures) - 1
        looks = draw_dialogue(random, "train", look)
        shown = looks.turns[0].picture
        assert shown is not None
        for turn in looks.turns:
            if turn.question == "How many shapes do you see?":
                assert number(turn.answer) == len(shown.figures)
            elif turn.question.startswith("How many"):
                asked = next(name for name in (*SHAPES, *COLORS) if name in turn.question)
                assert number(turn.answer) == sum(asked in (f.shape, f.color) for f in shown.figures)
            elif where := re.match(r"Where is the (\w+) (\w+)", turn.question):
                places = [PLACES[f.row, f.column] for f in shown.figures if (f.color, f.shape) == where.groups()]
                assert sorted(turn.answer.lower().strip(".").split(" and ")) == sorted(places)


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


def test_the_letters_of_a_sign_stand_where_the_picture_has_their_color() -> None:
    random = Random(2)
    for _ in range(100):
        scene = replace(random_scene(random, "text", SIGNS), text_color="red", background="white")
        pixels, letters = lettered(scene)
        assert "".join(letter.letter for letter in letters) == scene.text
        ink = np.abs(pixels.astype(int) - np.array(COLORS["red"])).max(axis=2) <= 14
        columns = np.flatnonzero(ink.any(axis=0))
        middles = [round(letter.x * pixels.shape[1]) for letter in letters]
        assert columns[0] <= middles[0] <= middles[-1] <= columns[-1]
        assert all(ink[:, middle - 8 : middle + 9].any() for middle in middles)
        rows = np.flatnonzero(ink.any(axis=1))
        assert abs((rows[0] + rows[-1]) / 2 - letters[0].y * pixels.shape[0]) < 3


def test_no_picture_question_has_two_right_answers() -> None:
    for dialogue in drawn("train", 4000, seed=1):
        if dialogue.skill != "picture position":
            continue
        turn = dialogue.turns[0]
        assert turn.picture is not None
        asked = turn.question.rstrip("?").split()[-2:]
        places = [PLACES[f.row, f.column] for f in turn.picture.figures if [f.color, f.shape] == asked]
        assert [turn.answer.lower().strip(".")] == places
