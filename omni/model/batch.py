"""Sequences as the rows of a batch: ids, positions, who sees whom, and the payloads with the tokens they belong to."""

from collections.abc import Sequence as ListLike
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from omni.model.reach import CAUSAL, Reach
from omni_tokenizers.sequence import Sequence, Span, mask_arrays, positions


@dataclass(frozen=True)
class Run:
    """The payload of one span of one row."""

    row: int
    span: Span
    arrays: dict[str, Tensor]  # each [span.length, …]


@dataclass(frozen=True)
class Batch:
    """Rows of tokens, filled up on the right to the longest."""

    ids: Tensor  # [rows, tokens]
    positions: Tensor  # [rows, tokens], or [3, rows, tokens] for M-RoPE
    document: Tensor  # [rows, tokens], −1 for padding
    block: Tensor  # [rows, tokens], tokens of one block see each other both ways; −1 outside
    lengths: list[int]  # tokens of each row, without the filling
    runs: dict[str, list[Run]]  # by modality; text has none
    following: list[int]  # the position that comes after each row
    causal: bool  # nothing but causal attention inside one document a row

    @property
    def reach(self) -> Reach:
        """Who sees whom: causal, both ways inside an image or a prefix, never another document."""
        if self.causal:  # filling stands on the right, where no real token looks
            return CAUSAL
        return Reach(allowed=self.among()[:, None])

    def among(self) -> Tensor:
        """Who sees whom as booleans: [rows, queries, keys]. Filling sees itself, so that its softmax is finite."""
        key = torch.arange(self.ids.shape[1], device=self.ids.device)
        seen = key <= key[:, None]
        seen = seen | ((self.block[:, :, None] == self.block[:, None, :]) & (self.block >= 0)[:, :, None])
        seen = seen & (self.document[:, :, None] == self.document[:, None, :]) & (self.document >= 0)[:, :, None]
        return seen | (key == key[:, None])


def batch(
    sequences: ListLike[Sequence],
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    starts: ListLike[int] | None = None,
) -> Batch:
    """Put sequences into the rows of one batch; `dtype` is that of the floating payloads.

    `starts` are the first positions of rows that go on from something.
    """
    if not sequences:
        raise ValueError("a batch needs at least one sequence")
    if not any(len(sequence) for sequence in sequences):
        raise ValueError("a batch needs at least one token: all its sequences are empty")
    schemes = {sequence.scheme for sequence in sequences}
    if len(schemes) > 1:
        raise ValueError(f"one batch has one position scheme, got {' and '.join(sorted(schemes))}: use in_scheme()")
    rows, tokens = len(sequences), max(len(sequence) for sequence in sequences)
    ids = np.zeros((rows, tokens), np.int64)
    document, block = np.full((2, rows, tokens), -1, np.int64)
    where: list[np.ndarray] = []
    following = []
    for row, sequence in enumerate(sequences):
        n = len(sequence)
        ids[row, :n] = sequence.ids
        document[row, :n], block[row, :n] = mask_arrays(sequence.spans)
        start = starts[row] if starts is not None else 0
        at = positions(sequence.spans, sequence.scheme, start=start) if start else sequence.positions
        following.append(int(at.max()) + 1 if n else start)
        where.append(np.pad(at, [*[(0, 0)] * (at.ndim - 1), (0, tokens - n)]))
    runs: dict[str, list[Run]] = {}
    for row, sequence in enumerate(sequences):
        for span, payload in zip(sequence.spans, sequence.payloads, strict=True):
            if payload and span.length:
                arrays = {name: tensor_of(array, device, dtype) for name, array in payload.items()}
                runs.setdefault(span.modality, []).append(Run(row, span, arrays))
    return Batch(
        ids=torch.from_numpy(ids).to(device),
        positions=torch.from_numpy(np.stack(where, axis=-2)).to(device),
        document=torch.from_numpy(document).to(device),
        block=torch.from_numpy(block).to(device),
        lengths=[len(sequence) for sequence in sequences],
        runs=runs,
        following=following,
        causal=bool((block < 0).all()) and all(is_one_document(sequence) for sequence in sequences),
    )


def is_one_document(sequence: Sequence) -> bool:
    """Whether all of it is one document, with padding nowhere but at its end."""
    documents = [span.document for span in sequence.spans if span.length]
    while documents and documents[-1] < 0:
        documents.pop()
    return len(set(documents)) <= 1 and not (documents and documents[0] < 0)


def tensor_of(array: np.ndarray, device: torch.device | str, dtype: torch.dtype) -> Tensor:
    """A payload on the device, floating ones in the model's type."""
    tensor = torch.tensor(array)  # a copy: payloads are locked, and torch has no read-only tensors
    return tensor.to(device, dtype) if tensor.is_floating_point() else tensor.to(device)
