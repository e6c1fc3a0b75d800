"""Exercises: what the skills ask, asked wider and in more ways, typed and spoken, and never in an exam.

A table of small sums can be learned by heart, and then nothing is known of the sums that were held out. What is wider
than that has to be worked out: numbers up to a hundred, long strings, pictures that are described in full. A word is
a few ids to the model, whose letters are facts like any other, and asked for one by one. The keys are those of the
skills: what is held out there is held out here.
"""

from functools import partial
from random import Random
from string import ascii_uppercase

from omni.train import skills
from omni.train.dialogue import Dialogue, Split, Turn
from omni.train.pictures import FOREGROUND, PLACES, Figure, Scene, random_scene
from omni.train.skills import (
    SIGNS,
    WORDS,
    Skill,
    arithmetic,
    clock,
    comparison,
    counting,
    draw_dialogue,
    follow_up,
    picture,
    repeat,
    sentence,
    spelling,
)
from omni.train.words import CAPITALS, OPPOSITES, SHAPES, in_words

PLACED = ("first", "second", "third", "fourth", "last")
ENDS = ("first", "last")
CITY_OF = ("The capital of {} is which city?", "Which is the capital city of {}?", "{} has which capital?")
COUNTRY_OF = ("Which country is {} the capital of?", "Name the country with the capital {}.",
              "The city {} is the capital of what?", "In which country is {} the capital?")  # fmt: skip
READ = tuple(dict.fromkeys([*WORDS, *(sign.lower() for sign in SIGNS)]))


def letter(random: Random) -> Dialogue:
    """One letter of a word."""
    word, place = random.choice(WORDS), random.choice(PLACED)
    at = len(word) - 1 if place == "last" else PLACED.index(place)
    if at >= len(word):
        return letter(random)
    form = random.choice(("What is the {} letter of {}?", "Tell me the {} letter of {}."))
    return Dialogue("letter", (Turn(form.format(place, word), f"{word[at].upper()}."),), f"{place} letter of {word}")


def spelled(random: Random) -> Dialogue:
    """Which word these letters are."""
    word = random.choice(READ)
    form = random.choice(("Which word is {}?", "What do the letters {} spell?", "Read {}."))
    return Dialogue("spelled", (Turn(form.format(" ".join(word.upper())), sentence(word)),), f"letters {word}")


def capital(random: Random) -> Dialogue:
    """Capitals both ways, in words that no exam uses."""
    country, city = random.choice(list(CAPITALS.items()))
    forward = random.random() < 0.5
    form = random.choice(CITY_OF if forward else COUNTRY_OF)
    asked, answer = (country, city) if forward else (city, country)
    return Dialogue("capital", (Turn(form.format(asked), sentence(answer)),), f"capital {form} {asked}")


def opposite(random: Random) -> Dialogue:
    """Opposites in words that no exam uses."""
    word, other = random.choice(list(OPPOSITES.items()))
    form = random.choice(("Name the opposite of {}.", "What is the reverse of {}?", "The opposite of {} is what?"))
    return Dialogue("opposite", (Turn(form.format(word), sentence(other)),), f"opposite {form} {word}")


def letters(random: Random) -> Dialogue:
    """The first or last letters of a word, never all of them."""
    word, which = random.choice([w for w in WORDS if len(w) >= 4]), random.choice(ENDS)
    count = random.randint(2, min(5, len(word) - 1))
    part = word[:count] if which == "first" else word[-count:]
    form = random.choice(("What are the {} {} letters of {}?", "Tell me the {} {} letters of {}."))
    ask = form.format(which, in_words(count), word)
    return Dialogue("letters", (Turn(ask, " ".join(part.upper()) + "."),), f"{which} {count} letters of {word}")


def length(random: Random) -> Dialogue:
    """How many letters a word has."""
    word = random.choice(WORDS)
    form = random.choice(("How many letters does {} have?", "How long is the word {}?"))
    return Dialogue("length", (Turn(form.format(word), sentence(in_words(len(word)))),), f"length of {word}")


def backwards(random: Random) -> Dialogue:
    """A word letter by letter, from its end."""
    word = random.choice([w for w in WORDS if len(w) <= 7])
    form = random.choice(("Spell {} backwards.", "How do you spell {} backwards?"))
    return Dialogue("backwards", (Turn(form.format(word), " ".join(word[::-1].upper()) + "."),), f"backwards {word}")


def swapped(random: Random, factor: int = 12) -> Dialogue:
    """That factors may change places; what comes out is not said."""
    a, b = random.randint(0, factor), random.randint(0, factor)
    one, other = in_words(a), in_words(b)
    ask = sentence(f"{one} times {other} is the same as {other} times what?")
    return Dialogue("swapped", (Turn(ask, sentence(one)),), f"{a} times {b} swapped")


def difference(random: Random, most: int = 20) -> Dialogue:
    """What is between two numbers, in words that no exam uses; what is held out of differences is held out here."""
    low, high = sorted((random.randint(0, most), random.randint(0, most)))
    form = random.choice(("What is the difference between {high} and {low}?", "Take {low} from {high}.",
                          "How much more is {high} than {low}?", "{low} plus what is {high}?"))  # fmt: skip
    ask = sentence(form.format(low=in_words(low), high=in_words(high)))
    also = (f"{low} plus {high - low}", f"{high - low} plus {low}")
    return Dialogue("difference", (Turn(ask, sentence(in_words(high - low))),), f"{high} minus {low}", also=also)


def hours(random: Random) -> Dialogue:
    """What time it was, and will be, in words that no exam uses."""
    hour, away = random.randint(1, 12), random.randint(1, 11)
    then = (hour + away - 1) % 12 + 1
    said = "one hour" if away == 1 else f"{in_words(away)} hours"
    form = random.choice(("It is {then} o'clock. What time was it {away} ago?", "{away} before {then} o'clock.",
                          "What time is it {away} after {hour} o'clock?", "{away} after {hour} o'clock."))  # fmt: skip
    answer = hour if "{then}" in form else then
    ask = sentence(form.format(hour=in_words(hour), then=in_words(then), away=said))
    return Dialogue("hours", (Turn(ask, sentence(f"{in_words(answer)} o'clock")),), f"clock {hour} {away}")


def line(random: Random) -> Dialogue:
    """The number before or after another."""
    number, step = random.randint(1, 98), random.choice((-1, 1))
    form = f"Which number comes {'after' if step > 0 else 'before'} {in_words(number)}?"
    key = f"{number} {'plus' if step > 0 else 'minus'} 1"
    return Dialogue("line", (Turn(form, sentence(in_words(number + step))),), key)


def sign(random: Random) -> Dialogue:
    """A word, a number or letters in a picture: spelled and read, in any order."""
    draw = random.random()
    if draw < 0.15:
        shows = str(random.randint(0, 99))
        turns = [Turn("Which number do you see?", sentence(in_words(int(shows))))]
    else:
        is_word = draw > 0.35
        shows = random.choice(SIGNS) if is_word else "".join(random.choices(ascii_uppercase, k=random.randint(2, 4)))
        turns = [Turn("Which letters do you see?", " ".join(shows) + ".")]
        if is_word:
            form = random.choice(("Which word do you see?", "Which word is it?", "Read the word."))
            turns.append(Turn(form, sentence(shows.lower())))
            random.shuffle(turns)
    scene = random_scene(random, "text", (shows,))
    turns[0] = Turn(turns[0].question, turns[0].answer, scene)
    return Dialogue("sign", tuple(turns), scene.key)


def described(scene: Scene) -> str:
    """All that is in a picture, place by place."""
    figures = sorted(scene.figures, key=lambda f: (f.row, f.column))
    named = (f"{PLACES[f.row, f.column]} {'an' if f.color == 'orange' else 'a'} {f.color} {f.shape}" for f in figures)
    return sentence(", ".join(named))


def describe(random: Random) -> Dialogue:
    """A picture is described: every place, color and shape of it."""
    scene = random_scene(random, random.choice(("figures", "figures", "one")))
    ask = random.choice(("Describe the picture.", "What do you see?", "Tell me what is in the picture."))
    return Dialogue("describe", (Turn(ask, described(scene), scene),), scene.key)


def look(random: Random) -> Dialogue:
    """Several questions about one picture."""
    scene = random_scene(random, "figures")
    turns = [Turn(*_about(random, scene, random.choice(scene.figures))) for _ in range(random.randint(2, 4))]
    turns[0] = Turn(turns[0].question, turns[0].answer, scene)
    return Dialogue("look", tuple(turns), scene.key)


def _about(random: Random, scene: Scene, figure: Figure) -> tuple[str, str]:
    """A question about a picture, and its answer."""
    kind = random.choice(("color", "shape", "there", "place", "count"))
    there = PLACES[figure.row, figure.column]
    if kind == "color":
        return f"What color is the shape {there}?", sentence(figure.color)
    if kind == "shape":
        return f"What shape is {there}?", sentence(f"a {figure.shape}")
    if kind == "place":
        alike = [f for f in scene.figures if (f.shape, f.color) == (figure.shape, figure.color)]
        where = [PLACES[f.row, f.column] for f in sorted(alike, key=lambda f: (f.row, f.column))]
        return f"Where is the {figure.color} {figure.shape}?", sentence(" and ".join(where))
    if kind == "count":
        return "How many shapes do you see?", sentence(in_words(len(scene.figures)))
    asked = random.choice((figure.color, random.choice(FOREGROUND), figure.shape, random.choice(SHAPES)))
    count = sum(asked in (f.color, f.shape) for f in scene.figures)
    plural = {"cross": "crosses"}.get(asked, f"{asked}s") if asked in SHAPES else f"{asked} shapes"
    return f"How many {plural} do you see?", sentence(in_words(count))


# How often each is drawn, relative to the others; some of them are skills as they are.
TYPED: dict[Skill, float] = {
    arithmetic: 1.0, partial(arithmetic, most=40): 2.0, partial(arithmetic, most=99, factor=12): 5.0, line: 0.7,
    partial(arithmetic, factor=12, operations=("times",)): 5.0, partial(arithmetic, operations=("minus",)): 2.0,
    swapped: 1.5, length: 1.0, backwards: 1.5,
    difference: 1.5, partial(difference, most=99): 2.5, comparison: 2.0, partial(clock, latest=11): 2.0, hours: 3.0,
    counting: 0.7, partial(counting, first=40, longest=9): 0.7, repeat: 0.7, partial(repeat, longest=8): 1.0,
    spelling: 3.0, letter: 3.0, letters: 3.0, spelled: 1.5, skills.capital: 0.7, capital: 1.0,
    skills.opposite: 0.7, opposite: 1.0, follow_up: 1.5,
}  # fmt: skip

# Of pictures.
SEEN: dict[Skill, float] = {picture: 2.0, sign: 3.0, describe: 1.0, look: 3.0}

# Those that are spoken.
SPOKEN: dict[Skill, float] = {
    arithmetic: 3.0, partial(arithmetic, most=99, factor=12): 3.0, difference: 1.5, line: 0.7, comparison: 3.0,
    partial(clock, latest=11): 1.5, hours: 1.0, counting: 0.4, partial(counting, first=40, longest=9): 0.6,
    repeat: 2.0, partial(repeat, longest=8): 2.0, spelling: 2.0, letter: 1.0, letters: 1.0, spelled: 0.5, capital: 0.7,
    opposite: 0.7, follow_up: 1.0,
}  # fmt: skip


def exercise(random: Random, split: Split, among: dict[Skill, float]) -> Dialogue:
    """One of these, in the split."""
    return draw_dialogue(random, split, random.choices(list(among), weights=list(among.values()))[0])
