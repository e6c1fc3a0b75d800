"""Files that cost hours: put in their place when they are whole and on disk, and named where they are damaged."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError


@contextmanager
def replacing(file: Path) -> Iterator[Path]:
    """Where to write what then takes the file's place: after a power cut the old one is there, or the new one."""
    beside = file.with_name(f"{file.name}.new")
    try:
        yield beside
        with beside.open("r+b") as written:
            os.fsync(written.fileno())
    except (SafetensorError, OSError) as failed:
        beside.unlink(missing_ok=True)
        raise OSError(f"{file} could not be written ({failed}): is the disk full?") from None
    beside.replace(file)


@contextmanager
def reading(file: Path, remedy: str) -> Iterator[None]:
    """Raise ValueError with the remedy where what is read is damaged."""
    try:
        yield
    except (SafetensorError, ValueError) as wrong:
        raise ValueError(f"{file} is damaged ({wrong}): {remedy}") from None
