"""The stacks that engines step, on a CPU and on a GPU, say what the model's own modules say."""

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.engine.native.flat import Flat
from omni.engine.native.graphs import Graphs
from omni.engine.native.rows import Row
from omni.model.kernels import exponentiate, multiply
from omni.model.omni import Omni
from omni.model.reach import CAUSAL
from tests.omni.small_omni import model

SLOTS, CAPACITY = 9, 40
MODELS = {"grouped": model(), "one head each": model(1, kv_heads=4)}
EXACT = {name: copy.deepcopy(net).double() for name, net in MODELS.items()}
KINDS = {  # the stack, the models, how far from what is right
    "compiled": (Flat, MODELS, 2e-6),
    "flat": (Flat, EXACT, 1e-9),
    "graphs": (Graphs, EXACT, 1e-9),
}


def offline(net: Omni, vectors: torch.Tensor) -> torch.Tensor:
    """Everything at once, [tokens, width]."""
    with torch.no_grad():
        return net.stack(vectors[None], CAUSAL, positions=torch.arange(len(vectors))[None])[0]


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_any_mixture_of_prompts_and_single_tokens_equals_reading_at_once(kind: str, data: st.DataObject) -> None:
    make, nets, off = KINDS[kind]
    name = data.draw(st.sampled_from(sorted(nets)))
    stack = make(nets[name], slots=SLOTS, capacity=CAPACITY)
    if isinstance(stack, Flat):
        stack.threads = data.draw(st.sampled_from([1, 2, 3]))
    vectors = torch.randn(SLOTS, CAPACITY, EXACT[name].spec.width, generator=torch.Generator().manual_seed(0)).double()
    heard: list[list[torch.Tensor]] = [[] for _ in range(SLOTS)]
    with torch.inference_mode():
        for _ in range(data.draw(st.integers(1, 7))):
            counts = data.draw(st.lists(st.sampled_from([0, 0, 1, 1, 1, 2, 5]), min_size=SLOTS, max_size=SLOTS))
            held = stack.cache.lengths
            rows = [Row(s, held[s], c) for s, c in enumerate(counts) if c and held[s] + c <= CAPACITY]
            if not rows:
                continue
            x = torch.cat([vectors[r.slot, r.start : r.start + r.count] for r in rows]).to(stack.cache.both.dtype)
            for row, part in zip(rows, stack.step(x, rows).split([r.count for r in rows]), strict=True):
                heard[row.slot].append(part)
            if data.draw(st.booleans()):  # somebody is interrupted, somebody leaves
                slot = data.draw(st.integers(0, SLOTS - 1))
                keep = data.draw(st.sampled_from([0, stack.cache.lengths[slot] // 2]))
                stack.cache.truncate(slot, keep)
                heard[slot] = [torch.cat(heard[slot])[:keep]] if heard[slot] else []
    for slot, parts in enumerate(heard):
        if parts and len(torch.cat(parts)):
            got = torch.cat(parts)
            want = offline(EXACT[name], vectors[slot, : len(got)])
            assert (got - want).abs().max() <= off * want.abs().max()


@pytest.mark.parametrize("net", MODELS)
def test_a_picture_is_seen_both_ways(net: str) -> None:
    compiled, exact = Flat(MODELS[net], slots=2, capacity=CAPACITY), Flat(EXACT[net], slots=2, capacity=CAPACITY)
    vectors = torch.randn(20, 32, generator=torch.Generator().manual_seed(0))
    rows = [[Row(1, 0, 4)], [Row(0, 0, 1), Row(1, 4, 11, ((2, 6), (7, 11)))], [Row(1, 15, 4)]]
    with torch.inference_mode():
        for work in rows:
            x = vectors[: sum(row.count for row in work)]
            got, want = compiled.step(x, work), exact.step(x.double(), work)
            assert (got - want).abs().max() <= 2e-6 * want.abs().max()


def test_a_poisoned_row_stays_poisoned_and_no_other_becomes_so() -> None:
    stack = Flat(MODELS["grouped"], slots=SLOTS, capacity=CAPACITY)
    x = torch.randn(5, 32, generator=torch.Generator().manual_seed(0))
    x[1, 3], x[3, 5] = float("nan"), float("inf")
    with torch.inference_mode():
        for start in range(3):
            hidden = stack.step(x, [Row(slot, start, 1) for slot in range(5)])
            assert hidden.isfinite().all(1).tolist() == [True, False, True, False, True]


@given(st.lists(st.floats(-87, 88, width=32), min_size=1, max_size=40))
def test_the_compiled_exponential_is_numpys(values: list[float]) -> None:
    x = np.array(values, np.float32)
    want = np.exp(x.astype(np.float64))
    exponentiate(x, np.empty(len(x), np.int32))
    np.testing.assert_allclose(x, want, rtol=5e-7)


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 20), st.integers(0, 99))
def test_the_compiled_product_is_numpys(rows: int, outs: int, width: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    x, weight = (random.normal(size=(n, width)).astype(np.float32) for n in (rows, outs))
    y = np.full((rows, outs), np.nan, np.float32)
    multiply(x, weight, y)
    np.testing.assert_allclose(y, x.astype(np.float64) @ weight.T.astype(np.float64), rtol=0, atol=1e-5)


def test_a_slot_takes_only_what_follows_what_it_holds() -> None:
    stack = Flat(EXACT["grouped"], slots=2, capacity=8)
    with torch.inference_mode(), pytest.raises(ValueError, match="cannot follow 3 in slot 1, which holds 0 of 8"):
        stack.step(torch.zeros(1, 32).double(), [Row(1, 3, 1)])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_captured_steps_equal_eager_ones() -> None:
    net = model().to("cuda", torch.bfloat16)
    captured, eager = (Graphs(net, slots=SLOTS, capacity=CAPACITY) for _ in range(2))
    x = torch.randn(3, 32, device="cuda", dtype=torch.bfloat16)
    with torch.inference_mode():
        captured.prepare(SLOTS)
        for start in range(10):
            rows = [Row(slot, start, 1) for slot in (0, 2, 4)]
            assert torch.equal(captured.step(x, rows), eager.step(x, rows))
