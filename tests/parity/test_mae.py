"""MAE: with the same noise, transformers' mask, predictions, loss and gradients."""

from pathlib import Path

import pytest
import torch
from transformers import ViTMAEConfig, ViTMAEForPreTraining, ViTMAEModel

from omni.model.load import load
from tests.parity.published import assert_same_gradients, assert_same_numbers, save_random


def config(normalised: bool) -> ViTMAEConfig:
    """A small autoencoder."""
    return ViTMAEConfig(
        hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=56, image_size=40, patch_size=8,
        decoder_hidden_size=16, decoder_num_hidden_layers=1, decoder_num_attention_heads=2,
        decoder_intermediate_size=32, norm_pix_loss=normalised,
    )  # fmt: skip


@pytest.mark.parametrize("normalised", [False, True])
def test_the_same_noise_gives_the_mask_predictions_loss_and_gradients_of_transformers(
    tmp_path: Path, normalised: bool
) -> None:
    theirs = save_random(ViTMAEForPreTraining(config(normalised)), tmp_path / "w")
    ours = load(tmp_path / "w").model
    images, noise = torch.randn(3, 3, 40, 40), torch.rand(3, 25)
    painted, want = ours(images, noise=noise), theirs(images, noise=noise)
    assert torch.equal(painted.hidden, want.mask.bool())
    assert int(painted.hidden.sum()) == 3 * (25 - int(25 * 0.25))
    assert_same_numbers(painted.predicted, want.logits)
    assert_same_numbers(painted.loss, want.loss)
    painted.loss.backward()
    want.loss.backward()
    assert ours.positions.table.grad is None
    assert ours.encoder.positions.table.grad is None
    assert_same_gradients(ours, theirs, tmp_path / "g")


def test_the_encoder_alone_sees_the_whole_picture_in_order(tmp_path: Path) -> None:
    theirs = save_random(ViTMAEModel(config(False)), tmp_path)
    ours = load(tmp_path).model
    images = torch.randn(2, 3, 40, 40)
    theirs.config.mask_ratio = 0.0
    assert_same_numbers(ours.tokens(images), theirs(images, noise=torch.arange(25.0).expand(2, 25)).last_hidden_state)


def test_an_untrained_position_table_is_the_published_sines_and_cosines(tmp_path: Path) -> None:
    theirs = ViTMAEForPreTraining(config(False))
    theirs.save_pretrained(tmp_path)
    embeddings = theirs.vit.embeddings
    embeddings.patch_embeddings.projection._is_hf_initialized = False  # else transformers 5 leaves zeros
    embeddings.initialize_weights()
    fresh = type(load(tmp_path).model)(load(tmp_path).model.spec)
    assert_same_numbers(fresh.encoder.positions.table, embeddings.position_embeddings[0], tolerance=1e-6)
