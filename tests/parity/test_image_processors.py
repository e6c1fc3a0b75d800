"""Patches against the image processors of transformers and the transforms of timm, built from their defaults."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from omni_tokenizers.image import (
    NaFlex,
    Patches,
    ShortSideCrop,
    SmartResize,
    Square,
    Tiles,
    pad_patches,
    patchify,
    unpatchify,
)
from omni_tokenizers.image.resize import naflex_size, smart_size, tile_arrangement

SIZES = [(224, 224), (1024, 768), (333, 501), (17, 40), (1, 1), (90, 1000)]  # width, height
STEP_HALF = 1 / 127.5  # one of 255 levels, normalised with a deviation of one half


def picture(width: int, height: int, seed: int = 0) -> np.ndarray:
    """Smooth structure and noise, so that both blur and sharpness show."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)).resize((width, height))
    return np.clip(np.asarray(coarse).astype(int) + rng.integers(-40, 41, (height, width, 3)), 0, 255).astype(np.uint8)


def as_patches(chw: np.ndarray, size: int) -> np.ndarray:
    return patchify(np.ascontiguousarray(chw.transpose(1, 2, 0)), size)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_square_gives_the_values_of_transformers_fast_vit_processor(width: int, height: int) -> None:
    from transformers import ViTImageProcessor

    image = picture(width, height)
    theirs = ViTImageProcessor()(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
    ours = Patches(16, resize=Square(224)).encode(image)
    np.testing.assert_allclose(ours.values, as_patches(theirs, 16), atol=1e-6)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_square_is_within_one_level_of_transformers_pillow_vit_processor(width: int, height: int) -> None:
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    image = picture(width, height)
    theirs = as_patches(ViTImageProcessorPil()(Image.fromarray(image), return_tensors="np")["pixel_values"][0], 16)
    difference = np.abs(Patches(16, resize=Square(224)).encode(image).values - theirs) / STEP_HALF
    assert difference.max() < 1.001
    # Pillow scales tall pictures downwards first and we never do, so there a fifth of the values rounds otherwise.
    assert difference.mean() < (0.01 if width >= height or height < 224 else 0.25)


@pytest.mark.parametrize(("name", "furthest"), [("bilinear", 1), ("bicubic", 2)])
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_scaling_is_pillows_when_pillow_goes_across_first(width: int, height: int, name: str, furthest: int) -> None:
    image = picture(width, height)
    filter_ = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}[name]
    across = Image.fromarray(image).resize((224, height), filter_)
    theirs = np.asarray(across.resize((224, 224), filter_)).astype(int)
    patches = Patches(16, resize=Square(224, resample=name))
    difference = np.abs(patches.decode(patches.encode(image)).astype(int) - theirs)
    assert difference.max() <= furthest
    assert difference.mean() < 0.01


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_short_side_crop_gives_the_values_of_transformers_clip_processor(width: int, height: int) -> None:
    from transformers import CLIPImageProcessor

    image = picture(width, height)
    theirs = CLIPImageProcessor()(Image.fromarray(image), return_tensors="np")["pixel_values"][0]
    ours = Patches(16, resize=ShortSideCrop(224), normalize="clip").encode(image)
    np.testing.assert_allclose(ours.values, as_patches(theirs, 16), atol=1e-6)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_short_side_crop_is_timms_transform_but_for_pillows_rounding(width: int, height: int) -> None:
    from timm.data import create_transform

    image = picture(width, height)
    theirs = create_transform((3, 224, 224), crop_pct=0.875, interpolation="bicubic")(Image.fromarray(image)).numpy()
    policy = ShortSideCrop(256, crop=224, rounding="even")
    ours = Patches(16, resize=policy, normalize="imagenet").encode(image)
    difference = (
        np.abs(ours.values - as_patches(theirs, 16)) * 255 * 0.2275
    )  # in levels, the deviations being 0.224 to 0.229
    assert difference.max() < 4.1
    assert difference.mean() < (0.01 if width >= height or height < 224 else 0.3)


def test_naflex_gives_the_batch_of_transformers_siglip2_processor() -> None:
    from transformers import Siglip2ImageProcessor

    images = [picture(w, h, seed=i) for i, (w, h) in enumerate(SIZES)]
    theirs = Siglip2ImageProcessor()([Image.fromarray(i) for i in images], return_tensors="np")
    ours = pad_patches(Patches(16, resize=NaFlex(256)).encode_batch(images), 256)
    np.testing.assert_array_equal(ours.mask, theirs["pixel_attention_mask"].astype(bool))
    assert [grids[0] for grids in ours.grids] == [tuple(s) for s in theirs["spatial_shapes"].tolist()]
    np.testing.assert_allclose(ours.values, theirs["pixel_values"], atol=1e-6)


@settings(max_examples=150, deadline=None)
@given(
    st.integers(1, 6000), st.integers(1, 6000), st.sampled_from([14, 16, 32]), st.sampled_from([1, 7, 256, 729, 1024])
)
def test_naflex_sizes_are_those_of_transformers_and_timm(width: int, height: int, patch: int, budget: int) -> None:
    from timm.data.naflex_transforms import get_image_size_for_seq
    from transformers.models.siglip2.image_processing_siglip2 import get_image_size_for_max_num_patches

    size = naflex_size(width, height, patch, budget)
    assert size[::-1] == get_image_size_for_max_num_patches(height, width, patch, budget)
    if max(size[0] / width, size[1] / height) < 90:  # timm refuses to enlarge a hundred times
        assert size[::-1] == get_image_size_for_seq((height, width), patch, budget)[1]
    assert (size[0] // patch) * (size[1] // patch) <= budget


@pytest.mark.parametrize(("width", "height"), [(1024, 768), (333, 501), (90, 1000), (60, 60), (30, 5000)])
def test_smart_resize_gives_the_rows_of_transformers_qwen2_vl_processor(width: int, height: int) -> None:
    from transformers import Qwen2VLImageProcessor

    image = picture(width, height)
    theirs = Qwen2VLImageProcessor()(Image.fromarray(image), return_tensors="np")
    ours = Patches(14, resize=SmartResize(), order="qwen", normalize="clip").encode(image)
    assert (1, *ours.grid) == tuple(theirs["image_grid_thw"][0])
    np.testing.assert_allclose(ours.values, theirs["pixel_values"], atol=1e-6)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 6000), st.integers(1, 6000))
def test_smart_sizes_are_those_of_transformers_and_so_are_the_refusals(width: int, height: int) -> None:
    from transformers.models.qwen2_vl.image_processing_qwen2_vl import smart_resize

    try:
        theirs = smart_resize(height, width, 28, 56 * 56, 28 * 28 * 1280)
    except ValueError:
        with pytest.raises(ValueError, match="200 at most"):
            smart_size(width, height, 28, 56 * 56, 28 * 28 * 1280)
        return
    assert smart_size(width, height, 28, 56 * 56, 28 * 28 * 1280)[::-1] == theirs


@pytest.mark.parametrize(("width", "height"), [(1024, 768), (333, 501), (90, 1000), (100, 100)])
def test_tiles_give_the_crops_and_the_thumbnail_of_transformers_internvl_processor(width: int, height: int) -> None:
    from transformers import GotOcr2ImageProcessor

    image = picture(width, height)
    processor = GotOcr2ImageProcessor(crop_to_patches=True, max_patches=6, size={"height": 112, "width": 112})
    theirs = processor(Image.fromarray(image), return_tensors="np")["pixel_values"]
    ours = Patches(14, resize=Tiles(112, max_tiles=6), normalize="clip").encode(image)
    assert len(ours.grids) == len(theirs)
    for index, tile in enumerate(theirs):
        np.testing.assert_allclose(ours.values[ours.view == index], as_patches(tile, 14), atol=1e-6)


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 5000), st.integers(1, 4), st.integers(4, 12))
def test_tile_arrangements_are_those_of_transformers(width: int, height: int, least: int, most: int) -> None:
    from transformers.models.got_ocr2.image_processing_got_ocr2 import get_optimal_tiled_canvas

    theirs = get_optimal_tiled_canvas((height, width), (448, 448), least, most)
    assert tile_arrangement(width, height, 448, least, most) == theirs


@pytest.mark.parametrize("order", ["hwc", "chw"])
def test_a_patch_convolution_equals_patches_times_the_linear_weight(order: str) -> None:
    from omni_tokenizers.image import ORDERS, linear_weight

    kernel = torch.randn(32, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pixels = torch.rand(64, 48, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    conv = torch.nn.functional.conv2d(pixels.permute(2, 0, 1)[None], kernel, stride=16)[0].flatten(1).T  # [n, 32]
    linear = patchify(pixels, 16, ORDERS[order]) @ linear_weight(kernel, ORDERS[order]).T
    torch.testing.assert_close(linear, conv)


def test_qwens_patch_convolution_over_two_frames_equals_patches_times_the_linear_weight() -> None:
    from omni_tokenizers.image import ORDERS, linear_weight, raster

    kernel = torch.randn(8, 3, 2, 14, 14, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    pixels = torch.rand(56, 84, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    clip = pixels.permute(2, 0, 1)[None, :, None].repeat(1, 1, 2, 1, 1)  # [1, 3, 2, h, w]
    conv = torch.nn.functional.conv3d(clip, kernel, stride=(2, 14, 14))[0].flatten(1).T  # [n, 8] in reading order
    linear = patchify(pixels, 14, ORDERS["qwen"]) @ linear_weight(kernel, ORDERS["qwen"]).T
    torch.testing.assert_close(linear[raster((4, 6), ORDERS["qwen"])], conv)


def test_hwc_order_is_that_of_mae_and_of_timms_naflex() -> None:
    from timm.data.naflex_transforms import patchify_image
    from transformers import ViTMAEConfig
    from transformers.models.vit_mae.modeling_vit_mae import ViTMAEForPreTraining

    pixels = np.random.default_rng(0).random((64, 64, 3), np.float32)
    chw = torch.from_numpy(pixels).permute(2, 0, 1)
    ours = patchify(pixels, 16)
    with torch.device("meta"):
        mae = ViTMAEForPreTraining(
            ViTMAEConfig(image_size=64, hidden_size=16, num_attention_heads=2, num_hidden_layers=1)
        )
    np.testing.assert_array_equal(ours, mae.patchify(chw[None])[0].numpy())
    np.testing.assert_array_equal(
        unpatchify(ours, (4, 4), 16), mae.unpatchify(torch.from_numpy(ours)[None])[0].permute(1, 2, 0)
    )
    np.testing.assert_array_equal(ours, patchify_image(chw, (16, 16))[0].numpy())
