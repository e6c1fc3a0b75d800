"""A picture on its way into a message: a data URL of PNG or JPEG."""

import base64
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LARGEST = 10 << 20  # bytes, which servers take by default
KINDS = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}


def data_url(picture: "str | Path | bytes | NDArray[np.uint8]") -> str:
    """A file, its bytes, or pixels [height, width, 3]. PNG and JPEG go as they are, others become PNG.

    >>> data_url(np.zeros((2, 2, 3), np.uint8))[:26]
    'data:image/png;base64,iVBO'
    """
    name = str(picture) if isinstance(picture, str | Path) else "the picture"
    if isinstance(picture, np.ndarray):
        data = _png(picture)
    elif isinstance(picture, bytes):
        data = picture
    else:
        path = Path(picture)
        if not path.is_file():
            raise ValueError(f"no file at {path}" if not path.exists() else f"{path} is a folder, not a picture")
        data = path.read_bytes()
    kind = next((kind for head, kind in KINDS.items() if data.startswith(head)), None)
    if kind is None:
        data, kind = _converted(data, name), "png"
    if len(data) > LARGEST:
        raise ValueError(f"{name} has {len(data):,} bytes: at most {LARGEST:,} are taken, so make it smaller")
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _converted(data: bytes, name: str) -> bytes:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(data)) as image:
            return _png(np.asarray(image.convert("RGB")))
    except (UnidentifiedImageError, OSError, Image.DecompressionBombError) as wrong:
        raise ValueError(f"{name} is no picture that can be read ({wrong}): give a PNG or JPEG file") from None


def _png(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3:
        raise ValueError(f"pixels are {pixels.dtype} {list(pixels.shape)}: give uint8 [height, width, 3]")
    written = io.BytesIO()
    Image.fromarray(pixels).save(written, "PNG")
    return written.getvalue()
