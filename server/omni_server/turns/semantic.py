"""The turn is over when the engine thinks so: the surer it is, the shorter the silence that has to follow."""

from omni_server.session.setup import Eagerness, SemanticVad
from omni_server.turns.detector import WINDOW
from omni_server.turns.strategy import Likely, Resumed, Started, Stopped, Verdict
from omni_server.turns.voice import Voice

PER_MS = 16  # samples
THRESHOLD = 0.5  # probability of speech
LONGEST: dict[Eagerness, int] = {"low": 8_000, "medium": 4_000, "auto": 4_000, "high": 2_000}  # ms, as published
SHORTEST: dict[Eagerness, int] = {"low": 480, "medium": 224, "auto": 224, "high": 128}  # ms, when the engine is sure
UNKNOWN = 0.6  # taken where the engine says nothing: 710 ms of silence at medium
SURE = 0.5  # from here on an answer is prepared in the pause
PAUSE = 3 * WINDOW  # samples, 96 ms: no pause is shorter


def patience(probability: float, eagerness: Eagerness) -> int:
    """Milliseconds of silence that end a turn which is over with this probability.

    >>> patience(1.0, "high"), patience(0.0, "high"), patience(0.5, "medium")
    (128, 2000, 946)
    """
    least, most = SHORTEST[eagerness], LONGEST[eagerness]
    return int(least * (most / least) ** (1 - probability))


class BySemantics:
    """Silence is measured against the engine's latest prediction of this pause."""

    def __init__(self, wanted: SemanticVad) -> None:
        self._eagerness = wanted.eagerness
        self._voice = Voice(THRESHOLD)
        self._speaking = self._likely = False
        self._prediction: float | None = None

    def window(self, start: int, probability: float, level: float) -> list[Verdict]:
        """The next window of sound."""
        end = start + WINDOW
        if not self._speaking:
            if probability < THRESHOLD:
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
        over = UNKNOWN if self._prediction is None else self._prediction
        if self._voice.silence >= patience(over, self._eagerness) * PER_MS:
            return self.starve(end)
        if not self._likely and over >= SURE and self._voice.silence >= PAUSE:
            self._likely = True
            return [Likely(end)]
        return []

    def prediction(self, probability: float) -> None:
        """The engine's guess, which holds until somebody speaks again."""
        self._prediction = min(max(probability, 0.0), 1.0)

    def starve(self, at: int) -> list[Verdict]:
        """The turn ends here."""
        if not self._speaking:
            return []
        self._speaking = self._likely = False
        return [Stopped(at, self._voice.spoke_until)]
