"""DINOv2: transformers' numbers and gradients, with registers and without, at other sizes too."""

from pathlib import Path

import pytest
import torch
from transformers import (
    Dinov2Config,
    Dinov2ForImageClassification,
    Dinov2Model,
    Dinov2WithRegistersConfig,
    Dinov2WithRegistersForImageClassification,
    Dinov2WithRegistersModel,
    PreTrainedModel,
)

from omni.model.load import load
from tests.parity.published import assert_same_gradients, assert_same_numbers, save_random

SMALL = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "image_size": 42, "patch_size": 14,
    "layerscale_value": 0.7, "num_labels": 5,
}  # fmt: skip
CLASSIFIERS = [
    Dinov2ForImageClassification(Dinov2Config(**SMALL)),
    Dinov2ForImageClassification(Dinov2Config(**SMALL, use_swiglu_ffn=True)),
    Dinov2WithRegistersForImageClassification(Dinov2WithRegistersConfig(**SMALL, num_register_tokens=3)),
]
NAMES = ["plain", "swiglu", "registers"]


@pytest.mark.parametrize("theirs", CLASSIFIERS, ids=NAMES)
@pytest.mark.parametrize(("height", "width"), [(42, 42), (70, 98)])
def test_dinov2_classifies_and_learns_as_transformers_does(
    tmp_path: Path, theirs: PreTrainedModel, height: int, width: int
) -> None:
    theirs.zero_grad()
    save_random(theirs, tmp_path / "w")
    ours = load(tmp_path / "w").model
    images = torch.randn(2, 3, height, width)
    mine, other = ours(images), theirs(images).logits
    assert_same_numbers(mine, other)
    mine.square().sum().backward()
    other.square().sum().backward()
    assert_same_gradients(ours, theirs, tmp_path / "g")


@pytest.mark.parametrize(
    "theirs",
    [Dinov2Model(Dinov2Config(**SMALL)), Dinov2WithRegistersModel(Dinov2WithRegistersConfig(**SMALL))],
    ids=["plain", "registers"],
)
def test_a_bare_dinov2_gives_every_token_and_the_class_token(tmp_path: Path, theirs: PreTrainedModel) -> None:
    save_random(theirs, tmp_path)
    ours = load(tmp_path).model
    images = torch.randn(2, 3, 56, 42)
    assert_same_numbers(ours.tokens(images), theirs(images).last_hidden_state)
    assert_same_numbers(ours(images), theirs(images).pooler_output)
