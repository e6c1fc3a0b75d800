"""Marks: what is right, how sure that is, and the table."""

import json
import logging
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from omni.bundle import Bundle
from omni.engine.protocol import SURE
from omni.train.asking import Answer, Asked, Question, ask, over
from omni.train.codec.scores import wrong_words
from omni.train.dialogue import Split
from omni.train.exam import MEASURES, Measure, questions
from omni.train.speakers import NotInstalled
from omni.wilson import wilson
from omni_tokenizers.sequence import Audio, Frames
from omni_tokenizers.sequence.parts import TextPart

log = logging.getLogger(__name__)
TOKEN = 0.04  # s
FOUND = 0.16  # s after the last sample of speech by which a turn's end has to be found
FALSE_ENDS = 0.02  # the share of pauses at which an end may be found


@dataclass(frozen=True)
class Row:
    """One line of the table; shares are from 0 to 1."""

    measure: str
    value: float | None  # None: not measured
    n: int
    interval: tuple[float, float] | None
    bar: float | None  # None: only to compare with
    holds: bool | None

    @property
    def verdict(self) -> str:
        """Whether it reaches its bar, in a word."""
        if self.bar is None:
            return ""
        return "not measured" if self.value is None else "holds" if self.holds else "missed"


@dataclass(frozen=True)
class Part:
    """How one skill fared under one condition."""

    skill: str
    condition: str
    right: int
    n: int
    interval: tuple[float, float]


@dataclass
class Failure:
    """One question that was answered wrongly, for a person to look at."""

    measure: str
    question: Question
    said: str


@dataclass
class Marks:
    """The table, the same by skill, and the failures."""

    rows: list[Row] = field(default_factory=list)
    parts: list[Part] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)

    def as_text(self) -> str:
        """The table for a terminal."""
        lines = [f"{'measure':<58}{'value':>9}{'n':>7}   {'95 % interval':<16}{'bar':>7}"]
        for row in self.rows:
            value = "–" if row.value is None else shown(row.value, row.bar)
            bar = "" if row.bar is None else shown(row.bar, row.bar)
            low_high = "" if row.interval is None else " … ".join(shown(edge, row.bar) for edge in row.interval)
            lines.append(f"{row.measure:<58}{value:>9}{row.n:>7}   {low_high:<16}{bar:>7}  {row.verdict}".rstrip())
        if self.parts:
            lines.append("")
            lines.extend(f"{cells[0]:<20}" + "".join(f"{cell:>13}" for cell in cells[1:]) for cells in self.by_skill())
        return "\n".join(lines)

    def by_skill(self) -> list[list[str]]:
        """How many were right of how many: a line for each skill, a column for each condition that has several."""
        counts = Counter(part.condition for part in self.parts)
        columns = [condition for condition, skills in counts.items() if skills > 1]
        told = {(part.skill, part.condition): f"{part.right} of {part.n}" for part in self.parts}
        skills = sorted({part.skill for part in self.parts if part.condition in columns})
        return [["skill", *columns], *([skill, *(told.get((skill, c), "") for c in columns)] for skill in skills)]

    def as_json(self, about: Mapping[str, str]) -> str:
        """The table as JSON, with what it was made on, and the same by skill."""
        found = {**about, "rows": [asdict(row) for row in self.rows], "skills": [asdict(part) for part in self.parts]}
        return json.dumps(found, indent=1, ensure_ascii=False)


def shown(value: float, bar: float | None) -> str:
    """A share as a percentage; what has a bar above 1 as it is.

    >>> shown(0.953, 0.95), shown(2.94, 2.8)
    ('95.3 %', '2.94')
    """
    return f"{value:.2f}" if bar is not None and bar > 1 else f"{100 * value:.1f} %"


def words(text: str) -> list[str]:
    """The words of a text, lower case, without punctuation.

    >>> words("It's two, or 3 o'clock.")
    ["it's", 'two', 'or', '3', "o'clock"]
    """
    return re.findall(r"[a-z0-9']+", text.lower())


def word_errors(said: str, truth: str) -> tuple[int, int]:
    """Words to insert, remove or replace, and the words of the truth.

    >>> word_errors("the cat sat", "a cat sat down")
    (2, 4)
    """
    return wrong_words(words(truth), words(said)), len(words(truth))


def right(question: Question, answers: Sequence[Answer]) -> bool:
    """Whether the last turn was answered to the letter; the turns before it are its history."""
    asked, answer = question.turns[-1], answers[-1]
    if asked.call is not None:
        return answer.called == bool(asked.call) and (not asked.call or answer.text == asked.call)
    return answer.whole and not answer.called and answer.text == asked.expected


def mark(bundle: Bundle, split: Split, count: int, measures: Sequence[Measure] = MEASURES) -> Marks:
    """Examine a model with so many questions a measure."""
    if count < 1:
        raise ValueError(f"an examination of {count} questions a measure says nothing: give 1 or more")
    marks = Marks()
    for measure in measures:
        name = measure.called(split)
        try:
            asked = questions(measure, split, count)
        except NotInstalled as missing:
            log.warning("%s is not measured: %s", name, missing)
            marks.rows.append(Row(name, None, 0, None, measure.bar, False))
            continue
        if measure.kind == "turn":
            _turns(bundle, measure, asked, marks)
            continue
        answers = ask(bundle, asked)
        wrong = [Failure(name, q, a[-1].text) for q, a in zip(asked, answers, strict=True) if not right(q, a)]
        marks.failures.extend(wrong)
        missed = Counter(failure.question.skill for failure in wrong)
        for skill, n in Counter(question.skill for question in asked if question.skill).items():
            of = n - missed[skill]
            marks.parts.append(Part(skill, measure.short, of, n, wilson(of, n)))
        if measure.kind == "words":
            errors = [word_errors(a[-1].text, q.turns[-1].expected) for q, a in zip(asked, answers, strict=True)]
            n = sum(total for _, total in errors)
            value = sum(e for e, _ in errors) / n
            low_high = wilson(min(n, round(value * n)), n)
            marks.rows.append(Row(name, value, n, low_high, measure.bar, value <= measure.bar))
        else:
            marks.rows.append(_share(name, len(asked) - len(wrong), len(asked), measure.bar))
    return marks


def native_and_pipeline(bundle: Bundle, split: Split, count: int) -> tuple[Row, Row]:
    """The same spoken questions answered at once, and written down first and then answered as typed ones."""
    asked = questions(MEASURES[0], split, count)
    native = sum(right(q, a) for q, a in zip(asked, ask(bundle, asked), strict=True))
    heard = ask(bundle, [Question((Asked(q.turns[0].parts, "", how="transcribe"),)) for q in asked])
    again = [
        Question((Asked((TextPart(a[0].text or " "),), q.turns[0].expected),))
        for q, a in zip(asked, heard, strict=True)
    ]
    pipeline = sum(right(q, a) for q, a in zip(again, ask(bundle, again), strict=True))
    bar = pipeline / len(asked) - 0.01
    return (
        _share("native, spoken questions", native, len(asked), bar),
        _share("pipeline of the same weights, the same questions", pipeline, len(asked), None),
    )


def _share(name: str, of: int, n: int, bar: float | None) -> Row:
    value = of / n if n else 0.0
    return Row(name, value, n, wilson(of, n), bar, None if bar is None else value >= bar)


def _turns(bundle: Bundle, measure: Measure, asked: list[Question], marks: Marks) -> None:
    """Ends that were found in time, and ends that were found at a pause."""
    mel = bundle.tokens.modalities["audio"]
    sounds = []
    for question in asked:
        part = question.turns[-1].parts[-1]
        assert isinstance(part, Audio)
        encoded = mel.encode(part)
        sounds.append(Frames("audio", encoded.arrays["values"].reshape(-1, encoded.arrays["values"].shape[-1])))
    in_time = pauses = false = 0
    for question, scores in zip(asked, over(bundle, sounds), strict=True):
        fired = [(token + 1) * TOKEN for token, score in enumerate(scores.tolist()) if score >= SURE]
        found = [moment for moment in fired if moment >= question.end]
        early = [moment for moment in fired if moment < question.end]
        ok = bool(found) and found[0] <= question.end + FOUND and not early
        in_time += ok
        if question.pause is not None:
            pauses += 1
            false += any(question.pause[0] <= moment <= question.pause[1] + TOKEN for moment in early)
        if not ok:
            said = f"ends at {', '.join(f'{m:.2f}' for m in fired[:3]) or 'no time'} s, not at {question.end:.2f} s"
            marks.failures.append(Failure(measure.name, question, said))
    marks.rows.append(_share(measure.name, in_time, len(asked), measure.bar))
    value = false / pauses if pauses else None
    holds = value is not None and value < FALSE_ENDS
    marks.rows.append(
        Row("false ends at pauses inside a sentence", value, pauses, wilson(false, pauses), FALSE_ENDS, holds)
    )
