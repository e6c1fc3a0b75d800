"""The turn is over when the engine thinks so: the surer it is, the shorter the silence that has to follow."""

from omni.engine.protocol import SURE
from omni_server.session.setup import Eagerness, SemanticVad
from omni_server.turns.detector import WINDOW
from omni_server.turns.strategy import Likely, Resumed, Started, Stopped, Verdict
from omni_server.turns.voice import Voice

PER_MS = 16  # samples
LONGEST: dict[Eagerness, int] = {"low": 8_000, "medium": 4_000, "auto": 4_000, "high": 2_000}  # ms, as published
SHORTEST: dict[Eagerness, int] = {"low": 320, "medium": 160, "auto": 160, "high": 64}  # ms, when the engine is sure
UNKNOWN = 0.43  # taken where the engine says nothing: 710 ms of silence at medium
LIKELY = 0.4  # from here on an answer is prepared, after half of the silence that would end the turn


def patience(probability: float, eagerness: Eagerness) -> int:
    """Milliseconds of silence that end a turn which is over with this probability.

    >>> patience(1.0, "high"), patience(0.0, "high"), patience(0.5, "medium")
    (64, 2000, 534)
    """
    least, most = SHORTEST[eagerness], LONGEST[eagerness]
    return int(least * (most / least) ** (1 - min(probability / SURE, 1)))


class BySemantics:
    """Silence is measured against the engine's latest prediction of this pause."""

    threshold = 0.5  # probability of speech

    def __init__(self, wanted: SemanticVad) -> None:
        self._voice = Voice(self.threshold)
        self._speaking = self._likely = False
        self._prediction: float | None = None
        self._heard = 0  # samples
        self.change(wanted)

    def change(self, wanted: SemanticVad) -> None:
        """Go on like this, also with a turn that is open."""
        self._eagerness = wanted.eagerness

    def window(self, start: int, probability: float, level: float) -> list[Verdict]:
        """The next window of sound."""
        self._heard = start + WINDOW
        if not self._speaking:
            if probability < self.threshold:
                return []
            self._speaking, self._likely, self._prediction = True, False, None
            self._voice.begin(start, level)
            return [Started(start)]
        sound = self._voice.go_on(start, probability, level)
        if sound != "silence":
            if sound == "speech":
                self._prediction = None
            if self._likely:
                self._likely = False
                return [Resumed(start)]
            return []
        return self._judge()

    def prediction(self, probability: float) -> list[Verdict]:
        """The engine's guess, which holds until somebody speaks again."""
        self._prediction = min(max(probability, 0.0), 1.0)
        return self._judge() if self._speaking and self._voice.silence else []

    def starve(self, at: int) -> list[Verdict]:
        """The turn ends here."""
        if not self._speaking:
            return []
        self._speaking = self._likely = False
        return [Stopped(at, self._voice.spoke_until)]

    def _judge(self) -> list[Verdict]:
        """Whether the silence so far is enough."""
        over = UNKNOWN if self._prediction is None else self._prediction
        enough = patience(over, self._eagerness) * PER_MS
        if self._voice.silence >= enough:
            return self.starve(self._heard)
        if not self._likely and over >= LIKELY and 2 * self._voice.silence >= enough:
            self._likely = True
            return [Likely(self._heard)]
        return []
