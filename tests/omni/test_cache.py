"""The cache: slots that are written, cut, copied and used again, each as if it were alone."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.decoder import Decoder, DecoderSpec
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.rotary import RotarySpec
from omni.model.stack import StackSpec

IDS, CAPACITY, SLOTS = 31, 24, 4


def decoder() -> Decoder:
    torch.manual_seed(0)
    block = BlockSpec(16, AttentionSpec(4, kv_heads=2), MlpSpec(24, "silu", gated=True), Norm("rms"))
    return Decoder(DecoderSpec(IDS, StackSpec(block, 2, Norm("rms"), RotarySpec()), longest=CAPACITY)).eval()


MODEL = decoder()


def assert_last_scores_are_those_of_the_whole(scores: torch.Tensor, ids: list[int], new: int) -> None:
    whole = MODEL(torch.tensor([ids]))[0, -new:]
    assert (scores - whole).abs().max() <= 1e-5 * whole.abs().max()


@settings(max_examples=60, deadline=None)
@given(st.data())
@torch.no_grad()
def test_any_history_of_slots_equals_the_full_forward(data: st.DataObject) -> None:
    cache = MODEL.cache(slots=SLOTS)
    held: list[list[int]] = [[] for _ in range(SLOTS)]
    for _ in range(data.draw(st.integers(1, 8))):
        slot = data.draw(st.integers(0, SLOTS - 1))
        match data.draw(st.sampled_from(["step", "step", "step", "truncate", "reset", "copy"])):
            case "truncate":
                keep = data.draw(st.integers(0, len(held[slot])))
                cache.truncate(slot, keep)
                del held[slot][keep:]
            case "reset":
                cache.reset(slot)
                held[slot] = []
            case "copy":
                target = data.draw(st.integers(0, SLOTS - 1))
                cache.copy(slot, target)
                held[target] = list(held[slot])
            case _:
                chosen = data.draw(st.lists(st.integers(0, SLOTS - 1), unique=True, min_size=1))
                counts = [data.draw(st.integers(0, min(5, CAPACITY - len(held[s])))) for s in chosen]
                if not any(counts):
                    continue
                new = torch.zeros(len(chosen), max(counts), dtype=torch.long)
                for row, (s, count) in enumerate(zip(chosen, counts, strict=True)):
                    ids = data.draw(st.lists(st.integers(0, IDS - 1), min_size=count, max_size=count))
                    held[s] += ids
                    new[row, :count] = torch.tensor(ids)
                scores = MODEL(new, step=cache.step(chosen, counts))
                assert torch.isfinite(scores).all()
                for row, (s, count) in enumerate(zip(chosen, counts, strict=True)):
                    if count:
                        assert_last_scores_are_those_of_the_whole(scores[row, :count], held[s], count)
        assert cache.lengths == [len(ids) for ids in held]


@pytest.mark.parametrize("slots", [[0], [1, 2], [2, 1], [0, 3]], ids=["one", "neighbours", "turned", "apart"])
@torch.no_grad()
def test_tokens_that_see_each_other_both_ways_do_so_behind_any_past(slots: list[int]) -> None:
    cache = MODEL.cache(slots=SLOTS)
    past, image = torch.randint(0, IDS, (len(slots), 3)), torch.randint(0, IDS, (len(slots), 4))
    MODEL(past, step=cache.step(slots, [3] * len(slots)))
    both_ways = torch.ones(len(slots), 4, 4, dtype=torch.bool)
    scores = MODEL(image, step=cache.step(slots, [4] * len(slots), both_ways))
    from omni.model.reach import Reach

    mask = torch.ones(7, 7, dtype=torch.bool).tril()
    mask[3:, 3:] = True
    whole = MODEL(torch.cat([past, image], 1), reach=Reach(allowed=mask))[:, 3:]
    assert (scores - whole).abs().max() <= 1e-5 * whole.abs().max()


@pytest.mark.parametrize("leave", ["reset", "truncate and reset", "copy over"])
@torch.no_grad()
def test_nothing_of_a_slots_last_owner_reaches_the_next(leave: str) -> None:
    cache = MODEL.cache(slots=2)
    long, short = torch.randint(0, IDS, (1, 9)), torch.randint(0, IDS, (1, 4))
    alone = MODEL(short)[0, -1]
    MODEL(long.expand(2, -1), step=cache.step([0, 1], [9, 9]))
    # A marker that poisons every score it touches, in every place that the last owner wrote.
    cache.keys[:, 1, :, :9] = float("inf")
    cache.values[:, 1, :, :9] = float("nan")
    if leave == "copy over":
        cache.truncate(0, 2)
        cache.copy(0, 1)
        cache.truncate(1, 0)
    else:
        cache.truncate(1, 2 if leave == "truncate and reset" else 9)
        cache.reset(1)
    MODEL(short[:, :3], step=cache.step([1], [3]))
    # The longer neighbour makes the short row read beyond its own end.
    if leave == "copy over":
        MODEL(long, step=cache.step([0], [9]))
    both = MODEL(torch.stack([long[0, :1], short[0, 3:]]), step=cache.step([0, 1], [1, 1]))
    assert (both[1, 0] - alone).abs().max() <= 1e-5 * alone.abs().max()


@torch.no_grad()
def test_an_idle_slot_stays_as_it_is_while_its_neighbours_step() -> None:
    cache = MODEL.cache(slots=3)
    MODEL(torch.randint(0, IDS, (3, 4)), step=cache.step([0, 1, 2], [4, 4, 4]))
    before = copy.deepcopy((cache.keys[:, 1, :, :4], cache.values[:, 1, :, :4]))
    MODEL(torch.randint(0, IDS, (3, 2)), step=cache.step([0, 1, 2], [2, 0, 1]))
    assert cache.lengths == [6, 4, 5]
    assert torch.equal(cache.keys[:, 1, :, :4], before[0])
    assert torch.equal(cache.values[:, 1, :, :4], before[1])


def test_a_step_keeps_no_graph_from_one_call_to_the_next() -> None:
    cache = MODEL.cache()
    MODEL(torch.tensor([[1, 2]]), step=cache.step([0], [2]))
    assert not cache.keys.requires_grad
    assert cache.keys.grad_fn is None


def test_a_cache_made_in_inference_mode_works_outside_of_it() -> None:
    with torch.inference_mode():
        cache = MODEL.cache()
        MODEL(torch.tensor([[1, 2]]), step=cache.step([0], [2]))
    MODEL(torch.tensor([[3]]), step=cache.step([0], [1]))
    assert cache.lengths == [3]


def test_a_slot_costs_its_keys_and_values() -> None:
    cache = MODEL.cache(slots=7, capacity=20)
    slot = 2 * 2 * 2 * 21 * 4 * 4  # keys and values · layers · kv_heads · places · width · bytes
    assert cache.both.nbytes == 7 * slot


@pytest.mark.parametrize(
    ("slots", "counts", "message"),
    [
        ([0, 0], [1, 1], "no slot twice"),
        ([0, 1], [1], "one count for every slot"),
        ([], [], "one count for every slot"),
        ([4], [1], "there is no slot 4: this cache has 0 to 3"),
        ([-1], [1], "there is no slot -1"),
        ([0], [0], "without a new token"),
        ([1, 0], [1, 25], "slot 0 holds 0 of 24 tokens and 25 more do not fit"),
    ],
)
def test_a_step_that_cannot_be_is_refused_and_changes_nothing(
    slots: list[int], counts: list[int], message: str
) -> None:
    cache = MODEL.cache(slots=SLOTS)
    with pytest.raises(ValueError, match=message):
        cache.step(slots, counts)
    assert cache.lengths == [0] * SLOTS


def test_a_slot_is_not_cut_to_more_than_it_holds() -> None:
    cache = MODEL.cache()
    cache.step([0], [3])
    with pytest.raises(ValueError, match="slot 0 holds 3 tokens and cannot be cut to 4"):
        cache.truncate(0, 4)
