"""Asking a model: whole conversations, many at a time, each answer the likeliest token after token."""

from collections.abc import Sequence as ListLike
from dataclasses import dataclass, field

import torch
from torch import Tensor

from omni.bundle import Bundle
from omni.model.live import Live
from omni.script import CALL, END, OPENS, SYSTEM, TOOL, USER, How
from omni_tokenizers.sequence import Frames, Ids, Sequence
from omni_tokenizers.sequence.parts import Part, TextPart

LONGEST = 80  # ids of an answer
ROWS = 24  # conversations at a time


@dataclass(frozen=True)
class Asked:
    """One turn as it is put to the model, and what should come back."""

    parts: tuple[Part, ...]
    expected: str
    how: How = "answer"
    call: str | None = None  # the JSON of the call that should come; "" where none should


@dataclass(frozen=True)
class Question:
    """One conversation."""

    turns: tuple[Asked, ...]
    tools: tuple[str, ...] = ()  # as the system's part names them
    about: str = ""  # for a person: the voice, the noise, the words
    end: float = 0.0  # s of the last turn's sound after which nobody speaks
    pause: tuple[float, float] | None = None  # s, a silence inside the sentence
    skill: str = ""  # that the last turn asks for
    shown: str = ""  # which picture


@dataclass(frozen=True)
class Answer:
    """What came back."""

    text: str
    called: bool
    whole: bool  # ended by itself


@dataclass
class _Row:
    """A conversation that is being asked."""

    ids: list[int] = field(default_factory=list)
    over: bool = False


def ask(bundle: Bundle, questions: ListLike[Question]) -> list[list[Answer]]:
    """The answers to every turn of every conversation. What the model itself said is the history of what follows."""
    order = sorted(range(len(questions)), key=lambda i: sum(_size(bundle, a.parts) for a in questions[i].turns))
    found: dict[int, list[Answer]] = {}
    for at in range(0, len(order), ROWS):
        chosen = order[at : at + ROWS]
        found.update(zip(chosen, _ask_some(bundle, [questions[i] for i in chosen]), strict=True))
    return [found[i] for i in range(len(questions))]


def written(bundle: Bundle, question: Question, turn: int) -> Sequence:
    """What the model reads before it answers a turn; before the first one, the system's part as well."""
    special = bundle.special
    parts: list[Part] = []
    if turn == 0 and question.tools:
        pairs = [(SYSTEM, ""), *((TOOL, tool) for tool in question.tools), (END, "")]
        ids = [i for name, text in pairs for i in (special[name], *bundle.text.encode(text))]
        parts.append(Ids(tuple(ids)))
    parts.append(Ids((special[USER],)))
    parts.extend(
        Ids(tuple(bundle.text.encode(part.text))) if isinstance(part, TextPart) else part
        for part in question.turns[turn].parts
    )
    parts.append(Ids((special[OPENS[question.turns[turn].how]],)))
    return bundle.tokens.encode(parts)


def _ask_some(bundle: Bundle, questions: list[Question]) -> list[list[Answer]]:
    turns = max(len(question.turns) for question in questions)
    longest = max(sum(_size(bundle, a.parts) + LONGEST + 40 for a in q.turns) + 100 for q in questions)
    live = Live(bundle.model, slots=len(questions), capacity=min(bundle.model.spec.longest, longest))
    answers: list[list[Answer]] = [[] for _ in questions]
    for turn in range(turns):
        going = [row for row, question in enumerate(questions) if len(question.turns) > turn]
        pieces = {row: written(bundle, questions[row], turn) for row in going}
        calls = {row for row in going if questions[row].tools}
        for row, answer in _say(bundle, live, pieces, calls).items():
            answers[row].append(answer)
    return answers


def _say(bundle: Bundle, live: Live, pieces: dict[int, Sequence], calls: set[int]) -> dict[int, Answer]:
    special, model = bundle.special, bundle.model
    banned = [number for name, number in special.items() if name not in (END, CALL)]
    rows = {row: _Row() for row in pieces}
    while pieces:
        hidden = live.push(pieces)
        with torch.no_grad():
            last = torch.stack([hidden[row][-1] for row in pieces])
            scores = model.text(last)  # [rows, ids]
        scores[:, banned] = float("-inf")
        for place, row in enumerate(pieces):  # as in the engines: a call begins an answer, where a tool is declared
            if row not in calls or rows[row].ids:
                scores[place, special[CALL]] = float("-inf")
        chosen: list[int] = scores.argmax(-1).tolist()
        following = {}
        for row, number in zip(list(pieces), chosen, strict=True):
            if not rows[row].over:
                rows[row].over = number == special[END]
                if not rows[row].over:
                    rows[row].ids.append(number)
                # The end is read too: it is a part of the history.
                if len(rows[row].ids) < LONGEST:
                    following[row] = bundle.tokens.encode([Ids((number,))])
        pieces = following
    return {row: _answer(bundle, found) for row, found in rows.items()}


def _answer(bundle: Bundle, row: _Row) -> Answer:
    called = row.ids[:1] == [bundle.special[CALL]]
    plain = [i for i in row.ids if i < min(bundle.special.values())]
    return Answer(bundle.text.decode(plain), called, row.over)


def over(bundle: Bundle, frames: ListLike[Frames]) -> list[Tensor]:
    """For each sound, after every token, how likely the turn is over: [tokens]."""
    found: list[Tensor] = []
    for at in range(0, len(frames), ROWS):
        some = frames[at : at + ROWS]
        opener = Ids((bundle.special[USER],))
        sequences = [bundle.tokens.encode([opener, sound]) for sound in some]
        with torch.no_grad():
            output = bundle.model(sequences)
        scores = output.extra["turn"][..., 0].sigmoid()  # [rows, tokens]
        found.extend(scores[row, 1 : len(sequence)] for row, sequence in enumerate(sequences))
    return found


def _size(bundle: Bundle, parts: ListLike[Part]) -> int:
    return sum(len(p.text) if isinstance(p, TextPart) else bundle.tokens.count([p]) for p in parts) + 4
