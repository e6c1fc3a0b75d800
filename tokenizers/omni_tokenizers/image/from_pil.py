"""Pixels of a Pillow image: palette, alpha, 16 bits, CMYK and the EXIF orientation."""

from struct import error as StructError
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.image.borrow import borrowed
from omni_tokenizers.image.from_array import pixels_of_array
from omni_tokenizers.image.pixels import Color, Pixels, UnreadableImage

if TYPE_CHECKING:
    from PIL.Image import Image

ORIENTATION = 0x0112  # the EXIF tag
TIFF_WIDTH, TIFF_HEIGHT = 0x0100, 0x0101  # TIFF tags, as stored
# What Pillow's plug-ins were seen to raise over 200,000 damaged files, and their near relatives.
DAMAGED = (OSError, ValueError, SyntaxError, EOFError, StructError, RuntimeError, KeyError, IndexError, TypeError)
METADATA = (b"eXIf", b"iTXt", b"tEXt", b"zTXt")  # PNG chunks that may say how a picture is turned
CHUNK_HEAD, CHUNK_TAIL = 8, 4  # bytes of a PNG chunk before its content (length, name) and behind it (checksum)
LIES_ON_ITS_SIDE = (5, 6, 7, 8)  # orientations that swap width and height


def orientation(image: "Image") -> int:
    """The EXIF orientation, 1 (upright) to 8; a damaged EXIF block counts as upright."""
    try:
        value = _exif(image).get(ORIENTATION, 1)
    except DAMAGED:
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _exif(image: Any) -> Any:
    """`getexif`, for which Pillow decodes a PNG to see what stands behind its pixels; here they are passed over."""
    from PIL import Image

    if image.format != "PNG" or "exif" in image.info or not getattr(image, "tile", ()):
        return image.getexif()
    _read_behind_pixels(image)
    return Image.Image.getexif(image)


def _read_behind_pixels(image: Any) -> None:
    """Add to the info of a PNG that is not decoded yet what decoding would add."""
    from PIL.PngImagePlugin import PngStream

    _, _, pixels, _ = image.tile[0]  # where they begin in the file
    here = image.fp.tell()
    image.fp.seek(pixels - CHUNK_HEAD)
    stream = PngStream(image.fp)
    stream.im_info = image.info
    try:
        while (chunk := stream.read())[0] != b"IEND" and not (chunk[0] == b"fcTL" and image.is_animated):
            name, at, length = chunk
            if name in METADATA:
                stream.call(name, at, length)
            image.fp.seek(at + length + CHUNK_TAIL)
    except DAMAGED:
        pass  # what came before the damage counts, as it does for Pillow
    finally:
        image.fp.seek(here)


def displayed_size(image: "Image") -> tuple[int, int]:
    """Width and height as a person sees the picture."""
    width, height = image.size
    turns = orientation(image) in LIES_ON_ITS_SIDE and not _has_upright_size(image)
    return (height, width) if turns else (width, height)


def _has_upright_size(image: Any) -> bool:
    """Whether Pillow gives the size of a TIFF as displayed already, though it turns its pixels when it decodes them."""
    tags = getattr(image, "tag_v2", {})
    return image.size == (tags.get(TIFF_HEIGHT), tags.get(TIFF_WIDTH))


def decode(image: "Image") -> None:
    """Have Pillow read the rest of a file that it has only opened."""
    try:
        image.load()
    except DAMAGED as broken:
        name = getattr(image, "filename", "") or "image"
        raise UnreadableImage(f"{name}: truncated or damaged picture: {broken}") from broken


def pixels_of_pil(image: "Image", *, background: Color, lend: bool = False) -> Pixels:
    """RGB as a person sees the picture, colour profiles not applied; with `lend`, perhaps a fourth byte to ignore."""
    decode(image)
    lent = borrowed(image) if lend and "transparency" not in image.info else None
    if lent is not None:
        return turned(lent, orientation(image))
    return turned(pixels_of_array(_array(image), background=background), orientation(image))


def turned(pixels: Pixels, orientation: int) -> Pixels:
    """Undo an EXIF orientation."""
    if orientation == 1:
        return pixels
    if orientation in LIES_ON_ITS_SIDE:
        pixels = pixels.transpose(1, 0, 2)
    # After the transpose, each of the eight is a choice of flips.
    rows = -1 if orientation in (3, 4, 7, 8) else 1
    columns = -1 if orientation in (2, 3, 6, 7) else 1
    return np.ascontiguousarray(pixels[::rows, ::columns])


def _array(image: "Image") -> NDArray[Any]:
    """The picture as an array of 8-bit grey, RGB or RGBA, 16-bit grey, or floats."""
    mode = image.mode
    if mode in ("RGB", "RGBA", "L", "LA") and "transparency" not in image.info:
        return np.asarray(image)
    if mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if mode == "I":
        # Pillow's convert("L") clips at 255, which turns 16-bit pictures white.
        wide = np.asarray(image)
        low, high = int(wide.min()), int(wide.max())
        if low < 0 or high > 65535:
            raise ValueError(f"image of mode I holds values from {low} to {high}: 16 bits hold 0 to 65535")
        return wide.astype(np.uint16)
    if mode == "F":
        return np.asarray(image)
    if mode == "La":
        image, mode = image.convert("LA"), "LA"
    transparent = "transparency" in image.info or "A" in image.getbands() or mode == "RGBa"
    try:
        return np.asarray(image.convert("RGBA" if transparent else "RGB"))
    except ValueError as refused:
        raise UnreadableImage(f"image has mode {mode}, which cannot be converted to RGB: {refused}") from refused
