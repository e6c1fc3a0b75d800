"""Is the file all there? libsndfile reads what it finds of most kinds and says nothing of what is missing."""

import os
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal


@dataclass(frozen=True)
class Chunks:
    """How a kind of file is cut into chunks: each has a name, a size and its content."""

    kind: bytes  # what stands behind the first eight bytes
    begin: int = 12  # where the first chunk begins
    name: int = 4  # bytes
    size: int = 4  # bytes
    order: Literal["little", "big"] = "little"
    counted: int = 0  # bytes of name and size that the size includes
    aligned: int = 2  # bytes
    samples: bytes = b"data"  # what the name of the chunk with the samples begins with


WAV = Chunks(b"WAVE")
AIFF = Chunks(b"AIF", order="big", samples=b"SSND")
WAVE64 = Chunks(b"\xa5\xd6\x28\xdb", begin=40, name=16, size=8, counted=24, aligned=8)
CHUNKED = {b"RIFF": WAV, b"RF64": WAV, b"RIFX": Chunks(b"WAVE", order="big"), b"FORM": AIFF, b"riff": WAVE64}
UNKNOWN = (0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFFF000)  # sizes that writers to a pipe leave in a header
AU = b".snd"
OGG = b"OggS"
OGG_BEGIN = 2  # flag of the first page of a stream
OGG_PAGE = 65_307  # bytes, the longest there is
OGG_HEAD = 27  # bytes before the table of segments
OGG_END = 4  # flag of the last page of a stream


def check_whole(data: Path | BytesIO, name: str) -> None:
    """Refuse a WAV, AIFF, AU or Ogg file of which not all would be read. Decoding checks FLAC and MP3."""
    file: BinaryIO = data.open("rb") if isinstance(data, Path) else BytesIO(data.getbuffer())
    with file:
        size = file.seek(0, os.SEEK_END)
        file.seek(0)
        head = file.read(12)
        chunks = CHUNKED.get(head[:4])
        if chunks is not None and head[8:].startswith(chunks.kind):
            file.seek(chunks.begin)
            check_chunks(file, size, chunks, name)
        elif head[:4] == AU:
            begin, length = (int.from_bytes(head[at : at + 4], "big") for at in (4, 8))
            check_length(length, max(size - begin, 0), name)
        elif head[:4] == OGG:
            file.seek(0)
            check_one_stream(file, name)
            file.seek(max(0, size - 2 * OGG_PAGE))
            check_ogg(file.read(), name)


def check_chunks(file: BinaryIO, size: int, chunks: Chunks, name: str) -> None:
    """Walk to the samples and compare the promised bytes with those that are left."""
    long = 0  # what an RF64 file says in a chunk of its own, where 4 bytes are too few
    head = chunks.name + chunks.size
    while len(chunk := file.read(head)) == head:
        length = int.from_bytes(chunk[chunks.name :], chunks.order) - chunks.counted
        left = size - file.tell()
        if chunk.startswith(chunks.samples):
            check_length(long if length in UNKNOWN and long else length, left, name)
            if not length and left and not leads_on(file.read(head), left):
                raise ValueError(
                    f"{name} says that it holds no samples and {left} bytes follow: whoever wrote it never filled in "
                    "its length: repair it, for instance with ffmpeg -i IN OUT.wav"
                )
            return
        if chunk.startswith(b"ds64"):
            long = int.from_bytes(file.read(length)[8:16], "little")
            length = 0
        file.seek(min(max(length, 0), left) + -length % chunks.aligned, os.SEEK_CUR)
    raise ValueError(f"{name} is cut off: a sound file without samples ({size} bytes): fetch it again")


def check_length(promised: int, left: int, name: str) -> None:
    """Refuse samples that are fewer than the header promises."""
    if promised not in UNKNOWN and promised > left:
        raise ValueError(
            f"{name} is cut off: its header promises {promised} bytes of samples and {left} are there: "
            "fetch it again, or repair it"
        )


def leads_on(chunk: bytes, left: int) -> bool:
    """Whether these bytes are the head of another chunk that fits."""
    return chunk[:4].isascii() and chunk[:4].decode().isprintable() and int.from_bytes(chunk[4:8], "little") <= left


def check_one_stream(file: BinaryIO, name: str) -> None:
    """Refuse an Ogg file of several streams one after another."""
    goes_on = False
    while len(page := file.read(OGG_HEAD)) == OGG_HEAD and page.startswith(OGG):
        if goes_on and page[5] & OGG_BEGIN:
            raise ValueError(
                f"{name} is several Ogg streams one after another, of which the first alone would be read: "
                "make one of them, for instance with ffmpeg -i IN OUT.ogg"
            )
        goes_on = not page[5] & OGG_BEGIN
        file.seek(sum(file.read(page[-1])), os.SEEK_CUR)


def check_ogg(tail: bytes, name: str) -> None:
    """Look at the last page: it must be whole, and say that it is the last."""
    page = tail[max(0, tail.rfind(OGG)) :]
    segments = page[OGG_HEAD - 1] if len(page) >= OGG_HEAD else 0
    length = OGG_HEAD + segments + sum(page[OGG_HEAD : OGG_HEAD + segments])
    if len(page) < max(length, OGG_HEAD) or not page[5] & OGG_END:
        raise ValueError(
            f"{name} is cut off: its last Ogg page is not the end of a stream: fetch it again, or repair it"
        )
