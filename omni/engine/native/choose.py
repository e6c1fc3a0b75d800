"""From scores to what is said next, for all rows of a step at once; each row draws from its own random numbers."""

from collections.abc import Sequence

import torch
from torch import Tensor

from omni.model.heads import ParallelBooks
from omni.model.omni import Omni
from omni.model.sampling import Sampler, draw


def choose_ids(scores: Tensor, samplers: Sequence[Sampler]) -> list[int]:
    """The next text id of each row: scores [rows, ids], where what is not allowed stands at −∞."""
    if all(s.how.temperature == 0 and s.how.repetition == 1 for s in samplers):
        return scores.argmax(1).tolist()
    return [sampler.choose(row) for row, sampler in zip(scores, samplers, strict=True)]


def choose_stops(scores: Tensor, samplers: Sequence[Sampler]) -> list[bool]:
    """Whether each row's speech ends here: scores [rows, 2] of going on and of ending."""
    if all(s.how.temperature == 0 for s in samplers):
        return (scores[:, 1] > scores[:, 0]).tolist()
    return [
        bool(row[1] > row[0]) if s.how.temperature == 0 else bool(draw(row[None], s.how, s.random))
        for row, s in zip(scores, samplers, strict=True)
    ]


def choose_codes(model: Omni, hidden: Tensor, samplers: Sequence[Sampler]) -> list[list[int]]:
    """The codes of each row's next frame: hidden [rows, width] → one a book."""
    assert model.codes is not None
    greedy = all(s.how.temperature == 0 for s in samplers)
    sizes = model.codes.sizes
    if isinstance(model.codes, ParallelBooks) and len(set(sizes)) == 1:
        scores = model.codes.out(hidden).unflatten(1, (len(sizes), sizes[0]))  # [rows, books, entries]
        if greedy:
            return scores.argmax(2).tolist()
        return [draw(row, s.how, s.random).tolist() for row, s in zip(scores, samplers, strict=True)]

    def pick(_book: int, scores: Tensor) -> Tensor:  # [rows, entries] → [rows]
        if greedy:
            return scores.argmax(1)
        drawn = [draw(row[None], s.how, s.random) for row, s in zip(scores, samplers, strict=True)]
        return torch.cat(drawn).to(scores.device)

    return model.codes.say(hidden, pick).tolist()
