"""The user's audio as it comes: at one rate, with its place in time, kept while somebody may still need it."""

from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from omni.engine.protocol import SAMPLE_RATE
from omni_server.session.low_latency import LowLatency

Wave = NDArray[np.float32]
ARRIVALS = 2048  # pieces whose arrival is remembered
EDGE = 80  # samples, 5 ms: how exactly the end of speech is found
FAINT = 0.01  # of the loudest, −40 dB: below this, behind the last speech, it is not speech any more


@dataclass
class InputAudio:
    """Samples at SAMPLE_RATE, counted from the beginning of the session."""

    position: int = 0  # samples by now
    appended: float = 0.0  # s of audio that the client has sent and that is kept
    last_at: float = 0.0  # when the newest came
    _rate: int = 0
    _resampler: LowLatency | None = None
    _chunks: deque[tuple[int, Wave]] = field(default_factory=deque)
    _arrivals: deque[tuple[float, float, float | None]] = field(default_factory=lambda: deque(maxlen=ARRIVALS))

    def push(self, samples: Wave, rate: int, now: float, sent_at: float | None, *, keep: bool) -> Wave:
        """More audio; what of it is certain by now at SAMPLE_RATE, often a little less."""
        wave = samples
        if rate != self._rate:
            self._change(rate)
        if self._resampler is not None:
            wave = self._resampler.push(samples)
        self.last_at = now
        if keep:
            self.appended += len(samples) / rate
            self._arrivals.append((self.appended, now, sent_at))
            self._keep(wave)
        return wave

    def flush(self) -> Wave:
        """What the resampler still holds: the client says that this was all for now."""
        if self._resampler is None:
            return np.empty(0, np.float32)
        wave = self._resampler.finish()
        self._keep(wave)
        return wave

    def take(self, start: int, end: int) -> Wave:
        """The samples from start to end, as far as they are kept."""
        found = [chunk[max(0, start - at) : end - at] for at, chunk in self._chunks if at < end]
        found = [chunk for chunk in found if len(chunk)]
        if len(found) == 1:
            return found[0]
        return np.concatenate(found) if found else np.empty(0, np.float32)

    def forget(self, before: int) -> None:
        """Nobody needs what was before."""
        chunks = self._chunks
        while chunks and chunks[0][0] + len(chunks[0][1]) <= before:
            chunks.popleft()

    def arrived(self, sample: int) -> tuple[float, float | None]:
        """When a sample came here, and when it left the client where that is known."""
        seconds = sample / SAMPLE_RATE - 1e-9
        at = bisect_left(self._arrivals, seconds, key=lambda arrival: arrival[0])
        if at >= len(self._arrivals):
            return self.last_at, None
        return self._arrivals[at][1:]

    def speech_end(self, spoke_until: int, start: int, within: int) -> int:
        """Where speech ended, to 5 ms: the detector only says in which window, and lags behind."""
        begin = max(start, spoke_until - within)
        wave = self.take(begin, spoke_until)
        count = len(wave) // EDGE
        if not count:
            return spoke_until
        blocks = wave[len(wave) - count * EDGE :].reshape(count, EDGE)
        levels = np.sqrt(np.mean(blocks * blocks, axis=1))
        loud = np.flatnonzero(levels > FAINT * levels.max(initial=0.0))
        # The beginning of the last loud block: its end may lie behind the speech, and in another piece of the client's.
        return spoke_until - (count - int(loud[-1])) * EDGE + 1 if len(loud) else spoke_until

    def _change(self, rate: int) -> None:
        if self._resampler is not None:
            self._keep(self._resampler.finish())
        self._rate = rate
        self._resampler = None if rate == SAMPLE_RATE else LowLatency(rate, SAMPLE_RATE)

    def _keep(self, wave: Wave) -> None:
        if len(wave):
            self._chunks.append((self.position, wave))
            self.position += len(wave)
