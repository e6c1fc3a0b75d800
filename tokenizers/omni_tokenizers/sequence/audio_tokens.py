"""Sound in a sequence: log-Mel frames, several to a token.

A token is `frames_per_token` frames of 10 ms (4: 25 tokens a second), which the model's stem pools. Counts come
from frames, never from samples. The last token is filled up with zero frames; `span.units` keeps how many frames
are real, so decoding and cutting stay exact to the frame.
"""

from typing import Any

import numpy as np

from omni_tokenizers.sequence.modality import Array, Arrays, Encoded, Grouper, dressed, frames_of, grouped, ungrouped
from omni_tokenizers.sequence.parts import Audio, Frames, Part
from omni_tokenizers.sequence.span import Span

FRAME = 0.01  # s, one log-Mel frame
FRAMES_PER_TOKEN = 4  # 40 ms a token, 25 tokens/s


class AudioTokens:
    """The audio modality around a `LogMel`."""

    def __init__(self, mel: Any, *, frames_per_token: int = FRAMES_PER_TOKEN) -> None:
        if frames_per_token < 1:
            raise ValueError(f"frames_per_token={frames_per_token} must be 1 or more")
        self.mel = mel
        self.frames_per_token = frames_per_token

    def encode(self, part: Part, /) -> Encoded:
        """Log-Mel frames of a sound, or frames that are already made, as tokens."""
        frames = frames_of(part, "audio", self.mel.bins)
        if frames is None:
            samples, rate = sound_of(part, Audio)
            return self._dress(grouped(rows_of(self.mel.encode(samples, rate=rate)), self.frames_per_token))
        return self._dress(grouped(frames.copy(), self.frames_per_token))  # the caller may use its memory again

    def count(self, part: Part, /) -> int:
        """How many tokens, from the number of samples alone."""
        frames = frames_of(part, "audio", self.mel.bins)
        if frames is not None:
            return audio_tokens(len(frames), self.frames_per_token)
        samples, rate = length_of(part, Audio)
        return audio_tokens(int(self.mel.count(samples, rate=rate)), self.frames_per_token)

    def decode(self, span: Span, arrays: Arrays, /) -> Frames:
        """The real frames: a log-Mel has no way back to the sound itself."""
        return Frames("audio", ungrouped(span, arrays["values"]))

    def stream(self) -> "AudioTokenStream":
        """Sound, or ready frames, that arrive in pieces."""
        return AudioTokenStream(self)

    def _dress(self, encoded: Encoded) -> Encoded:
        return dressed(encoded, step=self.frames_per_token * FRAME)


class AudioTokenStream:
    """Pieces of one sound. The first piece says the rate, or that ready frames are coming."""

    def __init__(self, tokens: AudioTokens) -> None:
        self._tokens = tokens
        self._mel: Any = None  # the log-Mel stream, once samples came
        self._rate: int | None = None
        self._frames = False
        self._grouper = Grouper(tokens.frames_per_token, tokens._dress, self._rows, self._last_rows)

    def push(self, piece: Part, /) -> Encoded:
        """Take the next samples or frames; return the tokens that are complete."""
        return self._grouper.push(piece)

    def finish(self) -> Encoded:
        """The tokens that were held back, the last one filled up."""
        return self._grouper.finish()

    def _rows(self, piece: Part) -> Array:
        frames = frames_of(piece, "audio", self._tokens.mel.bins)
        if frames is not None:
            if self._mel is not None:
                raise ValueError(
                    "this sound began with samples; ready frames need a part of their own: call end() first"
                )
            self._frames = True
            return frames.copy()  # a live source soon uses its memory again
        samples, rate = chunk_of(piece, Audio)
        if self._frames:
            raise ValueError("this sound began with ready frames; samples need a part of their own: call end() first")
        if self._mel is None:
            self._mel = self._tokens.mel.stream(rate=rate)
            self._rate = rate
        if rate != self._rate:
            raise ValueError(f"this sound began at {self._rate} Hz and cannot go on at {rate} Hz: call end() first")
        return rows_of(self._mel.push(samples))

    def _last_rows(self) -> Array:
        if self._mel is None:
            return np.zeros((0, self._tokens.mel.bins), np.float32)
        return rows_of(self._mel.finish())


def audio_tokens(frames: int, frames_per_token: int = FRAMES_PER_TOKEN) -> int:
    """Tokens of so many log-Mel frames.

    >>> audio_tokens(100), audio_tokens(101)
    (25, 26)
    """
    return -(-frames // frames_per_token)


def qwen_audio_tokens(frames: int) -> int:
    """Tokens that Qwen2.5-Omni makes of so many log-Mel frames: a convolution of stride 2, then a pooling of 2.

    >>> [qwen_audio_tokens(f) for f in (0, 1, 2, 3, 100, 3000)]
    [0, 0, 0, 1, 25, 750]
    """
    return ((frames - 1) // 2 + 1 - 2) // 2 + 1 if frames > 2 else 0


def sound_of(part: Part, kind: type[Any]) -> tuple[Any, int]:
    """Samples and rate of a sound part, read from its file where it is one."""
    from omni_tokenizers.audio.read import is_file, read_audio

    source, rate = _source(part, kind)
    if is_file(source):
        samples, found = read_audio(source)
        if rate not in (None, found):
            raise ValueError(f"{kind.__name__} says {rate} Hz, its file says {found} Hz: leave rate out")
        return samples, int(found)
    return source, _stated(rate, kind)


def chunk_of(part: Part, kind: type[Any]) -> tuple[Any, int]:
    """Samples and rate of a piece of live sound, which is never a file."""
    from omni_tokenizers.audio.read import is_file

    source, rate = _source(part, kind)
    if is_file(source):
        raise TypeError(f"a piece of live sound is samples with a rate, got {type(source).__name__}: encode the file")
    return source, _stated(rate, kind)


def length_of(part: Part, kind: type[Any]) -> tuple[int, int]:
    """Number of samples and rate of a sound part, from its header where that is enough."""
    from omni_tokenizers.audio.read import audio_info, is_file

    source, rate = _source(part, kind)
    if is_file(source):
        info = audio_info(source)
        if rate not in (None, info.rate):
            raise ValueError(f"{kind.__name__} says {rate} Hz, its file says {info.rate} Hz: leave rate out")
        return int(info.samples), int(info.rate)
    shape = getattr(source, "shape", None)
    if shape is not None and len(shape) == 1:
        return int(shape[0]), _stated(rate, kind)
    from omni_tokenizers.audio import as_waveform

    return len(as_waveform(source)), _stated(rate, kind)


def rows_of(frames: Any) -> Array:
    """Frames as numpy rows, from wherever they were computed."""
    return frames.detach().cpu().numpy() if hasattr(frames, "detach") else np.asarray(frames)


def _source(part: Part, kind: type[Any]) -> tuple[Any, int | None]:
    if not isinstance(part, kind):
        raise TypeError(f"expected {kind.__name__}(samples, rate) or Frames, got {type(part).__name__}")
    return part.source, part.rate


def _stated(rate: int | None, kind: type[Any]) -> int:
    if rate is None:
        raise ValueError(f"samples do not say their rate: {kind.__name__}(samples, rate=16000)")
    return rate
