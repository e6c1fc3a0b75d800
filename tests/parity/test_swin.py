"""Swin: the numbers and gradients of transformers and of timm, at sizes that do not fill their windows too."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models._hub import save_for_hf
from torch import nn
from transformers import SwinConfig, SwinForImageClassification, SwinModel

from omni.model.load import load
from omni.model.swin import Swin, SwinSpec
from tests.parity.published import assert_same_gradients, assert_same_numbers, save_random

CONFIG = SwinConfig(
    image_size=64, patch_size=4, embed_dim=16, depths=[2, 2], num_heads=[2, 4], window_size=4, num_labels=5
)
TIMM: dict[str, Any] = {
    "embed_dim": 16, "depths": (2, 2), "num_heads": (2, 4), "img_size": 56, "num_classes": 5, "window_size": 7,
}  # fmt: skip


@pytest.mark.parametrize(("height", "width"), [(64, 64), (72, 44), (50, 61)])
def test_swin_classifies_and_learns_as_transformers_does(tmp_path: Path, height: int, width: int) -> None:
    theirs = save_random(SwinForImageClassification(CONFIG), tmp_path / "w")
    ours = load(tmp_path / "w").model
    images = torch.randn(2, 3, height, width)
    mine, other = ours(images), theirs(images).logits
    assert_same_numbers(mine, other)
    mine.square().sum().backward()
    other.square().sum().backward()
    assert_same_gradients(ours, theirs, tmp_path / "g")


def test_a_bare_swin_gives_its_map_and_its_mean(tmp_path: Path) -> None:
    theirs = save_random(SwinModel(CONFIG), tmp_path)
    ours = load(tmp_path).model
    images = torch.randn(2, 3, 64, 64)
    want = theirs(images)
    assert_same_numbers(ours.features(images).flatten(1, 2), want.last_hidden_state)
    assert_same_numbers(ours(images), want.pooler_output)


@pytest.mark.parametrize("size", [56, 112])
def test_swin_classifies_and_learns_as_timm_does(tmp_path: Path, size: int) -> None:
    arguments = {**TIMM, "img_size": size}
    theirs = timm.create_model("swin_tiny_patch4_window7_224", **arguments)

    def write(model: nn.Module, folder: Path) -> None:
        save_for_hf(model, folder, model_args=arguments, safe_serialization=True)

    save_random(theirs, tmp_path / "w", write=write)
    ours = load(tmp_path / "w").model
    images = torch.randn(2, 3, size, size)
    mine, other = ours(images), theirs(images)
    assert_same_numbers(mine, other)
    mine.square().sum().backward()
    other.square().sum().backward()
    assert_same_gradients(ours, theirs, tmp_path / "g", write=write)


def test_swin_learns_after_it_was_only_asked() -> None:
    model, images = Swin(SwinSpec(8, (2,), (2,), (3,))), torch.randn(1, 3, 48, 48)
    with torch.inference_mode():
        model(images)
    model(images).sum().backward()
    assert model.stages[0][1].attention.inner.inner.bias.table.grad is not None
