"""Is the file all there? libsndfile reads what it finds of a WAV or an Ogg and says nothing of what is missing."""

import os
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

UNKNOWN = (0, 0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000)  # sizes that writers to a pipe leave in a WAV header
OGG_PAGE = 65_307  # bytes, the longest there is
OGG_HEAD = 27  # bytes before the table of segments
OGG_END = 4  # flag of the last page of a stream


def check_whole(data: Path | BytesIO, name: str) -> None:
    """Refuse a WAV or Ogg file that stops early. FLAC and MP3 are checked by decoding them."""
    file: BinaryIO = data.open("rb") if isinstance(data, Path) else BytesIO(data.getbuffer())
    with file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(12)
        if head[:4] == b"RIFF" and head[8:] == b"WAVE":
            check_wav(file, size, name)
        elif head[:4] == b"OggS":
            file.seek(max(0, size - 2 * OGG_PAGE))
            check_ogg(file.read(), name)


def check_wav(file: BinaryIO, size: int, name: str) -> None:
    """Walk the chunks to the samples and compare the promised bytes with those that are left."""
    while len(chunk := file.read(8)) == 8:
        length = int.from_bytes(chunk[4:], "little")
        if chunk[:4] == b"data":
            left = size - file.tell()
            if length not in UNKNOWN and length > left:
                raise ValueError(
                    f"{name} is cut off: its header promises {length} bytes of samples and {left} are there: "
                    "fetch it again, or repair it"
                )
            return
        file.seek(length + length % 2, os.SEEK_CUR)
    raise ValueError(f"{name} is cut off: a WAV file without samples (no data chunk in {size} bytes): fetch it again")


def check_ogg(tail: bytes, name: str) -> None:
    """Look at the last page: it must be whole, and say that it is the last."""
    page = tail[max(0, tail.rfind(b"OggS")) :]
    segments = page[OGG_HEAD - 1] if len(page) >= OGG_HEAD else 0
    length = OGG_HEAD + segments + sum(page[OGG_HEAD : OGG_HEAD + segments])
    if len(page) < max(length, OGG_HEAD) or not page[5] & OGG_END:
        raise ValueError(
            f"{name} is cut off: its last Ogg page is not the end of a stream: fetch it again, or repair it"
        )
