"""Masking, targets and loss against transformers' MAE, and token reduction against torch's pooling."""

import numpy as np
import pytest
import torch

from omni_tokenizers.image import ORDERS, mask_from_noise, masked_loss, merge, patch_targets, patchify, pool


@pytest.fixture(scope="module")
def mae():
    from transformers import ViTMAEConfig
    from transformers.models.vit_mae.modeling_vit_mae import ViTMAEForPreTraining

    config = ViTMAEConfig(
        image_size=64, hidden_size=16, num_attention_heads=2, num_hidden_layers=1, intermediate_size=16,
        decoder_hidden_size=16, decoder_num_attention_heads=2, decoder_num_hidden_layers=1,
        decoder_intermediate_size=16, norm_pix_loss=True,
    )  # fmt: skip
    return ViTMAEForPreTraining(config)


@pytest.mark.parametrize("ratio", [0.0, 0.5, 0.75, 0.9])
def test_the_same_noise_hides_the_same_patches_as_transformers_mae(mae, ratio: float) -> None:
    mae.vit.embeddings.config.mask_ratio = ratio
    noise = np.random.default_rng(0).random((3, 16))
    sequence = torch.randn(3, 16, 16)
    kept, mask, restore = mae.vit.embeddings.random_masking(sequence, noise=torch.from_numpy(noise))
    for row in range(3):
        ours = mask_from_noise(noise[row], ratio)
        np.testing.assert_array_equal(ours.mask, mask[row].bool().numpy())
        np.testing.assert_array_equal(ours.restore, restore[row].numpy())
        torch.testing.assert_close(ours.visible(sequence[row]), kept[row], rtol=0, atol=0)


def test_targets_and_loss_are_those_of_transformers_mae(mae) -> None:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.rand(1, 3, 64, 64, generator=generator)
    noise = torch.rand(1, 16, generator=generator)
    mae.vit.embeddings.config.mask_ratio = 0.75
    with torch.no_grad():
        theirs = mae(pixels, noise=noise)
    drawn = mask_from_noise(noise[0].numpy(), 0.75)
    target = patch_targets(patchify(pixels[0].permute(1, 2, 0), 16))
    torch.testing.assert_close(masked_loss(theirs.logits[0], target, drawn.mask), theirs.loss)
    in_numpy = masked_loss(theirs.logits[0].numpy(), target.numpy(), drawn.mask)
    np.testing.assert_allclose(in_numpy, theirs.loss.item(), rtol=1e-6)


def test_the_loss_sends_gradients_to_hidden_patches_only() -> None:
    drawn = mask_from_noise(np.random.default_rng(1).random(16), 0.75)
    predicted = torch.zeros(16, 8, requires_grad=True)
    masked_loss(predicted, torch.ones(16, 8), drawn.mask).backward()
    assert predicted.grad is not None
    np.testing.assert_array_equal(predicted.grad.abs().sum(1).numpy() > 0, drawn.mask)


@pytest.mark.parametrize("kind", ["mean", "max"])
@pytest.mark.parametrize("factor", [2, 3])
def test_pooling_equals_torch_pooling_of_the_grid(kind: str, factor: int) -> None:
    values = torch.randn(6 * 12, 5, generator=torch.Generator().manual_seed(0))
    image = values.T.reshape(1, 5, 6, 12)
    pooling = {"mean": torch.nn.functional.avg_pool2d, "max": torch.nn.functional.max_pool2d}[kind]
    expected = pooling(image, factor)[0].flatten(1).T
    torch.testing.assert_close(pool(values, (6, 12), factor, kind=kind), expected)
    np.testing.assert_allclose(pool(values.numpy(), (6, 12), factor, kind=kind), expected.numpy(), rtol=1e-6, atol=1e-6)


def test_merging_concatenates_the_neighbours_that_pixel_unshuffle_gathers() -> None:
    values = torch.randn(4 * 6, 5, generator=torch.Generator().manual_seed(0))
    image = values.T.reshape(1, 5, 4, 6)
    gathered = torch.nn.functional.pixel_unshuffle(image, 2)[0]  # [5·4, 2, 3], channel slowest
    expected = gathered.reshape(5, 4, 6).permute(2, 1, 0).reshape(6, 20)
    torch.testing.assert_close(merge(values, (4, 6)), expected, rtol=0, atol=0)


def test_merging_qwens_rows_is_the_view_that_its_patch_merger_takes() -> None:
    from transformers.models.qwen2_vl.modeling_qwen2_vl import PatchMerger

    merger = PatchMerger(dim=20, context_dim=5, spatial_merge_size=2)
    merger.ln_q, merger.mlp = torch.nn.Identity(), torch.nn.Identity()
    values = torch.randn(4 * 6, 5, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(merge(values, (4, 6), 2, ORDERS["qwen"]), merger(values), rtol=0, atol=0)
