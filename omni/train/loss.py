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
from omni.train.writing import IGNORE, Example

MORE_FRAMES = 0.1  # the weight of the choice of another frame, against 1 of an id of text


class Listener(nn.Module):
    """Spells what was heard from the output of a middle layer: used in training, and not shipped."""

    def __init__(self, width: int, ids: int) -> None:
        super().__init__()
        self.head = nn.Linear(width, ids + 1)  # the last is the blank

    def forward(self, x: Tensor) -> Tensor:
        """[..., width] → [..., ids + 1]."""
        return self.head(x)


@dataclass
class Loss:
    """Sums over a batch, and how many tokens they are over."""

    text: Tensor
    turn: Tensor
    codes: Tensor
    heard: Tensor
    texts: float  # weights
    turns: int
    frames: int
    sounds: int

    def total(self, recipe: Recipe, of: "Loss") -> Tensor:
        """One number; the counts are those of the whole batch, of which this may be a piece."""
        return (
            self.text / max(1, of.texts)
            + recipe.turning * self.turn / max(1, of.turns)
            + recipe.sounding * self.codes / max(1, of.frames)
            + recipe.listening * self.heard / max(1, of.sounds)
        )

    def plus(self, other: "Loss") -> "Loss":
        """Both together."""
        return Loss(
            self.text + other.text, self.turn + other.turn, self.codes + other.codes, self.heard + other.heard,
            self.texts + other.texts, self.turns + other.turns, self.frames + other.frames, self.sounds + other.sounds,
        )  # fmt: skip

    def detached(self) -> "Loss":
        """The numbers alone, on the CPU."""
        text, turn, codes, heard = (loss.detach().cpu() for loss in (self.text, self.turn, self.codes, self.heard))
        return Loss(text, turn, codes, heard, self.texts, self.turns, self.frames, self.sounds)

    def means(self) -> dict[str, float]:
        """Means for the log."""
        return {
            "text": float(self.text) / max(1, self.texts),
            "turn": float(self.turn) / max(1, self.turns),
            "codes": float(self.codes) / max(1, self.frames),
            "heard": float(self.heard) / max(1, self.sounds),
        }


def counted(examples: ListLike[Example]) -> Loss:
    """No loss yet: only the counts of a batch."""
    zero = torch.zeros(())
    return Loss(
        zero, zero, zero, zero,
        texts=sum(float(weight_of(e).sum()) for e in examples),
        turns=sum(int((e.turn >= 0).sum()) for e in examples),
        frames=sum(int((e.codes[:, 0] != IGNORE).sum()) for e in examples),
        sounds=sum(len(labels) for e in examples for _, _, labels in e.heard),
    )  # fmt: skip


def loss(model: Omni, listener: Listener, layer: int, examples: ListLike[Example]) -> Loss:
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
    heard = [(row, *sound) for row, example in enumerate(examples) for sound in example.heard]
    if heard:
        pieces = [states[layer][row, start:stop] for row, start, stop, _ in heard]
        logits = listener(nn.utils.rnn.pad_sequence(pieces, batch_first=True))
        labels = nn.utils.rnn.pad_sequence(
            [torch.tensor(ids, device=device) for *_, ids in heard], batch_first=True, padding_value=IGNORE
        )
        lengths = torch.tensor([len(piece) for piece in pieces], device=device)
        found.heard = ctc_loss(logits, lengths, labels, blank=logits.shape[2] - 1, skip_impossible=True)
    return found


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
