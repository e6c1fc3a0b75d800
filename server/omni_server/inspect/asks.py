"""What `/v1/inspect` is asked: JSON read field by field, with limits on everything that costs time or memory."""

import base64
import binascii
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni_server.dialects.omni_v1.fields import BadField, Fields
from omni_tokenizers import Audio, Image
from omni_tokenizers.image.read import read_image
from omni_tokenizers.sequence.parts import Part

MOST_PARTS = 16
LONGEST_TEXT = 20_000  # characters
LONGEST_IMAGE = 8 << 20  # characters of its address
MOST_PIXELS = 2_000_000  # of one picture: at patch 8 that is 31,250 tokens
SHORTEST_SOUND, LONGEST_SOUND = 0.013, 30  # s; the first Mel frame needs 12.6 ms
RATES = (8_000, 192_000)  # Hz
PATCHES = (32, 16, 14, 8)  # pixels

Pixels = NDArray[np.uint8]  # [height, width, 3]
Wave = NDArray[np.float32]


@dataclass(frozen=True)
class TokensAsk:
    """Parts as one sequence."""

    parts: tuple[str | Part, ...]
    patch: int


@dataclass(frozen=True)
class AttentionAsk:
    """Where the tokens of a text and a picture look; head −1 is the mean of all heads."""

    text: str
    image: Pixels | None
    layer: int
    head: int


@dataclass(frozen=True)
class MaskedAsk:
    """A picture with most of it hidden, and painted again; without a picture, a drawn one."""

    image: Pixels | None
    seed: int


@dataclass(frozen=True)
class SpansAsk:
    """A recording with spans of it hidden."""

    sound: Audio
    seed: int


InspectAsk = TokensAsk | AttentionAsk | MaskedAsk | SpansAsk


def ask(said: Fields) -> InspectAsk:
    """What is asked; raises `BadField`."""
    match said.choice("ask", ("tokens", "attention", "masked", "spans")):
        case "tokens":
            patch = said.whole("patch", min(PATCHES), max(PATCHES), 16)
            if patch not in PATCHES:
                raise BadField("patch", f"is {patch}: it has to be one of {', '.join(map(str, PATCHES))}")
            return TokensAsk(tuple(_part(part) for part in said.objects("parts", MOST_PARTS)), patch)
        case "attention":
            image = picture(said, "image") if "image" in said else None
            text = said.text("text", LONGEST_TEXT, "")
            return AttentionAsk(text, image, said.whole("layer", 0, 255, 0), said.whole("head", -1, 255, -1))
        case "masked":
            return MaskedAsk(picture(said, "image") if "image" in said else None, _seed(said))
        case _:
            return SpansAsk(sound(said), _seed(said))


def picture(said: Fields, name: str) -> Pixels:
    """A picture from its data address."""
    head, _, data = said.text(name, LONGEST_IMAGE).partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64")):
        raise BadField(said.at + name, "has to be data:image/png;base64,… or data:image/jpeg;base64,…")
    try:
        return read_image(_bytes(said, name, data), max_pixels=MOST_PIXELS)
    except BadField:
        raise
    except ValueError as wrong:
        raise BadField(said.at + name, f"cannot be read: {wrong}") from None


def sound(said: Fields) -> Audio:
    """16-bit samples at their rate."""
    rate = said.whole("rate", *RATES)
    data = _bytes(said, "audio", said.text("audio", LONGEST_SOUND * RATES[1] * 3))
    seconds = len(data) / 2 / rate
    if len(data) % 2:
        raise BadField(f"{said.at}audio", "has an odd number of bytes")
    if not SHORTEST_SOUND <= seconds <= LONGEST_SOUND:
        raise BadField(f"{said.at}audio", f"lasts {seconds:.3f} s: {SHORTEST_SOUND} to {LONGEST_SOUND} s are taken")
    return Audio(np.frombuffer(data, "<i2").astype(np.float32) / np.float32(32_768), rate=rate)


def _part(said: Fields) -> str | Part:
    if "text" in said:
        return said.text("text", LONGEST_TEXT)
    if "image" in said:
        return Image(picture(said, "image"))
    if "audio" in said:
        return sound(said)
    raise BadField(said.at.rstrip("."), "has to have text, image, or audio with its rate")


def _seed(said: Fields) -> int:
    return said.whole("seed", 0, (1 << 31) - 1, 0)


def _bytes(said: Fields, name: str, data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as wrong:
        raise BadField(said.at + name, f"is not base64: {wrong}") from None


def base64_of(values: NDArray[Any]) -> str:
    """An array's bytes for JSON."""
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode("ascii")
