"""When a voice stops an answer: not at every cough, and not only after a sentence."""

from dataclasses import dataclass

from omni_server.session.settings import Interruption

WORDLESS_MS = 2_000  # of voice confirm an interruption where the engine writes nothing down


@dataclass
class Doubt:
    """Somebody speaks into an answer, and may only be saying "mhm". Until it is known, the answer is played quietly."""

    at: int  # sample where the voice began
    ms: int  # of voice that confirm it
    words: int
    voiced_ms: float = 0.0
    heard_words: int = 0

    @property
    def settled(self) -> bool:
        """Whether this is an interruption."""
        if self.voiced_ms < self.ms:
            return False
        return self.heard_words >= self.words or (not self.heard_words and self.voiced_ms >= WORDLESS_MS)


def doubt(settings: Interruption, at: int, *, heard: bool) -> Doubt:
    """A voice began: into an answer that is `heard`, or into one that is still being thought of."""
    if heard:
        return Doubt(at, settings.speech_ms, settings.speech_words)
    return Doubt(at, settings.thought_ms, settings.thought_words)
