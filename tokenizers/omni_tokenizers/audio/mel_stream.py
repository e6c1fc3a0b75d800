"""Log-Mel frames of live audio: each is given as soon as its last sample is in."""

from dataclasses import dataclass, field

import numpy as np

from omni_tokenizers.audio.floors import FLOORS, Floor, FloorName, check_streams
from omni_tokenizers.audio.mel_filterbank import HOP, MIN_SAMPLES, PAD, SAMPLE_RATE
from omni_tokenizers.audio.resampler import Resampler
from omni_tokenizers.audio.waveform import Samples, Wave, as_waveform


@dataclass
class MelState:
    """What a live log-Mel carries from one push to the next: under 600 samples, however long the audio."""

    floor: Floor
    held: Wave = field(default_factory=lambda: np.empty(0, np.float32))  # samples that later frames still touch
    at: int = 0  # place of held[0] in the clip at 16 kHz
    frames: int = 0  # given so far
    closed: bool = False

    @property
    def samples(self) -> int:
        """Samples seen so far, at 16 kHz."""
        return self.at + len(self.held)


class MelStream:
    """A live log-Mel: what it returned, joined, is `LogMel.encode` of the whole audio, to the bit.

    >>> from omni_tokenizers.audio import LogMel
    >>> stream = LogMel(floor="fixed").stream()
    >>> [len(stream.push(np.zeros(320, np.float32))) for _ in range(4)], len(stream.finish())
    ([1, 2, 2, 2], 1)
    """

    def __init__(self, bins: int, floor: FloorName | None, rate: int = SAMPLE_RATE) -> None:
        check_streams(floor)
        self.bins = bins
        self.resampler = Resampler(rate, SAMPLE_RATE)
        self._floor = floor
        self.state = MelState(FLOORS[floor]())

    @property
    def latency(self) -> float:
        """Seconds from a frame's centre to the sample that completes it: 12.5 ms, and the resampler's wait."""
        return PAD / SAMPLE_RATE + self.resampler.latency

    def push(self, samples: "Samples | bytes", /) -> Wave:
        """Take the next samples (bytes: 16-bit little-endian PCM); return the frames [n, bins] now complete."""
        self._check_open()
        if isinstance(samples, bytes | bytearray | memoryview):
            wave = pcm16(samples)
        else:
            wave = self.resampler.channels.waveform(samples)
        return self._advance(self.resampler.push_wave(wave))

    def finish(self) -> Wave:
        """Return the last frames, whose windows reach over the end and see its reflection, and close."""
        self._check_open()
        whole = self._advance(self.resampler.finish())
        self.state.closed = True
        check_long_enough(self.state.samples)
        return np.concatenate([whole, self._fill(self.state.samples // HOP)])

    def reset(self) -> None:
        """Forget the audio and begin another."""
        self.resampler.reset()
        self.state = MelState(FLOORS[self._floor]())

    def _check_open(self) -> None:
        if self.state.closed:
            raise ValueError("this stream is finished: reset() it, or open another for another clip")

    def _advance(self, wave: Wave) -> Wave:
        state = self.state
        if not len(wave):
            return np.empty((0, self.bins), np.float32)
        state.held = np.concatenate([state.held, wave])
        # Frame k needs sample 160·k + 199, and the very first the 201 samples that its reflection takes.
        ready = (state.samples - PAD) // HOP + 1 if state.samples >= MIN_SAMPLES else 0
        frames = self._fill(max(ready, state.frames))
        drop = max(0, HOP * state.frames - PAD - state.at)
        state.held, state.at = state.held[drop:].copy(), state.at + drop
        return frames

    def _fill(self, until: int) -> Wave:
        from omni_tokenizers.audio.mel_blocks import mel_blocks

        state = self.state
        frames = np.empty((until - state.frames, self.bins), np.float32)
        if len(frames):
            mel_blocks(self.bins).fill(state.held, state.at, state.frames, until, state.floor, frames)
            state.frames = until
        return frames


def pcm16(data: bytes | bytearray | memoryview) -> Wave:
    """Read raw 16-bit little-endian PCM, one channel.

    >>> pcm16(bytes([0, 0, 0, 64]))
    array([0. , 0.5], dtype=float32)
    """
    size = memoryview(data).nbytes
    if size % 2:
        raise ValueError(f"{size} bytes of 16-bit PCM end inside a sample: cut the audio at an even byte")
    return as_waveform(np.frombuffer(data, "<i2"))


def check_long_enough(samples: int) -> None:
    """Refuse a clip that is too short to be reflected."""
    if samples < MIN_SAMPLES:
        raise ValueError(
            f"audio is {samples} samples at 16 kHz; the first frame reflects 200 samples and needs {MIN_SAMPLES} "
            f"({1000 * MIN_SAMPLES / SAMPLE_RATE:.1f} ms): pad it, for instance with silence"
        )
