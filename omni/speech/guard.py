"""Whisper writes fluent text about silence. These are the signs by which that is caught, and what is done then.

Repetition shows in how well the text compresses, doubt in the mean log-probability, silence in the probability of the
no-speech token. A doubtful window is decoded again with some randomness; a silent one says nothing.
"""

import zlib
from dataclasses import dataclass
from typing import Literal

from omni.speech.decode_window import Decoded

Verdict = Literal["keep", "again", "silent"]


def compression(text: str) -> float:
    """How many times smaller zlib makes the text: ordinary speech about 1.5, a loop of one phrase far more.

    >>> round(compression("Good morning, how are you today?"), 2), compression("so so so " * 20) > 2.4
    (0.8, True)
    """
    data = text.encode()
    return len(data) / len(zlib.compress(data))


@dataclass(frozen=True)
class Guard:
    """Limits, with the published values; None switches a sign off."""

    temperatures: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)  # tried in turn
    compression: float | None = 2.4  # more is repetition
    log_probability: float | None = -1.0  # less is doubt
    no_speech: float | None = 0.6  # more is silence, where there is doubt as well

    def doubts(self, decoded: Decoded) -> bool:
        """Whether the decoder did not mean it."""
        return self.log_probability is not None and decoded.log_probability < self.log_probability

    def verdict(self, decoded: Decoded, text: str) -> Verdict:
        """Keep what was decoded, decode it again hotter, or take the window for silent."""
        if self.no_speech is not None and decoded.no_speech > self.no_speech:
            if self.doubts(decoded):
                return "silent"
            if self.log_probability is None:
                return "silent"
        if self.compression is not None and compression(text) > self.compression:
            return "again"
        return "again" if self.doubts(decoded) else "keep"
