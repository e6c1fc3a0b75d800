"""From scores to the next id: greedy, or drawn with a temperature, top-k, top-p and a penalty on repetition."""

from collections.abc import Iterable

import torch
from torch import Tensor

from omni.sampling import Sampling

COLDEST = 1e-6  # a temperature below it takes the likeliest: scores divided by so little are beyond float32


class Sampler:
    """The choices of one conversation: its own random numbers, so that its neighbours do not change them.

    >>> Sampler(Sampling()).choose(torch.tensor([0.1, 2.0, 1.0]))
    1
    """

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
        return int(draw(scores[None], how, self.random))


def draw(scores: Tensor, how: Sampling, random: torch.Generator) -> Tensor:
    """One entry of each row: [rows, entries] → [rows] on the host; repetition is not looked at."""
    if how.temperature < COLDEST:
        return scores.argmax(1).cpu()
    # On the host in float32: the same seed draws the same ids whatever the model runs on and in.
    scores = scores.float().cpu() / how.temperature
    if 0 < how.top_k < scores.shape[1]:
        scores = scores.masked_fill(scores < scores.topk(how.top_k).values[:, -1:], float("-inf"))
    if how.top_p < 1:
        ordered, order = scores.softmax(1).sort(dim=1, descending=True)
        beyond = ordered.cumsum(1) - ordered >= how.top_p  # the likeliest always stays
        scores = scores.masked_fill(beyond.gather(1, order.argsort(1)), float("-inf"))
    chances = scores.softmax(1)
    if chances.isnan().any():
        row = int(chances.isnan().any(1).nonzero()[0])
        raise ValueError(f"nothing can be drawn from row {row}: its scores hold NaN or +inf, or are all -inf")
    return torch.multinomial(chances, 1, generator=random)[:, 0]
