"""Choosing ids, and answering several prompts at once."""

import pytest
import torch
from transformers.generation.logits_process import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from omni.model.generate import generate
from omni.model.sampling import Sampler
from omni.sampling import Sampling
from tests.omni.test_cache import CAPACITY, IDS, MODEL

SCORES = torch.randn(40, generator=torch.Generator().manual_seed(1)) * 2


def test_without_a_temperature_the_likeliest_id_is_chosen() -> None:
    assert Sampler(Sampling()).choose(SCORES) == int(SCORES.argmax())


@pytest.mark.parametrize(
    "how",
    [
        Sampling(temperature=0.7),
        Sampling(temperature=1.0, top_k=3),
        Sampling(temperature=1.3, top_p=0.6),
        Sampling(temperature=0.9, top_k=20, top_p=0.8, repetition=1.5),
    ],
)
def test_ids_are_drawn_with_the_published_probabilities(how: Sampling) -> None:
    said = [3, 7, int(SCORES.argmax())]
    expected = SCORES[None]
    for published in (
        RepetitionPenaltyLogitsProcessor(how.repetition),
        TemperatureLogitsWarper(how.temperature),
        *([TopKLogitsWarper(how.top_k)] if how.top_k else []),
        *([TopPLogitsWarper(how.top_p)] if how.top_p else []),
    ):
        expected = published(torch.tensor([said]), expected)
    probabilities = expected[0].softmax(0)
    sampler = Sampler(how, said)
    draws = torch.zeros(len(SCORES))
    for _ in range(3000):
        sampler.said = set(said)
        draws[sampler.choose(SCORES)] += 1
    assert not draws[probabilities == 0].any()
    assert (draws / 3000 - probabilities).abs().max() < 0.04  # more than four standard deviations


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_scores_from_which_nothing_can_be_drawn_are_said_to_be_so(value: float) -> None:
    with pytest.raises(ValueError, match="nothing can be drawn from row 0"):
        Sampler(Sampling(temperature=1.0)).choose(torch.full((40,), value))


def test_a_seed_gives_the_same_draws_and_another_seed_others() -> None:
    def draws(seed: int) -> list[int]:
        sampler = Sampler(Sampling(temperature=1.0, seed=seed))
        return [sampler.choose(SCORES) for _ in range(20)]

    assert draws(5) == draws(5)
    assert draws(5) != draws(6)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"temperature": -1.0}, "temperature is -1.0"),
        ({"top_k": -1}, "top_k is -1"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"repetition": 0.0}, "repetition is 0.0"),
    ],
)
def test_settings_that_cannot_be_are_refused_by_name(wrong: dict[str, float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Sampling(**wrong)


PROMPTS = [[1, 2, 3], [4], [5, 6, 7, 8, 9, 10], [11, 12]]


@pytest.mark.parametrize("how", [Sampling(), Sampling(temperature=1.0, seed=3)], ids=["greedy", "drawn"])
def test_an_answer_is_the_same_alone_and_among_others(how: Sampling) -> None:
    together = generate(MODEL, PROMPTS, limit=8, sampling=how)
    assert together == [generate(MODEL, [prompt], limit=8, sampling=how)[0] for prompt in PROMPTS]


def test_a_greedy_answer_is_what_full_forwards_say() -> None:
    ids = list(PROMPTS[0])
    for _ in range(8):
        ids.append(int(MODEL(torch.tensor([ids]))[0, -1].argmax()))
    assert generate(MODEL, PROMPTS[:1], limit=8) == [ids[3:]]


def test_a_row_ends_with_the_id_that_stops_it_and_the_others_go_on() -> None:
    free = generate(MODEL, PROMPTS, limit=8)
    stop = free[0][2]
    stopped = generate(MODEL, PROMPTS, limit=8, stop={stop})
    assert stopped == [row[: row.index(stop) + 1] if stop in row else row for row in free]
    assert len(stopped[0]) <= 3


def test_prompts_that_cannot_be_answered_are_named() -> None:
    with pytest.raises(ValueError, match="prompt 1 is empty"):
        generate(MODEL, [[1], []], limit=2)
    with pytest.raises(ValueError, match=f"prompt 0 has the id {IDS}; this model's ids are 0 to {IDS - 1}"):
        generate(MODEL, [[1, IDS]], limit=2)
    with pytest.raises(ValueError, match=f"prompt 0 has 3 ids and {CAPACITY} more may come"):
        generate(MODEL, [[1, 2, 3]], limit=CAPACITY)
    assert generate(MODEL, [[1]], limit=0) == [[]]


@pytest.mark.parametrize("temperature", [1e-7, 1e-39, 1e-300])
def test_a_temperature_near_zero_takes_the_likeliest_id(temperature: float) -> None:
    assert Sampler(Sampling(temperature=temperature)).choose(SCORES) == int(SCORES.argmax())
