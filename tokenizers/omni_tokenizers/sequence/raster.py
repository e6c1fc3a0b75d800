"""Arrays as small pictures: patches with gaps between them, Mel frames, codes, the attention mask."""

import base64
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.sequence.modality import Array

Pixels = NDArray[np.uint8]  # [height, width, 3 or 4]

# Dark to bright with evenly rising lightness (the anchors of matplotlib's magma), so that it also reads in grey.
HEAT = np.array(
    [(0, 0, 4), (28, 16, 68), (79, 18, 123), (129, 37, 129), (181, 54, 122), (229, 80, 100), (251, 135, 97),
     (254, 194, 135), (252, 253, 191)],
    np.float64,
)  # fmt: skip


def png(pixels: Pixels) -> bytes:
    """The pixels [height, width, 3 or 4] as a PNG file."""
    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # the first byte of a row: no filter
    rows[:, 1:] = pixels.reshape(height, -1)
    header = struct.pack(">IIBBBBB", width, height, 8, {3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)) + _chunk(
        b"IEND", b""
    )  # fmt: skip


def data_uri(pixels: Pixels) -> str:
    """The pixels as an address that a page can hold."""
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode("ascii")


def heat(values: Array) -> Pixels:
    """A matrix [height, width] in colours from its smallest to its largest value; what is not finite is grey."""
    values = np.asarray(values, np.float64)
    finite = np.isfinite(values)
    low, high = (values[finite].min(), values[finite].max()) if finite.any() else (0.0, 1.0)
    share = np.where(finite, (values - low) / (high - low or 1.0), 0.0)
    at = share * (len(HEAT) - 1)
    below = np.clip(at.astype(int), 0, len(HEAT) - 2)
    mixed = HEAT[below] + (HEAT[below + 1] - HEAT[below]) * (at - below)[..., None]
    return np.where(finite[..., None], mixed, 128).round().astype(np.uint8)


def with_gaps(picture: Pixels, rows: int, columns: int, gap: int) -> Pixels:
    """A picture cut into rows × columns with transparent gaps: [height, width, 4]."""
    height, width = picture.shape[0] // rows, picture.shape[1] // columns
    tiles = picture[: rows * height, : columns * width].reshape(rows, height, columns, width, 3)
    out = np.zeros((rows, height + gap, columns, width + gap, 4), np.uint8)
    out[:, :height, :, :width, :3] = tiles
    out[:, :height, :, :width, 3] = 255
    return out.reshape(rows * (height + gap), columns * (width + gap), 4)[:-gap, :-gap]


def shrunk(picture: Pixels, most: int) -> Pixels:
    """Every n-th pixel, so that no side is longer than `most`."""
    step = -(-max(picture.shape[:2]) // most)
    return picture if step <= 1 else picture[::step, ::step]


def hex_colour(colour: str) -> tuple[int, int, int]:
    """The red, green and blue of "#rrggbb"."""
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
