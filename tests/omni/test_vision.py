"""The vision transformer: what it sees, in which order, and what it refuses."""

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.patch_embed import PatchEmbed, PatchSpec, cut, join
from omni.model.pool import AttentionPool, ClassAndMean, ClassToken, Mean
from omni.model.reach import CAUSAL
from omni.model.stack import Stack, StackSpec
from omni.model.vision import VisionSpec, VisionTransformer
from omni_tokenizers import Patches
from omni_tokenizers.image import Pad

BLOCK = BlockSpec(16, AttentionSpec(2), MlpSpec(32))
STACK = StackSpec(BLOCK, 2, final_norm=Norm())
SPEC = VisionSpec(STACK, PatchSpec(8), (4, 4))


def model(seed: int = 0, **changes: object) -> VisionTransformer:
    """A small vision transformer whose weights are large enough to matter."""
    torch.manual_seed(seed)
    built = VisionTransformer(dataclasses.replace(SPEC, **changes)).eval()  # type: ignore[arg-type]
    for parameter in built.parameters():
        nn.init.normal_(parameter, std=0.3)
    return built


def pixels(height: int = 32, width: int = 32, batch: int = 2) -> torch.Tensor:
    """Random pictures."""
    return torch.randn(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


def test_a_patch_embedding_is_a_convolution_with_stride() -> None:
    embed = PatchEmbed(16, PatchSpec(8))
    images = pixels(24, 40)
    convolved = F.conv2d(images, embed.linear.weight.reshape(16, 3, 8, 8), embed.linear.bias, stride=8)
    patches, grid = embed(images)
    assert grid == (3, 5)
    torch.testing.assert_close(patches, convolved.flatten(2).transpose(1, 2))


@pytest.mark.parametrize("order", ["chw", "hwc"])
def test_patches_of_the_tokenizer_are_those_the_model_cuts_itself(order: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
    encoded = Patches(8, order=order, normalize="half").encode(image)
    normal = torch.from_numpy(image).permute(2, 0, 1)[None] / 127.5 - 1
    spec = PatchSpec(8, order=order)  # type: ignore[arg-type]
    own, grid = cut(normal, spec)
    assert grid == encoded.grid
    torch.testing.assert_close(torch.as_tensor(encoded.values), own[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(join(own, grid, spec), normal)
    vision = model(patch=spec)
    torch.testing.assert_close(vision.see(encoded), vision(normal), atol=1e-5, rtol=1e-5)


def test_vision_attends_forwards_and_a_causal_model_does_not() -> None:
    vision = model(class_token=False)
    images = pixels()
    changed = images.clone()
    changed[:, :, -8:, -8:] = torch.randn(2, 3, 8, 8)  # the last patch
    first = [vision.tokens(x)[:, 0] for x in (images, changed)]
    assert not torch.allclose(*first)

    causal = Stack(STACK)
    tokens = torch.randn(2, 16, 16)
    other = tokens.clone()
    other[:, -1] = torch.randn(2, 16)
    before, after = causal(tokens, CAUSAL), causal(other, CAUSAL)
    assert torch.equal(before[:, :-1], after[:, :-1])
    assert not torch.allclose(before[:, -1], after[:, -1])


def swapped(images: torch.Tensor) -> torch.Tensor:
    """The first and the last patch change places."""
    patches, grid = cut(images, SPEC.patch)
    order = torch.arange(patches.shape[1])
    order[[0, -1]] = order[[-1, 0]]
    return join(patches[:, order], grid, SPEC.patch)


def test_swapping_two_patches_changes_the_output_with_positions_and_not_without() -> None:
    images = pixels()
    assert not torch.allclose(model()(images), model()(swapped(images)), atol=1e-3)
    blind = model(positions="none")
    torch.testing.assert_close(blind(images), blind(swapped(images)), atol=1e-5, rtol=1e-5)


def test_a_picture_of_225_is_refused_or_padded_as_asked() -> None:
    images = pixels(225, 225)
    spec = dataclasses.replace(SPEC, patch=PatchSpec(16), grid=(14, 14))
    with pytest.raises(ValueError, match="225×225"):
        VisionTransformer(spec)(images)
    padding = VisionTransformer(dataclasses.replace(spec, patch=PatchSpec(16, edges="pad"))).eval()
    assert padding.tokens(images).shape == (2, 1 + 15 * 15, 16)
    torch.testing.assert_close(padding(images), padding(F.pad(images, (0, 15, 0, 15))))


def test_the_tokenizer_refuses_or_pads_225_in_the_same_way() -> None:
    image = np.zeros((225, 225, 3), np.uint8)
    with pytest.raises(ValueError, match="225"):
        Patches(16).encode(image)
    assert Patches(16, resize=Pad()).encode(image).grid == (15, 15)


def test_pictures_of_different_shapes_in_one_batch_do_not_change_each_other() -> None:
    for pool in (ClassToken(), Mean(1), ClassAndMean(1), AttentionPool(BLOCK)):
        torch.manual_seed(0)
        vision = VisionTransformer(SPEC, pool=pool).eval()
        random = np.random.default_rng(0)
        shapes = [(32, 32), (16, 56), (8, 8)]
        pictures = [random.integers(0, 256, (*shape, 3), dtype=np.uint8) for shape in shapes]
        encoded = [Patches(8, order="chw").encode(picture) for picture in pictures]
        together = vision.see(*encoded)
        for row, one in zip(together, encoded, strict=True):
            torch.testing.assert_close(vision.see(one)[0], row, atol=1e-5, rtol=1e-5)


def test_registers_and_the_distillation_token_stand_between_the_class_token_and_the_patches() -> None:
    vision = model(registers=3, distillation=True)
    assert vision.tokens(pixels()).shape[1] == 1 + 1 + 3 + 16
    front = vision.front_tokens()
    assert front is not None
    assert vision.positions is not None
    placed = vision.positions.before()
    torch.testing.assert_close(front[:1], vision.class_token + placed[:1])
    torch.testing.assert_close(front[2:], vision.register_tokens)  # no position


def test_a_number_of_patches_without_a_grid_is_named() -> None:
    with pytest.raises(ValueError, match="7 patches are neither 4×4 nor a square"):
        model()(torch.randn(1, 7, 192))
    with pytest.raises(ValueError, match="one grid"):
        model()(torch.randn(2, 7, 192), [(1, 7)])
    with pytest.raises(ValueError, match="chw"):
        model()(torch.randn(2, 7, 191))
    with pytest.raises(ValueError, match="4 channels"):
        model()(torch.randn(2, 4, 32, 32))


def test_a_bfloat16_model_runs_at_other_sizes_too() -> None:
    assert model().bfloat16()(pixels(48, 24).bfloat16()).dtype == torch.bfloat16
