"""Acoustic codes in a sequence: one token a codec frame, its payload one code a book."""

from typing import Any

import numpy as np

from omni_tokenizers.sequence.audio_tokens import chunk_of, length_of, sound_of
from omni_tokenizers.sequence.modality import Array, Arrays, Encoded
from omni_tokenizers.sequence.parts import Codes, Part
from omni_tokenizers.sequence.span import Span


class CodecTokens:
    """The codec modality around a `Codec`."""

    def __init__(self, codec: Any) -> None:
        self.codec = codec

    def encode(self, part: Part, /) -> Encoded:
        """Codes as they are, or the codes of a sound."""
        codes = self.codes_of(part)
        if codes is None:
            return self._encoded(np.asarray(self.codec.encode(*sound_of(part, Codes))))
        return self._encoded(codes.copy())  # the caller may use its memory again

    def count(self, part: Part, /) -> int:
        """How many tokens: codes say so themselves, a sound by its number of samples."""
        codes = self.codes_of(part)
        return len(codes) if codes is not None else int(self.codec.count(*length_of(part, Codes)))

    def decode(self, _span: Span, arrays: Arrays, /) -> Codes:
        """The codes; `codec.decode(codes.source)` makes them sound."""
        return Codes(arrays["codes"])

    def stream(self) -> "CodeStream":
        """Codes, or sound, that arrive in pieces."""
        return CodeStream(self)

    def codes_of(self, part: Part) -> Array | None:
        """The codes of a part that holds codes, checked; None if it holds sound."""
        if not isinstance(part, Codes):
            raise TypeError(f"expected Codes(codes) or Codes(samples, rate), got {type(part).__name__}")
        if part.rate is not None or isinstance(part.source, (str, bytes)) or not hasattr(part.source, "shape"):
            return None
        from omni_tokenizers.audio.codec import check_entries  # here: it brings what reads sound files

        codes = np.asarray(part.source)
        books = len(self.codec.book_sizes)
        if codes.ndim != 2 or codes.shape[1] != books or codes.dtype.kind not in "iu":
            raise ValueError(
                f"codes have the shape {codes.shape} and type {codes.dtype}, expected whole numbers [frames, {books}]; "
                "sound needs its rate: Codes(samples, rate=…)"
            )
        check_entries(codes, tuple(self.codec.book_sizes))
        return codes

    def _encoded(self, codes: Array) -> Encoded:
        return Encoded({"codes": codes}, step=1.0 / self.codec.frame_rate)


class CodeStream:
    """Pieces of one run of codes: codes pass through, sound goes through the codec's own stream."""

    def __init__(self, tokens: CodecTokens) -> None:
        self._tokens = tokens
        self._sound: Any = None  # the codec's own stream, once samples came
        self._rate = 0  # Hz
        self._dtype: Any = None  # of ready codes, once some came
        self._finished = False

    def push(self, piece: Part, /) -> Encoded:
        """Take the next codes or samples; return the codes that are certain."""
        self._check()
        codes = self._tokens.codes_of(piece)
        if codes is not None:
            if self._sound is not None:
                raise ValueError("this part began with samples; ready codes need one of their own: call end() first")
            self._dtype = codes.dtype
            return self._tokens._encoded(codes.copy())  # a live source soon uses its memory again
        if self._dtype is not None:
            raise ValueError("this part began with ready codes; samples need one of their own: call end() first")
        samples, rate = chunk_of(piece, Codes)
        if self._sound is None:
            self._sound, self._rate = self._tokens.codec.stream(rate), rate
        if rate != self._rate:
            raise ValueError(f"this sound began at {self._rate} Hz and cannot go on at {rate} Hz: call end() first")
        return self._tokens._encoded(np.asarray(self._sound.push(samples)))

    def finish(self) -> Encoded:
        """The codes that were held back."""
        self._check()
        self._finished = True
        if self._sound is None:
            dtype = np.int64 if self._dtype is None else self._dtype
            return self._tokens._encoded(np.zeros((0, len(self._tokens.codec.book_sizes)), dtype))
        return self._tokens._encoded(np.asarray(self._sound.finish()))

    def _check(self) -> None:
        if self._finished:
            raise ValueError("this stream is finished: open another with stream()")
