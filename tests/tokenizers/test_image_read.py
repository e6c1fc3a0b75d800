"""Any picture in, the same RGB out; what is not a picture is named."""

import io
import struct
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps, features

from omni_tokenizers.image import Exact, ImageTooLarge, Patches, UnreadableImage, image_size, read_image
from omni_tokenizers.image.read import FORMATS


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def encoded(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def test_every_kind_of_source_gives_the_same_pixels(tmp_path: Path) -> None:
    pixels = noise(20, 30, 3)
    picture = Image.fromarray(pixels)
    path = tmp_path / "a.png"
    picture.save(path)
    data = path.read_bytes()
    tensor = torch.from_numpy(pixels).permute(2, 0, 1)
    for source in (pixels, picture, path, str(path), data, bytearray(data), memoryview(data), tensor):
        np.testing.assert_array_equal(read_image(source), pixels)
        assert image_size(source) == (30, 20)


@pytest.mark.parametrize("kind", FORMATS)
def test_files_of_every_format_give_pillows_pixels(kind: str) -> None:
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    picture = Image.fromarray(noise(16, 16, 3))
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encoded(picture.quantize(16) if kind == "GIF" else picture, kind, **options)
    np.testing.assert_array_equal(read_image(data), np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


@pytest.mark.parametrize("turn", range(1, 9))
@pytest.mark.parametrize("kind", ["file", "opened", "decoded", "encoded"])
@pytest.mark.parametrize("form", ["JPEG", "PNG", "TIFF", "WEBP"])
def test_exif_orientation_is_honoured_as_pillow_honours_it(turn: int, kind: str, form: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = turn
    data = encoded(Image.fromarray(noise(16, 32, 3)), form, exif=exif)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(data))))
    if kind == "encoded":
        patches = Patches(16)
        np.testing.assert_array_equal(patches.decode(patches.encode(data)), expected)
        return
    source = data if kind == "file" else Image.open(io.BytesIO(data))
    if kind == "decoded":
        source.load()
    assert image_size(source) == expected.shape[1::-1]
    np.testing.assert_array_equal(read_image(source), expected)
    assert image_size(source) == expected.shape[1::-1]


@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (10, 200, 77)])
@pytest.mark.parametrize("mode", ["RGBA", "LA", "PA", "P", "RGBa"])
def test_alpha_is_composited_on_the_stated_background(mode: str, background: tuple[int, int, int]) -> None:
    picture = Image.fromarray(noise(12, 13, 4))
    if mode == "P":
        picture = picture.convert("RGB").quantize(8)
        picture.info["transparency"] = 3
    else:
        picture = picture.convert("LA").convert("PA") if mode == "PA" else picture.convert(mode)
    behind = Image.new("RGBA", picture.size, (*background, 255))
    expected = Image.alpha_composite(behind, picture.convert("RGBA")).convert("RGB")
    difference = np.abs(read_image(picture, background=background).astype(int) - np.asarray(expected).astype(int))
    assert difference.max() <= 1


def test_full_and_no_alpha_are_exact() -> None:
    pixels = noise(8, 8, 4)
    pixels[..., 3] = 255
    np.testing.assert_array_equal(read_image(pixels), pixels[..., :3])
    pixels[..., 3] = 0
    np.testing.assert_array_equal(read_image(pixels, background=(1, 2, 3)), np.broadcast_to([1, 2, 3], (8, 8, 3)))


@pytest.mark.parametrize("mode", ["1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX"])
def test_other_modes_are_pillows_conversion_to_rgb(mode: str) -> None:
    picture = Image.fromarray(noise(8, 9, 3)).convert(mode)
    np.testing.assert_array_equal(read_image(picture), np.asarray(picture.convert("RGB")))


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    deep = np.array([[0, 128, 129, 32768, 65407, 65535]], np.uint16)
    expected = np.rint(deep / 257).astype(np.uint8)
    path = tmp_path / "deep.png"
    Image.fromarray(deep).save(path)
    tiff = tmp_path / "deep.tiff"
    Image.fromarray(deep).save(tiff)
    for source in (deep, path, tiff, Image.fromarray(deep.astype(np.int32)), torch.from_numpy(deep)):
        np.testing.assert_array_equal(read_image(source)[..., 0], expected)


def test_floats_are_rounded_from_zero_to_one_on_every_route() -> None:
    levels = np.arange(256, dtype=np.float32).reshape(16, 16) / 255
    for source in (levels, levels.astype(np.float64), torch.from_numpy(levels), Image.fromarray(levels)):
        np.testing.assert_array_equal(read_image(source)[..., 1].ravel(), np.arange(256))


def test_booleans_and_whole_numbers_of_any_width_are_read() -> None:
    np.testing.assert_array_equal(read_image(np.array([[True, False]]))[..., 0], [[255, 0]])
    np.testing.assert_array_equal(read_image(np.array([[7, 255]]))[..., 0], [[7, 255]])
    np.testing.assert_array_equal(read_image(torch.tensor([[7, 255]]))[..., 0], [[7, 255]])


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.full((4, 4, 3), np.nan), "48 values that are NaN"),
        (np.full((4, 4, 3), np.inf, np.float32), "NaN or infinite"),
        (np.full((4, 4, 3), 1.5), "from 1.5 to 1.5.*divide by 255"),
        (np.full((4, 4, 3), -1.5), "a normalised picture cannot be read again"),
        (np.full((4, 4), 256), "256 to 256: whole numbers must be 0 to 255"),
        (np.full((4, 4), -1), "0 to 255"),
        (np.zeros((0, 4, 3)), "4×0 .*at least 1"),
        (np.zeros((3, 40, 40), np.uint8), 'layout="chw"'),
        (np.zeros((2, 4, 4, 3), np.uint8), "encode_batch"),
        (np.zeros(4, np.uint8), "2 dimensions"),
    ],
)
def test_arrays_that_are_no_picture_are_refused_with_the_reason(array: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_image(array)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        (torch.full((3, 4, 4), torch.nan), "48 values that are NaN"),
        (torch.full((3, 4, 4), 1.5), "divide by 255"),
        (torch.full((4, 4), 300), "whole numbers must be 0 to 255"),
        (torch.zeros((40, 40, 3)), 'layout="hwc"'),
    ],
)
def test_tensors_that_are_no_picture_are_refused_with_the_reason(tensor: torch.Tensor, words: str) -> None:
    for patches in (Patches(4), Patches(4, device="cpu")):
        with pytest.raises(ValueError, match=words):
            patches.encode(tensor)


def test_a_layout_that_is_none_is_no_other_one() -> None:
    for image in (np.zeros((4, 4, 3), np.uint8), torch.zeros((3, 4, 4))):
        with pytest.raises(ValueError, match="layout='CHW' is none of 'hwc', 'chw'"):
            read_image(image, layout="CHW")  # type: ignore[arg-type]


def test_types_that_cannot_be_read_are_refused_with_a_way_out() -> None:
    with pytest.raises(TypeError, match=r"pass source.read\(\)"):
        read_image(io.BytesIO(b""))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="NoneType"):
        read_image(None)  # type: ignore[arg-type]
    for kind in (complex, "U1", object, [("red", "u1")]):
        with pytest.raises(TypeError, match="image array has dtype"):
            read_image(np.zeros((4, 4), kind))
    with pytest.raises(ValueError, match="an address, not a path"):
        read_image("https://example.org/a.png")


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"%PDF-1.7", "a PDF"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt ", "WAV audio"),
        (b"\x00\x00\x00\x18ftypheic\x00\x00", "HEIC"),
        (b"\x00\x00\x00\x18ftypisom\x00\x00", "video"),
        (b"<svg xmlns=''/>", "SVG"),
        (b"\n<!DOCTYPE html>", "HTML"),
        (b"version https://git-lfs.github.com/spec/v1", "LFS pointer"),
        (b"hello, world", "it starts with b'hello, world'"),
    ],
)
def test_a_file_of_another_kind_is_named(data: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "picture.png"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(UnreadableImage, match=words):
            read_image(source)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_truncated_file_is_an_error_wherever_it_was_cut(kind: str) -> None:
    data = encoded(Image.fromarray(noise(40, 40, 3)), kind)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(UnreadableImage):
            read_image(data[: int(len(data) * share)])


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from([kind for kind in FORMATS if kind != "AVIF" or features.check("avif")]),
    st.integers(0, 10**6),
    st.binary(min_size=1, max_size=8),
)
def test_damaged_bytes_give_pixels_or_one_of_two_errors(kind: str, where: int, junk: bytes) -> None:
    data = bytearray(encoded(Image.fromarray(noise(16, 16, 3)), kind))
    where %= len(data)
    data[where : where + len(junk)] = junk
    try:
        pixels = read_image(bytes(data), max_pixels=100_000)
    except (UnreadableImage, ImageTooLarge):
        return
    assert pixels.dtype == np.uint8
    assert pixels.shape[2] == 3


def chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def bomb(side: int) -> bytes:
    """A PNG of a few bytes that claims to be side × side."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [9_500, 12_000, 60_000])
def test_a_decompression_bomb_is_refused_before_decoding(side: int) -> None:
    with pytest.raises(ImageTooLarge, match="pixels"):
        read_image(bomb(side))
    with pytest.raises(ImageTooLarge):
        image_size(bomb(side))


def behind_the_pixels(data: bytes, *chunks: bytes) -> bytes:
    """A PNG with more chunks at its end."""
    end = data.rindex(b"IEND") - 4
    return data[:end] + b"".join(chunks) + data[end:]


def exif_of(turn: int) -> bytes:
    exif = Image.Exif()
    exif[0x0112] = turn
    return exif.tobytes().removeprefix(b"Exif\0\0")


LAST_CHUNKS = [
    [chunk(b"eXIf", exif_of(6))],
    [chunk(b"tEXt", b"Comment\0hello"), chunk(b"prVt", bytes(99)), chunk(b"eXIf", exif_of(5))],
    [chunk(b"iTXt", b'XML:com.adobe.xmp\0\0\0\0\0<a tiff:Orientation="8"/>')],
    [chunk(b"eXIf", exif_of(3))],
    [chunk(b"eXIf", b"junk")],
    [b"\0\0\0\7junk"],
    [],
]


@pytest.mark.parametrize("last", LAST_CHUNKS)
def test_the_size_of_a_png_is_known_without_decoding_it(last: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    data = behind_the_pixels(encoded(Image.fromarray(noise(16, 32, 3))), *last)
    pixels = read_image(data)
    opened = Image.open(io.BytesIO(data))
    with monkeypatch.context() as patched:
        patched.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
        assert image_size(data) == image_size(opened) == pixels.shape[1::-1]
    np.testing.assert_array_equal(read_image(opened), pixels)


def icon(picture: bytes) -> bytes:
    """A Windows icon of one picture, which it says is 256 × 256."""
    entry = struct.pack("<BBBBHHII", 0, 0, 0, 0, 1, 32, len(picture), 22)
    return struct.pack("<HHH", 0, 1, 1) + entry + picture


@pytest.mark.parametrize("kind", ["PNG", "DIB"])
def test_an_icon_is_weighed_by_the_picture_inside_it_before_that_is_decoded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", lambda self: pytest.fail("decoded"))
    data = icon(encoded(Image.new("RGB", (300, 400)), kind))
    for call in (read_image, image_size):
        with pytest.raises(ImageTooLarge, match=r"300×(400|200) = .* the limit is 50,000"):
            call(data, max_pixels=50_000)


def test_compositing_and_16_bits_take_little_more_memory_than_their_result() -> None:
    see_through, deep = noise(1500, 1000, 4), np.full((1500, 1000), 40_000, np.uint16)
    for source, most in ((see_through, 3), (deep, 3)):
        tracemalloc.start()
        pixels = read_image(source)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < most * pixels.nbytes
    alpha = see_through[..., 3:].astype(float)
    expected = np.rint((see_through[..., :3] * alpha + 255 * (255 - alpha)) / 255)
    np.testing.assert_array_equal(read_image(see_through), expected)


def test_the_pixel_limit_counts_for_every_source_and_can_be_moved() -> None:
    pixels = noise(10, 10, 3)
    for source in (pixels, Image.fromarray(pixels), encoded(Image.fromarray(pixels)), torch.zeros(3, 10, 10)):
        with pytest.raises(ImageTooLarge, match="10×10 = 100 pixels, the limit is 99"):
            read_image(source, max_pixels=99)
        assert read_image(source, max_pixels=100).shape == (10, 10, 3)
    with pytest.raises(ImageTooLarge):
        Patches(1, max_pixels=99).count(10, 10)


def test_the_result_is_read_only_and_no_source_changes() -> None:
    pixels = noise(32, 32, 3)
    before, picture = pixels.copy(), Image.fromarray(pixels)
    tensor = torch.from_numpy(pixels.copy()).permute(2, 0, 1)
    for source in (pixels, picture, tensor):
        result = read_image(source)
        assert not result.flags.writeable
        Patches(16, cls=True).encode(source).values[:] = 7
    np.testing.assert_array_equal(pixels, before)
    np.testing.assert_array_equal(np.asarray(picture), before)
    np.testing.assert_array_equal(tensor.permute(1, 2, 0).numpy(), before)
    assert pixels.flags.writeable


def test_a_read_only_array_is_encoded_without_a_warning(recwarn: pytest.WarningsRecorder) -> None:
    from omni_tokenizers.image import Square

    pixels = noise(40, 50, 3)
    pixels.flags.writeable = False
    Patches(16, resize=Square(32)).encode(pixels)
    assert not recwarn.list


@pytest.mark.parametrize("size", [(1, 1), (5, 3), (1023, 767), (2600, 2600)])
def test_borrowed_pillow_memory_holds_the_same_pixels_and_outlives_the_image(size: tuple[int, int]) -> None:
    from omni_tokenizers.image.borrow import borrowed

    pixels = noise(size[1], size[0], 3)
    picture = Image.fromarray(pixels)
    lent = borrowed(picture)
    patches = Patches(1, resize=Exact(), normalize="none") if size == (5, 3) else None
    if patches:
        np.testing.assert_array_equal(patches.decode(patches.encode(picture)), pixels)
    if size == (2600, 2600):
        assert lent is None  # several blocks: the caller copies instead
        np.testing.assert_array_equal(read_image(picture), pixels)
        return
    assert lent is not None
    picture.close()
    del picture
    np.testing.assert_array_equal(lent[..., :3], pixels)
    assert not lent.flags.writeable
