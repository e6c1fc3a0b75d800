"""What nano says in its own voice, as codes: spoken and encoded once, and kept beside the pool."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from omni.nano.codec.codec import NanoCodec
from omni.nano.codec.source_filter import FRAME, RATE
from omni.train.codec.data import BEFORE, NANO_VOICE, codes_of, utterance
from omni.train.dialogue import split_of
from omni.train.espeak import timed
from omni.train.keeping import reading, replacing
from omni.train.skills import WORDS, draw_dialogue, sentence
from omni.train.words import COUNTED

Codes = NDArray[np.uint8]  # [frames, books]
FILE = "sayings.safetensors"
AGAIN = "remove it, and they are said again"


@dataclass(frozen=True)
class Saying:
    """Where a text stands, and in it the letter and the frame with which each word begins."""

    first: int  # frame
    frames: int
    starts: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Sayings:
    """Texts and how they sound."""

    codes: Codes  # [frames, books], all texts one after another
    where: dict[str, Saying]

    def __contains__(self, text: str) -> bool:
        return text in self.where

    def of(self, text: str) -> NDArray[np.int64]:
        """The codes of a text: [frames, books]."""
        saying = self.where[text]
        return self.codes[saying.first : saying.first + saying.frames].astype(np.int64)


def texts(count: int) -> list[str]:
    """The answers of the training split, most frequent first, every word alone, and strings of words and numbers."""
    random = Random("sayings")
    found: Counter[str] = Counter()
    for _ in range(6 * count):
        found.update(turn.answer for turn in draw_dialogue(random, "train").turns)
    common = [text for text, _ in found.most_common(count)]
    return list(dict.fromkeys([*common, *(sentence(word) for word in WORDS), *strings(random, count)]))


def strings(random: Random, count: int) -> Iterator[str]:
    """Words in no order, half of them numbers: how one word is said next to any other."""
    for _ in range(count):
        among = random.choice((COUNTED, WORDS))
        words = [random.choice(among) for _ in range(random.randint(2, 6))]
        if split_of(" ".join(words)) == "train":
            yield sentence(" ".join(words))


def starts(text: str) -> list[tuple[int, int]]:
    """The letter and the frame with which each word of a text begins, as nano's voice says it."""
    return [(letter, int((BEFORE / RATE + at) * RATE / FRAME)) for letter, at in timed(text, NANO_VOICE)[2]]


def make_sayings(folder: Path, codec: NanoCodec, count: int) -> Iterator[str]:
    """Speak and encode so many answers; each text as it is done. Nothing if they are there.

    Answers in the codes of another codec would be learned as well, and be noise in this one.
    """
    made = json.dumps({"codec": fingerprint(codec), "answers": count})
    if (folder / FILE).exists():
        with reading(folder / FILE, AGAIN), safe_open(folder / FILE, framework="np") as file:
            found = file.metadata().get("made")
        if found != made:
            raise ValueError(
                f"{folder / FILE} was made by {found or 'an earlier version'}, and what is wanted is {made}: "
                "remove it, or name another --pool"
            )
        return
    pieces: list[Codes] = []
    where: dict[str, tuple[int, int, list[tuple[int, int]]]] = {}
    at = 0
    for text in texts(count):
        codes = np.asarray(codes_of(codec, utterance(text)))
        pieces.append(codes.astype(np.uint8))
        where[text] = (at, len(codes), starts(text))
        at += len(codes)
        yield text
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / FILE) as beside:
        save_file({"codes": np.concatenate(pieces)}, beside, {"where": json.dumps(where), "made": made})


def fingerprint(codec: NanoCodec) -> str:
    """A hash of a codec's weights."""
    digest = hashlib.sha256()
    for name, weight in sorted(codec.net.state_dict().items()):
        digest.update(name.encode() + weight.half().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def read_sayings(folder: Path) -> Sayings | None:
    """The sayings of a pool; None where none were made."""
    if not (folder / FILE).exists():
        return None
    with reading(folder / FILE, AGAIN), safe_open(folder / FILE, framework="np") as file:
        where = {
            text: Saying(first, frames, tuple((letter, frame) for letter, frame in starts))
            for text, (first, frames, starts) in json.loads(file.metadata()["where"]).items()
        }
        return Sayings(file.get_tensor("codes"), where)
