"""Attention maps: true weights, by patch, by head, rolled out, and as pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import ViTConfig, ViTModel

from omni.model.attention import AttentionSpec
from omni.model.attention_map import AttentionMaps, heat, picture, record
from omni.model.block import BlockSpec
from omni.model.load import load
from omni.model.mlp import MlpSpec
from omni.model.patch_embed import PatchSpec
from omni.model.pool import AttentionPool
from omni.model.stack import StackSpec
from omni.model.swin import Swin, SwinSpec
from omni.model.vision import VisionSpec, VisionTransformer
from tests.parity.published import assert_same_numbers, save_random

CONFIG = ViTConfig(
    hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=56, image_size=40, patch_size=8,
    attn_implementation="eager",
)  # fmt: skip


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> tuple[AttentionMaps, tuple[torch.Tensor, ...]]:
    """The maps of ours and of transformers for the same two pictures."""
    folder = tmp_path_factory.mktemp("vit")
    theirs = save_random(ViTModel(CONFIG), folder)
    images = torch.randn(2, 3, 40, 40)
    return AttentionMaps.of(load(folder).model, images), theirs(images, output_attentions=True).attentions


Seen = tuple[AttentionMaps, tuple[torch.Tensor, ...]]


def test_every_layers_weights_are_those_of_transformers(seen: Seen) -> None:
    ours, theirs = seen
    assert len(ours.layers) == len(theirs) == 3
    for mine, other in zip(ours.layers, theirs, strict=True):
        assert_same_numbers(mine, other)


def test_what_a_patch_and_the_class_token_look_at_is_a_row_of_the_weights(seen: Seen) -> None:
    ours, theirs = seen
    torch.testing.assert_close(ours.seen_from(layer=1, head=2).flatten(1), theirs[1][:, 2, 0, 1:], atol=1e-5, rtol=0)
    patch = ours.from_patch(3, 1, layer=0)
    assert patch.shape == (2, 3, 5, 5)
    torch.testing.assert_close(patch.flatten(2), theirs[0][:, :, 1 + 16, 1:], atol=1e-5, rtol=0)
    with pytest.raises(ValueError, match=r"\(5, 0\) is outside the grid of 5×5"):
        ours.from_patch(5, 0)


def test_rollout_is_the_product_over_the_layers(seen: Seen) -> None:
    ours, theirs = seen
    rolled = np.eye(26)
    for layer in theirs:
        rolled = (0.5 * layer[0].detach().mean(0).numpy() + 0.5 * np.eye(26)) @ rolled
    np.testing.assert_allclose(rolled.sum(1), 1, atol=1e-5)
    np.testing.assert_allclose(ours.rollout()[0].flatten().numpy(), rolled[0, 1:], atol=1e-5)


def test_a_picture_shows_the_image_and_each_map_beside_it(seen: Seen, tmp_path: Path) -> None:
    ours, _ = seen
    pixels = torch.randn(3, 40, 40)
    shown = picture(pixels, ours.seen_from()[0], tmp_path / "heads.png")
    assert shown.shape == (40, 4 * 40, 3)
    with Image.open(tmp_path / "heads.png") as written:
        assert written.format == "PNG"
        assert np.array_equal(np.asarray(written), shown)


def test_the_brightest_place_of_a_picture_is_the_largest_of_the_map() -> None:
    values = torch.zeros(4, 4)
    values[2, 1] = 5.0
    colors = heat(values)
    light = colors.astype(int).sum(-1)
    assert np.unravel_index(light.argmax(), light.shape) == (2, 1)


def test_the_weights_of_swins_windows_can_be_recorded_too() -> None:
    model = Swin(SwinSpec(16, (2, 2), (2, 4), (4, 4))).eval()
    maps = record(model, torch.randn(1, 3, 32, 32))
    assert [tuple(m.shape) for m in maps.values()] == [(4, 2, 16, 16)] * 2 + [(1, 4, 16, 16)] * 2
    for weights in maps.values():
        torch.testing.assert_close(weights.sum(-1), torch.ones(weights.shape[:-1]))
    shifted = list(maps.values())[1]
    assert (shifted == 0).any(), "shifted windows hide what was not a neighbour"


def test_a_pool_that_looks_at_the_tokens_is_no_self_attention() -> None:
    block = BlockSpec(16, AttentionSpec(2), MlpSpec(32))
    spec = VisionSpec(StackSpec(block, 1), PatchSpec(8), (2, 2), class_token=False)
    maps = record(VisionTransformer(spec, pool=AttentionPool(block)), torch.randn(1, 3, 16, 16))
    assert list(maps) == ["stack.blocks.0.attention.inner.attention"]
