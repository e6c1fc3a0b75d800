"""The user's side of a session: from samples to turns. Verdicts of the strategy become what the core does."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from omni.engine.protocol import SAMPLE_RATE
from omni_server.session.input_audio import InputAudio
from omni_server.session.settings import SessionSettings
from omni_server.session.setup import Live, PushToTalk, ServerVad, TurnTaking
from omni_server.turns.choose import changed, strategy
from omni_server.turns.detector import WINDOW, Ear
from omni_server.turns.interruption import Doubt, doubt
from omni_server.turns.strategy import Likely, Resumed, Started, Stopped, Strategy

PER_MS = SAMPLE_RATE // 1000
PREFIX_MS = 300  # of audio before speech that belongs to it, where the client does not say
LAG = SAMPLE_RATE // 2  # samples that are kept besides, since the detector is late
STARVED = 3.0  # s without any audio end a turn that is open: the microphone was switched off
SHORTEST = SAMPLE_RATE // 10  # samples: less is no message


class Turns(Protocol):
    """What listening leads to."""

    def interruptible(self) -> bool | None:
        """Whether an answer would be interrupted by a voice: one that is heard (True), one in thought (False)."""
        ...

    def told(self, wave: NDArray[np.float32]) -> None:
        """The engine is to hear this."""
        ...

    def untold(self) -> None:
        """It was nothing: the engine is to forget what it heard and nobody committed."""
        ...

    def too_long(self, ref: str | None) -> None:
        """The client commits nothing, and no more can be kept for it; `ref`: of the frame that was too much."""
        ...

    def ducked(self, on: bool) -> None:
        """The answer is to be played quietly, or again at full volume."""
        ...

    def started(self, at: int) -> None:
        """The user speaks; the message begins at this sample."""
        ...

    def likely(self) -> None:
        """The turn is probably over."""
        ...

    def stopped(self, start: int, end: int, spoke_until: int) -> None:
        """The turn is over: the message is from start to end."""
        ...


@dataclass
class Listening:
    """State of the turn that is open, if one is."""

    turns: Turns
    ear: Ear
    settings: SessionSettings
    now: Callable[[], float]
    audio: InputAudio = field(default_factory=InputAudio)
    wanted: TurnTaking = field(default_factory=ServerVad)
    speaking: bool = False  # the strategy says so
    start: int = 0  # sample where what is not committed begins
    fed: int = 0  # sample up to which the engine was told
    doubt: Doubt | None = None
    _strategy: Strategy = field(init=False)
    _window: int = 0  # sample where the next window begins
    _paused: bool = False  # probably over: the silence is kept back
    _full: bool = False  # and said so
    _floor: int = 0  # sample behind the last turn

    def __post_init__(self) -> None:
        self._strategy = strategy(self.wanted, self.settings.speculate_ms)

    def configure(self, wanted: TurnTaking) -> None:
        """The client wants turns to be taken like this; a turn that is open goes on if its kind stays the same.

        Of another kind nobody could say when it ends, so it ends here.
        """
        if wanted == self.wanted:
            return
        manual = self.manual
        self.wanted = wanted
        if changed(self._strategy, wanted):
            return
        self._act(self._strategy.starve(self.audio.position))
        self._begin_anew()
        if self.manual and not manual:
            self.start = self.fed = self.audio.position
            self.turns.untold()
        elif manual and not self.manual:
            self.turns.untold()
            self._floor = self.start

    @property
    def manual(self) -> bool:
        """Whether the client says when a turn is over."""
        return isinstance(self.wanted, PushToTalk | Live)

    @property
    def loose(self) -> NDArray[np.float32]:
        """What the engine was told and nobody committed."""
        if isinstance(self.wanted, Live) or not (self.manual or self.speaking):
            return np.empty(0, np.float32)
        return self.audio.take(self.start, self.fed)

    def hear(self, samples: NDArray[np.float32], rate: int, sent_at: float | None, ref: str | None = None) -> None:
        """More of the user's audio."""
        now = self.now()
        if isinstance(self.wanted, Live):
            self.turns.told(self.audio.push(samples, rate, now, sent_at, keep=False))
            return
        if self.audio.position - self.start > self.settings.longest_turn_s * SAMPLE_RATE:
            if self.manual:
                if not self._full:
                    self._full = True
                    self.turns.too_long(ref)
                return
            self._act(self._strategy.starve(self.audio.position))  # nobody talks that long: it is no voice
        wave = self.audio.push(samples, rate, now, sent_at, keep=True)
        if self.manual:
            self.fed = self.audio.position
            self.turns.told(wave)
            self.audio.forget(self.audio.position - int(self.settings.kept_audio_s * SAMPLE_RATE))
            return
        if self.speaking and not self._paused:
            self._feed(self.audio.position)
        while self._window + WINDOW <= self.audio.position:
            window = self.audio.take(self._window, self._window + WINDOW)
            start, self._window = self._window, self._window + WINDOW
            if len(window) == WINDOW:
                level = float(np.sqrt(np.dot(window, window) / WINDOW))
                self.ear.hear(window, lambda p, start=start, level=level: self._sound(start, p, level))  # type: ignore[misc]

    def words(self, text: str) -> None:
        """What the engine understood of the turn so far."""
        if self.doubt is not None:
            self.doubt.heard_words = len(text.split())
            self._settle()

    def prediction(self, probability: float) -> None:
        """The engine's guess whether the turn is over."""
        self._act(self._strategy.prediction(probability))

    def commit(self) -> tuple[int, int] | None:
        """The client says that this was a message: from where to where; None if it is too short."""
        if self.manual:
            self.turns.told(self.audio.flush())
            self.fed = self.audio.position
        start, end = self._begins() if not (self.manual or self.speaking) else self.start, self.audio.position
        if end - start < SHORTEST:
            return None
        if not self.manual:
            if not self.speaking:
                self.fed = start
            self._feed(end)
        return start, end

    def committed(self, end: int) -> None:
        """What was heard up to here is a message."""
        self._begin_anew()
        self.start = self.fed = self._floor = end

    def clear(self) -> None:
        """Forget what nobody committed."""
        if self.manual:
            self.audio.flush()
        told = self.manual or self.speaking
        self._begin_anew()
        self.start = self.fed = self._floor = self.audio.position
        if told:
            self.turns.untold()
        self.audio.forget(self.audio.position)

    def deadline(self) -> float | None:
        """When `starve` is due."""
        return self.audio.last_at + STARVED if self.speaking else None

    def starve(self) -> None:
        """No audio has come for long."""
        deadline = self.deadline()
        if deadline is not None and self.now() >= deadline:
            self._act(self._strategy.starve(self.audio.position))

    # Inside

    def _begin_anew(self) -> None:
        if self.doubt is not None:
            self.turns.ducked(False)
        self.doubt, self.speaking, self._paused, self._full = None, False, False, False
        self._strategy = strategy(self.wanted, self.settings.speculate_ms)
        self.ear.forget()
        self._window = self.audio.position

    def _begins(self) -> int:
        """Where a message would begin that is committed although nobody spoke."""
        padding = self.wanted.prefix_padding_ms if isinstance(self.wanted, ServerVad) else PREFIX_MS
        return max(self._floor, self.audio.position - padding * PER_MS)

    def _feed(self, upto: int) -> None:
        if upto > self.fed:
            self.turns.told(self.audio.take(self.fed, upto))
            self.fed = upto

    def _sound(self, start: int, probability: float, level: float) -> None:
        """A window was heard."""
        spoken = self._strategy.window(start, probability, level)
        if self.doubt is not None and probability >= self._strategy.threshold:
            self.doubt.voiced_ms += WINDOW / PER_MS
            self._settle()
        self._act(spoken)
        if not self.speaking:
            padding = self.wanted.prefix_padding_ms if isinstance(self.wanted, ServerVad) else PREFIX_MS
            self.audio.forget(max(self._floor, start - padding * PER_MS - LAG))

    def _act(self, verdicts: list[Started | Likely | Resumed | Stopped]) -> None:
        for verdict in verdicts:
            match verdict:
                case Started(at=at):
                    self._started(at)
                case Likely() if self.doubt is None:
                    self._paused = True
                    self.turns.likely()
                case Resumed():
                    self._paused = False
                    self._feed(self.audio.position)
                case Stopped(at=at, spoke_until=spoke_until):
                    self._stopped(at, spoke_until)

    def _started(self, at: int) -> None:
        padding = self.wanted.prefix_padding_ms if isinstance(self.wanted, ServerVad) else PREFIX_MS
        self.speaking, self._paused = True, False
        self.start = self.fed = max(self._floor, at - padding * PER_MS)
        heard = self.turns.interruptible()
        if heard is not None:
            self.doubt = doubt(self.settings.interruption, at, heard=heard)
            self.doubt.voiced_ms = WINDOW / PER_MS
            if not self.doubt.settled:
                self.turns.ducked(True)
            else:
                self.doubt = None
        if self.doubt is None:
            self.turns.started(self.start)
        self._feed(self.audio.position)

    def _settle(self) -> None:
        if self.doubt is not None and self.doubt.settled:
            self.doubt = None
            self.turns.ducked(False)
            self.turns.started(self.start)

    def _stopped(self, at: int, spoke_until: int) -> None:
        start, self.speaking, self._paused = self.start, False, False
        self._floor = at
        if self.doubt is not None:  # "mhm"
            self.doubt = None
            self.turns.ducked(False)
            self.start = self.fed = at
            self.turns.untold()
            return
        self.turns.stopped(start, at, spoke_until)
        self.start = self.fed = at
        self.audio.forget(at - LAG)
