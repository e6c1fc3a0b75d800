"""The runs: A B A B, question by question; interruptions; then more and more users at once."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from random import Random

from omni_server.client.answer import Answer, Utterance
from omni_server.client.refusals import Refusal, ServerFull
from omni_server.client.talk import Talk
from omni_server.compare.questions import Question
from omni_server.compare.turn import NEVER_STOPPED, Measured, Turn, turn_of

INTERRUPT_AFTER = 0.15  # s that an answer is heard before it is interrupted
BREATH = 0.2  # s between an answer that was heard out and the next question
PATIENCE = 30.0  # s for an answer
SEED = 1


@dataclass(frozen=True)
class Contestant:
    """Somebody to talk to; each call of `open` is another conversation."""

    name: str
    open: Callable[[], AbstractAsyncContextManager[Talk]]


@dataclass(frozen=True)
class Plan:
    """How much is run."""

    rounds: int = 3  # times that each question is asked to each
    interruptions: int = 10  # of each
    users: tuple[int, ...] = (2, 4, 8, 16)  # at once, besides one
    turns_each: int = 3  # of each user, in the runs with several
    warm: int = 1  # turns before anything is measured


@dataclass
class Run:
    """A comparison on its way; `told` gets one line about each turn."""

    contestants: Sequence[Contestant]
    questions: Sequence[Question]
    plan: Plan = field(default_factory=Plan)
    told: Callable[[str], None] = lambda _line: None

    async def all(self) -> Measured:
        """Everything, one part after the other: they must not slow each other down."""
        measured = Measured(tuple(one.name for one in self.contestants))
        await self.interleaved(measured)
        await self.interrupted(measured)
        for users in self.plan.users:
            for contestant in self.contestants:
                await self.together(measured, contestant, users)
        return measured

    async def interleaved(self, measured: Measured) -> None:
        """One user: each question to each contestant in turn, so that whatever drifts drifts for all."""
        for number in range(-self.plan.warm, self.plan.rounds):
            asked = self.questions if number >= 0 else self.questions[:1]
            for place, question in enumerate(asked):
                order = self.contestants if (number + place) % 2 == 0 else tuple(reversed(self.contestants))
                for contestant in order:
                    turn = await self._alone(contestant, question, number)
                    if number >= 0:
                        measured.turns.append(turn)
                        self.told(line(turn))

    async def interrupted(self, measured: Measured) -> None:
        """Somebody speaks while an answer is heard."""
        for number in range(self.plan.interruptions):
            question = self.questions[number % len(self.questions)]
            for contestant in self.contestants:
                turn = await self._interrupt(contestant, question, number)
                measured.turns.append(turn)
                self.told(line(turn))

    async def together(self, measured: Measured, contestant: Contestant, users: int) -> None:
        """So many conversations at once, each at its own pace, beginning at different moments."""
        random = Random(SEED + users)
        plans = [
            (random.random() * 1.5, random.sample(range(len(self.questions)), len(self.questions)))
            for _ in range(users)
        ]
        found = await asyncio.gather(
            *(self._user(contestant, users, number, wait, order) for number, (wait, order) in enumerate(plans))
        )
        turns = [turn for one in found for turn in one]
        measured.turns.extend(turns)
        counted = measured.counted(contestant.name, users)
        self.told(f"{contestant.name}: {users} users at once, {len(counted)} of {len(turns)} turns count")

    # Inside

    async def _alone(self, contestant: Contestant, question: Question, number: int) -> Turn:
        try:
            async with contestant.open() as talk:
                await talk.send_audio(question.recording)
                answer = await talk.answer(patience=PATIENCE)
                return turn_of(answer, talk, contestant.name, question, number, 1)
        except Refusal as refused:
            return Turn(
                contestant.name, question.name, number, 1,
                right=question.judged(""), error=str(refused), excluded=_why(refused),
            )  # fmt: skip

    async def _interrupt(self, contestant: Contestant, question: Question, number: int) -> Turn:
        nothing = Turn(contestant.name, question.name, number, 1, excluded=("interrupted",))
        try:
            async with contestant.open() as talk:
                await talk.send_audio(question.recording)
                answering = asyncio.ensure_future(talk.answer(patience=PATIENCE))
                try:
                    if not await _audible(talk, answering):
                        await answering
                        return Turn(**{**vars(nothing), "excluded": ("interrupted", "ended before")})
                    await talk.clock.sleep(INTERRUPT_AFTER)
                    said = await talk.send_audio(question.recording)
                    answer = await answering
                finally:
                    answering.cancel()
                stop = answer.ear.stop_ms
                why = ("interrupted",) if stop is not None else ("interrupted", _unstopped(answer, said))
                return Turn(**{**vars(nothing), "stop_ms": stop, "excluded": why})
        except Refusal as refused:
            return Turn(**{**vars(nothing), "error": str(refused)})

    async def _user(
        self, contestant: Contestant, users: int, user: int, wait: float, order: Sequence[int]
    ) -> list[Turn]:
        await asyncio.sleep(wait)
        turns: list[Turn] = []
        asked = [self.questions[order[at % len(order)]] for at in range(self.plan.turns_each)]
        try:
            async with contestant.open() as talk:
                for question in asked:
                    await talk.send_audio(question.recording)
                    answer = await talk.answer(patience=PATIENCE)
                    turns.append(turn_of(answer, talk, contestant.name, question, user, users))
                    await talk.clock.sleep(BREATH)
        except Refusal as refused:
            turns += [
                Turn(contestant.name, question.name, user, users, error=str(refused))
                for question in asked[len(turns) :]
            ]
        return turns


def _why(refused: Refusal) -> tuple[str, ...]:
    return ("full",) if isinstance(refused, ServerFull) else ("failed",)


def _unstopped(answer: Answer, said: Utterance) -> str:
    """Why an answer was not stopped: it had ended, or it was heard until all of the interrupting speech was said."""
    last = max((one.ends for one in answer.spoken if one.stopped_at is None), default=None)
    talked_on = last is not None and said.speech_ends is not None and last > said.speech_ends
    return NEVER_STOPPED if talked_on else "ended before"


async def _audible(talk: Talk, answering: "asyncio.Future[Answer]") -> bool:
    """Wait until an answer is heard; False when it ended without a sound."""
    while not answering.done():
        now = talk.clock.now()
        first = min((one.first_at for one in talk.ear.items.values() if one.stopped_at is None), default=None)
        if first is not None:
            await talk.clock.sleep(max(0.0, first - now))
            return True
        await talk.clock.sleep(0.01)
    return False


def line(turn: Turn) -> str:
    """One turn, for people who watch."""
    said = f"{turn.contestant:10} {turn.question[:44]:44} "
    if turn.error is not None:
        return said + turn.error
    if "interrupted" in turn.excluded:
        if turn.stop_ms is not None:
            return said + f"silent after {turn.stop_ms:.0f} ms"
        return said + (NEVER_STOPPED if NEVER_STOPPED in turn.excluded else "ended before it was interrupted")
    time = "no sound" if turn.voice_to_voice_ms is None else f"{turn.voice_to_voice_ms:6.0f} ms"
    verdict = {True: "right", False: "wrong", None: ""}[turn.right]
    why = f"  not counted: {', '.join(turn.excluded)}" if turn.excluded else ""
    return f"{said}{time}  {verdict:5}  {turn.text[:40]}{why}"
