"""How good the codec is: `python -m omni.train.codec.scores [FOLDER]`, on sentences that it was not trained on.

STOI and PESQ compare with the original. Words are counted by PocketSphinx, a recogniser that has nothing to do with
this project, on the original and on the codec's sound, from grammars of nano's world: its general language model gets
two words of three wrong on espeak-ng's own voice, so it would tell nothing.
"""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omni.nano.codec.codec import SHIPPED, NanoCodec
from omni.nano.codec.source_filter import RATE
from omni.train.codec.data import sentence, trained, utterance
from omni.train.dialogue import Split
from omni.train.words import COUNTED
from omni_tokenizers.audio import resample
from omni_tokenizers.audio.waveform import Wave
from omni_tokenizers.optional import need

HISS = 1e-3  # of full scale; the synthesizer's silence is all zeros, whose logarithm deafens PocketSphinx
LISTENER_RATE = 16_000  # Hz, of PESQ's wide band and of PocketSphinx


def sentences(count: int, seed: int, split: Split) -> list[str]:
    """Different sentences of more than a word that the codec was not trained on, drawn with the seed."""
    random, found = Random(seed), dict[str, None]()
    while len(found) < count:
        text = sentence(random, split)
        if len(text) > 12 and text not in trained():
            found[text] = None
    return list(found)


def likeness(codec: NanoCodec, originals: Sequence[Tensor]) -> dict[str, list[float]]:
    """STOI and PESQ (wide band) of each sound through the codec."""
    stoi = need("pystoi", extra="scores", use="scoring the codec").stoi
    pesq = need("pesq", extra="scores", use="scoring the codec").pesq
    scores: dict[str, list[float]] = {"stoi": [], "pesq": []}
    for sound in originals:
        theirs, ours = sound.numpy(), codec.decode(codec.encode(sound))
        scores["stoi"].append(float(stoi(theirs, ours, RATE)))
        narrow = (resample(x, RATE, LISTENER_RATE) for x in (theirs, ours))
        scores["pesq"].append(float(pesq(LISTENER_RATE, *narrow, "wb")))
    return scores


class Listener:
    """PocketSphinx with a grammar."""

    def __init__(self, rule: str) -> None:
        sphinx = need("pocketsphinx", extra="scores", use="listening to the codec")
        self._decoder: Any = sphinx.Decoder(lm=None, loglevel="FATAL")
        self._decoder.add_jsgf_string("closed", f"#JSGF V1.0;\ngrammar closed;\npublic <said> = {rule} ;\n")
        self._decoder.activate_search("closed")

    def hear(self, sound: Wave) -> list[str]:
        """The words it makes of a sound at 24 kHz."""
        sound = resample(np.pad(sound, RATE // 5), RATE, LISTENER_RATE)
        loud = sound * (0.6 / max(float(np.abs(sound).max()), 1e-3))
        loud = np.clip(loud + HISS * np.random.default_rng(0).standard_normal(len(loud)), -1, 1)
        self._decoder.start_utt()
        self._decoder.process_raw((loud * 32767).astype(np.int16).tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return str(found.hypstr).split() if found else []


def wrong_words(said: Sequence[str], heard: Sequence[str]) -> int:
    """Words replaced, left out or put in, the fewest that explain it.

    >>> wrong_words("two plus two is four".split(), "to plus two four".split())
    2
    """
    row = list(range(len(heard) + 1))
    for i, word in enumerate(said, 1):
        above, row = row, [i]
        for j, other in enumerate(heard, 1):
            row.append(min(above[j] + 1, row[-1] + 1, above[j - 1] + (word != other)))
    return row[-1]


def spoken(text: str) -> list[str]:
    """The words of a text as a recogniser writes them."""
    return re.sub(r"[^a-z' ]", " ", text.lower()).split()


def word_errors(codec: NanoCodec, texts: Sequence[str], rule: str) -> dict[str, float]:
    """The share of words that the listener gets wrong, of the original and of the codec."""
    listener, wrong, total = Listener(rule), {"original": 0, "codec": 0}, 0
    for text in texts:
        sound = utterance(text)
        wrong["original"] += wrong_words(spoken(text), listener.hear(sound.numpy()))
        wrong["codec"] += wrong_words(spoken(text), listener.hear(codec.decode(codec.encode(sound))))
        total += len(spoken(text))
    return {name: count / total for name, count in wrong.items()}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Score nano's codec.")
    parser.add_argument("folder", type=Path, nargs="?", default=SHIPPED)
    parser.add_argument("--count", type=int, default=60, help="sentences")
    parser.add_argument("--split", choices=("dev", "test"), default="test")
    args = parser.parse_args()
    torch.set_num_threads(1)
    codec = NanoCodec.load(args.folder)
    texts = sentences(args.count, 77, args.split)
    for name, values in likeness(codec, [utterance(text) for text in texts]).items():
        print(f"{name}: mean {np.mean(values):.3f}, lowest {min(values):.3f}, {len(values)} sentences", flush=True)
    random = Random(78)
    counted = [" ".join(random.choices(COUNTED, k=5)) for _ in range(args.count)]
    grammars = {
        "one of the sentences": (texts, " | ".join(" ".join(spoken(text)) for text in texts)),
        f"five of {len(COUNTED)} words": (counted, f"({' | '.join(COUNTED)})+"),
    }
    for name, (said, rule) in grammars.items():
        wrong = word_errors(codec, said, rule)
        share = (1 - wrong["codec"]) / (1 - wrong["original"])
        print(f"words wrong, {name}: original {wrong['original']:.1%}, codec {wrong['codec']:.1%}", flush=True)
        print(f"words right, {name}: {share:.1%} of the original's", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
