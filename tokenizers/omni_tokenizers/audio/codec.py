"""The seam for acoustic codecs: sound to a few whole numbers a frame, and back.

A codec is whatever has these names; nothing needs to inherit. `load_codec` wraps published models.
"""

from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
import numpy.typing as npt

from omni_tokenizers.audio.read import AudioSource
from omni_tokenizers.audio.waveform import Samples, Wave
from omni_tokenizers.tokenizer import Stream

CodeArray = npt.NDArray[np.int32]
Codes: TypeAlias = npt.ArrayLike  # anything that numpy makes whole numbers [frames, books] of


@runtime_checkable
class Codec(Protocol):
    """Sound ⇄ codes [frames, books]; code (t, b) is from 0 to book_sizes[b] − 1."""

    @property
    def sample_rate(self) -> int:
        """Hz, of the sound that goes in and comes out."""
        ...

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        ...

    @property
    def book_sizes(self) -> tuple[int, ...]:
        """How many entries each code book has."""
        ...

    def count(self, samples: int, rate: int | None = None) -> int:
        """How many frames `encode` gives for so many samples."""
        ...

    def encode(self, audio: AudioSource, rate: int | None = None) -> CodeArray:
        """Sound to codes, int32 [frames, books]."""
        ...

    def decode(self, codes: Codes) -> Wave:
        """Codes to sound, float32 [samples]; whole frames, so the end may be longer than the sound that went in."""
        ...

    def stream(self, rate: int | None = None) -> Stream[Samples, CodeArray]:
        """A live encoder of sound at `rate`, equal to `encode` for every chunking, or `CannotStream` and why."""
        ...

    def decoder(self) -> Stream[Codes, Wave]:
        """A live decoder, equal to `decode` for every chunking, or `CannotStream` and why."""
        ...


def checked_codes(codes: Codes, book_sizes: tuple[int, ...]) -> CodeArray:
    """Return the codes as int32 [frames, books], or say which one does not belong.

    >>> checked_codes([[3, 0], [1, 7]], book_sizes=(4, 8))
    array([[3, 0],
           [1, 7]], dtype=int32)
    >>> checked_codes([[3, 0], [4, 7]], book_sizes=(4, 8))
    Traceback (most recent call last):
    ValueError: code 4 at frame 1, book 0 is out of range: that book has entries 0 to 3
    """
    values: npt.NDArray[Any]
    if hasattr(codes, "detach"):  # a torch tensor
        values = codes.detach().cpu().numpy()
    else:
        values = np.asarray(codes)
    books = len(book_sizes)
    if values.size == 0 and values.ndim in (1, 2):
        return np.empty((0, books), np.int32)
    if values.ndim != 2 or values.shape[1] != books:
        raise ValueError(f"codes have shape {values.shape}; (frames, {books}) is needed, a row for each frame")
    if values.dtype.kind not in "iu":
        raise TypeError(f"codes are {values.dtype}; whole numbers are needed")
    check_entries(values, book_sizes)
    return values.astype(np.int32)


def check_entries(codes: npt.NDArray[Any], book_sizes: tuple[int, ...]) -> None:
    """Raise, naming the first, where a code of [frames, books] is no entry of its book."""
    wrong = (codes < 0) | (codes >= np.array(book_sizes))
    if wrong.any():
        frame, book = (int(i) for i in np.argwhere(wrong)[0])
        raise ValueError(
            f"code {codes[frame, book]} at frame {frame}, book {book} is out of range: "
            f"that book has entries 0 to {book_sizes[book] - 1}"
        )
