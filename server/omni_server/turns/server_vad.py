"""The turn is over when nobody has spoken for a while."""

from omni_server.session.setup import ServerVad
from omni_server.turns.detector import WINDOW
from omni_server.turns.strategy import Likely, Resumed, Started, Stopped, Verdict
from omni_server.turns.voice import Voice

PER_MS = 16  # samples
LEAST = 0.01  # of any threshold: below it everything is speech, and no turn ends


class ByServerVad:
    """Counts silence in samples of audio, not in time: a stalled network cuts nobody off."""

    def __init__(self, wanted: ServerVad, speculate_ms: int) -> None:
        self._speculate = speculate_ms * PER_MS
        self._voice = Voice(wanted.threshold)
        self._speaking = self._likely = False
        self.change(wanted)

    def change(self, wanted: ServerVad) -> None:
        """Go on like this, also with a turn that is open."""
        self._voice.threshold = max(LEAST, wanted.threshold)
        self._patience = max(WINDOW, wanted.silence_duration_ms * PER_MS)

    @property
    def threshold(self) -> float:
        """What the client says, but never so low that no turn would end."""
        return self._voice.threshold

    def window(self, start: int, probability: float, level: float) -> list[Verdict]:
        """The next window of sound."""
        end = start + WINDOW
        if not self._speaking:
            if probability < self._voice.threshold:
                return []
            self._speaking, self._likely = True, False
            self._voice.begin(start, level)
            return [Started(start)]
        sound = self._voice.go_on(start, probability, level)
        if self._likely and sound != "silence":
            self._likely = False
            return [Resumed(start)]
        if self._voice.silence >= self._patience:
            return self.starve(end)
        if sound == "silence" and not self._likely and 0 < self._speculate <= self._voice.silence:
            self._likely = True
            return [Likely(end)]
        return []

    def prediction(self, _probability: float, /) -> list[Verdict]:
        """Silence decides here."""
        return []

    def starve(self, at: int) -> list[Verdict]:
        """The turn ends here."""
        if not self._speaking:
            return []
        self._speaking = self._likely = False
        return [Stopped(at, self._voice.spoke_until)]
