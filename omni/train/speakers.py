"""Who speaks: every voice of the training data, and which split it belongs to.

espeak-ng gives many speakers of one kind (formant synthesis); flite and festival give few, but they are recordings of
people, cut up and put together. A family of espeak variants ("klatt", "klatt2" …) is one speaker for the split.
"""

import shutil
import subprocess
import tempfile
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from random import Random
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from omni.train.dialogue import Split, split_of
from omni.train.espeak import ACCENTS, Voice, speak, variants
from omni_tokenizers.audio import resample

Sound = NDArray[np.float32]
RATE = 16_000  # Hz, what the model hears
TAKES = 120  # s, the longest that another program may take for one batch of sentences

# Recorded voices. Those of festival speak where they are installed. The test voice is never trained on.
RECORDED: dict[str, tuple[Literal["flite", "festival"], Split]] = {
    "kal": ("flite", "train"),
    "kal16": ("flite", "train"),
    "rms": ("flite", "train"),
    "slt": ("flite", "train"),
    "ked_diphone": ("festival", "train"),
    "cmu_us_slt_arctic_hts": ("festival", "train"),
    "awb": ("flite", "test"),
}
FESTIVAL = Path("/usr/share/festival/voices")  # each in a folder of its name, by language


class NotInstalled(OSError):
    """A program that speaks is not on this machine."""


@dataclass(frozen=True)
class Speaker:
    """One speaker as one utterance hears it: the program, its voice, and how that is bent."""

    program: Literal["espeak", "flite", "festival"]
    voice: Voice | str
    bend: float = 1.0  # resampled by this: pitch, formants and tempo go up together

    @property
    def name(self) -> str:
        """The voice's name, with the program that has it."""
        return f"{self.program} {self.voice.name if isinstance(self.voice, Voice) else self.voice}"


def family(variant: str) -> str:
    """The speaker that a variant belongs to.

    >>> family("klatt3"), family("f2"), family("edward2")
    ('klatt', 'f2', 'edward')
    """
    return variant if len(variant) < 3 else variant.rstrip("0123456789")


def espeak_variants(split: Split) -> tuple[str, ...]:
    """The espeak-ng variants of one split."""
    return tuple(v for v in variants() if split_of(f"speaker {family(v)}") == split)


def espeak_speaker(random: Random, split: Split) -> Speaker:
    """A random speaker of espeak-ng, as fast and high as people differ."""
    voice = Voice(
        accent=random.choice(ACCENTS),
        variant=random.choice(espeak_variants(split)),
        words_per_minute=round(random.triangular(115, 205, 155)),
        pitch=random.randint(20, 80),
        pitch_range=random.randint(20, 80),
    )
    return Speaker("espeak", voice, bend=random.uniform(0.9, 1.12))


def recorded_speaker(random: Random, split: Split) -> Speaker:
    """A random recorded voice of the split, bent far, since there are few of them."""
    voice = random.choice([name for name, (_, of) in RECORDED.items() if of == split and installed(name)])
    return Speaker(RECORDED[voice][0], voice, bend=random.uniform(0.82, 1.22) if split == "train" else 1.0)


@cache
def installed(voice: str) -> bool:
    """Whether a recorded voice can be used: that flite is missing is said when it is asked to speak."""
    if RECORDED[voice][0] == "flite":
        return True
    return shutil.which("text2wave") is not None and any(FESTIVAL.glob(f"*/{voice}"))


def require_recorded() -> None:
    """Raise `NotInstalled` where flite is missing, whose voices are drawn on every machine."""
    if shutil.which("flite") is None:
        raise NotInstalled(
            "flite is not installed: install it (apt install flite), or train with --recorded 0 --exercises 0"
        )


def say(text: str, speaker: Speaker) -> Sound:
    """The text as this speaker says it, 16 kHz, silence at both ends cut off, the loudest sample at 0.9."""
    if isinstance(speaker.voice, Voice):
        samples, rate = speak(text, speaker.voice)
    else:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "said.wav")
            _other_program(text, speaker, file)
            samples, rate = soundfile.read(file, dtype="float32")
    return cut(bent(np.asarray(samples, np.float32), rate, speaker.bend))


def bent(samples: Sound, rate: int, bend: float) -> Sound:
    """At 16 kHz, as if the samples had been taken at `bend` times their rate (in steps of a hundredth)."""
    return resample(samples, round(rate * round(bend, 2)), RATE)


def cut(samples: Sound, quiet: float = 0.004) -> Sound:
    """Without what is quieter than `quiet` of the peak at both ends; the peak at 0.9."""
    peak = float(np.abs(samples).max(initial=0))
    if peak == 0:
        raise ValueError("the sound is silent")
    loud = np.flatnonzero(np.abs(samples) > quiet * peak)
    return samples[loud[0] : loud[-1] + 1] * np.float32(0.9 / peak)


def without_bend(speaker: Speaker) -> Speaker:
    """The same speaker as it is."""
    return replace(speaker, bend=1.0)


def _other_program(text: str, speaker: Speaker, file: Path) -> None:
    if speaker.program == "flite":
        command = ["flite", "-voice", str(speaker.voice), "-t", text, "-o", str(file)]
        spoken = None
    else:
        command = ["text2wave", "-eval", f"(voice_{speaker.voice})", "-o", str(file)]
        spoken = text.encode()
    try:
        done = subprocess.run(command, input=spoken, capture_output=True, timeout=TAKES, check=False)
    except FileNotFoundError as missing:
        raise NotInstalled(f"{command[0]} is not installed: install it to hear recorded voices") from missing
    if done.returncode or not file.exists():
        raise RuntimeError(f"{command[0]} said nothing for {text!r}: {done.stderr.decode(errors='replace')[-200:]}")
