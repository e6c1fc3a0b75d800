"""Speech in a sequence: the 50 features a second of a wav2vec encoder, one or several to a token."""

from typing import Any

import numpy as np

from omni_tokenizers.sequence.audio_tokens import chunk_of, length_of, rows_of, sound_of
from omni_tokenizers.sequence.modality import Array, Arrays, Encoded, Grouper, dressed, frames_of, grouped, ungrouped
from omni_tokenizers.sequence.parts import Frames, Part, Speech
from omni_tokenizers.sequence.span import Span


class SpeechTokens:
    """The speech modality around a `Wav2Vec`."""

    def __init__(self, features: Any, *, features_per_token: int = 1) -> None:
        if features_per_token < 1:
            raise ValueError(f"features_per_token={features_per_token} must be 1 or more")
        self.features = features
        self.features_per_token = features_per_token

    def encode(self, part: Part, /) -> Encoded:
        """Features of a sound, or features that are already made, as tokens."""
        rows = frames_of(part, "speech", None)
        if rows is None:
            return self._dress(grouped(rows_of(self.features.encode(*sound_of(part, Speech))), self.features_per_token))
        return self._dress(grouped(rows.copy(), self.features_per_token))  # the caller may use its memory again

    def count(self, part: Part, /) -> int:
        """How many tokens, from the number of samples alone."""
        rows = frames_of(part, "speech", None)
        features = len(rows) if rows is not None else int(self.features.count(*length_of(part, Speech)))
        return -(-features // self.features_per_token)

    def decode(self, span: Span, arrays: Arrays, /) -> Frames:
        """The features: they have no way back to the sound itself."""
        return Frames("speech", ungrouped(span, arrays["values"]))

    def stream(self) -> "SpeechTokenStream":
        """Speech that arrives in pieces; raises `CannotStream` where the features depend on the whole utterance."""
        self.features.stream()  # the rate is not known yet, but a refusal has to come before any sound
        return SpeechTokenStream(self)

    def _dress(self, encoded: Encoded) -> Encoded:
        return dressed(encoded, step=self.features_per_token / self.features.frame_rate)


class SpeechTokenStream:
    """Pieces of one utterance. The first piece says the rate."""

    def __init__(self, tokens: SpeechTokens) -> None:
        self._tokens = tokens
        self._features: Any = None
        self._rate = 0  # Hz
        self._grouper = Grouper(tokens.features_per_token, tokens._dress, self._rows, self._last_rows)

    def push(self, piece: Part, /) -> Encoded:
        """Take the next samples; return the tokens that are complete."""
        return self._grouper.push(piece)

    def finish(self) -> Encoded:
        """The tokens that were held back, the last one filled up."""
        return self._grouper.finish()

    def _rows(self, piece: Part) -> Array:
        if isinstance(piece, Frames):
            raise TypeError("ready features are not streamed: give them at once, with push_whole")
        samples, rate = chunk_of(piece, Speech)
        if self._features is None:
            self._features, self._rate = self._tokens.features.stream(rate), rate
        if rate != self._rate:
            raise ValueError(f"this speech began at {self._rate} Hz and cannot go on at {rate} Hz: call end() first")
        return rows_of(self._features.push(samples))

    def _last_rows(self) -> Array:
        if self._features is None:
            return np.zeros((0, self._tokens.features.width), np.float32)
        return rows_of(self._features.finish())
