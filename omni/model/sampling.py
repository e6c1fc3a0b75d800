"""From scores to the next id: greedy, or drawn with a temperature, top-k, top-p and a penalty on repetition."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sampling:
    """How an id is chosen. As it stands, the likeliest one; a temperature above 0 draws.

    >>> Sampler(Sampling()).choose(torch.tensor([0.1, 2.0, 1.0]))
    1
    """

    temperature: float = 0.0
    top_k: int | None = None  # only the k likeliest
    top_p: float | None = None  # only the likeliest whose probabilities reach p together
    repetition: float = 1.0  # above 1: scores of ids that were said are divided by it, or multiplied where negative
    seed: int = 0

    def __post_init__(self) -> None:
        if self.temperature < 0:
            raise ValueError(f"temperature is {self.temperature}: 0 is greedy, above 0 draws")
        if self.top_k is not None and self.top_k < 1:
            raise ValueError(f"top_k is {self.top_k}: keep at least 1 id")
        if self.top_p is not None and not 0 < self.top_p <= 1:
            raise ValueError(f"top_p is {self.top_p}: it is above 0 and at most 1")
        if self.repetition <= 0:
            raise ValueError(f"repetition is {self.repetition}: 1 changes nothing, above 1 avoids what was said")


class Sampler:
    """The choices of one conversation: its own random numbers, so that its neighbours do not change them."""

    def __init__(self, how: Sampling, said: Iterable[int] = ()) -> None:
        self.how = how
        self.said = set(said)  # ids that the repetition penalty falls on
        self.random = torch.Generator().manual_seed(how.seed)

    def choose(self, scores: Tensor) -> int:
        """One id from its scores [vocabulary]."""
        chosen = self._choose(scores)
        if self.how.repetition != 1.0:
            self.said.add(chosen)
        return chosen

    def _choose(self, scores: Tensor) -> int:
        how = self.how
        if how.repetition != 1.0 and self.said:
            said = torch.tensor(sorted(self.said), device=scores.device)
            old = scores[said]
            scores = scores.clone()
            scores[said] = torch.where(old > 0, old / how.repetition, old * how.repetition)
        if how.temperature == 0:
            return int(scores.argmax())
        # On the host in float32: the same seed draws the same ids whatever the model runs on and in.
        scores = scores.float().cpu() / how.temperature
        if how.top_k is not None and how.top_k < len(scores):
            scores = scores.masked_fill(scores < scores.topk(how.top_k).values[-1], float("-inf"))
        if how.top_p is not None and how.top_p < 1:
            ordered, order = scores.softmax(0).sort(descending=True)
            beyond = ordered.cumsum(0) - ordered >= how.top_p  # the likeliest id always stays
            scores = scores.index_fill(0, order[beyond], float("-inf"))
        return int(torch.multinomial(scores.softmax(0), 1, generator=self.random))
