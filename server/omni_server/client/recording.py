"""A recording to be spoken, with the moments at which speech begins and ends in it: the ground truth of latency."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.audio.read import read_audio
from omni_tokenizers.audio.resampler import resample

Wave = NDArray[np.float32]
FRAME = 0.01  # s
FLOOR_DB = -35.0  # below the loudest frame: quieter is not speech. Trailing consonants of clean voices lie at -30
QUIETEST = 1e-4  # of full scale: a recording that never gets louder holds no speech


@dataclass(frozen=True)
class Recording:
    """Mono samples; `speech` is where its speech begins and ends, in seconds, None when there is none."""

    samples: Wave
    rate: int  # Hz
    speech: tuple[float, float] | None
    name: str = ""

    @classmethod
    def of(
        cls, source: "str | Path | bytes | Wave | Recording", rate: int | None = None,
        *, speech: tuple[float, float] | None = None,
    ) -> "Recording":  # fmt: skip
        """A file, its bytes or samples. Without `speech` its energy tells, which suits recordings without noise.

        >>> tone = np.sin(np.arange(8_000) / 3).astype(np.float32)
        >>> Recording.of(np.concatenate((np.zeros(4_000, np.float32), tone)), 8_000).speech
        (0.5, 1.5)
        """
        if isinstance(source, Recording):
            if speech is None:
                return source
            return replace(cls.of(source.samples, source.rate, speech=speech), name=source.name)
        if isinstance(source, np.ndarray) and rate is None:
            raise ValueError("samples came without their rate: pass rate=16_000, or whatever it is")
        samples, found = read_audio(source, rate=rate)
        if not len(samples):
            raise ValueError(f"{source if isinstance(source, str | Path) else 'the recording'} holds no samples")
        length = len(samples) / found
        if speech is not None and not 0 <= speech[0] < speech[1] <= length + FRAME:
            raise ValueError(f"speech is {speech}, and the recording lasts {length:.3f} s: give begin and end in it")
        name = Path(source).name if isinstance(source, str | Path) else ""
        return cls(samples, found, speech or where_speech_is(samples, found), name)

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return len(self.samples) / self.rate

    def at(self, rate: int) -> Wave:
        """Its samples at another rate."""
        return resample(self.samples, self.rate, rate)


def where_speech_is(samples: Wave, rate: int) -> tuple[float, float] | None:
    """From the first to the last frame that is loud beside the loudest; None for silence."""
    size = max(1, round(FRAME * rate))
    frames = np.pad(samples, (0, -len(samples) % size)).reshape(-1, size)  # [frames, samples]
    level = np.sqrt(np.mean(np.square(frames, dtype=np.float64), axis=1))
    if level.max() < QUIETEST:
        return None
    loud = np.flatnonzero(level > level.max() * 10 ** (FLOOR_DB / 20))
    return float(loud[0] * size / rate), float(min((loud[-1] + 1) * size, len(samples)) / rate)
