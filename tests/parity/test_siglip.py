"""SigLIP and SigLIP 2: transformers' logits, loss and gradients, NaFlex batches with padding too."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import (
    Siglip2Config,
    Siglip2Model,
    Siglip2VisionConfig,
    Siglip2VisionModel,
    SiglipConfig,
    SiglipModel,
    SiglipVisionConfig,
    SiglipVisionModel,
)

from omni.model.load import load
from omni.model.losses.pairs import siglip_loss
from tests.parity.published import assert_same_gradients, assert_same_numbers, save_random

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 56}
TEXT = {**SIZES, "vocab_size": 50, "max_position_embeddings": 9}
VISION = {**SIZES, "image_size": 40, "patch_size": 8}
FLEXIBLE = {**SIZES, "num_patches": 25, "patch_size": 8}
GRIDS = [(3, 6), (5, 4), (2, 2)]


def padded() -> tuple[torch.Tensor, torch.Tensor]:
    """Three pictures of different shapes as patches, and which patches are real."""
    lengths = torch.tensor([rows * columns for rows, columns in GRIDS])
    mask = torch.arange(22) < lengths[:, None]
    return torch.randn(3, 22, 192) * mask[..., None], mask


def test_siglip_gives_the_logits_loss_and_gradients_of_transformers(tmp_path: Path) -> None:
    theirs = save_random(SiglipModel(SiglipConfig(text_config=TEXT, vision_config=VISION)), tmp_path / "w")
    ours = load(tmp_path / "w").model
    images, ids = torch.randn(3, 3, 40, 40), torch.randint(0, 50, (3, 9))
    want = theirs(input_ids=ids, pixel_values=images, return_loss=True)
    assert_same_numbers(ours(images, ids), want.logits_per_image)
    loss = siglip_loss(ours.image_vectors(images), ours.text_vectors(ids), ours.log_scale.exp(), ours.bias)
    assert_same_numbers(loss, want.loss)
    loss.backward()
    want.loss.backward()
    assert_same_gradients(ours, theirs, tmp_path / "g")


def test_a_siglip2_batch_of_different_shapes_gives_the_numbers_and_gradients_of_transformers(tmp_path: Path) -> None:
    theirs = save_random(Siglip2Model(Siglip2Config(text_config=TEXT, vision_config=FLEXIBLE)), tmp_path / "w")
    ours = load(tmp_path / "w").model
    (patches, mask), ids = padded(), torch.randint(0, 50, (3, 9))
    shapes = torch.tensor(GRIDS)
    want = theirs(ids, patches, pixel_attention_mask=mask.int(), spatial_shapes=shapes, return_loss=True)
    assert_same_numbers(ours(patches, ids, GRIDS), want.logits_per_image)
    ours(patches, ids, GRIDS).square().sum().backward()
    want.logits_per_image.square().sum().backward()
    assert_same_gradients(ours, theirs, tmp_path / "g")


def test_a_picture_in_a_padded_batch_equals_itself_alone(tmp_path: Path) -> None:
    save_random(Siglip2VisionModel(Siglip2VisionConfig(**FLEXIBLE)), tmp_path)
    ours = load(tmp_path).model
    patches, _ = padded()
    together = ours(patches, GRIDS)
    for row, (grid, picture) in enumerate(zip(GRIDS, patches, strict=True)):
        alone = ours(picture[None, : grid[0] * grid[1]], [grid])
        assert_same_numbers(alone[0], together[row])


def test_the_tokenizer_and_the_model_of_a_siglip2_folder_fit_each_other(tmp_path: Path) -> None:
    theirs = save_random(Siglip2VisionModel(Siglip2VisionConfig(**FLEXIBLE)), tmp_path)
    checkpoint = load(tmp_path)
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, shape, dtype=np.uint8) for shape in ((30, 60, 3), (50, 20, 3))]
    grids = checkpoint.tokenizers["image"].encode_batch(pictures)
    values, shapes = checkpoint.model.batch(grids)
    mask = torch.arange(values.shape[1]) < torch.tensor([len(grid) for grid in grids])[:, None]
    want = theirs(values, pixel_attention_mask=mask.int(), spatial_shapes=torch.tensor(shapes))
    assert_same_numbers(checkpoint.model.see(*grids), want.pooler_output)


@pytest.mark.parametrize("size", [40, 56])
def test_the_picture_tower_alone_gives_its_tokens(tmp_path: Path, size: int) -> None:
    theirs = save_random(SiglipVisionModel(SiglipVisionConfig(**VISION)), tmp_path)
    ours = load(tmp_path).model
    images = torch.randn(2, 3, size, size)
    want = theirs(images, interpolate_pos_encoding=True)
    assert_same_numbers(ours.tokens(images), want.last_hidden_state)
    assert_same_numbers(ours(images), want.pooler_output)
