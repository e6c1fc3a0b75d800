"""Sound on this wire: PCM16 at any rate, Opus packets, G.711; each in one object with the state of its stream."""

from collections.abc import Iterator
from fractions import Fraction
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from omni_server.dialects.omni_v1.frame import OPUS, PCM16, PCMA, PCMU, BadFrame
from omni_tokenizers.optional import need

Wave = NDArray[np.float32]
FULL_SCALE = np.float32(32768.0)
ONE_STEP = np.float32(1 / 32768)
LOUDEST, DEEPEST = np.float32(32767.0), np.float32(-32768.0)
SAMPLE = np.dtype("<i2")
TELEPHONE = 8_000  # Hz, of G.711
OPUS_RATE = 48_000  # Hz
OPUS_FRAME = 960  # samples, 20 ms
OPUS_BITS = 32_000  # bits a second
LONGEST_PACKET = 5_760  # samples at 48 kHz, 120 ms


class Decoder(Protocol):
    """Payloads of one stream to samples."""

    rate: int
    type: int

    def decode(self, payload: bytes | memoryview) -> Wave:
        """The samples of the next payload; raises `BadFrame`."""
        ...


class Encoder(Protocol):
    """Samples of one stream to payloads, each with the number of samples that it holds."""

    rate: int
    type: int

    def encode(self, samples: Wave) -> Iterator[tuple[bytes, int]]:
        """What can be sent now."""
        ...

    def finish(self) -> Iterator[tuple[bytes, int]]:
        """The rest of the stream."""
        ...


def to_pcm16(samples: Wave) -> NDArray[np.int16]:
    """Rounded, and clipped where it is louder than full scale."""
    scaled = samples * FULL_SCALE
    np.rint(scaled, scaled)
    np.minimum(scaled, LOUDEST, out=scaled)
    np.maximum(scaled, DEEPEST, out=scaled)
    return scaled.astype(SAMPLE)


class Pcm16:
    """Little-endian 16-bit samples."""

    type = PCM16

    def __init__(self, rate: int) -> None:
        self.rate = rate

    def decode(self, payload: bytes | memoryview) -> Wave:
        """Scaled to ±1."""
        if len(payload) & 1:
            raise BadFrame("payload", f"the payload has {len(payload)} bytes: a sample of pcm16 has two")
        return np.frombuffer(payload, SAMPLE) * ONE_STEP

    def encode(self, samples: Wave) -> Iterator[tuple[bytes, int]]:
        """All of it."""
        yield to_pcm16(samples).tobytes(), len(samples)

    def finish(self) -> Iterator[tuple[bytes, int]]:
        """Nothing is held back."""
        return iter(())


class G711:
    """8 bits a sample at 8 kHz, µ-law or A-law."""

    rate = TELEPHONE

    def __init__(self, kind: int) -> None:
        self.type = kind
        self._wave = _mu_law() if kind == PCMU else _a_law()  # [256] int16
        self._code = _nearest(self._wave)  # [65536] uint8

    def decode(self, payload: bytes | memoryview) -> Wave:
        """Through the table."""
        return self._wave[np.frombuffer(payload, np.uint8)] * ONE_STEP

    def encode(self, samples: Wave) -> Iterator[tuple[bytes, int]]:
        """The nearest code of each sample."""
        yield self._code[to_pcm16(samples).view(np.uint16)].tobytes(), len(samples)

    def finish(self) -> Iterator[tuple[bytes, int]]:
        """Nothing is held back."""
        return iter(())


def _mu_law() -> NDArray[np.int16]:
    code = ~np.arange(256, dtype=np.uint8)
    exponent, mantissa = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    size = ((mantissa << 3) + 132 << exponent) - 132
    return np.where(code & 0x80, -size, size).astype(np.int16)


def _a_law() -> NDArray[np.int16]:
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, mantissa = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32)
    size = np.where(exponent > 0, (mantissa << 4) + 264 << np.maximum(exponent - 1, 0), (mantissa << 4) + 8)
    return np.where(code & 0x80, size, -size).astype(np.int16)


def _nearest(wave: NDArray[np.int16]) -> NDArray[np.uint8]:
    order = np.argsort(wave, kind="stable")
    levels = wave[order].astype(np.int32)
    middles = (levels[1:] + levels[:-1]) / 2
    values = np.arange(65536, dtype=np.uint16).view(np.int16)
    return order[np.searchsorted(middles, values)].astype(np.uint8)


class OpusDecoder:
    """Opus packets, mono, to 48 kHz."""

    rate = OPUS_RATE
    type = OPUS

    def __init__(self) -> None:
        self._av = need("av", extra="server", use="Opus")
        self._codec: Any = self._av.CodecContext.create("libopus", "r")
        self._codec.sample_rate = OPUS_RATE
        self._codec.layout = "mono"
        self._codec.format = "flt"

    def decode(self, payload: bytes | memoryview) -> Wave:
        """One packet."""
        if not payload:
            raise BadFrame("payload", "the payload is empty: it holds one Opus packet")
        try:
            frames = self._codec.decode(self._av.Packet(bytes(payload)))
        except (self._av.error.FFmpegError, ValueError) as error:
            raise BadFrame("payload", f"the payload is no Opus packet: {error}") from None
        found = []
        for frame in frames:
            samples = frame.to_ndarray()  # planar [channels, n], packed [1, n · channels]
            if samples.dtype == np.int16:
                samples = samples * ONE_STEP
            channels = len(frame.layout.channels)
            samples = samples if len(samples) == channels else samples.reshape(-1, channels).T
            found.append(samples.mean(axis=0, dtype=np.float32))
        return np.concatenate(found) if found else np.zeros(0, np.float32)


class OpusEncoder:
    """20 ms of mono sound in each packet."""

    rate = OPUS_RATE
    type = OPUS

    def __init__(self) -> None:
        self._av = need("av", extra="server", use="Opus")
        codec: Any = self._av.CodecContext.create("libopus", "w")
        codec.sample_rate = OPUS_RATE
        codec.layout = "mono"
        codec.format = "flt"
        codec.bit_rate = OPUS_BITS
        codec.time_base = Fraction(1, OPUS_RATE)
        codec.options = {"application": "voip", "frame_duration": "20"}
        codec.open()
        self._codec = codec
        self._rest = np.zeros(0, np.float32)
        self._at = 0

    def encode(self, samples: Wave) -> Iterator[tuple[bytes, int]]:
        """Whole packets; less than one waits."""
        sound = np.concatenate((self._rest, samples))
        whole = len(sound) - len(sound) % OPUS_FRAME
        self._rest = sound[whole:]
        for at in range(0, whole, OPUS_FRAME):
            yield from self._packets(sound[at : at + OPUS_FRAME])

    def finish(self) -> Iterator[tuple[bytes, int]]:
        """What waits, with silence behind it."""
        if len(self._rest):
            yield from self._packets(np.pad(self._rest, (0, OPUS_FRAME - len(self._rest))))
            self._rest = self._rest[:0]

    def _packets(self, sound: Wave) -> Iterator[tuple[bytes, int]]:
        frame = self._av.AudioFrame.from_ndarray(np.ascontiguousarray(sound)[None], format="flt", layout="mono")
        frame.sample_rate = OPUS_RATE
        frame.pts = self._at
        frame.time_base = Fraction(1, OPUS_RATE)
        self._at += OPUS_FRAME
        for packet in self._codec.encode(frame):
            yield bytes(packet), OPUS_FRAME


def decoder(kind: str, rate: int) -> Decoder:
    """For `audio_in`."""
    match kind:
        case "pcm16":
            return Pcm16(rate)
        case "opus":
            return OpusDecoder()
        case "pcmu":
            return G711(PCMU)
        case _:
            return G711(PCMA)


def encoder(kind: str, rate: int) -> Encoder:
    """For `audio_out`, one for each answer."""
    match kind:
        case "pcm16":
            return Pcm16(rate)
        case "opus":
            return OpusEncoder()
        case "pcmu":
            return G711(PCMU)
        case _:
            return G711(PCMA)
