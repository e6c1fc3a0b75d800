"""Any picture in, RGB pixels out: Pillow images, arrays, tensors, paths and bytes."""

import io
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar, Union

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.image.from_array import array_size, pixels_of_array
from omni_tokenizers.image.from_pil import DAMAGED, displayed_size, pixels_of_pil
from omni_tokenizers.image.from_tensor import pixels_of_tensor
from omni_tokenizers.image.pixels import (
    MAX_PIXELS,
    WHITE,
    Color,
    ImageTooLarge,
    Layout,
    Pixels,
    UnreadableImage,
    as_color,
    check_size,
    is_tensor,
    readonly,
)

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

ImageSource: TypeAlias = Union[
    "Image", NDArray[Any], "torch.Tensor", str, os.PathLike[str], bytes, bytearray, memoryview
]
T = TypeVar("T")

# What we let Pillow open. Left out on purpose: EPS, which runs Ghostscript on what it is given; formats without a
# signature, which take any bytes for a picture; and formats nobody sends. The first five are what Pillow loads at
# once: with another one in front, the first picture of a process waits 0.3 s for 40 plug-ins.
FORMATS = ("PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP", "AVIF", "TIFF", "JPEG2000", "ICO", "DIB", "QOI")

ICON, PNG = b"\0\0\1\0", b"\x89PNG\r\n\x1a\n"
SIGNATURES = (
    (b"%PDF", "a PDF"),
    (b"%!PS", "PostScript"),
    (b"ID3", "MP3 audio"),
    (b"fLaC", "FLAC audio"),
    (b"OggS", "Ogg audio"),
    (b"\x1aE\xdf\xa3", "WebM or Matroska video"),
    (b"PK\x03\x04", "a zip archive"),
    (b"\x1f\x8b", "gzip data"),
    (b"version https://git-lfs", "a Git LFS pointer, the file itself was never fetched"),
)


def read_image(
    source: ImageSource, *, background: Color = WHITE, layout: Layout | None = None, max_pixels: int = MAX_PIXELS
) -> Pixels:
    """RGB pixels [height, width, 3] of any picture, read-only.

    Arrays are taken as height × width × channels and tensors as channels × height × width; `layout` says otherwise.
    Alpha is composited on `background`. A file of several pictures gives its first.

    >>> read_image(np.zeros((2, 5), np.uint8)).shape
    (2, 5, 3)
    """
    pixels = borrow_pixels(source, background=background, layout=layout, max_pixels=max_pixels, lend=False)
    return readonly(pixels)


def borrow_pixels(
    source: ImageSource, *, background: Color, layout: Layout | None, max_pixels: int, lend: bool = True
) -> NDArray[np.uint8]:
    """Like `read_image`, for use at once and reading only: with `lend`, a Pillow image's own four bytes a pixel."""
    background = as_color(background, "background")
    if is_tensor(source):
        check_size(*array_size(_shape(source), layout or "chw"), max_pixels)
        tensor = pixels_of_tensor(source, background=background, layout=layout or "chw")  # type: ignore[arg-type]
        return tensor.cpu().numpy()
    if isinstance(source, np.ndarray):
        check_size(*array_size(source.shape, layout or "hwc"), max_pixels)
        return pixels_of_array(source, background=background, layout=layout or "hwc")
    return _with_picture(source, max_pixels, lambda image: pixels_of_pil(image, background=background, lend=lend))


def image_size(source: ImageSource, *, layout: Layout | None = None, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Width and height as displayed; of files no pixel is decoded, but of icons.

    >>> image_size(np.zeros((2, 5), np.uint8))
    (5, 2)
    """
    if is_tensor(source):
        size = array_size(_shape(source), layout or "chw")
    elif isinstance(source, np.ndarray):
        size = array_size(source.shape, layout or "hwc")
    else:
        return _with_picture(source, max_pixels, displayed_size)
    check_size(*size, max_pixels)
    return size


def _shape(tensor: Any) -> tuple[int, ...]:
    return tuple(tensor.shape)


def _with_picture(source: object, max_pixels: int, use: Callable[["Image"], T]) -> T:
    """Open what Pillow can open, check its size before anything is decoded, and hand it to `use`."""
    from PIL import Image

    if isinstance(source, Image.Image):
        check_size(*source.size, max_pixels)
        return use(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        name, file, head = f"{len(source):,} bytes", io.BytesIO(source), bytes(source[:64])
        return _open(file, name, head, max_pixels, use)
    if isinstance(source, (str, os.PathLike)):
        if isinstance(source, str) and source.startswith(("http://", "https://", "data:")):
            raise ValueError(f"{source[:60]!r} is an address, not a path: fetch it first and pass the bytes")
        path = Path(source)
        with path.open("rb") as opened:
            head = opened.read(64)
            opened.seek(0)
            return _open(opened, str(path), head, max_pixels, use)
    hint = "; pass source.read()" if hasattr(source, "read") else ""
    raise TypeError(
        f"cannot read an image from {type(source).__name__}: "
        f"pass a PIL image, an array, a tensor, a path or bytes{hint}"
    )


def _open(file: Any, name: str, head: bytes, max_pixels: int, use: Callable[["Image"], T]) -> T:
    from PIL import Image, UnidentifiedImageError

    try:
        if head.startswith(ICON):
            check_size(*_icon_size(file), max_pixels)
            file.seek(0)
        opened = Image.open(file, formats=FORMATS)
    except ImageTooLarge:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage(f"{name}: {_what_it_is(head)}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        raise ImageTooLarge(f"{name}: {bomb}: shrink it, or raise PIL.Image.MAX_IMAGE_PIXELS") from None
    except DAMAGED as broken:
        raise UnreadableImage(f"{name}: damaged header: {broken}") from broken
    with opened:
        check_size(*opened.size, max_pixels)
        return use(opened)


def _icon_size(file: Any) -> tuple[int, int]:
    """Width and height of an icon's first picture, which Pillow decodes as soon as it opens the icon."""
    from PIL.BmpImagePlugin import DibImageFile
    from PIL.IcoImagePlugin import IcoFile
    from PIL.PngImagePlugin import PngImageFile

    begin = IcoFile(file).entry[0].offset
    file.seek(begin)
    is_png = file.read(len(PNG)) == PNG
    file.seek(begin)
    if is_png:
        return PngImageFile(file).size
    width, height = DibImageFile(file).size  # the mask counts as the lower half
    return width, max(height // 2, 1)


def _what_it_is(head: bytes) -> str:
    if not head:
        return "empty, not a picture"
    kind = next((kind for start, kind in SIGNATURES if head.startswith(start)), "")
    text = head.lstrip().lower()
    if head[:4] == b"RIFF" and head[8:12] == b"WAVE":
        kind = "WAV audio"
    elif head[4:8] == b"ftyp":
        heic = head[8:12] in (b"heic", b"heix", b"mif1", b"hevc")
        kind = "HEIC, which needs converting to JPEG or PNG first" if heic else "MP4 or another video"
    elif text.startswith((b"<svg", b"<?xml")):
        kind = "SVG or XML, which needs rendering first"
    elif text.startswith((b"<!doctype", b"<html")):
        kind = "an HTML page"
    if kind:
        return f"this is {kind}"
    return f"not a picture in a known format ({', '.join(FORMATS)}); it starts with {head[:12]!r}"
