"""Small bundles for the native engine whose answers are known beforehand.

In a planted model the blocks add nothing, so what comes next depends on the last token alone, and the heads hold a
chain of tokens: after SPEAK this word, after this word that frame. Everything around the numbers is the real thing.
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch

from omni.bundle import Bundle
from omni.model.embed import Books, Mel, Values
from omni.model.heads import CodeHead
from omni.model.omni import Omni, OmniSpec
from omni.model.stem import Stem
from omni.script import CALL, END, MORE, OPENS, SPECIALS, How, weave
from omni_tokenizers import LogMel, Patches, Text
from omni_tokenizers.image import Square
from omni_tokenizers.sequence import Omni as Tokens

ENTRIES = 512
RATE = 16_000  # Hz
FRAME = 640  # samples
SIDE = 16  # pixels


@dataclass
class TinyCodec:
    """A frame of codes sounds as 40 ms of a constant; the decoder holds 10 samples back."""

    sample_rate: int = RATE
    frame_rate: float = 25.0
    book_sizes: tuple[int, ...] = (ENTRIES, ENTRIES)
    held: int = 10

    def decoder(self) -> "TinyDecoder":
        return TinyDecoder(self.held)

    def decode(self, codes: Any) -> np.ndarray:
        return np.repeat(np.asarray(codes)[:, 0] / ENTRIES, FRAME).astype(np.float32)

    def encode(self, audio: Any, rate: int | None = None) -> np.ndarray:
        return np.zeros((len(audio) // FRAME, 2), np.int32)

    def count(self, samples: int, rate: int | None = None) -> int:
        return samples // FRAME

    def stream(self, rate: int | None = None) -> Any:
        raise NotImplementedError


@dataclass
class TinyDecoder:
    held: int
    rest: Any = None

    def push(self, codes: Any) -> np.ndarray:
        sound = np.concatenate([np.zeros(0, np.float32) if self.rest is None else self.rest, TinyCodec().decode(codes)])
        self.rest = sound[len(sound) - self.held :]
        return sound[: len(sound) - self.held]

    def finish(self) -> np.ndarray:
        return self.rest


@cache
def text() -> Text:
    return Text.train([""], vocab_size=256 + len(SPECIALS), special=SPECIALS)


def tokens(codec: TinyCodec | None) -> Tokens:
    patches = Patches(8, resize=Square(SIDE))
    return Tokens(text=text(), image=patches, audio=LogMel(floor="fixed"), codec=codec or TinyCodec())


def spec_of(given: Tokens, **changes: Any) -> OmniSpec:
    inputs = {"image": Values(192), "audio": Mel(Stem(bins=80, hidden=8)), "codec": Books((ENTRIES, ENTRIES))}
    settings: dict[str, Any] = {
        "ids": given.size, "text": given.text_size, "width": 32, "depth": 2, "heads": 4, "kv_heads": 2, "hidden": 48,
        "longest": 512, "inputs": inputs, "codes": CodeHead((ENTRIES, ENTRIES)), "extra": {"turn": 1},
    }  # fmt: skip
    return OmniSpec(**{**settings, **changes})


def planted(
    words: str = "four",
    frames: int = 8,
    *,
    heard: str = "hi",
    call: str = "",
    **changes: Any,
) -> Bundle:  # fmt: skip
    """A bundle that answers these words in so many frames, and writes down what it heard as `heard`."""
    codec = TinyCodec()
    given = tokens(codec)
    model = Omni(spec_of(given, **{"width": 128, "depth": 1, "hidden": 8, "tied": False, **changes})).eval()
    ids = {letter: text().encode(letter)[0] for letter in words + heard + call}
    special = text().special
    plans: list[tuple[How, list[int], int, bool]] = [
        ("speak", [ids[l] for l in words], frames, False),
        ("answer", [ids[l] for l in words], 0, False),
        ("transcribe", [ids[l] for l in heard], 0, False),
    ]
    if call:
        plans[:2] = [(how, [special[CALL], *(ids[l] for l in call)], 0, True) for how in ("speak", "answer")]  # type: ignore[misc]
    draw = torch.Generator().manual_seed(0)
    width = model.spec.width

    def directions(count: int) -> torch.Tensor:  # of length 1, with the same first number
        random = torch.nn.functional.normalize(torch.randn(count, width - 1, generator=draw), dim=1)
        return torch.cat([torch.full((count, 1), 0.5), random * 0.75**0.5], dim=1)

    with torch.no_grad():
        for block in model.stack.blocks:
            block.attention.inner.attention.out.weight.zero_()
            block.mlp.inner.down.weight.zero_()
        model.embed.weight.copy_(directions(len(model.embed.weight)))
        model.embed.weight[given.placeholders["codec"]] = 0
        table = model.inputs["codec"].table.weight
        table.zero_()
        table[:ENTRIES] = directions(ENTRIES)
        head, codes = model.head.weight, model.codes.out.weight
        head.zero_()
        codes.zero_()
        # A frame is chosen with 4, against 3 for the end of a text; the end of the speech with 9.
        head[special[MORE], 0] = 8.0
        for how, said, spoken, is_call in plans:
            kind, last = "text", special[OPENS[how]]
            for what, number in weave(how, said, [*[0] * (len(said) - 1), spoken], call=is_call):
                if what == "text":
                    next_kind, following = "text", said[number] if number < len(said) else special[END]
                else:
                    next_kind, following = ("frame", number) if what == "frame" else ("text", special[END])
                direction = (model.embed.weight if kind == "text" else table)[last].clone()
                direction[0] = 0
                if next_kind == "frame":
                    codes[following] += 4 * direction
                else:
                    head[following] += (4 if what == "text" else 12) * direction
                kind, last = next_kind, following
    return Bundle(model, given, codec)
