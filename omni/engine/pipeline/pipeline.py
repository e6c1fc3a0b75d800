"""Speech to text, then a text model, then text to speech: each streaming into the next.

The model's first clause is spoken while it writes the second. A `Cancel` ends all three. What goes on in the history is
what the user heard.
"""

import asyncio
import logging
from contextlib import aclosing
from typing import Any

from omni.engine.answering import AnsweringEngine, AnsweringSession, Reason, StageFailed
from omni.engine.clock import Clock, SystemClock
from omni.engine.pipeline.clauses import Clauses
from omni.engine.pipeline.history import Answer, Spoken, Turn, answered
from omni.engine.pipeline.order import in_order
from omni.engine.pipeline.registry import speech_to_text, text_model, text_to_speech
from omni.engine.pipeline.stages import Call, Message, SpeechToText, Stopped, TextModel, TextToSpeech
from omni.engine.protocol import (
    AudioIn,
    AudioOut,
    ImageIn,
    Origin,
    SessionSpec,
    TextDelta,
    TextIn,
    ToolCall,
    Transcript,
)

TURNS = 64  # of the history that are kept; whole ones are dropped, the oldest first
CLAUSES = 8  # that may wait to be spoken
log = logging.getLogger(__name__)


class PipelineSession(AnsweringSession[Turn]):
    """One conversation through three stages."""

    def __init__(self, *about: Any, engine: "PipelineEngine", **options: Any) -> None:
        super().__init__(*about, **options)
        self._engine = engine
        self._turn = Turn()
        self.history: list[Turn] = []

    async def hear(self, unit: AudioIn | TextIn | ImageIn) -> None:
        """Take in a piece of the turn; words already heard leave at once."""
        if isinstance(unit, TextIn):
            self._turn.parts.append(unit)
        elif isinstance(unit, ImageIn):
            self._turn.parts.append(unit.pixels)
        elif len(unit.samples):
            partial = await self._engine.ears.hear(self._turn, unit.samples)
            if partial:
                await self.emit(Transcript(partial))

    def turn(self) -> Turn:
        """The turn as it stands. It may go on: a new answer to it is then prepared."""
        self._turn.answer = Answer()  # so that a cancel before the first word shortens no earlier answer
        return self._turn

    def settle(self, turn: Turn) -> None:
        """The turn goes into the history; its answer is filled in while it is made."""
        self.history.append(turn)
        del self.history[: max(0, len(self.history) - self._engine.turns)]
        self._turn = Turn()

    def discard(self) -> None:
        """Forget the turn."""
        self._turn.drop()
        self._turn = Turn()

    async def release(self) -> None:
        """Stop what still listens."""
        for turn in (*self.history, self._turn):
            turn.drop()

    def shorten(self, heard: float) -> None:
        """The last answer was heard only so far."""
        for turn in reversed(self.history):
            if turn.answer is not None:
                turn.answer.shorten(heard)
                return

    async def answer(self, origin: Origin, turn: Turn) -> Reason:
        """Write down, think, speak."""
        if turn.has_speech:
            text = await self._engine.ears.finish(turn)
            await self.mark(origin, "transcript")
            await self.emit(Transcript(text, final=True, turn=origin))
            if not text and len(turn.parts) == 1:
                turn.answer = None  # nobody said anything
                return "stop"
        messages = await self._messages(turn)
        turn.answer = answer = Answer(aloud=self.spec.speaks)
        if not self.spec.speaks:
            return await self._write(origin, messages, answer, None)
        clauses: asyncio.Queue[str | None] = asyncio.Queue(CLAUSES)
        try:
            async with asyncio.TaskGroup() as stages:  # one that fails, or a cancel, ends the other
                writing = stages.create_task(self._write(origin, messages, answer, clauses))
                stages.create_task(self._speak(origin, answer, clauses))
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return writing.result()

    async def _messages(self, turn: Turn) -> list[Message]:
        found = [Message("system", self.spec.instructions)] if self.spec.instructions else []
        for earlier in self.history:
            if earlier is not turn:
                try:
                    await self._engine.ears.finish(earlier)
                except StageFailed as error:  # which ends its own answer, and no later one
                    log.warning("%s: %s", error.code, error)
                found += [*earlier.messages(), *answered(earlier)]
                earlier.seal()
        return in_order([*found, *turn.messages()])

    async def _write(
        self, origin: Origin, messages: list[Message], answer: Answer, clauses: "asyncio.Queue[str | None] | None"
    ) -> Reason:
        cut, reason, first_clause = Clauses(), "stop", True

        async def to_speech(found: list[str]) -> None:
            nonlocal first_clause
            for clause in found if clauses is not None else ():
                if first_clause:
                    await self.mark(origin, "first_clause")
                    first_clause = False
                assert clauses is not None
                await clauses.put(clause)

        first = True
        spec = self.spec
        pieces = self._engine.llm.answer(messages, spec.tools, spec.sampling, spec.longest, must_call=spec.must_call)
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    if first:
                        await self.mark(origin, "llm_first_token")
                        first = False
                    if isinstance(piece, Call):
                        answer.calls.append(piece)
                        await self.emit(ToolCall(origin, piece.name, piece.arguments, piece.call))
                        reason = "tool"
                    elif isinstance(piece, Stopped):
                        reason = "length"
                    elif piece:
                        answer.text += piece
                        await self.emit(TextDelta(origin, piece))
                        await to_speech(cut.push(piece))
        except StageFailed:
            raise
        except Exception as error:
            raise StageFailed("llm_failed", f"the text model failed: {type(error).__name__}: {error}") from error
        await to_speech(cut.finish())
        if clauses is not None:
            await clauses.put(None)
        return reason  # type: ignore[return-value]

    async def _speak(self, origin: Origin, answer: Answer, clauses: "asyncio.Queue[str | None]") -> None:
        tts, first = self._engine.tts, True
        while (text := await clauses.get()) is not None:
            clause = Spoken(text, done=not any(letter.isalnum() for letter in text))
            answer.spoken.append(clause)
            if clause.done:
                continue
            sound = tts.speak(text)
            try:
                async with aclosing(sound):
                    async for samples in sound:
                        if first:
                            await self.mark(origin, "tts_first_audio")
                            first = False
                        clause.seconds += len(samples) / tts.rate
                        await self.emit(AudioOut(origin, samples))
            except StageFailed:
                raise
            except Exception as error:
                raise StageFailed("tts_failed", f"the voice failed: {type(error).__name__}: {error}") from error
            clause.done = True


class Ears:
    """Speech to text, with its failures named."""

    def __init__(self, stt: SpeechToText) -> None:
        self._stt = stt

    async def hear(self, turn: Turn, samples: Any) -> str | None:
        """More speech of a turn."""
        try:
            return await turn.push(samples, self._stt.listen)
        except StageFailed:
            raise
        except Exception as error:
            raise StageFailed("stt_failed", f"speech to text failed: {type(error).__name__}: {error}") from error

    async def finish(self, turn: Turn) -> str:
        """The whole transcript."""
        try:
            return await turn.transcript()
        except StageFailed:
            raise
        except Exception as error:
            raise StageFailed("stt_failed", f"speech to text failed: {type(error).__name__}: {error}") from error


class PipelineEngine(AnsweringEngine[PipelineSession]):
    """Three stages, shared by all sessions."""

    def __init__(
        self,
        stt: SpeechToText,
        llm: TextModel,
        tts: TextToSpeech,
        *,
        sessions: int = 16,
        turns: int = TURNS,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(clock or SystemClock(), sessions)
        self.stt, self.llm, self.tts = stt, llm, tts
        self.ears = Ears(stt)
        self.turns = turns
        self.sees = llm.sees

    @property
    def rate_out(self) -> int:
        """Hz, of the voice."""
        return self.tts.rate

    def begin(self, spec: SessionSpec) -> PipelineSession:
        """A new session."""
        return PipelineSession(spec, self.clock, engine=self, sees=self.sees, closed=self.forget)

    async def release(self) -> None:
        """Free the stages."""
        for stage in (self.stt, self.llm, self.tts):
            await stage.close()


def pipeline(stt: str, llm: str, tts: str, *, sessions: int = 16, turns: int = TURNS) -> PipelineEngine:
    """A pipeline by the names of its stages: what `--stt --llm --tts` give, and what a worker process builds.

    >>> pipeline("scripted:hello there", "scripted:Good morning!", "scripted:").rate_out
    16000
    """
    return PipelineEngine(speech_to_text(stt), text_model(llm), text_to_speech(tts), sessions=sessions, turns=turns)
