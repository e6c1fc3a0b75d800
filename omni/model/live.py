"""Conversations that grow: pieces of sequences go in as they come, each row of a step a slot of the cache.

What a slot knows beside its keys and values (the next position, what the stem has heard last) is a `Past`. A mark is
a copy of it, so that a start that came too early, or an answer that nobody heard, is taken back exactly.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from omni.model.omni import Left, Omni
from omni.model.walker import Walker
from omni_tokenizers.sequence import Sequence


@dataclass(frozen=True)
class Past:
    """What a slot has read, apart from its keys and values."""

    tokens: int = 0
    position: int = 0  # of the next token
    left: dict[str, Left] = field(default_factory=dict)  # by modality; tensors in it are never changed in place


class Live:
    """An omni model over the slots of a cache. With a `walker` of the model, single tokens are stepped by that."""

    def __init__(
        self, model: Omni, *, slots: int = 1, capacity: int | None = None, walker: Walker | None = None
    ) -> None:
        capacity = capacity or model.spec.longest
        if capacity > model.spec.longest:
            raise ValueError(
                f"a capacity of {capacity} tokens is beyond the {model.spec.longest} positions of the model"
            )
        self.model = model
        self.cache = model.cache(slots=slots, capacity=capacity)
        self.pasts = [Past() for _ in range(slots)]
        self.walker = walker  # for steps of single tokens

    @torch.no_grad()  # not inference mode: heads are applied to what comes out, wherever the caller likes
    def push(self, pieces: Mapping[int, Sequence]) -> dict[int, Tensor]:
        """Read the next piece of each slot in one step; the hidden states of its tokens [tokens, width] by slot.

        Text and sound may be cut anywhere, an image or a prefix comes whole. A refused step changes no slot.
        """
        slots = sorted(slot for slot, piece in pieces.items() if len(piece))
        if not slots:
            return {}
        for slot in slots:
            self.cache.check(slot)
            self.check(pieces[slot])
        rows = self.model.batch([pieces[slot] for slot in slots], [self.pasts[slot].position for slot in slots])
        left = {(row, name): l for row, slot in enumerate(slots) for name, l in self.pasts[slot].left.items()}
        x = self.model.vectors(rows, left)  # before the step: it checks the payloads
        if self.walker is not None and x.shape[1] == 1:
            hidden = self._walk(self.walker, x, slots)
        else:
            step = self.cache.step(slots, rows.lengths, None if rows.causal else rows.among())
            hidden = self.model.stack(x, step.reach, positions=rows.positions, caches=step.caches)
        for row, slot in enumerate(slots):
            mine = {name: l for (of, name), l in left.items() if of == row}
            self.pasts[slot] = Past(self.cache.lengths[slot], rows.following[row], mine)
        return {slot: hidden[row, : rows.lengths[row]] for row, slot in enumerate(slots)}

    def _walk(self, walker: Walker, x: Tensor, slots: list[int]) -> Tensor:
        """One token each of these slots: [rows, 1, width]."""
        places = np.array([self.cache.lengths[slot] for slot in slots])
        for slot, place in zip(slots, places.tolist(), strict=True):
            self.cache.take(slot, place, 1)
        x = x[:, 0].clone()
        walker.walk(x.numpy(), self.cache, np.array(slots), places, places + 1)
        return walker.end(x)[:, None]

    def check(self, piece: Sequence) -> None:
        """Raise unless a piece can be read behind a past."""
        if piece.documents > 1:
            raise ValueError(f"a piece of {piece.documents} documents: a slot holds one, push each into its own")
        if piece.scheme == "tmrope":
            raise ValueError(
                'pieces have "linear" or "mrope" positions: "tmrope" knows its places from the whole alone'
            )
        if "pad" in piece.counts():
            raise ValueError("a piece has no padding: rows of a step are filled up here")

    def mark(self, slot: int) -> Past:
        """Where a slot stands now, for `rollback`."""
        self.cache.check(slot)
        return self.pasts[slot]

    def rollback(self, slot: int, mark: Past) -> None:
        """Forget what came after the mark."""
        self.cache.truncate(slot, mark.tokens)
        self.pasts[slot] = mark

    def reset(self, slot: int) -> None:
        """Forget everything: the slot is free for another conversation."""
        self.cache.reset(slot)
        self.pasts[slot] = Past()

    def copy(self, source: int, target: int) -> None:
        """Let the target slot stand where the source stands: instructions read once and shared."""
        self.cache.copy(source, target)
        self.pasts[target] = self.pasts[source]
