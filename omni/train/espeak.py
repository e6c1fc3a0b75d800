"""Speech from espeak-ng, through the library that its wheel brings: no process, first audio in under a millisecond.

espeak-ng is GPL and never required at run time; it makes training data and is one pluggable voice. The library holds
one global state, so this module does too: one voice speaks at a time in a process.
"""

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.optional import need

SYNCHRONOUS = 2  # samples come to the callback before the call returns, none go to a sound card
UTF8 = 1
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


@cache
def _library() -> tuple[Any, int, list[NDArray[np.int16]], Any]:
    """The library, its sample rate, the list that samples are collected in, and the callback that must stay alive."""
    wheel = need("espeakng_loader", extra="train", use="speaking with espeak-ng")
    library = ctypes.CDLL(str(wheel.get_library_path()))
    rate = library.espeak_Initialize(SYNCHRONOUS, 0, str(wheel.get_data_path()).encode(), 0)
    if rate <= 0:
        raise RuntimeError(f"espeak-ng did not start (code {rate}): reinstall espeakng-loader")
    collected: list[NDArray[np.int16]] = []
    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)

    def take(samples: Any, count: int, _events: Any) -> int:
        if samples and count > 0:
            collected.append(np.ctypeslib.as_array(samples, (count,)).copy())
        return 0

    kept = callback(take)
    library.espeak_SetSynthCallback(kept)
    return library, rate, collected, kept


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
    library, rate, collected, _ = _library()
    if library.espeak_SetVoiceByName(voice.name.encode()) != 0:
        raise ValueError(f"espeak-ng has no voice {voice.name!r}: accents are {', '.join(ACCENTS)}")
    library.espeak_SetParameter(RATE, voice.words_per_minute, 0)
    library.espeak_SetParameter(PITCH, voice.pitch, 0)
    library.espeak_SetParameter(RANGE, voice.pitch_range, 0)
    collected.clear()
    spoken = text.encode()
    if library.espeak_Synth(spoken, len(spoken) + 1, 0, 1, 0, UTF8, None, None) != 0 or not collected:
        raise RuntimeError(f"espeak-ng said nothing for {text!r}")
    samples = np.concatenate(collected)
    collected.clear()
    return (samples / np.float32(32768)).astype(np.float32), rate
