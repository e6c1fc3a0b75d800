"""Sound on this wire: base64 of PCM16 at 24 kHz, or of G.711 at 8 kHz in both laws."""

import base64
import binascii
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from omni_server.dialects.realtime.fields import Wrong, choice, number, record

Wave = NDArray[np.float32]
Kind = Literal["audio/pcm", "audio/pcmu", "audio/pcma"]
PCM_RATE = 24_000  # Hz, the only one that clients' types allow
TELEPHONE_RATE = 8_000  # Hz
STEP = np.float32(1 / 32_768)
FULL_SCALE, HIGHEST = np.float32(32_768), np.float32(32_767)


@dataclass(frozen=True)
class Format:
    """How samples become bytes."""

    kind: Kind = "audio/pcm"

    @property
    def rate(self) -> int:
        """Hz."""
        return PCM_RATE if self.kind == "audio/pcm" else TELEPHONE_RATE

    def as_json(self) -> dict[str, Any]:
        """As the session shows it."""
        return {"type": self.kind, "rate": PCM_RATE} if self.kind == "audio/pcm" else {"type": self.kind}

    def decode(self, data: str, path: str) -> Wave:
        """Samples of base64 text."""
        try:
            raw = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as wrong:
            raise Wrong(path, f"Invalid '{path}': it is not base64 ({wrong}).") from None
        if self.kind != "audio/pcm":
            return table(self.kind)[np.frombuffer(raw, np.uint8)] * STEP
        if len(raw) % 2:
            raise Wrong(path, f"Invalid '{path}': {len(raw):,} bytes; a sample of 16 bits has two.")
        return np.frombuffer(raw, "<i2") * STEP

    def encode(self, samples: Wave) -> str:
        """Base64 text of samples, clipped where they are louder than full scale."""
        scaled = samples * FULL_SCALE
        np.rint(scaled, out=scaled)
        np.minimum(scaled, HIGHEST, out=scaled)  # with the next line a third of the time of np.clip
        np.maximum(scaled, -FULL_SCALE, out=scaled)
        whole = scaled.astype("<i2")
        if self.kind == "audio/pcm":
            return base64.b64encode(whole.tobytes()).decode("ascii")
        return base64.b64encode(nearest(self.kind)[whole.view(np.uint16)].tobytes()).decode("ascii")


def read_format(value: Any, path: str) -> Format:
    """What a client asked for."""
    fields = record(value, path)
    if fields.get("type") is None:
        raise Wrong(f"{path}.type", f"Missing required parameter: '{path}.type'.", "missing_required_parameter")
    kind = choice(fields["type"], f"{path}.type", ("audio/pcm", "audio/pcmu", "audio/pcma"))
    rate = fields.get("rate")
    found = Format(kind)  # type: ignore[arg-type]  # choice has checked it
    if rate is not None and number(rate, f"{path}.rate", 1, 1e9) != found.rate:
        raise Wrong(f"{path}.rate", f"Invalid value: {rate}. {kind} has {found.rate} Hz here.")
    return found


@cache
def table(kind: Kind) -> NDArray[np.int16]:
    """What each of the 256 codes of G.711 means: 8 segments, each twice as coarse as the one before."""
    code = np.arange(256)
    if kind == "audio/pcmu":
        code = 255 - code
        segment, step = code >> 4 & 7, code & 15
        size = ((2 * step + 33) << (segment + 2)) - 132
        return np.where(code & 128, -size, size).astype(np.int16)
    code = code ^ 0x55
    segment, step = code >> 4 & 7, code & 15
    size = np.where(segment == 0, (2 * step + 1) << 3, (2 * step + 33) << (segment + 2))
    return np.where(code & 128, size, -size).astype(np.int16)


@cache
def nearest(kind: Kind) -> NDArray[np.uint8]:
    """For each 16-bit sample, as unsigned, the nearest code; of the two that mean nought the positive one."""
    values = table(kind).astype(np.int32)
    order = np.argsort(values, kind="stable")
    between = (values[order][1:] + values[order][:-1]) / 2
    samples = np.arange(65_536, dtype=np.uint16).view(np.int16)
    return order[np.searchsorted(between, samples, side="right")].astype(np.uint8)
