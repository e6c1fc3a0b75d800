"""The mixture of tasks: which example stands where in training. A pure function of seed, step and pool."""

from collections.abc import Sequence as ListLike
from dataclasses import dataclass, field
from itertools import accumulate
from random import Random

import numpy as np
from numpy.typing import NDArray

from omni.script import RESULT, USER, How, declared
from omni.train.dialogue import TOOLS, Dialogue, Split, Turn, split_of
from omni.train.drills import SEEN, TYPED, exercise, sign
from omni.train.mixing import Take, decades, fitted, scaled, take
from omni.train.pool import Frames, Shard, Utterance
from omni.train.sayings import Sayings
from omni.train.skills import SKILLS, UNKNOWN, WORDS, Skill, draw_dialogue, picture
from omni.train.writing import Example, Writing
from omni_tokenizers.sequence import Omni

Where = tuple[int, Utterance]  # shard, utterance
Spoken = tuple[int, Dialogue, tuple[Utterance, ...]]  # shard, dialogue, its utterances
EXERCISED = 160  # tokens; a conversation of exercises gets no other when it is as long
TELLS = ("Be brief.", "You are a helpful assistant.", "Answer in English.", "Be kind and clear.", "You are Nano.")


@dataclass(frozen=True)
class Shares:
    """How often each task is drawn; the rest is spoken questions."""

    transcribe: float = 0.08
    typed: float = 0.06
    drilled: float = 0.24  # a conversation of exercises
    seen: float = 0.18  # one of exercises about pictures
    silence: float = 0.04  # nobody speaks: no answer
    read: float = 0.04  # a text is read out, where there are codes
    slow: float = 0.5  # of typed questions, those whose words stand as far apart as spoken ones
    exercised: float = 0.5  # of spoken conversations, those that are exercises
    speak: float = 0.12  # of the answers whose sound is known, those that are spoken
    earlier: float = 0.4  # of conversations, those that had another before; of those again, and so on
    paused: float = 0.4  # of what is transcribed, sentences with a pause inside: the turn is not over there
    recorded: float = 0.35  # of utterances that are transcribed or answered, those of recorded voices
    slips: float = 0.1  # of frames that were said, those remembered wrongly; and of single codes in them


@dataclass
class Mixture:
    """Examples from a pool."""

    tokens: Omni
    books: int
    entries: int  # of each book
    split: Split
    pool: ListLike[Shard]
    noises: ListLike[Frames]
    sayings: Sayings | None = None
    shares: Shares = Shares()
    _paused: list[Where] = field(default_factory=list, init=False)
    _texts: list[str] = field(default_factory=list, init=False)
    _frames: list[int] = field(default_factory=list, init=False)  # of the texts up to each
    _said: dict[str, list[Where]] = field(default_factory=dict, init=False)
    _all: dict[bool, list[Spoken]] = field(default_factory=lambda: {True: [], False: []}, init=False)  # recorded?
    _exercises: dict[bool, list[Spoken]] = field(default_factory=lambda: {True: [], False: []}, init=False)
    _answered: dict[str, dict[bool, list[Spoken]]] = field(default_factory=dict, init=False)  # by skill

    def __post_init__(self) -> None:
        for number, shard in enumerate(self.pool):
            for dialogue, utterances in shard.dialogues:
                recorded = not utterances[0].voice.startswith("espeak")
                self._all[recorded].append((number, dialogue, utterances))
                if shard.kind == "exercises":
                    self._exercises[recorded].append((number, dialogue, utterances))
                elif dialogue.skill != "words":
                    of_skill = self._answered.setdefault(dialogue.skill, {True: [], False: []})
                    of_skill[recorded].append((number, dialogue, utterances))
                for utterance in utterances:
                    if utterance.pause is not None:
                        self._paused.append((number, utterance))
                    self._said.setdefault(utterance.text, []).append((number, utterance))
        if self.sayings is not None:
            self._texts = list(self.sayings.where)
            self._frames = list(accumulate(saying.frames for saying in self.sayings.where.values()))
        if not self._answered:
            raise ValueError(f"the pool has no dialogue of the split {self.split!r}: make one with omni train nano")

    def heard(self, seed: str, hard: float) -> Example:
        """Somebody speaks; `hard` is how often that is disturbed, from 0 to 1."""
        random = Random(seed)
        numbers = np.random.default_rng(random.getrandbits(64))
        where = self.somebody(random)
        writing = Writing(self.tokens, self.books)
        writing.special(USER)
        writing.sound(self.taken(where, random, numbers, hard), where[1].text)
        return writing.example()

    def seen(self, seed: str) -> Example:
        """A picture."""
        random = Random(seed)
        scene = draw_dialogue(random, self.split, random.choice((picture, sign))).turns[0].picture
        assert scene is not None
        writing = Writing(self.tokens, self.books)
        writing.special(USER)
        writing.picture(scene)
        return writing.example()

    def example(self, seed: str) -> Example:
        """The conversation of this name, the same for ever while the pool is."""
        random = Random(seed)
        numbers = np.random.default_rng(random.getrandbits(64))
        draw = random.random()
        if draw < self.shares.transcribe:
            return self.transcribed(random, numbers)
        draw -= self.shares.transcribe
        if draw < self.shares.silence:
            return self.unanswered(random, numbers)
        draw -= self.shares.silence
        if draw < self.shares.read and self.sayings is not None:
            return self.read(self.sayings, random)
        draw -= self.shares.read
        if draw < self.shares.drilled:
            return self.drilled(TYPED, random, numbers)
        draw -= self.shares.drilled
        if draw < self.shares.seen:
            return self.drilled(SEEN, random, numbers)
        draw -= self.shares.seen
        if draw < self.shares.typed:
            dialogue = draw_dialogue(random, self.split)
            return self.conversation(dialogue, [None] * len(dialogue.turns), random, numbers)
        dialogue, spoken = self.spoken(random)
        return self.conversation(dialogue, spoken, random, numbers)

    def spoken(self, random: Random) -> tuple[Dialogue, list[Where | None]]:
        """A dialogue whose questions somebody in the pool said: an exercise, or one of the skills, new or stored.

        What a skill with many questions draws anew nobody has said: a stored one of the same skill takes its place, or
        the strings and sums that are hardest would be heard least.
        """
        if any(self._exercises.values()) and random.random() < self.shares.exercised:
            shard, dialogue, utterances = self.chosen(self._exercises, random)
            return dialogue, [(shard, utterance) for utterance in utterances]
        skill = random.choices(list(SKILLS), weights=list(SKILLS.values()))[0]
        for _ in range(12 if skill is picture else 3):
            dialogue = draw_dialogue(random, self.split, skill)
            if all(turn.question in self._said for turn in dialogue.turns):
                return dialogue, [self.voiced(turn.question, random) for turn in dialogue.turns]
        stored = self._answered.get(dialogue.skill) or random.choice(list(self._answered.values()))
        shard, dialogue, utterances = self.chosen(stored, random)
        return dialogue, [(shard, utterance) for utterance in utterances]

    def chosen(self, among: dict[bool, list[Spoken]], random: Random) -> Spoken:
        """One of these, from a recorded voice as often as the shares say."""
        recorded = random.random() < self.shares.recorded
        return random.choice(among[recorded] or among[not recorded])

    def voiced(self, question: str, random: Random) -> Where:
        """Somebody who says this."""
        found = self._said[question]
        recorded = [where for where in found if not where[1].voice.startswith("espeak")]
        return random.choice(recorded if recorded and random.random() < self.shares.recorded else found)

    def transcribed(self, random: Random, numbers: np.random.Generator) -> Example:
        """Somebody speaks, and it is written down."""
        where = self.somebody(random)
        writing = Writing(self.tokens, self.books)
        self.earlier(writing, random, numbers)
        writing.special(USER)
        writing.sound(self.taken(where, random, numbers), where[1].text)
        writing.answer("transcribe", where[1].text)
        return writing.example()

    def somebody(self, random: Random) -> Where:
        """Any utterance; those with a pause inside more often than they are."""
        if self._paused and random.random() < self.shares.paused:
            return random.choice(self._paused)
        shard, _, utterances = self.chosen(self._all, random)
        return shard, random.choice(utterances)

    def read(self, sayings: Sayings, random: Random) -> Example:
        """A text is written, and read out: each second of speech as often as any other."""
        text = random.choices(self._texts, cum_weights=self._frames)[0]
        writing = Writing(self.tokens, self.books)
        writing.special(USER)
        writing.say(text)
        codes = sayings.of(text)
        before, starts = self.slipped(codes, random), sayings.where[text].starts
        writing.answer("read", text, codes=codes, starts=starts, before=before)
        return writing.example()

    def drilled(self, among: dict[Skill, float], random: Random, numbers: np.random.Generator) -> Example:
        """Exercises of these, one after another."""
        writing = Writing(self.tokens, self.books)
        while writing.length < EXERCISED:
            turns = exercise(random, self.split, among).turns
            self.said(writing, turns, [None] * len(turns), random, numbers)
        return writing.example()

    def unanswered(self, random: Random, numbers: np.random.Generator) -> Example:
        """Nobody speaks: no answer, and no turn that could be over."""
        writing = Writing(self.tokens, self.books)
        self.earlier(writing, random, numbers)
        writing.special(USER)
        frames = 4 * random.randint(8, 75)
        loud = np.float32(-random.triangular(0, 3.5, 1.0))
        log = fitted(self.noise(random), frames, numbers) + loud if random.random() < 0.85 else None
        quiet = np.full((frames, 80), -6.5, np.float32)
        writing.sound(Take(scaled(quiet if log is None else log), 0, 0), "")
        how: How = random.choice(("answer", "speak", "transcribe"))
        writing.answer(how, "")
        return writing.example()

    def conversation(
        self, dialogue: Dialogue, spoken: ListLike[Where | None], random: Random, numbers: np.random.Generator
    ) -> Example:
        """A whole dialogue: each question spoken where somebody said it, else typed."""
        writing = Writing(self.tokens, self.books)
        tools, turns = self.offered(dialogue, random)
        tells = random.choice(TELLS) if random.random() < 0.08 else ""
        if random.random() < 0.04:
            tells = " ".join(random.choice(WORDS) for _ in range(random.randint(3, 12))).capitalize() + "."
        writing.system(tells, [declared(name, TOOLS[name]["parameters"]) for name in tools])
        self.earlier(writing, random, numbers)
        self.said(writing, turns, spoken, random, numbers)
        return writing.example()

    def earlier(self, writing: Writing, random: Random, numbers: np.random.Generator) -> None:
        """What was talked about before, now and then: people change the subject."""
        while random.random() < self.shares.earlier:
            if random.random() < 0.5:
                dialogue, spoken = self.spoken(random)
            else:
                dialogue = draw_dialogue(random, self.split)
                spoken = [None] * len(dialogue.turns)
            if not dialogue.tools and dialogue.skill != "unknown" and dialogue.turns[0].picture is None:
                self.said(writing, dialogue.turns, spoken, random, numbers)

    def said(
        self,
        writing: Writing,
        turns: ListLike[Turn],
        spoken: ListLike[Where | None],
        random: Random,
        numbers: np.random.Generator,
    ) -> None:
        """These turns with their answers, each question spoken where somebody said it."""
        for number, (turn, where) in enumerate(zip(turns, spoken, strict=True)):
            writing.special(USER)
            if turn.picture is not None:
                writing.picture(turn.picture)
            if where is None or (number and random.random() < 0.15):
                writing.say(turn.question, slowly=random if random.random() < self.shares.slow else None)
            else:
                writing.sound(self.taken(where, random, numbers), turn.question)
            self.answered(writing, turn, random)

    def answered(self, writing: Writing, turn: Turn, random: Random) -> None:
        """The answer to a turn, with the call of a tool before it where there is one."""
        if turn.call is not None:
            call_in: How = random.choice(("answer", "speak"))  # a call is text in both
            writing.answer(call_in, turn.call.as_text(), call=True)
            writing.special(RESULT)
            writing.say(turn.call.result)
        if self.sayings is not None and turn.answer in self.sayings and random.random() < self.shares.speak:
            codes = self.sayings.of(turn.answer)
            before, starts = self.slipped(codes, random), self.sayings.where[turn.answer].starts
            writing.answer("speak", turn.answer, codes=codes, starts=starts, before=before)
        else:
            writing.answer("answer", turn.answer)

    def slipped(self, codes: NDArray[np.int64], random: Random) -> NDArray[np.int64]:
        """What was said as the model may find it behind itself: it says wrong codes, and has to go on by the text."""
        numbers = np.random.default_rng(random.getrandbits(64))
        wrong = numbers.random(len(codes)) < self.shares.slips
        found = np.where(wrong[:, None], codes[numbers.integers(len(codes), size=len(codes))], codes)
        single = numbers.random(codes.shape) < self.shares.slips
        return np.where(single, numbers.integers(self.entries, size=codes.shape), found)

    def offered(self, dialogue: Dialogue, random: Random) -> tuple[list[str], tuple[Turn, ...]]:
        """The tools that are declared, and the turns that follow from that: without its tool, a thing is not known.

        But for what the exam asks without a tool.
        """
        call, question = dialogue.turns[0].call, dialogue.turns[0].question
        if call is not None and split_of(question) == self.split and random.random() < 0.25:
            others = [name for name in dialogue.tools if name != call.name]
            return others, (Turn(question, UNKNOWN),)
        if call is None and dialogue.skill != "unknown" and random.random() < 0.08:
            return sorted(random.sample(list(TOOLS), random.randint(1, 3))), dialogue.turns
        return list(dialogue.tools), dialogue.turns

    def taken(self, where: Where, random: Random, numbers: np.random.Generator, hard: float = 1.0) -> Take:
        """An utterance as a microphone takes it today."""
        shard, utterance = where
        noise = None
        if random.random() < 0.5 * hard:
            noise = self.noise(random) if random.random() < 0.85 else self.voice(random)
        before = random.randint(0, 15) if random.random() < 0.93 else random.randint(15, 150)
        return take(
            decades(self.pool[shard].of(utterance)),
            utterance.begin,
            utterance.end,
            numbers,
            noise=noise,
            bent=0.5 * hard,
            before=before,
            after=round(random.triangular(6, 70, 12)),
        )

    def noise(self, random: Random) -> NDArray[np.float32]:
        """Some noise: [frames, 80] decades."""
        return decades(random.choice(self.noises))

    def voice(self, random: Random) -> NDArray[np.float32]:
        """Somebody else who speaks in the background: [frames, 80] decades."""
        shard, _, utterances = self.chosen(self._all, random)
        return decades(self.pool[shard].of(utterances[0]))
