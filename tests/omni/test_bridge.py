"""Bridges and the stem: from an encoder's features, or Mel frames, to tokens."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from omni.model.block import Block
from omni.model.bridge import Bridge
from omni.model.stem import Stem


@pytest.mark.parametrize(
    ("how", "group", "tokens"), [("linear", 1, 10), ("mlp", 4, 3), ("pool", 3, 4), ("resample", 1, 5)]
)
@torch.no_grad()
def test_a_short_item_of_a_batch_equals_itself_alone(how: str, group: int, tokens: int) -> None:
    torch.manual_seed(0)
    bridge = Bridge(source=6, how=how, group=group, queries=5, heads=2).build(8).eval()
    x = torch.randn(2, 10, 6)
    out = bridge(x, torch.tensor([10, 7]))
    assert out.shape == (2, tokens, 8)
    alone = bridge(x[1:, :7])
    assert torch.allclose(out[1:, : alone.shape[1]], alone, atol=1e-6)


@torch.no_grad()
def test_a_linear_bridge_of_one_is_llavas_projection() -> None:
    bridge = Bridge(source=6, how="linear").build(8)
    x = torch.randn(2, 5, 6)
    assert torch.equal(bridge(x), F.linear(x, bridge.project.weight, bridge.project.bias))


@torch.no_grad()
def test_pooling_over_a_grid_row_is_average_pooling() -> None:
    bridge = Bridge(source=6, how="pool", group=4).build(8)
    x = torch.randn(1, 12, 6)
    pooled = F.avg_pool1d(x.transpose(1, 2), 4).transpose(1, 2)
    assert torch.allclose(bridge(x), bridge.project(pooled), atol=1e-6)


@torch.no_grad()
def test_a_resampler_asks_the_shared_block_and_does_not_mind_the_order_of_features() -> None:
    torch.manual_seed(0)
    bridge = Bridge(source=6, how="resample", queries=5, heads=2).build(8).eval()
    assert {type(block) for block in bridge.blocks} == {Block}
    x = torch.randn(1, 9, 6)
    assert torch.allclose(bridge(x), bridge(x.flip(1)), atol=1e-5)
    assert not torch.allclose(bridge(x), bridge(x * 2), atol=1e-3)


def test_an_unknown_bridge_is_named() -> None:
    with pytest.raises(ValueError, match="linear, mlp, pool or resample, not 'convolution'"):
        Bridge(source=6, how="convolution").build(8)
    with pytest.raises(ValueError, match="1 or more features into a token, not 0"):
        Bridge(source=6, group=0).build(8)


STEMS = {25: Stem(bins=5, strides=(1, 2, 2), hidden=8), 12.5: Stem(bins=5, strides=(2, 2, 2), hidden=8)}


@pytest.mark.parametrize(("rate", "spec"), STEMS.items())
def test_a_stem_makes_so_many_tokens_a_second(rate: float, spec: Stem) -> None:
    second = torch.randn(int(rate * 2), spec.frames, 5)  # two seconds of 100 frames
    assert second.shape[0] * second.shape[1] == 200
    assert spec.build(16)([second])[0][0].shape == (int(rate * 2), 16)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=6), st.sampled_from(sorted(STEMS)))
@torch.no_grad()
def test_sound_in_pieces_gives_the_tokens_of_the_whole(sizes: list[int], rate: float) -> None:
    torch.manual_seed(0)
    stem = STEMS[rate].build(16).eval()
    sound = torch.randn(sum(sizes), stem.spec.frames, 5)
    states, heard = [stem.start()], []
    for piece in sound.split(sizes):
        tokens, states = stem([piece], states)
        heard += tokens
    if len(sound):
        assert torch.allclose(torch.cat(heard), stem([sound])[0][0], atol=1e-6)


@torch.no_grad()
def test_sounds_of_different_length_share_a_batch() -> None:
    torch.manual_seed(0)
    stem = STEMS[25].build(16).eval()
    sounds = [torch.randn(n, 4, 5) for n in (2, 7, 1)]
    together, states = stem(sounds)
    for sound, tokens, state in zip(sounds, together, states, strict=True):
        (alone,), (after,) = stem([sound])
        assert torch.allclose(tokens, alone, atol=1e-6)
        assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(state, after, strict=True))
