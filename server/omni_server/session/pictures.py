"""Pictures of a conversation: read off the event loop, and never bigger than they may be."""

import asyncio
import base64
import binascii
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from omni_server.session.items import ImagePart, Item, Message, Reference
from omni_tokenizers.image.read import read_image


class NoPicture(ValueError):
    """This is no picture that can be taken."""


def has_pictures(item: Item) -> bool:
    """Whether there is one in an item."""
    return isinstance(item, Message) and any(isinstance(part, ImagePart) for part in item.parts)


async def see(items: Sequence[Item | Reference], max_pixels: int) -> None:
    """Read all pictures of these items; raises `NoPicture`. The size is checked before anything is decoded."""
    for item in items:
        for part in item.parts if isinstance(item, Message) else []:
            if isinstance(part, ImagePart) and part.pixels is None:
                part.pixels = await asyncio.to_thread(_read, part.url, max_pixels)


def _read(url: str, max_pixels: int) -> NDArray[np.uint8]:
    head, _, data = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64")):
        raise NoPicture("a picture comes as data:image/png;base64,… or data:image/jpeg;base64,…; nothing is fetched")
    try:
        return read_image(base64.b64decode(data, validate=True), max_pixels=max_pixels)
    except binascii.Error as wrong:
        raise NoPicture(f"the picture is not base64: {wrong}") from None
    except ValueError as wrong:
        raise NoPicture(f"the picture cannot be read: {wrong}") from None
