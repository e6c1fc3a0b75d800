"""timm's vision transformers by their architecture's name: numbers and gradients."""

import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.models._hub import save_for_hf
from torch import nn

from omni.model.families.timm_preprocessing import patches_of
from omni.model.load import load
from tests.parity.published import assert_same_gradients, assert_same_numbers, save_random

SMALL: dict[str, Any] = {"embed_dim": 24, "depth": 2, "num_heads": 3}
ARCHITECTURES = [
    ("vit_base_patch16_224", {"img_size": 48, "num_classes": 5}),
    ("vit_base_patch16_224", {"img_size": 48, "num_classes": 5, "global_pool": "avg"}),
    ("vit_base_patch16_clip_quickgelu_224", {"img_size": 48, "num_classes": 5}),
    ("vit_small_patch14_reg4_dinov2", {"img_size": 42, "num_classes": 0}),
    ("vit_base_patch16_siglip_224", {"img_size": 48, "num_classes": 0}),
    ("vit_base_patch32_siglip_256", {"img_size": 64, "num_classes": 0}),
    ("vit_large_patch16_siglip_512", {"img_size": 48, "num_classes": 0}),
    ("vit_so400m_patch14_siglip_224", {"img_size": 42, "num_classes": 0}),
    ("vit_so400m_patch16_siglip_256", {"img_size": 48, "num_classes": 0}),
    ("deit_base_distilled_patch16_224", {"img_size": 48, "num_classes": 5}),
    ("deit3_base_patch16_224", {"img_size": 48, "num_classes": 5}),
    ("vit_tiny_r_s16_p8_224", {"img_size": 64, "num_classes": 5}),
    ("vit_small_r26_s32_224", {"img_size": 96, "num_classes": 5}),
]


def saved(architecture: str, arguments: dict[str, Any], folder: Path) -> tuple[nn.Module, Any]:
    """A small random model of an architecture, saved as timm saves it, and how to save it again."""
    theirs = timm.create_model(architecture, **SMALL, **arguments)

    def write(model: nn.Module, to: Path) -> None:
        save_for_hf(model, to, model_args={**SMALL, **arguments}, safe_serialization=True)

    return save_random(theirs, folder, write=write), write


@pytest.mark.parametrize(("architecture", "arguments"), ARCHITECTURES)
def test_a_timm_model_gives_its_numbers_and_gradients(
    tmp_path: Path, architecture: str, arguments: dict[str, Any]
) -> None:
    theirs, write = saved(architecture, arguments, tmp_path / "w")
    # timm's own gradients of the residual stem differ by 2e-3 between float32 and float64: its ReLUs stand on edges
    dtype = torch.float64 if "_r26_" in architecture else torch.float32
    theirs.to(dtype)
    ours = load(tmp_path / "w", dtype=dtype).model
    images = torch.randn(2, 3, arguments["img_size"], arguments["img_size"], dtype=dtype)
    mine, other = ours(images), theirs(images)
    assert_same_numbers(mine, other)
    mine.square().sum().backward()
    other.square().sum().backward()
    assert_same_gradients(ours, theirs, tmp_path / "g", write=write)


@pytest.mark.parametrize("architecture", ["vit_base_patch16_224", "deit3_base_patch16_224"])
def test_other_sizes_follow_timms_resampling_and_odd_ones_its_padding(tmp_path: Path, architecture: str) -> None:
    arguments = {"img_size": 48, "num_classes": 5, "dynamic_img_size": True, "dynamic_img_pad": True}
    theirs, _ = saved(architecture, arguments, tmp_path)
    ours = load(tmp_path).model
    for height, width in [(96, 64), (49, 65)]:
        images = torch.randn(2, 3, height, width)
        assert_same_numbers(ours(images), theirs(images))


def test_the_tokenizer_of_a_timm_folder_scales_and_crops_as_timm_does(tmp_path: Path) -> None:
    theirs, _ = saved("vit_base_patch16_224", {"img_size": 48, "num_classes": 5}, tmp_path)
    patches = load(tmp_path).tokenizers["image"]
    assert patches.count(300, 200) == 9
    assert patches.normalize.mean == (0.5, 0.5, 0.5)
    assert theirs.pretrained_cfg["crop_pct"] == 0.9
    assert patches.resize.side == 53


def test_arguments_that_change_the_model_beyond_this_family_are_named(tmp_path: Path) -> None:
    arguments = {"img_size": 48, "num_classes": 5, "scale_mlp_norm": True}
    saved("vit_base_patch16_224", arguments, tmp_path)
    with pytest.raises(ValueError, match="scale_mlp_norm"):
        load(tmp_path)


@pytest.mark.parametrize("architecture", ["vit_small_patch16_36x1_224", "beit3_base_patch16_224"])
def test_an_architecture_whose_weights_would_be_passed_over_is_refused(tmp_path: Path, architecture: str) -> None:
    about = {"architecture": architecture, "num_classes": 5}
    (tmp_path / "config.json").write_text(json.dumps(about))
    with pytest.raises(ValueError, match=f"architecture is '{architecture}', which this family cannot build"):
        load(tmp_path)


def test_a_crop_that_is_not_built_is_refused_by_its_key() -> None:
    squashed = {"crop_mode": "squash", "crop_pct": 0.95, "interpolation": "bicubic"}
    with pytest.raises(ValueError, match=r"crop_mode is 'squash' with crop_pct 0\.95"):
        patches_of(squashed, 16, 48)
    assert patches_of({**squashed, "crop_pct": 1.0}, 16, 48).count(90, 60) == 9
