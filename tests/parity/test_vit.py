"""ViT: transformers' numbers and gradients, at the size of its position table and at others."""

import json
from pathlib import Path

import pytest
import torch
from transformers import ViTConfig, ViTForImageClassification, ViTModel

from omni.model.load import load, save
from tests.parity.published import assert_same_gradients, assert_same_numbers, save_random

CONFIG = ViTConfig(
    hidden_size=24, num_hidden_layers=3, num_attention_heads=3, intermediate_size=56, image_size=56, patch_size=8,
    num_labels=5,
)  # fmt: skip


def pixels(height: int, width: int, batch: int = 2, seed: int = 1) -> torch.Tensor:
    """Random pictures."""
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def test_vit_classifies_as_transformers_does(tmp_path: Path) -> None:
    theirs = save_random(ViTForImageClassification(CONFIG), tmp_path / "w")
    ours = load(tmp_path / "w").model
    images = pixels(56, 56)
    assert_same_numbers(ours(images), theirs(images).logits)


def test_vit_has_the_gradients_of_transformers(tmp_path: Path) -> None:
    theirs = save_random(ViTForImageClassification(CONFIG), tmp_path / "w")
    ours = load(tmp_path / "w").model
    images = pixels(56, 56)
    ours(images).square().sum().backward()
    theirs(images).logits.square().sum().backward()
    assert_same_gradients(ours, theirs, tmp_path / "g")


@pytest.mark.parametrize(("height", "width"), [(96, 96), (40, 72), (56, 64)])
def test_vit_resizes_its_positions_as_transformers_does_and_learns_through_it(
    tmp_path: Path, height: int, width: int
) -> None:
    theirs = save_random(ViTForImageClassification(CONFIG), tmp_path / "w")
    ours = load(tmp_path / "w").model
    images = pixels(height, width)
    mine, other = ours(images), theirs(images, interpolate_pos_encoding=True).logits
    assert_same_numbers(mine, other)
    mine.square().sum().backward()
    other.square().sum().backward()
    assert_same_gradients(ours, theirs, tmp_path / "g")


def test_a_bare_vit_model_gives_its_tokens_and_its_pooler(tmp_path: Path) -> None:
    theirs = save_random(ViTModel(CONFIG), tmp_path / "w")
    ours = load(tmp_path / "w").model
    images = pixels(56, 56)
    want = theirs(images)
    assert_same_numbers(ours.tokens(images), want.last_hidden_state)
    assert_same_numbers(ours(images), want.pooler_output)


def test_every_layer_can_be_seen(tmp_path: Path) -> None:
    theirs = save_random(ViTModel(CONFIG), tmp_path / "w")
    ours = load(tmp_path / "w").model
    images = pixels(56, 56)
    states: list[torch.Tensor] = []
    ours.tokens(images, states=states)
    want = theirs(images, output_hidden_states=True).hidden_states
    assert len(states) == len(want) == 4
    for mine, other in zip(states[:-1], want[:-1], strict=True):
        assert_same_numbers(mine, other)


def test_what_save_wrote_loads_as_the_same_model(tmp_path: Path) -> None:
    save_random(ViTForImageClassification(CONFIG), tmp_path / "w")
    first = load(tmp_path / "w")
    save(first.model, first.config, tmp_path / "ours")
    images = pixels(56, 56)
    assert torch.equal(load(tmp_path / "ours").model(images), first.model(images))


@pytest.mark.parametrize("named", ["relu", "gelu_pytorch_tanh", "quick_gelu", "silu"])
def test_other_activations_are_those_of_transformers(tmp_path: Path, named: str) -> None:
    theirs = save_random(ViTModel(ViTConfig(**{**CONFIG.to_dict(), "hidden_act": named})), tmp_path)
    images = pixels(56, 56)
    assert_same_numbers(load(tmp_path).model.tokens(images), theirs(images).last_hidden_state)


@pytest.mark.parametrize(("key", "value"), [("hidden_act", "mish"), ("pooler_act", "relu")])
def test_an_activation_that_is_not_built_is_refused_by_its_key(tmp_path: Path, key: str, value: str) -> None:
    save_random(ViTModel(ViTConfig(**{**CONFIG.to_dict(), key: value})), tmp_path)
    with pytest.raises(ValueError, match=f"{key} is '{value}', which is not built here"):
        load(tmp_path)


def test_the_preprocessing_is_found_in_the_file_of_all_modalities(tmp_path: Path) -> None:
    save_random(ViTModel(CONFIG), tmp_path)
    about = {"image_mean": [0.1, 0.2, 0.3], "image_std": [1, 1, 1], "size": {"height": 40, "width": 40}, "resample": 3}
    (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": about}))
    patches = load(tmp_path).tokenizers["image"]
    assert (patches.normalize.mean, patches.resize.side, patches.resize.resample) == ((0.1, 0.2, 0.3), 40, "bicubic")


@pytest.mark.parametrize(
    ("key", "value"), [("resample", 1), ("do_rescale", False), ("do_resize", False), ("rescale_factor", 1 / 127.5)]
)
def test_preprocessing_that_is_not_built_is_refused_by_its_key(tmp_path: Path, key: str, value: object) -> None:
    save_random(ViTModel(CONFIG), tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": 56, key: value}))
    with pytest.raises(ValueError, match=f"{key} is"):
        load(tmp_path)


def test_a_patch_may_be_given_by_both_its_sides(tmp_path: Path) -> None:
    theirs = save_random(ViTModel(CONFIG), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "patch_size": [8, 8]}))
    images = pixels(56, 56)
    assert_same_numbers(load(tmp_path).model.tokens(images), theirs(images).last_hidden_state)
