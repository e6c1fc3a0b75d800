"""open_clip's CLIP and SigLIP: vectors, losses and gradients."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from open_clip import CLIP, ClipLoss, CustomTextCLIP
from open_clip.loss import SigLipLoss
from safetensors.torch import save_file
from torch import nn

from omni.model.load import load, save
from omni.model.losses.pairs import clip_loss, siglip_loss
from tests.parity.published import assert_same_gradients, assert_same_numbers, save_random

TEXT: dict[str, Any] = {"context_length": 12, "vocab_size": 50, "width": 24, "heads": 3, "layers": 2}
PLAIN: dict[str, Any] = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 40, "layers": 2, "width": 24, "head_width": 8, "patch_size": 8},
    "text_cfg": TEXT,
}
SIGLIP: dict[str, Any] = {
    "embed_dim": 192,
    "init_logit_scale": 2.3,
    "init_logit_bias": -10,
    "vision_cfg": {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "map", "timm_proj": "none"},
    "text_cfg": {**TEXT, "no_causal_mask": True, "proj_bias": True, "pool_type": "last", "norm_kwargs": {"eps": 1e-6}},
}


def writer(config: dict[str, Any]) -> Any:
    """How a folder of open_clip looks."""

    def write(model: nn.Module, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: t.detach().clone().contiguous() for name, t in model.state_dict().items()}
        save_file(tensors, folder / "open_clip_model.safetensors")
        (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))

    return write


@pytest.mark.parametrize("change", [{}, {"quick_gelu": True}, {"embed_dim": 24}], ids=["gelu", "quick", "square"])
def test_clip_gives_the_vectors_loss_and_gradients_of_open_clip(tmp_path: Path, change: dict[str, Any]) -> None:
    config = {**PLAIN, **change}
    write = writer(config)
    theirs = save_random(CLIP(**config), tmp_path / "w", write=write)
    ours = load(tmp_path / "w").model
    images, ids = torch.randn(3, 3, 40, 40), torch.randint(0, 50, (3, 12))
    image, text, scale = theirs(images, ids)
    mine = ours.image_vectors(images), ours.text_vectors(ids)
    assert_same_numbers(mine[0], image)
    assert_same_numbers(mine[1], text)
    loss, want = clip_loss(*mine, ours.log_scale.exp()), ClipLoss()(image, text, scale)
    assert_same_numbers(loss, want)
    loss.backward()
    want.backward()
    assert_same_gradients(ours, theirs, tmp_path / "g", write=write)


@pytest.mark.parametrize("chunk", [None, 2])
def test_siglip_on_a_timm_tower_gives_the_vectors_loss_and_gradients_of_open_clip(
    tmp_path: Path, chunk: int | None
) -> None:
    write = writer(SIGLIP)
    theirs = save_random(CustomTextCLIP(**SIGLIP), tmp_path / "w", write=write)
    ours = load(tmp_path / "w").model
    images, ids = torch.randn(3, 3, 224, 224), torch.randint(0, 50, (3, 12))
    image, text, scale, bias = theirs(images, ids)
    mine = ours.image_vectors(images), ours.text_vectors(ids)
    assert_same_numbers(mine[0], image)
    assert_same_numbers(mine[1], text)
    loss = siglip_loss(*mine, ours.log_scale.exp(), ours.bias, chunk=chunk)
    want = SigLipLoss()(image, text, scale, bias)
    assert_same_numbers(loss, want)
    loss.backward()
    want.backward()
    assert_same_gradients(ours, theirs, tmp_path / "g", write=write)


def test_what_save_wrote_of_an_open_clip_folder_loads_again(tmp_path: Path) -> None:
    save_random(CLIP(**PLAIN), tmp_path / "w", write=writer(PLAIN))
    first = load(tmp_path / "w")
    save(first.model, first.config, tmp_path / "ours")
    again = load(tmp_path / "ours")
    images = torch.randn(2, 3, 40, 40)
    assert torch.equal(again.model.image_vectors(images), first.model.image_vectors(images))
    assert again.tokenizers["image"].count(90, 60) == 25


def test_what_cannot_be_built_is_named(tmp_path: Path) -> None:
    config = {**PLAIN, "vision_cfg": {**PLAIN["vision_cfg"], "attentional_pool": True}}
    writer(config)(nn.Linear(1, 1), tmp_path)
    with pytest.raises(ValueError, match="attentional_pool"):
        load(tmp_path)


def test_a_resnet_tower_is_refused(tmp_path: Path) -> None:
    vision = {"image_size": 224, "layers": [3, 4, 6, 3], "width": 64, "patch_size": None}
    writer({**PLAIN, "vision_cfg": vision})(nn.Linear(1, 1), tmp_path)
    with pytest.raises(ValueError, match=r"layers of the picture tower are \[3, 4, 6, 3\], a ResNet's"):
        load(tmp_path)
