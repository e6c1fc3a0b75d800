"""A whole bundle with random weights, small enough to be made in a moment, for tests of what runs one."""

from typing import Any

import numpy as np
import torch

from omni.bundle import Bundle
from omni.model.embed import Books, Mel, Picture
from omni.model.heads import CodeHead
from omni.model.omni import Omni, OmniSpec
from omni.model.stem import Stem
from omni.script import SPECIALS
from omni_tokenizers import LogMel, Patches, Text
from omni_tokenizers.audio.codec import checked_codes
from omni_tokenizers.image import Square
from omni_tokenizers.sequence import Omni as Tokens

SENTENCES = ["what is the capital of france", "turn on the light in the kitchen", "how many shapes do you see"] * 3


class Hums:
    """A codec of few books: a frame's codes are the pitch of 40 ms of sound. It keeps nothing between frames."""

    sample_rate = 24_000
    frame_rate = 25.0
    hop = 960  # samples of a frame

    def __init__(self, books: int = 2, entries: int = 8) -> None:
        self.book_sizes = (entries,) * books

    def count(self, samples: int, rate: int | None = None) -> int:
        return -(-samples * self.sample_rate // (rate or self.sample_rate) // self.hop)

    def encode(self, audio: Any, rate: int | None = None) -> np.ndarray:
        frames = self.count(len(audio), rate)
        return np.zeros((frames, len(self.book_sizes)), np.int32)

    def decode(self, codes: Any) -> np.ndarray:
        pitch = 100 + 20 * checked_codes(codes, self.book_sizes).sum(axis=1, keepdims=True)  # [frames, 1] Hz
        wave = 0.3 * np.sin(2 * np.pi * pitch * np.arange(self.hop) / self.sample_rate)
        return wave.astype(np.float32).reshape(-1)

    def stream(self, rate: int | None = None) -> Any:
        raise NotImplementedError("tests say, they do not listen")

    def decoder(self) -> "HumsDecoder":
        return HumsDecoder(self)


class HumsDecoder:
    """Frames as they come."""

    def __init__(self, codec: Hums) -> None:
        self.codec = codec

    def push(self, codes: Any, /) -> np.ndarray:
        return self.codec.decode(codes)

    def finish(self) -> np.ndarray:
        return np.zeros(0, np.float32)


def random_bundle(
    seed: int = 0, *, speaks: bool = True, sees: bool = True, longest: int = 1024,
    **changes: object,
) -> Bundle:  # fmt: skip
    """A tiny omni model with random weights, its tokenizers, a codec that hums; the same for the same seed."""
    codec = Hums() if speaks else None
    text = Text.train(SENTENCES, vocab_size=320, special=SPECIALS)
    image = Patches(16, resize=Square(32)) if sees else None
    tokens = Tokens(text=text, image=image, audio=LogMel(floor="fixed"), codec=codec)
    inputs: dict[str, Any] = {"audio": Mel(Stem(hidden=16, words=tokens.text_size, blocks=2, kernel=3, spread=16))}
    if sees:
        inputs["image"] = Picture(16, side=2, channels=(4, 4, 8), spread=16)
    if codec is not None:
        inputs["codec"] = Books(codec.book_sizes)
    about: dict[str, Any] = {
        "ids": tokens.size, "text": tokens.text_size, "width": 32, "depth": 2, "heads": 4, "hidden": 48,
        "longest": longest, "inputs": inputs, "codes": CodeHead(codec.book_sizes) if codec else None,
        "extra": {"turn": 1}, **changes,
    }  # fmt: skip
    torch.manual_seed(seed)
    return Bundle(Omni(OmniSpec(**about)).eval(), tokens, codec, {"name": "random"})
