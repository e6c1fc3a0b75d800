"""Several prompts, one decoder: prefilled together, then stepped together until each has stopped."""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from omni.model.cache import Step
from omni.model.decoder import Decoder
from omni.model.sampling import Sampler
from omni.sampling import GREEDY, Sampling


@torch.inference_mode()
def generate(
    model: Decoder,
    prompts: Sequence[Sequence[int]],
    *,
    limit: int,
    stop: Collection[int] = (),
    sampling: Sampling = GREEDY,
) -> list[list[int]]:
    """At most `limit` new ids for every prompt; an id of `stop` ends its row and is the row's last.

    Every row draws from its own random numbers, all with the seed of `sampling`: a prompt's answer does not depend
    on the prompts beside it.
    """
    vocabulary = model.spec.vocabulary
    for number, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(f"prompt {number} is empty: give at least one id")
        if wrong := [i for i in prompt if not 0 <= i < vocabulary]:
            raise ValueError(f"prompt {number} has the id {wrong[0]}; this model's ids are 0 to {vocabulary - 1}")
        if len(prompt) + limit > model.spec.longest:
            raise ValueError(
                f"prompt {number} has {len(prompt)} ids and {limit} more may come: "
                f"that is beyond the {model.spec.longest} positions of this model"
            )
    if not prompts or limit <= 0:
        return [[] for _ in prompts]
    device = model.embed.weight.device
    cache = model.cache(slots=len(prompts), capacity=max(map(len, prompts)) + limit)
    samplers = [Sampler(sampling, prompt) for prompt in prompts]
    answers: list[list[int]] = [[] for _ in prompts]
    rows: list[Sequence[int]] = list(prompts)
    live = list(range(len(prompts)))
    while live:
        counts = [len(rows[i]) for i in live]
        ids = torch.zeros(len(live), max(counts), dtype=torch.long)
        for row, i in enumerate(live):
            ids[row, : counts[row]] = torch.tensor(rows[i])
        last = scores_of_last(model, ids.to(device), cache.step(live, counts))
        for row, i in enumerate(live):
            answers[i].append(samplers[i].choose(last[row]))
            rows[i] = answers[i][-1:]
        live = [i for i in live if len(answers[i]) < limit and answers[i][-1] not in stop]
    return answers


def scores_of_last(model: Decoder, ids: Tensor, step: Step) -> Tensor:
    """The scores after each row's last new id: [rows, vocabulary]. The head sees no other."""
    hidden = model.hidden(model.embed(ids), step=step)  # [rows, new, width]
    if ids.shape[1] == 1:
        return model.scores(hidden[:, 0])
    ends = torch.tensor(step.counts, device=ids.device) - 1
    return model.scores(hidden[torch.arange(len(ends), device=ids.device), ends])
