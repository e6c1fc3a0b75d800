"""MAE: what is hidden stays hidden, order is restored, and painting it learns."""

import torch

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.masked_autoencoder import MaeSpec, MaskedAutoencoder
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.patch_embed import PatchSpec, cut, join
from omni.model.stack import StackSpec
from omni.model.vision import VisionSpec


def small(normalised: bool = False) -> MaskedAutoencoder:
    """An autoencoder for pictures of 16×16 with 16 patches."""
    torch.manual_seed(0)
    encoder = StackSpec(BlockSpec(32, AttentionSpec(4), MlpSpec(64)), 2, final_norm=Norm())
    decoder = StackSpec(BlockSpec(16, AttentionSpec(2), MlpSpec(32)), 1, final_norm=Norm())
    spec = VisionSpec(encoder, PatchSpec(4, 1), (4, 4), positions="fixed")
    return MaskedAutoencoder(MaeSpec(spec, decoder, normalised=normalised))


def slopes(count: int, seed: int) -> torch.Tensor:
    """Pictures [count, 1, 16, 16] that are a slope in a random direction: every patch tells of the others."""
    generator = torch.Generator().manual_seed(seed)
    across, down, level = torch.randn(3, count, 1, 1, generator=generator)
    place = torch.linspace(-1, 1, 16)
    return (across * place[None, None, :] + down * place[None, :, None] + level)[:, None]


def test_three_quarters_are_hidden_and_the_encoder_sees_nothing_of_them() -> None:
    model, images = small(), slopes(2, seed=1)
    painted = model(images, seeds=[3, 4])
    assert painted.hidden.sum(1).tolist() == [12, 12]
    patches, grid = cut(images, model.target_spec)
    patches[painted.hidden] = 99.0
    again = model(join(patches, grid, model.target_spec), seeds=[3, 4])
    assert torch.equal(again.predicted, painted.predicted)


def test_a_pictures_mask_depends_on_its_seed_and_not_on_its_batch() -> None:
    model, images = small(), slopes(3, seed=1)
    together = model(images, seeds=[5, 6, 7])
    alone = model(images[1:2], seeds=[6])
    assert torch.equal(together.hidden[1], alone.hidden[0])
    torch.testing.assert_close(together.predicted[1], alone.predicted[0], atol=1e-5, rtol=1e-5)


def test_the_picture_keeps_what_was_seen_and_holds_predictions_where_it_was_hidden() -> None:
    for normalised in (False, True):
        model, images = small(normalised), slopes(2, seed=1)
        painted = model(images, seeds=[3, 4])
        shown, _ = cut(model.picture(painted, images), model.target_spec)
        true, _ = cut(images, model.target_spec)
        assert torch.equal(shown[~painted.hidden], true[~painted.hidden])
        assert not torch.allclose(shown[painted.hidden], true[painted.hidden], atol=1e-2)


def test_what_was_hidden_is_painted_far_better_than_with_the_mean_colour_of_what_was_seen() -> None:
    model = small()
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(200):
        loss = model(slopes(32, seed=step), seeds=range(32 * step, 32 * step + 32)).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        painted = model.eval()(slopes(256, seed=10_000), seeds=range(256))  # never seen
    seen = (painted.target.mean(-1) * ~painted.hidden).sum(1) / (~painted.hidden).sum(1)  # [pictures]
    baseline = ((painted.target - seen[:, None, None]) ** 2)[painted.hidden].mean()
    assert painted.loss < 0.2 * baseline, f"{painted.loss:.4f} against {baseline:.4f} of the mean colour"
