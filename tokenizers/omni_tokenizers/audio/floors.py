"""How quiet is silent: the four floors under a log-Mel spectrogram, by name.

Whisper lifts everything that lies more than 8 decades under the loudest mel value up to that level. The
loudest value of a clip is known at its end, so this floor cannot stream; the other three can.
"""

from typing import Literal, Protocol, get_args

import numpy as np

from omni_tokenizers.audio.waveform import Wave
from omni_tokenizers.tokenizer import CannotStream

FloorName = Literal["clip", "fixed", "running"]

SMALLEST = np.float32(-10.0)  # decades; Whisper's max(power, 1e-10), applied after the logarithm
RANGE = np.float32(8.0)  # decades of power kept under the maximum: 80 dB
FIXED_MAXIMUM = np.float32(1.5)  # decades; the loudest value that speech of normal level reaches
QUARTER = np.float32(0.25)
ONE = np.float32(1.0)


class Floor(Protocol):
    """One clip's floor. It sees the frames in order, block by block, and carries what it must from one to the next."""

    def block(self, log: Wave) -> None:
        """Raise the next frames [n, bins] of log10 power (−∞ for none) to the floor and to −10, in place."""
        ...

    def end(self, frames: Wave) -> None:
        """Raise the whole clip's scaled frames [n, bins], in place, once all blocks were seen."""
        ...


class NoFloor:
    """Nothing but the 1e-10 under the logarithm."""

    def block(self, log: Wave) -> None:
        """Raise the frames to −10."""
        np.maximum(log, SMALLEST, out=log)

    def end(self, frames: Wave) -> None:
        """Leave the clip as it is."""


class ClipFloor:
    """8 decades under the maximum of this clip, and of no other: Whisper's own code takes one maximum for a batch."""

    def __init__(self) -> None:
        self.maximum = SMALLEST

    def block(self, log: Wave) -> None:
        """Note the maximum."""
        self.maximum = max(self.maximum, log.max())

    def end(self, frames: Wave) -> None:
        """Raise the scaled frames to the scaled floor: scaling rises with its argument, so the order is free."""
        np.maximum(frames, scaled(max(self.maximum - RANGE, SMALLEST)), out=frames)


class FixedFloor:
    """8 decades under 1.5, whatever the clip."""

    def block(self, log: Wave) -> None:
        """Raise the frames."""
        np.maximum(log, FIXED_MAXIMUM - RANGE, out=log)

    def end(self, frames: Wave) -> None:
        """Leave the clip: its frames are done."""


class RunningFloor:
    """8 decades under the maximum of this frame and all before it."""

    def __init__(self) -> None:
        self.maximum = SMALLEST

    def block(self, log: Wave) -> None:
        """Raise each frame to the floor of its moment."""
        loudest = log.max(axis=1)  # [n]
        loudest[0] = max(loudest[0], self.maximum)
        np.maximum.accumulate(loudest, out=loudest)
        self.maximum = loudest[-1]
        np.maximum(log, np.maximum(loudest - RANGE, SMALLEST)[:, None], out=log)

    def end(self, frames: Wave) -> None:
        """Leave the clip: its frames are done."""


FLOORS: dict[FloorName | None, type[NoFloor | ClipFloor | FixedFloor | RunningFloor]] = {
    "clip": ClipFloor,
    "fixed": FixedFloor,
    "running": RunningFloor,
    None: NoFloor,
}


def scaled(log: np.float32) -> np.float32:
    """Whisper's (x + 4) / 4, written x/4 + 1, which is the same to the bit and rises with x."""
    return np.float32(log * QUARTER + ONE)


def check_floor(name: object) -> None:
    """Refuse a floor that has no name here."""
    if name is not None and name not in get_args(FloorName):
        raise ValueError(f"floor is {name!r}; pass 'clip' (Whisper), 'fixed', 'running' or None")


def check_streams(name: FloorName | None) -> None:
    """Refuse to stream a floor that needs the whole clip."""
    if name == "clip":
        raise CannotStream(
            "floor='clip' takes its maximum over the whole clip, which a live stream does not have: "
            "use floor='fixed' (maximum 1.5), floor='running' or floor=None to stream"
        )
