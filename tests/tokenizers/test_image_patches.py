"""Patches: counts known beforehand, positions, slots, batches, and the way back to pixels."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_tokenizers.image import (
    NORMALIZATIONS,
    Exact,
    ImageTooLarge,
    Kind,
    LongestSide,
    NaFlex,
    Normalize,
    Order,
    Pad,
    Patches,
    Resize,
    ShortSideCrop,
    SmartResize,
    Square,
    Tiles,
    pad_patches,
)
from omni_tokenizers.tokenizer import CannotStream

POLICIES: list[Resize] = [
    Pad(),
    Pad(fill=(9, 8, 7), center=True),
    Square(64),
    ShortSideCrop(80, crop=64),
    LongestSide(100),
    LongestSide(64, square=True),
    NaFlex(20),
    SmartResize(min_pixels=32 * 32, max_pixels=128 * 128),
    Tiles(32, max_tiles=5),
    Tiles(32, max_tiles=5, min_tiles=2, thumbnail=False),
]
ODD_SIZES = [(1, 1), (1, 50), (50, 1), (225, 225), (5000, 30), (30, 5000), (17, 31)]


def noise(width: int, height: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def check_count(patches: Patches, width: int, height: int) -> None:
    """`count` and `encode` agree on the number, or on the refusal."""
    try:
        expected = patches.count(width, height)
    except ValueError as refused:
        refusal = str(refused)
    else:
        refusal = ""
    if refusal:
        with pytest.raises(ValueError, match="resize=") as again:
            patches.encode(noise(width, height))
        assert str(again.value) == refusal
        return
    grid = patches.encode(noise(width, height))
    assert len(grid) == expected == len(grid.values) == len(grid.positions) == len(grid.view)
    assert grid.values.shape == (expected, patches.dim)
    assert grid.values.dtype == np.float32
    assert np.isfinite(grid.values).all()
    for index, (rows, columns) in enumerate(grid.grids):
        positions = grid.positions[grid.view == index]
        assert sorted(map(tuple, positions.tolist())) == [(r, c) for r in range(rows) for c in range(columns)]


@pytest.mark.parametrize("policy", POLICIES, ids=repr)
@pytest.mark.parametrize(("width", "height"), ODD_SIZES)
def test_count_is_the_length_of_encode_for_odd_sizes(policy: Resize, width: int, height: int) -> None:
    check_count(Patches(16, resize=policy, cls=True, registers=4), width, height)


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(POLICIES),
    st.integers(1, 300),
    st.integers(1, 300),
    st.booleans(),
    st.integers(0, 4),
    st.sampled_from(["hwc", "chw", "qwen"]),
)
def test_count_is_the_length_of_encode_for_any_size(
    policy: Resize, width: int, height: int, cls: bool, registers: int, order: str
) -> None:
    check_count(Patches(16, resize=policy, cls=cls, registers=registers, order=order), width, height)


@pytest.mark.parametrize(("size", "tokens", "raw"), [(16, 196, 768), (32, 49, 3072), (14, 256, 588), (8, 784, 192)])
def test_the_well_known_counts_of_a_224_image(size: int, tokens: int, raw: int) -> None:
    patches = Patches(size)
    assert patches.count(224, 224) == tokens
    assert patches.dim == raw


def test_an_image_that_does_not_divide_is_refused_in_one_sentence() -> None:
    with pytest.raises(ValueError, match=r"225×224 .*; 225 is not a multiple of patch 16: pass resize=…"):
        Patches(16).count(225, 224)
    with pytest.raises(ValueError, match="225 and 30 are not multiples"):
        Patches(16).encode(noise(225, 30))


def test_a_grid_that_does_not_fill_merge_blocks_is_refused() -> None:
    with pytest.raises(ValueError, match=r"2×2 blocks of 14-pixel patches.*multiples of 28"):
        Patches(14, resize=NaFlex(9), order="qwen").count(300, 300)


def test_scaling_that_would_not_fit_in_memory_is_refused_before_it_starts() -> None:
    with pytest.raises(ValueError, match=r"would be scaled to .* the limit is"):
        Patches(16, resize=ShortSideCrop(224)).count(100_000, 1)


@pytest.mark.parametrize(
    "policy", [Exact(), Pad(), Square(32), ShortSideCrop(32), LongestSide(32), NaFlex(9), SmartResize(32), Tiles(32)]
)
def test_a_raised_limit_counts_under_every_policy(policy: Resize) -> None:
    with pytest.raises(ImageTooLarge):
        Patches(16, resize=policy).count(10_240, 10_240)
    assert Patches(16, resize=policy, max_pixels=2 * 10**8).count(10_240, 10_240) > 0


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 60),
    st.integers(1, 60),
    st.sampled_from(["imagenet", "clip", "half", "siglip", "none"]),
    st.sampled_from(["hwc", "chw", "qwen"]),
    st.booleans(),
)
def test_decode_gives_every_byte_back(width: int, height: int, normalize: str, order: str, center: bool) -> None:
    size = 4
    patches = Patches(size, resize=Pad(center=center), normalize=normalize, order=order, cls=True, registers=2)
    if order == "qwen":
        width, height = -(-width // 8) * 8, -(-height // 8) * 8
    image = noise(width, height)
    np.testing.assert_array_equal(patches.decode(patches.encode(image)), image)


def test_decode_joins_tiles_and_gives_the_thumbnail_on_request() -> None:
    image = noise(96, 64)  # three by two tiles, so nothing is scaled
    patches = Patches(8, resize=Tiles(32, max_tiles=6))
    grid = patches.encode(image)
    assert grid.grids == ((4, 4),) * 7
    np.testing.assert_array_equal(patches.decode(grid), image)
    small = Patches(8, resize=Square(32, resample="bicubic"))
    np.testing.assert_array_equal(patches.decode(grid, thumbnail=True), small.decode(small.encode(image)))
    with pytest.raises(ValueError, match="7 views"):
        _ = grid.grid
    with pytest.raises(ValueError, match="no thumbnail"):
        small.decode(small.encode(image), thumbnail=True)


def test_padding_has_the_stated_colour_and_the_image_lies_where_it_should() -> None:
    image = noise(10, 6)
    patches = Patches(8, resize=Pad(fill=(50, 60, 70), center=True), normalize="none")
    values = patches.encode(image).values
    from omni_tokenizers.image import unpatchify

    canvas = np.rint(unpatchify(values, (1, 2), 8) * 255)
    np.testing.assert_array_equal(canvas[1:7, 3:13], image)
    canvas[1:7, 3:13] = (50, 60, 70)
    np.testing.assert_array_equal(canvas, np.broadcast_to([50, 60, 70], (8, 16, 3)))


def test_longest_side_keeps_the_shape_within_half_a_pixel() -> None:
    view = LongestSide(100).plan(333, 100, 16).views[0]
    assert view.scaled == (100, 30)
    assert view.size == (112, 32)
    assert LongestSide(64, square=True).plan(333, 100, 16).views[0].size == (64, 64)


def test_slots_come_first_as_zeros_and_say_what_they_are() -> None:
    grid = Patches(16, cls=True, registers=2).encode(noise(32, 32))
    assert grid.kind.tolist() == [Kind.CLS, Kind.REGISTER, Kind.REGISTER] + [Kind.PATCH] * 4
    assert not grid.values[:3].any()
    assert grid.positions[:3].tolist() == [[-1, -1]] * 3
    assert grid.positions[3:].tolist() == [[0, 0], [0, 1], [1, 0], [1, 1]]
    assert grid.slots == 3
    np.testing.assert_array_equal(grid.patches, Patches(16).encode(noise(32, 32)).values)


def test_normalisation_is_the_formula_applied_once() -> None:
    image = noise(16, 16)
    values = Patches(16, normalize="imagenet").encode(image).values.reshape(16, 16, 3)
    expected = (image / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    np.testing.assert_allclose(values, expected, atol=1e-6)
    assert Patches(16, normalize=Normalize((0.5,) * 3, (0.5,) * 3)) == Patches(16, normalize="half")


def test_predicted_patches_decode_in_place_of_the_real_ones() -> None:
    patches = Patches(16, cls=True)
    grid = patches.encode(noise(32, 32))
    white = grid.with_patches(np.ones_like(grid.patches))
    assert np.unique(patches.decode(white)).tolist() == [255]
    with pytest.raises(ValueError, match="this grid holds"):
        grid.with_patches(np.zeros((1, 768), np.float32))


@pytest.mark.parametrize("device", [None, "cpu"])
def test_a_batch_never_changes_an_item(device: str | None) -> None:
    patches = Patches(16, resize=NaFlex(30), cls=True, device=device)
    images = [noise(w, h, seed=w) for w, h in [(40, 90), (300, 20), (7, 7), (128, 128)]]
    together = patches.encode_batch(images)
    padded = pad_patches(iter(together), 40)
    for index, image in enumerate(images):
        alone = np.asarray(patches.encode(image).values)
        np.testing.assert_array_equal(np.asarray(together[index].values), alone)
        np.testing.assert_array_equal(np.asarray(padded.values)[index][padded.mask[index]], alone)
        assert not np.asarray(padded.values)[index][~padded.mask[index]].any()
    assert (padded.kind == Kind.PADDING).sum() == 4 * 40 - padded.mask.sum()


def test_one_picture_is_no_batch_of_its_rows_or_colours() -> None:
    patches, picture = Patches(16, resize=Square(32)), noise(40, 50)
    for one in (picture, torch.from_numpy(picture).permute(2, 0, 1), "picture.png", b"bytes"):
        with pytest.raises(TypeError, match=r"could be one: pass \[image\]"):
            patches.encode_batch(one)
    for many in (picture[None], torch.from_numpy(picture)[None].permute(0, 3, 1, 2), picture.transpose(2, 0, 1)):
        assert len(patches.encode_batch(many)) == len(many)
    assert len(patches.encode_batch(list(torch.from_numpy(picture).permute(2, 0, 1)))) == 3


def test_padding_refuses_to_lose_patches_or_to_mix_widths() -> None:
    grid = Patches(16).encode(noise(64, 64))
    with pytest.raises(ValueError, match="shorter than the longest image, 16 tokens"):
        pad_patches([grid], 15)
    with pytest.raises(ValueError, match=r"patches of \[192, 768\] values"):
        pad_patches([grid, Patches(8).encode(noise(64, 64))])
    with pytest.raises(ValueError, match="at least one"):
        pad_patches([])


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(POLICIES), st.integers(1, 200), st.integers(1, 200), st.sampled_from(["hwc", "chw"]))
def test_tensors_on_a_device_give_the_values_of_arrays(policy: Resize, width: int, height: int, order: str) -> None:
    image = noise(width, height)
    array = Patches(16, resize=policy, order=order, cls=True, normalize="clip")
    tensor = Patches(16, resize=policy, order=order, cls=True, normalize="clip", device="cpu")
    ours = tensor.encode(torch.from_numpy(image).permute(2, 0, 1))
    assert isinstance(ours.values, torch.Tensor)
    np.testing.assert_allclose(ours.values.numpy(), array.encode(image).values, atol=1e-6)
    np.testing.assert_array_equal(tensor.decode(ours), array.decode(array.encode(image)))


@pytest.mark.parametrize(("width", "height"), [(333, 501), (17, 40), (90, 1000), (300, 3), (1, 1)])
@pytest.mark.parametrize(("name", "furthest"), [("bilinear", 1), ("bicubic", 2)])
def test_the_float_scaling_of_other_devices_follows_the_byte_kernel(
    width: int, height: int, name: str, furthest: int
) -> None:
    from omni_tokenizers.image.scale import scale_floats

    image = noise(width, height)
    patches = Patches(16, resize=Square(224, resample=name))
    floats = scale_floats(torch.from_numpy(image), (224, 224), name).numpy()
    difference = np.abs(floats - patches.decode(patches.encode(image)))
    assert difference.max() <= furthest
    assert difference.mean() < 0.02


def test_streaming_is_refused_with_the_reason() -> None:
    with pytest.raises(CannotStream, match="an image arrives whole"):
        Patches(16).stream()


@pytest.mark.parametrize("policy", [Exact(), *POLICIES], ids=repr)
def test_settings_survive_json(policy: Resize) -> None:
    patches = Patches(14, resize=policy, order="qwen", normalize="clip", cls=True, registers=4, background=(1, 2, 3))
    assert Patches.from_settings(json.loads(json.dumps(patches.settings()))) == patches


def test_settings_may_use_names_and_refuse_unknown_keys() -> None:
    assert Patches.from_settings({"size": 14, "order": "chw", "normalize": "clip"}) == Patches(
        14, order="chw", normalize="clip"
    )
    with pytest.raises(ValueError, match="unknown settings of Patches: stride"):
        Patches.from_settings({"stride": 8})
    with pytest.raises(ValueError, match="resize kind 'Wobble' is not one of Exact, Pad"):
        Patches.from_settings({"resize": {"kind": "Wobble"}})


def test_a_normalisation_of_lists_or_arrays_is_that_of_tuples() -> None:
    pixels = noise(16, 16)
    clip = NORMALIZATIONS["clip"]
    for kind in (list, np.array):
        same = Normalize(kind(clip.mean), kind(clip.std))
        assert same == clip
        np.testing.assert_array_equal(
            Patches(16, normalize=same).encode(pixels).values, Patches(16, normalize=clip).encode(pixels).values
        )


def test_a_colour_of_a_list_or_an_array_is_that_of_a_tuple() -> None:
    for kind in (list, np.array):
        for make in (lambda c: Patches(background=c), lambda c: Patches(resize=Pad(c)), lambda c: LongestSide(fill=c)):
            same = make(kind((1, 2, 3)))
            assert same == make((1, 2, 3))
            assert hash(same) == hash(make((1, 2, 3)))


def test_a_policy_is_given_and_not_its_class() -> None:
    with pytest.raises(TypeError, match="pass one such as"):
        Patches(16, resize=Square)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "size=0"),
        ({"registers": -1}, "registers=-1"),
        ({"order": "zigzag"}, "hwc, chw, qwen"),
        ({"order": None}, "order=None is not one of hwc, chw, qwen"),
        ({"normalize": "vgg"}, "imagenet, clip, half, siglip, none"),
        ({"normalize": None}, "normalize=None is not one of imagenet, clip, half, siglip, none"),
        ({"background": (0, 0, 256)}, "0 to 255"),
        ({"background": (0, 0, 2.5)}, "0 to 255"),
        ({"background": 255}, "0 to 255"),
    ],
)
def test_settings_that_cannot_work_are_refused_when_made(options: dict, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Patches(**options)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Square(0), "side=0"),
        (lambda: Square(225).plan(9, 9, 16), "225 is not a multiple of patch 16: 224 would be"),
        (lambda: ShortSideCrop(64, crop=65), "crop=65"),
        (lambda: ShortSideCrop(64, crop=32.0), r"crop=32\.0 must be a whole number"),
        (lambda: ShortSideCrop(64, rounding="floor"), "rounding='floor' is neither"),
        (lambda: Square(32, "cubic").plan(9, 9, 16), "resample='cubic' is not one of bilinear, bicubic"),
        (lambda: SmartResize(min_pixels=10, max_pixels=5), "min_pixels=10"),
        (lambda: SmartResize().plan(4020, 20, 14), "201 times as long as wide"),
        (lambda: Tiles(28, max_tiles=2, min_tiles=3), "min_tiles=3"),
        (lambda: NaFlex(0), "max_patches=0"),
        (lambda: Pad(fill=(0, 0, -1)), "fill"),
        (lambda: Normalize((0, 0, 0), (1, 0, 1)), "above 0"),
        (lambda: Order(merge=0), "merge=0"),
    ],
)
def test_policies_that_cannot_work_are_refused_with_the_value(make, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        make()


def test_importing_and_exact_patches_need_no_torch() -> None:
    code = (
        "import sys, numpy as np\n"
        "from omni_tokenizers.image import Patches, Pad\n"
        "grid = Patches(16, resize=Pad()).encode(np.zeros((20, 20, 3), np.uint8))\n"
        "assert len(grid) == 4 and 'torch' not in sys.modules and 'PIL' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
