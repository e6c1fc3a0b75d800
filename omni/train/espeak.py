"""Speech from espeak-ng, through the library that its wheel brings: no process, first audio in under a millisecond.

espeak-ng is GPL and never required at run time; it makes training data and is one pluggable voice. The library holds
one global state, so this module does too: one voice speaks at a time in a process.
"""

import ctypes
import itertools
from dataclasses import dataclass
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.optional import need

SYNCHRONOUS = 2  # samples come to the callback before the call returns, none go to a sound card
UTF8 = 1
LAST_EVENT, WORD_EVENT = 0, 1  # espeak_EVENT_TYPE
RATE, VOLUME, PITCH, RANGE = 1, 2, 3, 4  # espeak_PARAMETER

# The accents of English that espeak-ng has. A variant stands for a speaker; these have no clear voice and are left out.
ACCENTS = ("en-us", "en", "en-gb-scotland", "en-gb-x-rp", "en-029")
UNCLEAR = frozenset({"croak", "whisper", "whisperf", "fast", "Demonic"})


@dataclass(frozen=True)
class Voice:
    """One speaker: an accent, a variant, and how fast and high it speaks."""

    accent: str = "en-us"
    variant: str = "f2"
    words_per_minute: int = 160
    pitch: int = 50  # 0 … 99, espeak's own scale
    pitch_range: int = 50  # 0 … 99

    @property
    def name(self) -> str:
        """espeak-ng's name for it."""
        return f"{self.accent}+{self.variant}"


class _Event(ctypes.Structure):
    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("letter", ctypes.c_int),
        ("length", ctypes.c_int),
        ("milliseconds", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user", ctypes.c_void_p),
        ("name", ctypes.c_char * 8),
    )


@dataclass
class _Said:
    """What the library said since it was asked: samples, and where words begin as (letter, seconds)."""

    samples: list[NDArray[np.int16]]
    words: list[tuple[int, float]]


@cache
def _library() -> tuple[Any, int, _Said, Any]:
    """The library, its sample rate, what it says, and the callback that must stay alive."""
    wheel = need("espeakng_loader", extra="train", use="speaking with espeak-ng")
    library = ctypes.CDLL(str(wheel.get_library_path()))
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, str(wheel.get_data_path()).encode(), 0)
    if rate <= 0:
        raise RuntimeError(f"espeak-ng did not start (code {rate}): reinstall espeakng-loader")
    said = _Said([], [])
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))

    def take(samples: Any, count: int, events: Any) -> int:
        if samples and count > 0:
            said.samples.append(np.ctypeslib.as_array(samples, (count,)).copy())
        for event in takewhile(lambda event: event.type != LAST_EVENT, (events[i] for i in itertools.count())):
            if event.type == WORD_EVENT:
                said.words.append((event.letter - 1, event.milliseconds / 1000))
        return 0

    kept = callback(take)
    library.espeak_SetSynthCallback(kept)
    return library, rate, said, kept


@cache
def variants() -> tuple[str, ...]:
    """The speakers that the installed espeak-ng data holds, sorted."""
    wheel = need("espeakng_loader", extra="train", use="speaking with espeak-ng")
    files = sorted(Path(wheel.get_data_path(), "voices", "!v").iterdir())
    return tuple(file.name for file in files if file.name not in UNCLEAR and " " not in file.name)


def speak(text: str, voice: Voice) -> tuple[NDArray[np.float32], int]:
    """The text in this voice: samples in −1 … 1, and their rate in Hz.

    >>> samples, rate = speak("Hello.", Voice())
    >>> rate, bool(0.2 < len(samples) / rate < 2)
    (22050, True)
    """
    samples, rate, _ = timed(text, voice)
    return samples, rate


def timed(text: str, voice: Voice) -> tuple[NDArray[np.float32], int, list[tuple[int, float]]]:
    """The text in this voice: samples, their rate in Hz, and the letter and the second with which each word begins.

    Words that are said as one, as in "of a", begin once.

    >>> [letter for letter, _ in timed("Two plus two.", Voice())[2]]
    [0, 4, 9]
    """
    library, rate, said, _ = _library()
    if library.espeak_SetVoiceByName(voice.name.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {voice.name!r}: accents are {', '.join(ACCENTS)}")
    library.espeak_SetParameter(RATE, voice.words_per_minute, 0)
    library.espeak_SetParameter(PITCH, voice.pitch, 0)
    library.espeak_SetParameter(RANGE, voice.pitch_range, 0)
    said.samples.clear()
    said.words.clear()
    spoken = text.encode()
    if library.espeak_Synth(spoken, len(spoken) + 1, 0, 1, 0, UTF8, None, None) != 0 or not said.samples:
        raise RuntimeError(f"espeak-ng said nothing for {text!r}")
    samples = np.concatenate(said.samples)
    said.samples.clear()
    return (samples / np.float32(32768)).astype(np.float32), rate, list(said.words)
