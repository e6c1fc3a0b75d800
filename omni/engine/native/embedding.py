"""Vectors of tokens: ids and frames at once, sound and pictures batched over all lanes that wait for them."""

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from omni.engine.native.ear import Ear
from omni.engine.native.lane import Lane
from omni.engine.native.tape import Piece
from omni.model.batch import Run, tensor_of
from omni.model.embed import NO_STATE, BookEmbedder, MelEmbedder
from omni.model.omni import Omni
from omni.model.walker import Walker


class Embedding:
    """A model's input side."""

    def __init__(self, model: Omni, placeholders: dict[str, int]) -> None:
        self.model = model
        self.placeholders = placeholders
        self.table = model.embed.weight.detach()  # [ids, width]
        self.books = cast(BookEmbedder, model.inputs["codec"]) if "codec" in model.inputs else None
        mel = [embedder for embedder in model.inputs.values() if isinstance(embedder, MelEmbedder)]
        self.ear = Ear(mel[0].stem) if mel and Walker.can(model) else None

    def prepare(self) -> None:
        """Have compiled what is compiled, before anybody speaks."""
        if self.ear is not None:
            spec = self.ear.stem.spec
            self.ear([torch.zeros(1, spec.frames, spec.bins)], [NO_STATE], self.table)

    def ids(self, ids: Sequence[int]) -> Tensor:
        """[tokens, width] of text ids."""
        return self.table[torch.tensor(ids, dtype=torch.long).to(self.table.device)]

    def frames(self, codes: Sequence[Sequence[int]]) -> Tensor:
        """[frames, width] of acoustic codes [frames, books]."""
        assert self.books is not None
        return self.books.look_up(torch.tensor(codes).to(self.table.device)) + self.table[self.placeholders["codec"]]

    def fill(self, lanes: Sequence[Lane], most: int) -> None:
        """Make the vectors of the first piece that each lane waits for; of a long sound `most` tokens."""
        by_modality: dict[str, list[Lane]] = {}
        for lane in lanes:
            by_modality.setdefault(lane.tape.waiting[0].span.modality, []).append(lane)
        for modality, mine in by_modality.items():
            pieces = [self._next(lane, most) for lane in mine]
            runs = [Run(row, piece.span, self._arrays(piece)) for row, piece in enumerate(pieces)]
            states = [
                lane.stem if p.span.first and lane.stem else NO_STATE for lane, p in zip(mine, pieces, strict=True)
            ]
            embedder = self.model.inputs[modality]
            if self.ear is not None and isinstance(embedder, MelEmbedder):
                made = self.ear(embedder.pieces(runs), states, self.table)
            else:
                made = embedder(runs, states, self.table)
            for lane, piece, vectors, state in zip(mine, pieces, *made, strict=True):
                lane.tape.fill(piece, vectors + self.table[self.placeholders[modality]])
                if modality == "audio":
                    lane.stem = state

    def _next(self, lane: Lane, most: int) -> Piece:
        """The piece to be embedded, taken from what waits."""
        piece = lane.tape.waiting.popleft()
        if lane.bookmark is not None and piece.at >= lane.bookmark and lane.stem_there is None:
            lane.stem_there = lane.stem or NO_STATE
        if piece.span.whole or piece.length <= most:
            return piece
        now, later = piece.cut(most)
        lane.tape.waiting.appendleft(later)
        return now

    def _arrays(self, piece: Piece) -> dict[str, Tensor]:
        return {name: tensor_of(array, self.table.device, self.table.dtype) for name, array in piece.arrays.items()}
