"""Parts of every modality for hypothesis, and the Omni that takes them."""

from typing import Any

import numpy as np
from hypothesis import strategies as st

from omni_tokenizers.audio import LogMel
from omni_tokenizers.image import Patches
from omni_tokenizers.sequence import Audio, Codes, Film, Frames, Ids, Image, Omni, Special, Tagged
from tests.tokenizers.small_modalities import Bytes, Depth, Heartbeat

BOOKS = (16, 16, 8)


class Codebook:
    """A codec of 20 frames a second at 8 kHz whose codes are the first samples of each frame, quantised."""

    book_sizes = BOOKS
    frame_rate = 20.0
    sample_rate = 8000
    hop = 400  # samples

    def count(self, samples: int, rate: int | None = None) -> int:
        return samples // self.hop

    def encode(self, audio: Any, rate: int | None = None) -> Any:
        frames = np.asarray(audio, np.float32)[: len(audio) // self.hop * self.hop].reshape(-1, self.hop)
        return np.clip((frames[:, : len(BOOKS)] + 1) * 4, 0, 7).astype(np.int32)

    def stream(self, rate: int | None = None) -> "Codebook":
        fresh = Codebook()
        fresh.held = np.zeros(0, np.float32)  # type: ignore[attr-defined]
        return fresh

    def push(self, samples: Any) -> Any:
        held = np.concatenate([self.held, samples])  # type: ignore[attr-defined]
        ready = len(held) // self.hop * self.hop
        self.held = held[ready:]
        return self.encode(held[:ready])

    def finish(self) -> Any:
        return np.zeros((0, len(BOOKS)), np.int32)


def omni(**changes: Any) -> Omni:
    settings: dict[str, Any] = {
        "text": Bytes(), "image": Patches(4), "audio": LogMel(floor="fixed"), "codec": Codebook(), "depth": Depth(),
        "heartbeat": Heartbeat(),
    }  # fmt: skip
    return Omni(**{**settings, **changes})


def noise(seed: int, *shape: int) -> Any:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def pixels(seed: int, rows: int, columns: int) -> Any:
    return np.random.default_rng(seed).integers(0, 256, (rows * 4, columns * 4, 3), np.uint8)


seeds = st.integers(0, 2**32 - 1)
few = st.integers(1, 4)
texts = st.text(max_size=12).filter(lambda text: "<|" not in text)
ids = st.builds(lambda values: Ids(tuple(values)), st.lists(st.integers(0, 257), max_size=5))
specials = st.builds(Special, st.sampled_from(sorted(Bytes.special)))
images = st.builds(lambda seed, rows, columns: Image(pixels(seed, rows, columns)), seeds, few, few)
films = st.builds(
    lambda seed, times, rows, columns: Film(np.stack([pixels(seed + i, rows, columns) for i in range(times)]), 0.5),
    seeds, few, few, few,
)  # fmt: skip
frames = st.builds(lambda seed, length: Frames("audio", noise(seed, length, 80)), seeds, st.integers(0, 23))
sounds = st.builds(
    lambda seed, length, rate: Audio(noise(seed, length), rate), seeds, st.integers(700, 3000),
    st.sampled_from([8000, 16000, 24000]),
)  # fmt: skip
codes = st.builds(
    lambda seed, length: Codes(np.random.default_rng(seed).integers(0, 8, (length, len(BOOKS)), np.int32)),
    seeds, st.integers(0, 9),
)  # fmt: skip
depths = st.builds(
    lambda seed, rows, columns: Tagged(
        "depth",
        np.random.default_rng(seed).integers(0, 65000, (rows * 4, columns * 4)).astype(np.float32) / np.float32(1000),
    ),
    seeds, few, few,
)  # fmt: skip

exact = texts | ids | specials | images | films | frames | codes | depths  # decoding gives these back as they were
anything = exact | sounds
several = st.lists(anything, max_size=6)
