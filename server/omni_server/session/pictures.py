"""Pictures of a conversation: read off the event loop, and never bigger than they may be, alone or together."""

import asyncio
import base64
import binascii
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from omni_server.session.items import ImagePart, Item, Message, Reference, content_bytes
from omni_tokenizers.image.read import image_size, read_image

LONGEST_HEAD = 100  # characters of an address in front of its data
ICON = b"\x00\x00\x01\x00"  # how Windows icons begin: Pillow decodes them as soon as it opens them
RGB = 3  # bytes of a pixel
Found = TypeVar("Found")


class NoPicture(ValueError):
    """This is no picture that can be taken."""


class NoRoom(NoPicture):
    """There is no room for these pictures."""


def has_pictures(item: Item) -> bool:
    """Whether there is one in an item."""
    return isinstance(item, Message) and any(isinstance(part, ImagePart) for part in item.parts)


async def see(items: Sequence[Item | Reference], max_pixels: int, room: int) -> None:
    """Read all pictures of these items; raises `NoPicture`.

    By their headers all of them are weighed first, each alone and, with the texts beside them, together: a picture of
    2 kB may hold 48 MB. Nothing is decoded that exceeds `max_pixels`, or `room` in bytes.
    """
    brought = [item for item in items if isinstance(item, Message)]
    pictures = [part for item in brought for part in item.parts if isinstance(part, ImagePart)]
    if not pictures:
        return
    room -= sum(map(content_bytes, brought))
    files = await asyncio.to_thread(_weighed, [picture.url for picture in pictures], max_pixels, room)
    for picture, file in zip(pictures, files, strict=True):
        picture.pixels = await asyncio.to_thread(_decoded, file, max_pixels)


def _weighed(urls: Sequence[str], max_pixels: int, room: int) -> list[bytes]:
    """The files, once their headers say that there is room for them."""
    files, left = [], room
    for url in urls:
        file = _file(url)
        left -= _weight(file, max_pixels)
        if left < 0:
            raise NoRoom(
                f"the pictures would take more than the {max(0, room):,} bytes that the session has left for them: "
                "delete items first, or send fewer or smaller ones"
            )
        files.append(file)
    return files


def _file(url: str) -> bytes:
    head, _, data = url.partition(",")
    if not (head.startswith("data:image/") and head.endswith(";base64") and len(head) <= LONGEST_HEAD):
        raise NoPicture("a picture comes as data:image/png;base64,… or data:image/jpeg;base64,…; nothing is fetched")
    try:
        file = base64.b64decode(data, validate=True)
    except binascii.Error as wrong:
        raise NoPicture(f"the picture is not base64: {wrong}") from None
    if file.startswith(ICON):
        raise NoPicture("the picture cannot be read: this is an icon; send PNG or JPEG")
    return file


def _weight(file: bytes, max_pixels: int) -> int:
    """Bytes that its pixels take."""
    width, height = _read(image_size, file, max_pixels)
    return RGB * width * height


def _decoded(file: bytes, max_pixels: int) -> NDArray[np.uint8]:
    return _read(read_image, file, max_pixels)


def _read(read: Callable[..., Found], file: bytes, max_pixels: int) -> Found:
    try:
        return read(file, max_pixels=max_pixels)
    except ValueError as wrong:
        raise NoPicture(f"the picture cannot be read: {wrong}") from None
