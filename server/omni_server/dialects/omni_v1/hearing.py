"""The user's sound: every frame has its place, so what was lost becomes silence and what comes twice is dropped."""

import math
from dataclasses import dataclass, field

import numpy as np

from omni_server.dialects.omni_v1.configure import Format
from omni_server.dialects.omni_v1.frame import FIRST, HEADER, PCM16, SIZE, TYPES, BadFrame, Frame
from omni_server.dialects.omni_v1.sound import ONE_STEP, SAMPLE, Decoder, Wave, decoder

LONGEST_GAP = 2.0  # s of lost sound that silence stands for; a longer gap is a pause, and takes no time


@dataclass
class Hearing:
    """One stream from the client."""

    format: Format
    next: int | None = None  # sample at which the next frame should begin
    lost: int = 0  # samples that never came
    doubled: int = 0  # samples that came again
    _decoder: Decoder | None = field(default=None, repr=False)

    def simple(self, data: bytes) -> Wave | None:
        """The samples of a frame that is just the next one of pcm16, as nearly all are: 3 µs instead of 8."""
        if self.next is None or len(data) <= SIZE or len(data) & 1 or self.format.type != "pcm16":
            return None
        kind, flags, _, _, sample = HEADER.unpack_from(data)
        if kind != PCM16 or flags or sample != self.next:
            return None
        samples = np.frombuffer(data, SAMPLE, offset=SIZE) * ONE_STEP
        self.next = sample + len(samples)
        return samples

    def frame(self, frame: Frame) -> Wave:
        """Its samples, with silence in front where some were lost; raises `BadFrame`."""
        if frame.type != TYPES[self.format.type]:
            raise BadFrame(
                "type", f"type is {frame.type}: audio_in is {self.format.type}, which has {TYPES[self.format.type]}"
            )
        if self._decoder is None:
            self._decoder = decoder(self.format.type, self.format.rate)
        samples = self._decoder.decode(frame.payload)
        begin, due = frame.sample, self.next
        end = begin + len(samples)
        if frame.flags & FIRST or due is None or begin == due:
            self.next = end
            return samples
        if begin < due:
            again = min(due - begin, len(samples))
            self.doubled += again
            self.next = max(due, end)
            return samples[again:]
        gap = begin - due
        self.lost += gap
        self.next = end
        if gap > LONGEST_GAP * self.format.rate:
            return samples
        return np.concatenate((np.zeros(gap, np.float32), samples))


@dataclass
class ClientClock:
    """The client's clock beside ours, from frames that carry a time: the fastest one had the least of the network."""

    offset: float = math.inf  # s that ours is ahead, with the quickest way here in it
    half_way: float = math.inf  # s, half of the quickest round trip that the client measured

    def sent(self, theirs: float, now: float) -> float | None:
        """When what came now was sent, on our clock; None when the client's clock is none."""
        if not math.isfinite(theirs):
            return None
        self.offset = min(self.offset, now - theirs)
        return min(now, self._at(theirs))

    def took(self, seconds: float) -> None:
        """A round trip was so long."""
        self.half_way = min(self.half_way, seconds / 2)

    def ours(self, theirs: float) -> float | None:
        """Any moment, past or to come, on our clock; None where nothing was sent with a time yet."""
        return self._at(theirs) if math.isfinite(self.offset) else None

    def _at(self, theirs: float) -> float:
        return theirs + self.offset - (self.half_way if math.isfinite(self.half_way) else 0.0)
