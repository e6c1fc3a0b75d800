"""What nano can talk about: one function a skill, each drawing one dialogue from a seeded random source.

A dialogue carries the key of its combination (two numbers, a string of words, what a picture shows), and the key alone
decides whether it is for training, development or test: what is tested was never trained on.
"""

from collections.abc import Callable
from random import Random

from omni.train.dialogue import Call, Dialogue, Split, Turn, split_of
from omni.train.pictures import PLACES, Figure, Scene, random_scene
from omni.train.words import (
    ANIMALS,
    CAPITALS,
    CITIES,
    DAYS,
    FACTS,
    FOODS,
    MONTHS,
    OPPOSITES,
    PEOPLE,
    QUALITIES,
    ROOMS,
    SMALL_WORDS,
    THINGS,
    VERBS,
    in_words,
)  # fmt: skip
from omni.train.words import (
    PLACES as TOWNS,
)

NOUNS = ANIMALS + FOODS + THINGS + PEOPLE + TOWNS
WORDS = NOUNS + QUALITIES + VERBS
SIGNS = tuple(
    dict.fromkeys(
        [*(word.upper() for word in WORDS if len(word) <= 5), "SUN", "STOP", "GO", "YES", "NO", "OPEN", "EXIT"]
    )
)


def sentence(text: str) -> str:
    """The text with a capital first letter and a full stop."""
    return text[0].upper() + text[1:] + ("" if text[-1] in ".?!" else ".")


def arithmetic(
    random: Random, most: int = 20, factor: int = 10, operations: tuple[str, ...] = ("plus", "minus", "times")
) -> Dialogue:
    """Sums, differences and products of small numbers."""
    operation = random.choice(operations)
    if operation == "times":
        a, b = random.randint(0, factor), random.randint(0, factor)
        value = a * b
    else:
        a, b = random.randint(0, most), random.randint(0, most)
        if operation == "minus":
            a, b = max(a, b), min(a, b)
        value = a + b if operation == "plus" else a - b
    said = f"{in_words(a)} {operation} {in_words(b)}"
    form = random.choice(
        ("What is {}?", "How much is {}?", "Tell me {}.", "What do you get from {}?", "Can you work out {}?")
    )
    return Dialogue("arithmetic", (Turn(form.format(said), sentence(in_words(value))),), f"{a} {operation} {b}")


def comparison(random: Random) -> Dialogue:
    """Which of two numbers is larger or smaller."""
    a, b = random.sample(range(100), 2)
    word, pick = random.choice((("bigger", max), ("larger", max), ("greater", max), ("smaller", min)))
    form = random.choice(("Which is {}, {} or {}?", "Which number is {}, {} or {}?", "What is {}, {} or {}?"))
    question = form.format(word, in_words(a), in_words(b))
    return Dialogue("comparison", (Turn(question, sentence(in_words(pick(a, b)))),), f"{min(a, b)} ? {max(a, b)}")


def calendar(random: Random) -> Dialogue:
    """Days and months before and after."""
    names, unit = random.choice(((DAYS, "day"), (MONTHS, "month")))
    index, steps = random.randrange(len(names)), random.choice((-1, 1))
    answer = names[(index + steps) % len(names)]
    where = "after" if steps > 0 else "before"
    form = random.choice((f"Which {unit} comes {where} {names[index]}?", f"What {unit} is {where} {names[index]}?",
                          f"Tell me the {unit} {where} {names[index]}."))  # fmt: skip
    return Dialogue("calendar", (Turn(form, sentence(answer)),), f"calendar {form}")


def clock(random: Random, latest: int = 6) -> Dialogue:
    """What time it will be, in whole hours."""
    hour, later = random.randint(1, 12), random.randint(1, latest)
    then = (hour + later - 1) % 12 + 1
    hours = "one hour" if later == 1 else f"{in_words(later)} hours"
    form = random.choice(
        ("It is {} o'clock. What time is it in {}?", "If it is {} o'clock now, what time is it in {}?")
    )
    answer = sentence(f"{in_words(then)} o'clock")
    return Dialogue("clock", (Turn(form.format(in_words(hour), hours), answer),), f"clock {hour} {later}")


def capital(random: Random) -> Dialogue:
    """Capitals of countries, both ways."""
    country, city = random.choice(list(CAPITALS.items()))
    if random.random() < 0.7:
        form = random.choice(("What is the capital of {}?", "Which city is the capital of {}?",
                              "Name the capital of {}.", "Tell me the capital of {}."))  # fmt: skip
        return Dialogue("capital", (Turn(form.format(country), sentence(city)),), f"capital {form} {country}")
    form = random.choice(("Which country has the capital {}?", "{} is the capital of which country?"))
    return Dialogue("capital", (Turn(form.format(city), sentence(country)),), f"capital {form} {city}")


def fact(random: Random) -> Dialogue:
    """Small facts; the whole list is known in training, only voices are new in test."""
    question, answer = random.choice(list(FACTS.items()))
    return Dialogue("fact", (Turn(question, answer),), "")


def opposite(random: Random) -> Dialogue:
    """The opposite of a word."""
    word, other = random.choice(list(OPPOSITES.items()))
    if random.random() < 0.5 and other not in OPPOSITES and word != "light":
        word, other = other, word
    form = random.choice(("What is the opposite of {}?", "Tell me the opposite of {}.",
                          "Which word is the opposite of {}?", "What is the contrary of {}?"))  # fmt: skip
    return Dialogue("opposite", (Turn(form.format(word), sentence(other)),), f"opposite {form} {word}")


def spelling(random: Random) -> Dialogue:
    """A word letter by letter."""
    word = random.choice([w for w in WORDS if len(w) <= 7])
    form = random.choice(("How do you spell {}?", "Spell the word {}.", "Please spell {}."))
    return Dialogue("spelling", (Turn(form.format(word), " ".join(word.upper()) + "."),), f"spell {word}")


def counting(random: Random, first: int = 12, longest: int = 6) -> Dialogue:
    """Counting up and down."""
    start, length = random.randint(0, first), random.randint(3, longest)
    down = random.random() < 0.3
    stop = start - length if down else start + length
    if stop < 0:
        down, stop = False, start + length
    numbers = range(start, stop - 1, -1) if down else range(start, stop + 1)
    form = (
        "Count down from {} to {}." if down else random.choice(("Count from {} to {}.", "Please count from {} to {}."))
    )
    question = form.format(in_words(start), in_words(stop))
    return Dialogue("counting", (Turn(question, sentence(", ".join(map(in_words, numbers)))),), f"count {start} {stop}")


def repeat(random: Random, longest: int = 4) -> Dialogue:
    """A string of words said again."""
    words = [random.choice(WORDS) for _ in range(random.randint(1, longest))]
    if random.random() < 0.4:
        words.insert(random.randrange(len(words) + 1), random.choice(SMALL_WORDS))
    said = " ".join(words)
    form = random.choice(("Repeat after me: {}.", "Say {}.", "Please say {}.", "Repeat: {}.", "Say this: {}."))
    return Dialogue("repeat", (Turn(form.format(said), sentence(said)),), said)


SMALL_TALK = {
    "Hello.": "Hello, how can I help?",
    "Hi there.": "Hello, how can I help?",
    "Good morning.": "Good morning.",
    "Good evening.": "Good evening.",
    "Good night.": "Good night, sleep well.",
    "How are you?": "I am fine, thank you.",
    "How are you today?": "I am fine, thank you.",
    "What is your name?": "My name is Nano.",
    "Who are you?": "My name is Nano.",
    "Are you a human?": "No, I am a small model.",
    "Are you a person?": "No, I am a small model.",
    "What can you do?": "I can hear, see and answer.",
    "Thank you.": "You are welcome.",
    "Thanks a lot.": "You are welcome.",
    "Goodbye.": "Goodbye.",
    "See you later.": "Goodbye.",
    "Can you hear me?": "Yes, I hear you.",
    "Are you there?": "Yes, I am here.",
    "Nice to meet you.": "Nice to meet you too.",
    "I am tired.": "Then take a rest.",
    "I am happy.": "I am glad to hear that.",
    "I am sad.": "I am sorry to hear that.",
    "I am hungry.": "Then eat something good.",
    "I am thirsty.": "Then drink some water.",
    "Help me, please.": "Of course, what do you need?",
    "Never mind.": "All right.",
}


def small_talk(random: Random) -> Dialogue:
    """Greetings and the like; a closed list, like the facts."""
    question, answer = random.choice(list(SMALL_TALK.items()))
    return Dialogue("small talk", (Turn(question, answer),), "")


UNKNOWN = "I don't know."


def unknown(random: Random) -> Dialogue:
    """Questions that are out of reach are answered with not knowing."""
    noun, person, city, room = (random.choice(of) for of in (THINGS, PEOPLE, CITIES, ROOMS))
    question = random.choice((
        f"How much does the {noun} cost?", f"What is the name of the {person}?", f"Who lives in {city}?",
        f"How many people live in {city}?", f"What did the {person} say?", f"Where is my {noun}?",
        f"Who made this {noun}?", f"What will the {person} do tomorrow?", f"How old is the {person}?",
        f"When was the {noun} built?", f"What is the weather in {city}?", f"Why is the {person} late?",
        f"Turn on the light in the {room}.", "What time is it now?",
    ))  # fmt: skip
    also = (f"weather {question.replace(city, '{}')} {city}", f"light {question}")  # what needs a tool, without it
    return Dialogue("unknown", (Turn(question, UNKNOWN),), question, also=also)


def _one(scene: Scene) -> Figure:
    return scene.figures[0]


def _about(random: Random) -> tuple[str, Turn]:
    """A question about a picture: colour, shape, count, position or text."""
    kind = random.choice(("color", "shape", "count", "position", "text"))
    if kind == "text":
        number = str(random.randint(0, 99))
        scene = random_scene(random, "text", SIGNS if random.random() < 0.8 else (number,))
        shown = scene.text
        answer = sentence(in_words(int(shown)) if shown.isdigit() else shown.lower())
        asks = ("Which number do you see?", "What number is this?") if shown.isdigit() else (
            "What does it say?", "Which word do you see?", "What is written there?")  # fmt: skip
        return kind, Turn(random.choice(asks), answer, scene)
    if kind == "count":
        scene = random_scene(random, "figures")
        asks = ("How many shapes do you see?", "How many things are in the picture?", "Count the shapes.")
        return kind, Turn(random.choice(asks), sentence(in_words(len(scene.figures))), scene)
    if kind == "position":
        scene = random_scene(random, "figures")
        chosen = random.choice(scene.figures)
        alike = [f for f in scene.figures if (f.shape, f.color) == (chosen.shape, chosen.color)]
        if len(alike) > 1:
            scene = Scene(scene.background, (chosen,), seed=scene.seed)
        ask = random.choice(("Where is the {} {}?", "Where do you see the {} {}?"))
        return kind, Turn(ask.format(chosen.color, chosen.shape), sentence(PLACES[chosen.row, chosen.column]), scene)
    scene = random_scene(random, "one")
    figure = _one(scene)
    if kind == "color":
        asks = ("What color is the {}?", "Which color does the {} have?", "What is the color of the {}?")
        return kind, Turn(random.choice(asks).format(figure.shape), sentence(figure.color), scene)
    asks = ("What shape is this?", "Which shape do you see?", "What is in the picture?")
    return kind, Turn(random.choice(asks), sentence(f"a {figure.shape}"), scene)


def picture(random: Random) -> Dialogue:
    """A picture and a question about it."""
    kind, turn = _about(random)
    assert turn.picture is not None
    return Dialogue(f"picture {kind}", (turn,), turn.picture.key)


def follow_up(random: Random) -> Dialogue:
    """Two turns; the second cannot be answered without the first."""
    kind = random.choice(("sum", "capital", "color", "opposite", "repeat"))
    if kind == "sum":
        a, b, c = random.randint(0, 9), random.randint(0, 9), random.randint(1, 9)
        first = Turn(f"What is {in_words(a)} plus {in_words(b)}?", sentence(in_words(a + b)))
        ask = random.choice(("And plus {}?", "And {} more?", "Add {} to that."))
        turns = (first, Turn(ask.format(in_words(c)), sentence(in_words(a + b + c))))
        return Dialogue("follow up", turns, f"{a} plus {b} plus {c}", also=(f"{a} plus {b}",))
    if kind == "capital":
        one, two = random.sample(list(CAPITALS), 2)
        turns = (
            Turn(f"What is the capital of {one}?", sentence(CAPITALS[one])),
            Turn(f"And of {two}?", sentence(CAPITALS[two])),
        )
        also = (f"capital What is the capital of {{}}? {one}",)
        return Dialogue("follow up", turns, f"capital of {one} and of {two}", also=also)
    if kind == "opposite":
        one, two = random.sample(list(OPPOSITES), 2)
        turns = (
            Turn(f"What is the opposite of {one}?", sentence(OPPOSITES[one])),
            Turn(f"And of {two}?", sentence(OPPOSITES[two])),
        )
        also = (f"opposite What is the opposite of {{}}? {one}",)
        return Dialogue("follow up", turns, f"opposite of {one} and of {two}", also=also)
    if kind == "repeat":
        said = " ".join(random.choice(WORDS) for _ in range(random.randint(1, 3)))
        turns = (
            Turn(f"Say {said}.", sentence(said)),
            Turn(random.choice(("Again.", "Once more.", "Say it again.")), sentence(said)),
        )
        return Dialogue("follow up", turns, f"twice {said}", also=(said,))
    scene = random_scene(random, "one")
    figure = _one(scene)
    first = Turn("What shape is this?", sentence(f"a {figure.shape}"), scene)
    second = Turn(random.choice(("What color is it?", "And what color is it?")), sentence(figure.color))
    return Dialogue("follow up", (first, second), scene.key)


SKIES = ("sunny", "cloudy", "rainy", "windy", "snowy", "foggy")


def tool(random: Random) -> Dialogue:
    """A call to a declared tool, whose result is then said."""
    declared = tuple(sorted(random.sample(("get_weather", "set_light", "get_time"), random.randint(1, 3))))
    name = random.choice(declared)
    if name == "get_weather":
        city, sky, degrees = random.choice(CITIES), random.choice(SKIES), random.randint(0, 35)
        ask = random.choice(("What is the weather in {}?", "How is the weather in {}?", "Tell me the weather in {}."))
        call = Call(name, {"city": city}, f"{sky}, {degrees} degrees")
        turn = Turn(ask.format(city), f"In {city} it is {sky}, {in_words(degrees)} degrees.", call=call)
        key = f"weather {ask} {city}"
    elif name == "set_light":
        room, state = random.choice(ROOMS), random.choice(("on", "off"))
        ask = random.choice((f"Turn {state} the light in the {room}.", f"Switch the {room} light {state}.",
                             f"Turn the light in the {room} {state}, please."))  # fmt: skip
        turn = Turn(ask, f"The light in the {room} is {state}.", call=Call(name, {"room": room, "state": state}, "ok"))
        key = f"light {ask}"
    else:
        hour, minute = random.randint(1, 12), random.choice((0, 10, 15, 20, 30, 40, 45, 50))
        said = f"{in_words(hour)} {in_words(minute)}" if minute else f"{in_words(hour)} o'clock"
        ask = random.choice(
            ("What time is it?", "What time is it now?", "Tell me the time.", "Can you tell me the time?")
        )
        turn = Turn(ask, f"It is {said}.", call=Call(name, {}, f"{hour}:{minute:02d}"))
        key = f"time {hour} {minute}"
    return Dialogue("tool", (turn,), key, declared)


Skill = Callable[[Random], Dialogue]
# How often each is drawn, relative to the others.
SKILLS: dict[Skill, float] = {
    arithmetic: 2.0, comparison: 1.0, calendar: 0.7, clock: 0.7, capital: 1.0, fact: 1.0, opposite: 1.0, spelling: 1.0,
    counting: 0.7, repeat: 2.5, small_talk: 0.7, unknown: 0.8, picture: 3.0, follow_up: 1.5, tool: 1.5,
}  # fmt: skip


def belongs(dialogue: Dialogue, split: Split) -> bool:
    """Whether the dialogue is one of this split; training has nothing that is held out on its way either."""
    if dialogue.key and split_of(dialogue.key) != split:
        return False
    return split != "train" or all(split_of(key) == "train" for key in dialogue.also)


def draw_dialogue(random: Random, split: Split, skill: Skill | None = None) -> Dialogue:
    """A dialogue of the split, drawn again until its key falls into it. Closed lists (empty key) are in every split."""
    chosen = skill or random.choices(list(SKILLS), weights=list(SKILLS.values()))[0]
    for _ in range(10_000):
        dialogue = chosen(random)
        if belongs(dialogue, split):
            return dialogue
    raise RuntimeError(f"no dialogue of the split {split!r} was found in ten thousand draws")
