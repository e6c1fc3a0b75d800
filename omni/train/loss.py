"""What is wrong with what the model says: text, the turn's end, codes, and what a middle layer has heard."""

from collections.abc import Sequence as ListLike
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from omni.model.losses.ctc import ctc_loss
from omni.model.omni import Omni
from omni.train.recipe import Recipe
from omni.train.writing import IGNORE, LETTERS, Example, Heard

MORE_FRAMES = 0.1  # the weight of the choice of another frame, against 1 of an id of text


class Listener(nn.Module):
    """Writes down what was heard: letters from the output of a low layer, ids from a middle one.

    Used in training, and not shipped. Letters are few and each is in many words: they are learned long before ids.
    """

    def __init__(self, width: int, ids: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, ids + 1)  # the last is the blank, in both
        self.letters = nn.Linear(width, len(LETTERS) + 1)


@dataclass
class Loss:
    """Sums over a batch, and how many tokens they are over."""

    text: Tensor
    turn: Tensor
    codes: Tensor
    heard: Tensor
    spelled: Tensor
    texts: float  # weights
    turns: int
    frames: int
    sounds: int
    letters: int

    def total(self, recipe: Recipe, of: "Loss") -> Tensor:
        """One number; the counts are those of the whole batch, of which this may be a piece."""
        return (
            self.text / max(1, of.texts)
            + recipe.turning * self.turn / max(1, of.turns)
            + recipe.sounding * self.codes / max(1, of.frames)
            + recipe.listening * self.heard / max(1, of.sounds)
            + recipe.spelling * self.spelled / max(1, of.letters)
        )

    def plus(self, other: "Loss") -> "Loss":
        """Both together."""
        return Loss(
            self.text + other.text, self.turn + other.turn, self.codes + other.codes, self.heard + other.heard,
            self.spelled + other.spelled,
            self.texts + other.texts, self.turns + other.turns, self.frames + other.frames, self.sounds + other.sounds,
            self.letters + other.letters,
        )  # fmt: skip

    def detached(self) -> "Loss":
        """The numbers alone, on the CPU."""
        text, turn, codes, heard, spelled = (
            loss.detach().cpu() for loss in (self.text, self.turn, self.codes, self.heard, self.spelled)
        )
        return Loss(
            text, turn, codes, heard, spelled, self.texts, self.turns, self.frames, self.sounds, self.letters
        )  # fmt: skip

    def means(self) -> dict[str, float]:
        """Means for the log."""
        return {
            "text": float(self.text) / max(1, self.texts),
            "turn": float(self.turn) / max(1, self.turns),
            "codes": float(self.codes) / max(1, self.frames),
            "heard": float(self.heard) / max(1, self.sounds),
            "spelled": float(self.spelled) / max(1, self.letters),
        }


def counted(examples: ListLike[Example]) -> Loss:
    """No loss yet: only the counts of a batch."""
    zero = torch.zeros(())
    return Loss(
        zero, zero, zero, zero, zero,
        texts=sum(float(weight_of(e).sum()) for e in examples),
        turns=sum(int((e.turn >= 0).sum()) for e in examples),
        frames=sum(int((e.codes[:, 0] != IGNORE).sum()) for e in examples),
        sounds=sum(len(heard.ids) for e in examples for heard in e.heard),
        letters=sum(len(heard.letters) for e in examples for heard in e.heard),
    )  # fmt: skip


def loss(model: Omni, listener: Listener, recipe: Recipe, examples: ListLike[Example]) -> Loss:
    """Read the examples as one batch and say how wrong the model is."""
    rows = model.batch([example.sequence for example in examples])
    device = rows.ids.device
    states: list[Tensor] = []
    hidden = model.stack(model.vectors(rows), rows.reach, positions=rows.positions, states=states)
    found = counted(examples)
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
    heard = [(row, sound) for row, example in enumerate(examples) for sound in example.heard]
    if heard:
        found.heard = spelled(listener.head, states[recipe.listener], heard, [sound.ids for _, sound in heard])
        found.spelled = spelled(listener.letters, states[recipe.speller], heard, [sound.letters for _, sound in heard])
    return found


def spelled(
    head: nn.Linear, states: Tensor, heard: ListLike[tuple[int, Heard]], labels: ListLike[tuple[int, ...]]
) -> Tensor:
    """How far a head is from spelling each sound of [rows, tokens, width] with its labels (CTC)."""
    pieces = [states[row, sound.first : sound.stop] for row, sound in heard]
    logits = head(nn.utils.rnn.pad_sequence(pieces, batch_first=True))
    wanted = nn.utils.rnn.pad_sequence(
        [torch.tensor(ids, device=states.device) for ids in labels], batch_first=True, padding_value=IGNORE
    )
    lengths = torch.tensor([len(piece) for piece in pieces], device=states.device)
    return ctc_loss(logits, lengths, wanted, blank=logits.shape[2] - 1, skip_impossible=True)


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
