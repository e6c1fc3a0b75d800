"""One question, one answer, and everything that was measured about it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from omni_server.client.answer import Answer, Stage
from omni_server.client.talk import Talk
from omni_server.compare.questions import Question

LATE = 0.03  # s: where the end of speech left later than this, the machine was too busy to measure
# s around the end of speech in which it matters when sound left. Behind it the contestant is at work, and if that keeps
# the measuring process waiting, it kept the user waiting as well.
BEFORE, BEHIND = 0.1, 0.02
NEVER_STOPPED = "talked on"  # of an answer that was interrupted, and heard for as long as the user spoke


@dataclass(frozen=True)
class Turn:
    """What came of it."""

    contestant: str
    question: str
    round: int
    users: int  # that talked at the same time
    voice_to_voice_ms: float | None = None
    first_text_ms: float | None = None
    stop_ms: float | None = None  # of an interrupted answer
    stages: tuple[Stage, ...] = ()
    text: str = ""
    heard: str | None = None  # what the server understood
    right: bool | None = None
    underruns: int = 0
    late_ms: float = 0.0  # the measuring machine's own lateness
    excluded: tuple[str, ...] = ()  # why it is in no percentile
    error: str | None = None

    @property
    def counts(self) -> bool:
        """Whether it belongs into percentiles."""
        return self.voice_to_voice_ms is not None and not self.excluded and self.error is None

    @property
    def unanswered(self) -> bool:
        """Whether nothing was heard, and the contestant is to blame: who waits for that, waits for ever."""
        return not self.counts and set(self.excluded) <= {"full", "failed"}

    def as_json(self) -> dict[str, Any]:
        """Plain numbers."""
        return {**vars(self), "stages": [vars(stage) for stage in self.stages], "excluded": list(self.excluded)}


@dataclass(frozen=True)
class Measured:
    """All turns of a comparison."""

    contestants: tuple[str, ...]
    turns: list[Turn] = field(default_factory=list)

    def of(self, contestant: str, users: int = 1) -> list[Turn]:
        """The turns of one, of those that were not interrupted."""
        return [turn for turn in self.turns if turn.contestant == contestant and turn.users == users]

    def counted(self, contestant: str, users: int = 1) -> list[float]:
        """Voice-to-voice of the turns that count."""
        return [t.voice_to_voice_ms for t in self.of(contestant, users) if t.counts and t.voice_to_voice_ms is not None]

    def unanswered(self, contestant: str, users: int = 1) -> int:
        """How many turns had no answer."""
        return sum(turn.unanswered for turn in self.of(contestant, users))

    def pairs(self, a: str, b: str) -> tuple[list[float], list[float]]:
        """The same question in the same round by both, where both count."""
        first, second = ({(t.question, t.round): t.voice_to_voice_ms for t in self.of(n) if t.counts} for n in (a, b))
        both = [key for key in first if key in second]
        return _floats(first[key] for key in both), _floats(second[key] for key in both)

    def users(self, contestant: str) -> list[int]:
        """How many talked at the same time, in the runs that there were."""
        return sorted({turn.users for turn in self.turns if turn.contestant == contestant})


def _floats(values: Any) -> list[float]:
    return [float(value) for value in values]


def turn_of(answer: Answer, talk: Talk, contestant: str, question: Question, number: int, users: int) -> Turn:
    """A turn from its answer."""
    ear = answer.ear
    ends = None if answer.asked is None else answer.asked.speech_ends
    late = 0.0 if ends is None else talk.mouth.late_between(ends - BEFORE, ends + BEHIND)
    excluded: Sequence[str] = answer.excluded
    if late > LATE and users == 1:  # several users are load, and load is what is measured then
        excluded = (*excluded, "late")
    return Turn(
        contestant=contestant, question=question.name, round=number, users=users,
        voice_to_voice_ms=ear.voice_to_voice_ms, first_text_ms=ear.first_text_ms, stages=answer.waterfall,
        text=answer.text.strip(), heard=answer.question, right=question.judged(answer.text),
        underruns=ear.underruns, late_ms=late * 1000, excluded=tuple(excluded),
        error=answer.error if answer.status == "failed" else None,
    )  # fmt: skip
