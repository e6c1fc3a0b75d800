"""What is wrong with what the model says: text, the turn's end, codes, and what the stems heard and saw."""

from collections.abc import Sequence as ListLike
from dataclasses import dataclass, fields, replace
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from omni.model.batch import Batch
from omni.model.losses.ctc import ctc_loss
from omni.model.omni import Omni
from omni.model.stem import CausalStem
from omni.train.pictures import CELLS, FOREGROUND
from omni.train.recipe import Recipe
from omni.train.words import SHAPES
from omni.train.writing import IGNORE, LETTERS, Example, Seen

LETTER, WORD = 2, 5  # tokens of speech before which no letter and no word can be known
MORE_FRAMES = 0.1  # the weight of the choice of another frame, against 1 of an id of text


class Probes(nn.Module):
    """What the stems are asked in training alone: the letters that were heard, the figures and letters that are seen.

    Letters are few and each is in many words: they are learned long before ids.
    """

    def __init__(self, hidden: int, width: int) -> None:
        super().__init__()
        self.letters = nn.Linear(hidden, len(LETTERS) + 1)  # the last is the blank
        self.plain = nn.Linear(width, 1)  # no letter has its middle there
        self.shapes = nn.Linear(width, len(SHAPES) + 1)  # the last: nothing is there
        self.colors = nn.Linear(width, len(FOREGROUND) + 1)


@dataclass
class Loss:
    """Sums over a batch, and how many tokens they are over."""

    text: Tensor
    turn: Tensor
    codes: Tensor
    heard: Tensor
    spelled: Tensor
    seen: Tensor
    texts: float  # weights
    turns: int
    frames: int
    sounds: int
    letters: int
    pictures: int

    def total(self, recipe: Recipe, of: "Loss") -> Tensor:
        """One number; the counts are those of the whole batch, of which this may be a piece."""
        return (
            self.text / max(1, of.texts)
            + recipe.turning * self.turn / max(1, of.turns)
            + recipe.sounding * self.codes / max(1, of.frames)
            + recipe.listening * self.heard / max(1, of.sounds)
            + recipe.spelling * self.spelled / max(1, of.letters)
            + recipe.seeing * self.seen / max(1, of.pictures)
        )

    def plus(self, other: "Loss") -> "Loss":
        """Both together."""
        sums: dict[str, Any] = {f.name: getattr(self, f.name) + getattr(other, f.name) for f in fields(self)}
        return Loss(**sums)

    def detached(self) -> "Loss":
        """The numbers alone, on the CPU."""
        values: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self)}
        values = {name: v.detach().cpu() if isinstance(v, Tensor) else v for name, v in values.items()}
        return Loss(**values)

    def means(self) -> dict[str, float]:
        """Means for the log, of what there was to say."""
        sums = {
            "text": (self.text, self.texts),
            "turn": (self.turn, self.turns),
            "codes": (self.codes, self.frames),
            "heard": (self.heard, self.sounds),
            "spelled": (self.spelled, self.letters),
            "seen": (self.seen, self.pictures),
        }
        return {name: float(of) / count for name, (of, count) in sums.items() if count}


def counted(examples: ListLike[Example]) -> Loss:
    """No loss yet: only the counts of a batch."""
    zero = torch.zeros(())
    return Loss(
        zero, zero, zero, zero, zero, zero,
        texts=sum(float(weight_of(e).sum()) for e in examples),
        turns=sum(int((e.turn >= 0).sum()) for e in examples),
        frames=sum(int((e.codes[:, 0] != IGNORE).sum()) for e in examples),
        sounds=sum(len(heard.ids) for e in examples for heard in e.heard),
        letters=sum(len(heard.letters) for e in examples for heard in e.heard),
        pictures=sum(len(e.seen) for e in examples),
    )  # fmt: skip


def loss(model: Omni, probes: Probes, recipe: Recipe, examples: ListLike[Example]) -> Loss:
    """Read the examples as one batch and say how wrong the model is."""
    rows = model.batch([example.sequence for example in examples])
    device = rows.ids.device
    vectors, found = perceived(model, probes, recipe, rows, examples)
    hidden = model.stack(vectors, rows.reach, positions=placed(rows, examples))
    text, at = flat([e.text for e in examples], hidden)
    chosen = text != IGNORE
    each_id = F.cross_entropy(model.text(hidden[at][chosen]).float(), text[chosen], reduction="none")
    weights = torch.cat([torch.from_numpy(weight_of(e)) for e in examples]).to(device)
    found.text = (each_id * weights[chosen]).sum()
    turn = torch.cat([torch.from_numpy(e.turn) for e in examples]).to(device)
    over = model.extra["turn"](hidden[at][turn >= 0])[:, 0].float()
    found.turn = F.binary_cross_entropy_with_logits(over, turn[turn >= 0], reduction="sum")
    if found.frames and model.codes is not None:
        codes = torch.cat([torch.from_numpy(e.codes) for e in examples]).to(device)  # [tokens, books]
        spoken = codes[:, 0] != IGNORE
        scores = model.codes(hidden[at][spoken], codes[spoken])
        each = [F.cross_entropy(s.float(), codes[spoken][:, book], reduction="sum") for book, s in enumerate(scores)]
        found.codes = torch.stack(each).sum() / len(each)
    return found


def senses(model: Omni, probes: Probes, recipe: Recipe, examples: ListLike[Example]) -> Loss:
    """Only how far the stems are from telling what they heard and saw."""
    rows = model.batch([example.sequence for example in examples])
    found = perceived(model, probes, recipe, rows, examples)[1]
    return replace(found, texts=0.0, turns=0, frames=0)


def perceived(
    model: Omni, probes: Probes, recipe: Recipe, rows: Batch, examples: ListLike[Example]
) -> tuple[Tensor, Loss]:
    """What goes into the stack, and how far the stems are from telling what is in it."""
    found = counted(examples)
    stem = cast(CausalStem, model.inputs["audio"].stem)
    last = cast(nn.Module, model.inputs["image"].after)
    low: list[Tensor] = []
    high: list[Tensor] = []
    eye: list[Tensor] = []
    hooks = [
        stem.blocks[recipe.speller - 1].register_forward_hook(lambda _block, _given, made: low.append(made[0])),
        cast(nn.Module, stem.words).register_forward_hook(lambda _head, _given, made: high.append(made)),
        last.register_forward_hook(lambda _norm, _given, made: eye.append(made)),
    ]
    try:
        vectors = model.vectors(rows)
    finally:
        for hook in hooks:
            hook.remove()
    sounds = {(row, sound.first): sound for row, example in enumerate(examples) for sound in example.heard}
    if found.sounds:
        runs = rows.runs["audio"]
        lengths = torch.tensor([run.span.length for run in runs], device=vectors.device)
        heard = [sounds[run.row, run.span.start] for run in runs]
        begins = torch.tensor([sound.begin for sound in heard], device=vectors.device)
        found.spelled = written(probes.letters(low[0]), lengths, begins + LETTER, [sound.letters for sound in heard])
        found.heard = written(high[0], lengths, begins + WORD, [sound.ids for sound in heard])
    if found.pictures:
        pictures = {(row, seen.first): seen for row, example in enumerate(examples) for seen in example.seen}
        shown = [pictures[run.row, run.span.start] for run in rows.runs["image"]]
        found.seen = misjudged(probes, eye[0], shown)
        ends = [(run.row, run.span.start, run.span.start + run.span.length) for run in rows.runs["image"]]
        tokens = torch.cat([vectors[row, start:end] for row, start, end in ends])
        found.seen = found.seen + misread(probes, tokens, model.embed.weight, eye[0].shape[1:3], shown)
    return vectors, found


def written(logits: Tensor, lengths: Tensor, begins: Tensor, labels: ListLike[tuple[int, ...]]) -> Tensor:
    """How far scores [sounds, tokens, labels and blank] are from spelling each sound with its labels (CTC).

    Before `begins` there is nothing but blanks. Free to write at once, the stem writes the most frequent first word
    before anything is said: as often as that is right, the word is not written again where it was heard.
    """
    wanted = nn.utils.rnn.pad_sequence(
        [torch.tensor(ids, dtype=torch.long, device=logits.device) for ids in labels],
        batch_first=True,
        padding_value=IGNORE,
    )
    begins = begins.minimum(lengths - 2 * (wanted != IGNORE).sum(1)).clamp(min=0)  # there is room for all of them
    at = torch.arange(logits.shape[1], device=logits.device)
    blanks = F.log_softmax(logits, dim=2, dtype=torch.float32)[..., -1][at < begins[:, None]]
    later = (at + begins[:, None]).clamp(max=logits.shape[1] - 1)[..., None].expand_as(logits)
    blank = logits.shape[2] - 1
    rest = ctc_loss(logits.gather(1, later), lengths - begins, wanted, blank=blank, skip_impossible=True)
    return rest - blanks.sum()


def misjudged(probes: Probes, grid: Tensor, shown: ListLike[Seen]) -> Tensor:
    """How far pictures [pictures, rows, columns, width] are from telling the figure in each cell."""
    cells = grid.unflatten(2, (CELLS, -1)).unflatten(1, (CELLS, -1)).mean((2, 4)).flatten(0, 2)
    shapes = torch.full((len(shown), CELLS, CELLS), len(SHAPES), device=grid.device)
    colors = torch.full_like(shapes, len(FOREGROUND))
    for number, seen in enumerate(shown):
        for figure in seen.scene.figures:
            shapes[number, figure.row, figure.column] = SHAPES.index(figure.shape)
            colors[number, figure.row, figure.column] = FOREGROUND.index(figure.color)
    wrong = F.cross_entropy(probes.shapes(cells), shapes.flatten(), reduction="sum")
    wrong = wrong + F.cross_entropy(probes.colors(cells), colors.flatten(), reduction="sum")
    return wrong / CELLS**2


def misread(probes: Probes, tokens: Tensor, table: Tensor, shape: ListLike[int], shown: ListLike[Seen]) -> Tensor:
    """How far the tokens of pictures [pictures · rows · columns, width] are from the letters in them, as text has them.

    A letter that is seen comes near the vector of the letter that is written, so that the stack reads both alike: what
    it knows of spelling holds for signs, and for words that it never saw in a picture.
    """
    rows, columns = shape
    letters = torch.full((len(shown), rows, columns), len(table), device=tokens.device)
    for number, seen in enumerate(shown):
        for letter, said in zip(seen.letters, seen.ids, strict=True):
            letters[number, int(letter.y * rows), int(letter.x * columns)] = said
    near = torch.cat([F.linear(tokens, F.normalize(table, dim=1)), probes.plain(tokens)], dim=1)
    return F.cross_entropy(near, letters.flatten(), reduction="sum") / CELLS**2


def placed(rows: Batch, examples: ListLike[Example]) -> Tensor:
    """The positions of the examples' tokens: [rows, tokens]."""
    positions = torch.zeros_like(rows.positions)
    for row, example in enumerate(examples):
        positions[row, : len(example.places)] = torch.from_numpy(example.places)
    return positions


def weight_of(example: Example) -> NDArray[np.float32]:
    """How much what is said after each token counts: [tokens]. That another frame follows is said often and easily."""
    more = example.codes[:, 0] != IGNORE
    return np.where(example.text == IGNORE, 0, np.where(more, MORE_FRAMES, 1)).astype(np.float32)


def flat(of_rows: ListLike[object], hidden: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Arrays of all rows in one, and where their tokens stand in [rows, tokens]."""
    tensors = [torch.from_numpy(array) for array in of_rows]
    row = torch.cat([torch.full((len(t),), i) for i, t in enumerate(tensors)])
    token = torch.cat([torch.arange(len(t)) for t in tensors])
    return torch.cat(tensors).to(hidden.device), (row.to(hidden.device), token.to(hidden.device))
