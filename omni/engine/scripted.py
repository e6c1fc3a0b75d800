"""An engine that answers what it is told to: every way an answer can go, on the clock that it is given.

    ScriptedEngine([Say("It is ", after=0.2), Say("four."), Speak(0.4), Call("light", '{"on": true}')])

Each turn takes the next script, and the last one again when there are no more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from omni.engine.answering import AnsweringEngine, AnsweringSession, Reason, StageFailed
from omni.engine.clock import Clock, LoopClock
from omni.engine.protocol import (
    SAMPLE_RATE,
    AudioIn,
    AudioOut,
    ImageIn,
    Origin,
    SessionSpec,
    Stage,
    TextDelta,
    TextIn,
    ToolCall,
    Transcript,
    TurnPrediction,
)

CHUNK = 0.04  # s of audio in an event
LOUDNESS = 0.1


@dataclass(frozen=True)
class Say:
    """A piece of the answer's text, so many seconds after what came before."""

    text: str
    after: float = 0.0  # s


@dataclass(frozen=True)
class Speak:
    """So many seconds of a tone, in chunks; `pace` is how many times faster than real time, 0 for at once."""

    seconds: float
    after: float = 0.0  # s
    pace: float = 0.0


@dataclass(frozen=True)
class Call:
    """Call a tool. The answer then ends with the reason `tool`, unless something else follows."""

    name: str
    arguments: str = "{}"
    after: float = 0.0  # s


@dataclass(frozen=True)
class Stamp:
    """Reach a stage."""

    stage: Stage
    after: float = 0.0  # s


@dataclass(frozen=True)
class Stop:
    """End the answer here, for this reason."""

    reason: Literal["stop", "length", "tool"] = "stop"
    after: float = 0.0  # s


@dataclass(frozen=True)
class Break:
    """The answer fails; the whole session does when it is `fatal`."""

    code: str = "scripted"
    message: str = "the script says so"
    fatal: bool = False
    after: float = 0.0  # s


@dataclass(frozen=True)
class Hang:
    """Nothing more ever comes, until somebody cancels."""

    after: float = 1e9  # s


Step = Say | Speak | Call | Stamp | Stop | Break | Hang
Notice = Transcript | TurnPrediction


@dataclass
class Noted:
    """What a session was given, for a test to look at."""

    audio: float = 0.0  # s in this turn
    text: list[TextIn] = field(default_factory=list)
    images: int = 0
    played: list[Sequence[Step]] = field(default_factory=list)
    shortened: list[float] = field(default_factory=list)


class ScriptedSession(AnsweringSession[Sequence[Step]]):
    """Plays one script a turn, and notices what it is told to notice while it listens."""

    def __init__(
        self, *about: Any, scripts: Sequence[Sequence[Step]], notices: Sequence[tuple[float, Notice]], **options: Any
    ) -> None:
        super().__init__(*about, **options)
        self.noted = Noted()
        self._scripts = scripts
        self._notices: Iterator[tuple[float, Notice]] = iter(sorted(notices, key=lambda notice: notice[0]))
        self._next = next(self._notices, None)

    async def hear(self, unit: AudioIn | TextIn | ImageIn) -> None:
        """Count it."""
        if isinstance(unit, TextIn):
            self.noted.text.append(unit)
        elif isinstance(unit, ImageIn):
            self.noted.images += 1
        else:
            self.noted.audio += len(unit.samples) / SAMPLE_RATE
            while self._next is not None and self._next[0] <= self.noted.audio:
                await self.emit(self._next[1])
                self._next = next(self._notices, None)

    def turn(self) -> Sequence[Step]:
        """The script of this turn."""
        return self._scripts[min(len(self.noted.played), len(self._scripts) - 1)]

    def settle(self, turn: Sequence[Step]) -> None:
        """Go on to the next script."""
        self.noted.played.append(turn)
        self.noted.audio = 0.0

    def discard(self) -> None:
        """Forget the audio."""
        self.noted.audio = 0.0

    def shorten(self, heard: float) -> None:
        """Note it."""
        self.noted.shortened.append(heard)

    async def answer(self, origin: Origin, turn: Sequence[Step]) -> Reason:
        """Play the script."""
        reason: Reason = "stop"
        for number, step in enumerate(turn):
            if step.after > 0:
                await self.clock.sleep(step.after)
            reason = "stop"
            match step:
                case Say(text=text):
                    await self.emit(TextDelta(origin, text))
                case Speak(seconds=seconds, pace=pace):
                    await self._speak(origin, seconds, pace)
                case Call(name=name, arguments=arguments):
                    await self.emit(ToolCall(origin, name, arguments, f"call_{origin.response}_{number}"))
                    reason = "tool"
                case Stamp(stage=stage):
                    await self.mark(origin, stage)
                case Stop(reason=why):
                    return why
                case Break(fatal=True, code=code, message=message):
                    self.outlet.fail(code, message)
                case Break(code=code, message=message):
                    raise StageFailed(code, message)
                case Hang():
                    pass
        return reason

    async def _speak(self, origin: Origin, seconds: float, pace: float) -> None:
        samples = round(seconds * SAMPLE_RATE)
        chunk = round(CHUNK * SAMPLE_RATE)
        for at in range(0, samples, chunk):
            phase = np.arange(at, min(at + chunk, samples)) * (2 * np.pi * 440 / SAMPLE_RATE)
            await self.emit(AudioOut(origin, (LOUDNESS * np.sin(phase)).astype(np.float32)))
            if pace:
                await self.clock.sleep(CHUNK / pace)


class ScriptedEngine(AnsweringEngine[ScriptedSession]):
    """Answers by script: one for every turn, or a list of them."""

    rate_out = SAMPLE_RATE

    def __init__(
        self,
        *scripts: Sequence[Step],
        notices: Sequence[tuple[float, Notice]] = (),
        sees: bool = True,
        sessions: int = 16,
        patience: float = 5.0,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(clock or LoopClock(), sessions)
        self.sees = sees
        self._scripts = scripts or ((),)
        self._notices = notices
        self._patience = patience

    def begin(self, spec: SessionSpec) -> ScriptedSession:
        """A new session, at the first script."""
        return ScriptedSession(
            spec, self.clock, scripts=self._scripts, notices=self._notices,
            sees=self.sees, patience=self._patience, closed=self.forget,
        )  # fmt: skip
