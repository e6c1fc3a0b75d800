"""How nano's voice is heard by a recogniser that is not ours, and what its codec keeps of the original."""

from collections.abc import Sequence
from math import inf
from random import Random

import numpy as np

from omni.bundle import Bundle
from omni.engine.pipeline.saying import read_out
from omni.nano.codec.codec import NanoCodec
from omni.train.codec.data import utterance
from omni.train.codec.scores import Listener, likeness, sentences, spoken, wrong_words
from omni.train.dialogue import Split, split_of
from omni.train.marking import Row
from omni.train.speakers import Sound
from omni.train.words import COUNTED
from omni.wilson import Z, wilson

WORDS = 5  # of a text that is read out
BARS = {"stoi": 0.92, "pesq": 2.8}
NAMES = {"stoi": "codec: STOI", "pesq": "codec: PESQ-wb"}
READ = "spoken words heard by PocketSphinx, of the reference's"
UNDERSTOOD = 0.95  # the bar of that


def voiced(bundle: Bundle, text: str) -> Sound:
    """The text in nano's voice, made by the model: 24 kHz."""
    if bundle.codec is None:
        raise ValueError("this bundle has no codec to speak with")
    frames = [frame.codes for frame in read_out(bundle, text)]
    return bundle.codec.decode(np.concatenate(frames)) if frames else np.zeros(0, np.float32)


def texts(split: Split, count: int) -> list[str]:
    """Strings of counted words that the split alone has."""
    random, found = Random(f"read out {split}"), list[str]()
    while len(found) < count:
        text = " ".join(random.choices(COUNTED, k=WORDS))
        if split_of(text) == split:
            found.append(text)
    return found


def heard(bundle: Bundle, split: Split, count: int) -> Row:
    """Words that the listener gets from nano, relative to what it gets from the reference voice."""
    listener = Listener(f"({' | '.join(COUNTED)})+")
    ours = theirs = total = 0
    for text in texts(split, count):
        said = spoken(text)
        shown = text.capitalize() + "."
        theirs += max(0, len(said) - wrong_words(said, listener.hear(utterance(shown).numpy())))
        ours += max(0, len(said) - wrong_words(said, listener.hear(voiced(bundle, shown))))
        total += len(said)
    value = ours / max(1, theirs)
    low, high = wilson(ours, total)
    around = (low * total / max(1, theirs), high * total / max(1, theirs))
    return Row(READ, value, total, around, UNDERSTOOD, value >= UNDERSTOOD)


def kept(codec: NanoCodec, split: Split, count: int) -> list[Row]:
    """STOI and PESQ of sentences through the codec."""
    scores = likeness(codec, [utterance(text) for text in sentences(count, 77, split)])
    return [_mean(name, values) for name, values in scores.items()]


def voice_rows(bundle: Bundle, split: Split, count: int) -> list[Row]:
    """All of these; rows without a value where the model has no voice."""
    if not bundle.speaks or not isinstance(bundle.codec, NanoCodec):
        names = {READ: UNDERSTOOD, **{NAMES[name]: bar for name, bar in BARS.items()}}
        return [Row(name, None, 0, None, bar, False) for name, bar in names.items()]
    return [heard(bundle, split, count), *kept(bundle.codec, split, count)]


def _mean(name: str, values: Sequence[float]) -> Row:
    mean, n, bar = float(np.mean(values)), len(values), BARS[name]
    if n < 2:
        return Row(NAMES[name], mean, n, None, bar, mean >= bar)
    wide = Z * float(np.std(values, ddof=1)) / n**0.5
    most = 1.0 if bar <= 1 else inf
    return Row(NAMES[name], mean, n, (mean - wide, min(most, mean + wide)), bar, mean >= bar)
