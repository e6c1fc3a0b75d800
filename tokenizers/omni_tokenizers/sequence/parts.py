"""The parts a sequence is made of: a plain string is text, everything else says what it is.

>>> from omni_tokenizers.sequence import Image, Codes
>>> part_of("hello")
TextPart('hello')
>>> part_of("hello").modality
'text'
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from omni_tokenizers.image.pixels import is_tensor

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff", ".ppm")
AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".opus", ".mp3", ".m4a", ".aac", ".aiff", ".aif")
TEXT_SUFFIXES = (".txt", ".md", ".json", ".csv", ".html", ".py", ".toml", ".yaml", ".yml", ".xml", ".rst")


class Part:
    """One source in a sequence; `modality` says which tokenizer takes it."""

    modality: ClassVar[str]

    def __eq__(self, other: object) -> bool:
        # Arrays and tensors compare by value and dtype, so that "decode gives the parts back" is a plain ==.
        return type(self) is type(other) and all(
            _same(getattr(self, f.name), getattr(other, f.name))
            for f in fields(self)  # type: ignore[arg-type]
        )

    __hash__ = None  # type: ignore[assignment]


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, (list, tuple)):
        return type(a) is type(b) and len(a) == len(b) and all(map(_same, a, b))
    if isinstance(a, Mapping):
        return type(a) is type(b) and a.keys() == b.keys() and all(_same(a[name], b[name]) for name in a)
    if is_tensor(a) or is_tensor(b):
        if not (is_tensor(a) and is_tensor(b)) or (a.dtype, a.shape, a.device) != (b.dtype, b.shape, b.device):
            return False
        return bool(((a == b) | ((a != a) & (b != b))).all())  # NaN differs from itself
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        a, b = np.asarray(a), np.asarray(b)
        return a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    return bool(type(a) is type(b) and a == b)


@dataclass(frozen=True, eq=False)
class TextPart(Part):
    """Text; `special` is the policy for the names of special tokens inside it, as in `Text.encode`."""

    text: str
    special: str | Collection[str] = "error"
    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        if isinstance(self.special, Collection) and not isinstance(self.special, str):
            object.__setattr__(self, "special", frozenset(self.special))

    def __repr__(self) -> str:
        return f"TextPart({self.text!r}{'' if self.special == 'error' else f', special={self.special!r}'})"


@dataclass(frozen=True, eq=False)
class Ids(Part):
    """Text that is already ids: what a model said, or a special token by its number."""

    ids: tuple[int, ...]
    modality: ClassVar[str] = "text"


@dataclass(frozen=True, eq=False)
class Special(Part):
    """One special token by name, on purpose: `Special("<|im_start|>")`."""

    name: str
    modality: ClassVar[str] = "text"


@dataclass(frozen=True, eq=False)
class Image(Part):
    """A picture: a path, bytes, PIL image, array or tensor."""

    source: Any
    modality: ClassVar[str] = "image"


@dataclass(frozen=True, eq=False)
class Film(Part):
    """Pictures in time, all of one size: a list of sources or an array [pictures, height, width, 3]."""

    pictures: Any
    step: float  # seconds from one picture to the next
    modality: ClassVar[str] = "image"

    def __post_init__(self) -> None:
        object.__setattr__(self, "step", float(self.step))  # readers of video give fractions, numpy its own floats


@dataclass(frozen=True, eq=False)
class Audio(Part):
    """Sound for the log-Mel tokens: samples with their `rate`, or a path or bytes that know it."""

    source: Any
    rate: int | None = None  # Hz
    modality: ClassVar[str] = "audio"


@dataclass(frozen=True, eq=False)
class Speech(Part):
    """Sound for the wav2vec features: samples with their `rate`, or a path or bytes that know it."""

    source: Any
    rate: int | None = None  # Hz
    modality: ClassVar[str] = "speech"


@dataclass(frozen=True, eq=False)
class Codes(Part):
    """Acoustic codes [frames, books], or the sound to make them from (samples with a `rate`, a path, bytes)."""

    source: Any
    rate: int | None = None  # Hz; None with an integer array [frames, books] means that these are the codes
    modality: ClassVar[str] = "codec"


@dataclass(frozen=True, eq=False)
class Frames(Part):
    """Rows that are already made, [frames, width]: Mel frames for "audio", features for "speech".

    This is what decoding gives for a modality without a way back to the sound itself.
    """

    modality: str  # type: ignore[misc]
    frames: np.ndarray[Any, Any]


@dataclass(frozen=True, eq=False)
class Tagged(Part):
    """A source for the modality of that name: how the parts of a plug-in are written."""

    modality: str  # type: ignore[misc]
    source: Any


def part_of(source: Any) -> Part:
    """Say what a bare source is: str is text, a PIL image is an image, a Path goes by its suffix."""
    if isinstance(source, Part):
        return source
    if isinstance(source, str):
        return TextPart(source)
    if isinstance(source, PathLike):
        path = Path(source)
        suffix = path.suffix.lower()
        if suffix in IMAGE_SUFFIXES:
            return Image(path)
        if suffix in AUDIO_SUFFIXES:
            return Audio(path)
        if suffix in TEXT_SUFFIXES:
            return TextPart(path.read_text(encoding="utf-8"))
        raise ValueError(
            f"{path} has the suffix {suffix or '(none)'}, which says neither image, audio nor text: "
            "wrap it, for instance Image(path), Audio(path) or path.read_text()"
        )
    # A PIL image without importing PIL for people who have none in hand.
    if any(kind.__module__.partition(".")[0] == "PIL" for kind in type(source).__mro__):
        return Image(source)
    raise TypeError(
        f"a part is a str, a Path, a PIL image, or a tagged source such as Image(…), Audio(samples, rate), "
        f'Codes(…), Tagged("name", …); got {type(source).__name__}'
    )


def parts_of(sources: Any) -> list[Part]:
    """One part or many, as a list of parts."""
    if (
        isinstance(sources, (str, Part, PathLike, Mapping))
        or not isinstance(sources, Iterable)
        or hasattr(sources, "shape")
    ):
        return [part_of(sources)]
    if isinstance(sources, (bytes, bytearray, memoryview)):
        raise TypeError("bytes could be a picture or a sound: say which with Image(data) or Audio(data)")
    return [part_of(source) for source in sources]
