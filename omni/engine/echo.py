"""An engine that says back what it heard: the server is tested and measured with it, without any model."""

import asyncio
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.engine.answering import AnsweringEngine, AnsweringSession, Reason
from omni.engine.clock import Clock, SystemClock
from omni.engine.protocol import SAMPLE_RATE, AudioIn, AudioOut, ImageIn, Origin, SessionSpec, TextDelta, TextIn, Unit

CHUNK = 640  # samples, 40 ms


@dataclass
class Heard:
    """The turn so far."""

    audio: list[NDArray[np.float32]] = field(default_factory=list)
    text: list[str] = field(default_factory=list)


class EchoSession(AnsweringSession[Heard]):
    """Says a turn back when it is over; or, `duplex`, each piece of audio at once while a response is open."""

    def __init__(self, *about: Any, duplex: bool, **options: Any) -> None:
        super().__init__(*about, **options)
        self.duplex = duplex
        self._so_far = Heard()

    def push_now(self, unit: AudioIn) -> bool:
        """Say it back around the queue: 200 live sessions on two cores are measured through here."""
        origin = self.outlet.origin
        if not self.duplex or origin is None or not self.outlet.open or not self.outlet.room:
            return False
        self.outlet.offer(AudioOut(origin, unit.samples))
        return True

    async def push(self, unit: Unit) -> None:
        """Hand over the next unit."""
        if not isinstance(unit, AudioIn) or not self.push_now(unit):
            await super().push(unit)

    async def hear(self, unit: AudioIn | TextIn | ImageIn) -> None:
        """Keep it; or say it back."""
        if isinstance(unit, AudioIn):
            if self.duplex:
                if self.outlet.open and self.outlet.origin:
                    await self.emit(AudioOut(self.outlet.origin, unit.samples))
            else:
                self._so_far.audio.append(unit.samples)
        elif isinstance(unit, TextIn):
            self._so_far.text.append(unit.text)

    def turn(self) -> Heard:
        """A copy, since the turn may go on."""
        return Heard(list(self._so_far.audio), list(self._so_far.text))

    def settle(self, turn: Heard) -> None:
        """What comes next is the next turn."""
        del self._so_far.audio[: len(turn.audio)], self._so_far.text[: len(turn.text)]

    def discard(self) -> None:
        """Forget the turn."""
        self._so_far = Heard()

    async def answer(self, origin: Origin, turn: Heard) -> Reason:
        """The turn once more."""
        for text in turn.text:
            await self.emit(TextDelta(origin, text))
        if self.duplex:
            await asyncio.Event().wait()  # until it is cancelled
        if turn.audio and self.spec.speaks:
            samples = np.concatenate(turn.audio)
            await self.mark(origin, "first_audio")
            for at in range(0, len(samples), CHUNK):
                await self.emit(AudioOut(origin, samples[at : at + CHUNK]))
        return "stop"


class EchoEngine(AnsweringEngine[EchoSession]):
    """Says back what it heard, in chunks of 40 ms."""

    rate_out = SAMPLE_RATE

    def __init__(self, *, duplex: bool = False, sessions: int = 1024, clock: Clock | None = None) -> None:
        super().__init__(clock or SystemClock(), sessions)
        self.duplex = duplex

    def begin(self, spec: SessionSpec) -> EchoSession:
        """A new session."""
        return EchoSession(spec, self.clock, duplex=self.duplex, closed=self.forget)
