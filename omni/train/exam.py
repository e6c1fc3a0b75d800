"""The questions that nano is examined with, by measure. Voices, combinations, pictures and noises are held out.

Noise is added to samples here, and nothing is bent: what training does to log-Mel frames is not repeated.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

import numpy as np

from omni.script import declared
from omni.train.asking import Asked, Question
from omni.train.dialogue import TOOLS, Dialogue, Split, split_of
from omni.train.noises import noise
from omni.train.pictures import draw as draw_picture
from omni.train.pool import word_string
from omni.train.skills import UNKNOWN, draw_dialogue, follow_up, picture, tool
from omni.train.speakers import RATE, RECORDED, Sound, Speaker, espeak_speaker, say, without_bend
from omni_tokenizers.sequence import Audio, Image
from omni_tokenizers.sequence.parts import Part, TextPart

BEFORE, AFTER = 0.1, 0.2  # s of silence around a question
DRAWS = 4  # for each question, at most, until one comes that was not asked yet
LISTENED = 1.0  # s of silence behind a sentence whose end has to be found
Draw = Callable[[Random, Split], Question]


@dataclass(frozen=True)
class Measure:
    """One line of the table."""

    name: str
    short: str
    kind: str  # how it is marked: exact, words, call, silence, turn
    bar: float
    draw: Draw
    in_dev: str = ""  # what it is in development, where that is something else

    def called(self, split: Split) -> str:
        """Its name in a split."""
        return self.in_dev if self.in_dev and split == "dev" else self.name


def spoken(text: str, speaker: Speaker) -> Sound:
    """A question with a little silence around it."""
    return np.concatenate(
        [np.zeros(int(BEFORE * RATE), np.float32), say(text, speaker), np.zeros(int(AFTER * RATE), np.float32)]
    )


def noisy(sound: Sound, random: Random, split: Split, decibels: float = 10.0) -> Sound:
    """In noise of a kind that this split alone has, so many decibels below the voice."""
    power = float((sound**2).mean()) * len(sound) / max(1, len(sound) - int((BEFORE + AFTER) * RATE))
    other = noise(np.random.default_rng(random.getrandbits(64)), len(sound), split)
    mixed = sound + other * np.float32(np.sqrt(power / 10 ** (decibels / 10)))
    return mixed * np.float32(min(1.0, 0.95 / np.abs(mixed).max()))


def voice_of(random: Random, split: Split) -> Speaker:
    """A speaker of espeak-ng that the split holds, as it is."""
    return without_bend(espeak_speaker(random, split))


def recorded(_random: Random, split: Split) -> Speaker:
    """The recorded voice that was never trained on; development has none of its own and hears a known one."""
    name = next(name for name, (_, of) in RECORDED.items() if of == ("test" if split == "test" else "train"))
    return Speaker(RECORDED[name][0], name)


def asked(
    dialogue: Dialogue, speaker: Speaker | None, change: Callable[[Sound], Sound] = lambda sound: sound
) -> Question:
    """The dialogue as questions: spoken by somebody, or typed."""
    turns = []
    for turn in dialogue.turns:
        parts: list[Part] = [] if turn.picture is None else [Image(draw_picture(turn.picture))]
        if speaker is None:
            parts.append(TextPart(turn.question))
        else:
            parts.append(Audio(change(spoken(turn.question, speaker)), RATE))
        call = None if turn.call is None else turn.call.as_text()
        turns.append(Asked(tuple(parts), turn.answer, call=call))
    tools = tuple(declared(name, TOOLS[name]["parameters"]) for name in dialogue.tools)
    words = " / ".join(turn.question for turn in dialogue.turns)
    about = f"{speaker.name if speaker else 'typed'}: {words}"
    shown = " ".join(f"{turn.picture.key} {turn.picture.seed}" for turn in dialogue.turns if turn.picture is not None)
    return Question(tuple(turns), tools, about, skill=dialogue.skill, shown=shown)


def plain(random: Random, split: Split) -> Dialogue:
    """A dialogue of one turn, without a tool and without a picture."""
    while True:
        dialogue = draw_dialogue(random, split)
        if len(dialogue.turns) == 1 and not dialogue.tools and dialogue.turns[0].picture is None:
            return dialogue


def spoken_espeak(random: Random, split: Split) -> Question:
    """Any question, a held-out voice of espeak-ng."""
    return asked(plain(random, split), voice_of(random, split))


def spoken_recorded(random: Random, split: Split) -> Question:
    """Any question, a recorded voice."""
    return asked(plain(random, split), recorded(random, split))


def spoken_noisy(random: Random, split: Split) -> Question:
    """Any question at 10 dB of a held-out noise."""
    return asked(plain(random, split), voice_of(random, split), lambda sound: noisy(sound, random, split))


def transcribed(random: Random, split: Split) -> Question:
    """Words to write down."""
    while True:
        dialogue = word_string(random) if random.random() < 0.5 else plain(random, split)
        if not dialogue.key or split_of(dialogue.key) == split:
            break
    speaker, text = voice_of(random, split), dialogue.turns[0].question
    turn = Asked((Audio(spoken(text, speaker), RATE),), text, how="transcribe")
    return Question((turn,), (), f"{speaker.name}: {text}", skill=dialogue.skill)


def typed(random: Random, split: Split) -> Question:
    """Any question, typed."""
    return asked(plain(random, split), None)


def seen(random: Random, split: Split) -> Question:
    """A question about a picture, spoken or typed."""
    speaker = voice_of(random, split) if random.random() < 0.5 else None
    return asked(draw_dialogue(random, split, picture), speaker)


def followed(random: Random, split: Split) -> Question:
    """Two turns, the second of which needs the first; spoken or typed."""
    speaker = voice_of(random, split) if random.random() < 0.5 else None
    return asked(draw_dialogue(random, split, follow_up), speaker)


def later(random: Random, split: Split) -> Question:
    """A spoken question behind two others of the same voice that have nothing to do with it."""
    speaker = voice_of(random, split)
    three = [asked(plain(random, split), speaker) for _ in range(3)]
    about = " / ".join(question.about.partition(": ")[2] for question in three)
    turns = tuple(turn for question in three for turn in question.turns)
    return Question(turns, (), f"{speaker.name}: {about}", skill=three[-1].skill)


def called(random: Random, split: Split) -> Question:
    """A thing for a tool: the tool is declared, or others are and it is not."""
    dialogue = draw_dialogue(random, split, tool)
    call = dialogue.turns[0].call
    assert call is not None
    speaker = voice_of(random, split) if random.random() < 0.5 else None
    question = asked(dialogue, speaker)
    if random.random() < 0.5 or len(dialogue.tools) == 1:  # without any tool there would be nothing to call
        return question
    others = tuple(declared(n, TOOLS[n]["parameters"]) for n in dialogue.tools if n != call.name)
    turn = Asked(question.turns[0].parts, UNKNOWN, call="")
    return Question((turn,), others, question.about + " (not declared)", skill=question.skill)


def silent(random: Random, split: Split) -> Question:
    """Noise, and nobody who speaks."""
    seed = random.getrandbits(64)
    numbers = np.random.default_rng(seed)
    samples = int(random.uniform(0.6, 3.0) * RATE)
    sound = noise(numbers, samples, split) * np.float32(10 ** random.uniform(-3, -0.9))
    if random.random() < 0.1:
        sound = np.zeros(samples, np.float32)
    return Question((Asked((Audio(np.clip(sound, -1, 1), RATE),), ""),), (), f"noise {seed:016x}")


def ended(random: Random, split: Split) -> Question:
    """A sentence whose end has to be found; half of the time with a pause between two words."""
    speaker, text = voice_of(random, split), plain(random, split).turns[0].question
    words = text.split()
    pieces = [np.zeros(int(BEFORE * RATE), np.float32)]
    pause = None
    if len(words) >= 4 and random.random() < 0.5:
        at = random.randrange(1, len(words))
        gap = random.uniform(0.2, 0.8)
        pieces += [say(" ".join(words[:at]).rstrip(".,?:"), speaker), np.zeros(int(gap * RATE), np.float32)]
        text = " ".join(words[at:])
        begin = sum(map(len, pieces[:-1])) / RATE
        pause = (begin, begin + gap)
    pieces.append(say(text, speaker))
    end = sum(map(len, pieces)) / RATE
    sound = np.concatenate([*pieces, np.zeros(int(LISTENED * RATE), np.float32)])
    return Question((Asked((Audio(sound, RATE),), ""),), (), f"{speaker.name}: {' '.join(words)}", end, pause)


MEASURES = (
    Measure("spoken questions, held-out espeak voices", "spoken", "exact", 0.95, spoken_espeak),
    Measure(
        "spoken questions, a recorded voice never trained on",
        "recorded",
        "exact",
        0.80,
        spoken_recorded,
        in_dev="spoken questions, a recorded voice that was trained on",
    ),
    Measure("spoken questions, 10 dB of a held-out noise", "noise", "exact", 0.85, spoken_noisy),
    Measure("transcription, word errors, held-out voices", "transcribed", "words", 0.04, transcribed),
    Measure("typed questions", "typed", "exact", 0.98, typed),
    Measure("questions about a picture, spoken and typed", "pictures", "exact", 0.95, seen),
    Measure("follow-up questions", "follow-ups", "exact", 0.90, followed),
    Measure("spoken questions behind two others, the same voices", "third", "exact", 0.95, later),
    Measure("tool called rightly, or not at all", "tools", "call", 0.95, called),
    Measure("non-speech answered by silence", "silence", "silence", 0.99, silent),
    Measure("turn end within 160 ms", "turn end", "turn", 0.90, ended),
)


def questions(measure: Measure, split: Split, count: int) -> list[Question]:
    """So many questions of a measure, the same ones for ever; none twice, unless there are no more."""
    drawn = (measure.draw(Random(f"exam {split} {measure.name} {number}"), split) for number in range(DRAWS * count))
    found: dict[tuple[str, str], Question] = {}
    again: list[Question] = []
    for question in drawn:
        if (name := (question.about, question.shown)) in found:
            again.append(question)
        else:
            found[name] = question
        if len(found) == count:
            break
    return [*found.values(), *again][:count]
