"""Log-Mel frames with Whisper's values: 25 ms windows every 10 ms, 80 or 128 mel bins."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from omni_tokenizers.audio.floors import FLOORS, FloorName, check_floor
from omni_tokenizers.audio.mel_filterbank import FRAME_RATE, HOP, MEL_BINS, SAMPLE_RATE, WINDOW_SAMPLES
from omni_tokenizers.audio.mel_stream import MelStream, check_long_enough
from omni_tokenizers.audio.read import AudioSource, read_audio
from omni_tokenizers.audio.resampler import check_rates, resample, resampled_count
from omni_tokenizers.audio.waveform import Wave
from omni_tokenizers.tokenizer import CannotStream

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, eq=False)
class MelWindow:
    """One of the 30 s windows of a clip."""

    frames: Any  # [3000, bins], numpy, or torch where the LogMel has a device
    start: float  # seconds into the clip
    samples: int  # real samples at 16 kHz; the other 480,000 − samples are zeros


@dataclass(frozen=True)
class LogMel:
    """Audio to log-Mel frames [frames, bins], time first; `.T` is Whisper's layout [bins, frames].

    `floor` is what lies 8 decades under: "clip", the maximum of this clip (Whisper's own; offline only);
    "fixed", 1.5; "running", the maximum so far; None, nothing. With `device` the work is done by torch there.

    >>> mel = LogMel(bins=80)
    >>> mel.encode(np.zeros(16_000, np.float32)).shape, mel.count(16_000)
    ((100, 80), 100)
    """

    bins: int = 80
    floor: FloorName | None = "clip"
    device: str | None = None

    sample_rate: ClassVar[int] = SAMPLE_RATE
    frame_rate: ClassVar[float] = FRAME_RATE

    def __post_init__(self) -> None:
        if self.bins not in MEL_BINS:
            raise ValueError(f"bins is {self.bins!r}; Whisper has filter banks of 80 and of 128 bins: pass one of them")
        check_floor(self.floor)

    def encode(self, audio: AudioSource, rate: int | None = None) -> Any:
        """Return the frames [frames, bins] of the clip at its native length; it never pads and never trims.

        A file says its own rate; samples are at `rate`, 16 kHz if none is given.
        """
        return self._frames(self.waveform(audio, rate))

    def encode_batch(self, clips: Iterable[AudioSource], rate: int | None = None) -> list[Any]:
        """Return the frames of each clip, the same as from `encode`: no clip sees another's floor or padding."""
        return [self.encode(clip, rate) for clip in clips]

    def window(self, audio: AudioSource, rate: int | None = None, *, trim: bool = False) -> MelWindow:
        """Return one 30 s window: a short clip is padded with zeros; a longer one is an error unless `trim`."""
        wave = self.waveform(audio, rate)
        if len(wave) > WINDOW_SAMPLES and not trim:
            raise ValueError(
                f"audio is {len(wave) / SAMPLE_RATE:.2f} s; a window holds 30 s: "
                "pass trim=True to drop the rest, or use windows() for all of it"
            )
        return self._window(wave, 0)

    def windows(self, audio: AudioSource, rate: int | None = None) -> list[MelWindow]:
        """Return the whole clip as windows of 30 s, each with a floor of its own, the last padded with zeros."""
        wave = self.waveform(audio, rate)
        return [self._window(wave, start) for start in range(0, max(len(wave), 1), WINDOW_SAMPLES)]

    def count(self, samples: int, rate: int = SAMPLE_RATE) -> int:
        """Return how many frames `encode` makes of so many samples at `rate`, and refuse what it refuses.

        >>> LogMel().count(44_100, rate=44_100)
        100
        """
        check_rates(rate, SAMPLE_RATE, "HQ")
        if samples < 0:
            raise ValueError(f"samples is {samples}; a length is 0 or more")
        at_16k = resampled_count(samples, rate, SAMPLE_RATE)
        check_long_enough(at_16k)
        return at_16k // HOP

    def stream(self, rate: int = SAMPLE_RATE) -> MelStream:
        """Return a live log-Mel for samples at `rate`; `floor="clip"` and a device refuse, and say why."""
        if self.device is not None:
            raise CannotStream(
                f"device={self.device!r} computes a clip at once, and its products depend on the clip's length in the "
                "last bits: stream with LogMel(device=None) and move the frames"
            )
        return MelStream(self.bins, self.floor, rate)

    def waveform(self, audio: AudioSource, rate: int | None = None) -> Wave:
        """Return the samples that `encode` sees: one channel, float32, 16 kHz."""
        wave, rate = read_audio(audio, rate=rate)
        return wave if rate == SAMPLE_RATE else resample(wave, rate, SAMPLE_RATE)

    def _window(self, wave: Wave, start: int) -> MelWindow:
        piece = wave[start : start + WINDOW_SAMPLES]
        padded = np.concatenate([piece, np.zeros(WINDOW_SAMPLES - len(piece), np.float32)])
        return MelWindow(self._frames(padded), start / SAMPLE_RATE, len(piece))

    def _frames(self, wave: Wave) -> "Wave | torch.Tensor":
        check_long_enough(len(wave))
        if self.device is not None:
            from omni_tokenizers.audio.mel_device import log_mel_on

            return log_mel_on(self.device, wave, self.bins, self.floor)
        from omni_tokenizers.audio.mel_blocks import mel_blocks

        frames = np.empty((len(wave) // HOP, self.bins), np.float32)
        floor = FLOORS[self.floor]()
        mel_blocks(self.bins).fill(wave, 0, 0, len(frames), floor, frames)
        floor.end(frames)
        return frames
