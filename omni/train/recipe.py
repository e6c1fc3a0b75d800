"""The recipe of nano in numbers, and the untrained model that it describes."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any

import torch

from omni.model.embed import Books, Mel, Picture
from omni.model.heads import CodeHead
from omni.model.omni import Omni, OmniSpec
from omni.model.stem import Stem
from omni.script import SPECIALS, declared
from omni.train.dialogue import TOOLS
from omni.train.pool import word_string
from omni.train.skills import WORDS, draw_dialogue
from omni_tokenizers import LogMel, Patches, Text
from omni_tokenizers.image import Square
from omni_tokenizers.sequence import Omni as Tokens

PATCH = 16  # pixels
SIDE = 128  # pixels; pictures of other sizes are scaled to it
BOOKS = (64,) * 12  # of nano's codec
SHAPE = ("width", "depth", "heads", "kv_heads", "hidden", "stem", "vocabulary", "blocks", "spread")


@dataclass(frozen=True)
class Recipe:
    """One training in full. Two trainings with equal recipes and pools end in equal weights."""

    width: int = 256
    depth: int = 6
    heads: int = 8
    kv_heads: int = 2  # a cache of 3 kB a token instead of 12; a step costs a tenth less
    hidden: int = 704
    stem: int = 256  # channels of the audio stem
    vocabulary: int = 1024
    longest: int = 4096  # tokens of a conversation
    blocks: int = 6  # of the audio stem
    spread: int = 1024  # of the network in each of them
    listening: float = 0.4  # weight of what the stem writes down in ids (CTC)
    speller: int = 3  # the block of the stem whose output also spells it in letters, in training alone
    spelling: float = 0.6  # weight of that loss
    seeing: float = 0.3  # weight of what the tokens of a picture tell of it
    senses: int = 3000  # first steps, in which the stems alone learn to tell what they hear and see
    sounds: int = 96  # utterances in each of those
    pictures: int = 32
    again: int = 2  # after those, one step of so many is one of the stems alone again
    turning: float = 1.0  # weight of the turn's end
    sounding: float = 0.6  # weight of the codes
    batch: int = 48  # conversations a step
    pieces: int = 5  # of what one process has of a batch, sorted by length: little is filled up
    rate: float = 1.5e-3  # learning rate of AdamW: tables, convolutions, heads
    muon: float = 3e-3  # of Muon: matrices of the stack and of the stem's blocks
    decay: float = 0.05  # of weights
    warm: int = 100  # steps up to the full rate
    probing: int = 40  # first steps on the weights of a bundle, in which only the probes learn
    steps: int = 40_000  # at most
    cooling: int = 0  # last steps, over which the rate goes to zero in a straight line
    clip: float = 1.0  # of the gradient's norm
    seed: int = 1

    def config(self) -> dict[str, Any]:
        """The recipe as JSON."""
        return asdict(self)

    @property
    def shape(self) -> dict[str, int]:
        """The settings that the shapes of the weights follow from."""
        return {name: getattr(self, name) for name in SHAPE}

    @staticmethod
    def of(config: dict[str, Any]) -> "Recipe":
        """The recipe that a `config()` describes."""
        try:
            return Recipe(**config)
        except TypeError as wrong:
            raise ValueError(f"the recipe is of another version ({wrong}): use the one that made it") from None


def texts(count: int = 30_000) -> Iterator[str]:
    """What nano's vocabulary is learned from: questions and answers of the training split, every word, the tools."""
    random = Random("vocabulary")
    for _ in range(count):
        for turn in draw_dialogue(random, "train").turns:
            yield turn.question
            yield turn.answer
            if turn.call is not None:
                yield turn.call.as_text()
                yield turn.call.result
    for _ in range(count // 3):
        yield word_string(random).turns[0].question
    for word in WORDS:
        yield from (f" {word}", word.capitalize(), f"The {word} and my {word}.")
    for name, about in TOOLS.items():
        yield from [declared(name, about["parameters"])] * 50


def vocabulary(recipe: Recipe) -> Text:
    """The text tokenizer."""
    return Text.train(texts(), vocab_size=recipe.vocabulary, special=SPECIALS)


def tokenizers(text: Text, codec: Any = None) -> Tokens:
    """What turns text, pictures, sound and codes into one sequence."""
    return Tokens(text=text, image=Patches(PATCH, resize=Square(SIDE)), audio=LogMel(floor="fixed"), codec=codec)


def model(recipe: Recipe, tokens: Tokens) -> Omni:
    """The untrained model: the same for the same seed."""
    torch.manual_seed(recipe.seed)
    return Omni(
        OmniSpec(
            ids=tokens.size,
            text=tokens.text_size,
            width=recipe.width,
            depth=recipe.depth,
            heads=recipe.heads,
            kv_heads=recipe.kv_heads,
            hidden=recipe.hidden,
            longest=recipe.longest,
            inputs={
                "image": Picture(PATCH, side=SIDE // PATCH),
                "audio": Mel(
                    Stem(hidden=recipe.stem, blocks=recipe.blocks, spread=recipe.spread, words=tokens.text_size)
                ),
                "codec": Books(BOOKS),
            },
            codes=CodeHead(BOOKS),
            extra={"turn": 1},
        )
    )


def load_or_train(recipe: Recipe, folder: Path) -> Text:
    """The vocabulary of this training, learned once."""
    file = folder / "tokenizer.json"
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        vocabulary(recipe).save(file)
    return Text.load(file)
