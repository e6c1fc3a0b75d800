"""Any audio source to one channel of float32 samples and their rate.

libsndfile reads WAV, FLAC, Ogg (Vorbis, Opus), MP3, AIFF and more; librosa, where it is installed, the rest.
"""

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, TypeAlias

import numpy as np
import soundfile

from omni_tokenizers.audio.mel_filterbank import SAMPLE_RATE
from omni_tokenizers.audio.resampler import MAX_RATE, check_rates
from omni_tokenizers.audio.truncation import check_whole
from omni_tokenizers.audio.waveform import Samples, Wave, as_waveform, check_levels, mixed
from omni_tokenizers.optional import need

AudioSource: TypeAlias = "Samples | str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO"

MAX_SECONDS = 4 * 3600  # of a file; a 100 KB FLAC of silence can claim days
DENSE = 48_000  # Hz; at more than this the limit is as many samples as at this: memory holds samples, not seconds
UNKNOWN_LENGTH = 2**63 - 1  # frames, libsndfile's way of saying that it does not know
BLOCK = 1 << 18  # frames decoded at a time, so that only the mix is ever whole in memory
# What libsndfile does not read and librosa may: offset and bytes that give the container away.
OTHERS = {
    "MP4/M4A": (4, b"ftyp"),
    "WebM/Matroska": (0, b"\x1a\x45\xdf\xa3"),
    "AAC": (0, b"\xff\xf1"),
    "AAC (MPEG-2)": (0, b"\xff\xf9"),
    "WMA": (0, b"\x30\x26\xb2\x75"),
    "AMR": (0, b"#!AMR"),
    "WavPack": (0, b"wvpk"),
}


@dataclass(frozen=True)
class AudioInfo:
    """What a file says about itself, without decoding it."""

    samples: int  # per channel
    rate: int  # Hz
    channels: int


def read_audio(
    source: AudioSource, *, rate: int | None = None, channel_axis: int | None = None, max_seconds: float = MAX_SECONDS
) -> tuple[Wave, int]:
    """Return the samples of a path, the bytes of a file, an open file or an array, mixed to one channel, and the rate.

    A file says its own rate, and a different `rate` is an error; an array is at `rate`, 16 kHz if none is given.

    >>> wave, rate = read_audio(np.array([[0, 100], [0, 200]], np.int16), rate=8_000, channel_axis=0)
    >>> wave * 32768, rate
    (array([  0., 150.], dtype=float32), 8000)
    """
    if not is_file(source):
        rate = SAMPLE_RATE if rate is None else rate
        check_rates(rate, SAMPLE_RATE, "HQ")
        return as_waveform(source, channel_axis=channel_axis), rate  # type: ignore[arg-type]
    data = opened(source)
    name = str(data) if isinstance(data, Path) else "the audio"
    other = container(data)
    if other:
        wave, found = read_with_librosa(data, name, other, max_seconds)
    else:
        wave, found = read_with_soundfile(data, name, max_seconds)
    if rate not in (None, found):
        raise ValueError(f"{name} is at {found} Hz and rate={rate} was given: leave rate out, a file says its own")
    check_levels(wave)
    return wave, found


def audio_info(source: AudioSource) -> AudioInfo:
    """Return length, rate and channels of a file from its header, without decoding it."""
    if not is_file(source):
        raise TypeError(f"audio_info reads files; {type(source).__name__} is no path, bytes or open file")
    data = opened(source)
    name = str(data) if isinstance(data, Path) else "the audio"
    if container(data):
        wave, rate = read_audio(data)
        return AudioInfo(len(wave), rate, 1)
    with sound_file(data, name) as file:
        return AudioInfo(file.frames, file.samplerate, file.channels)


def is_file(source: object) -> bool:
    """Tell a file (path, bytes, open file) from samples."""
    return isinstance(source, str | os.PathLike | bytes | bytearray | memoryview) or hasattr(source, "read")


def opened(source: object) -> Path | BytesIO:
    """Return a path that exists, or the file's bytes; an open file is left where it was."""
    if isinstance(source, str | os.PathLike):
        path = Path(source)
        if not path.is_file():
            raise FileNotFoundError(
                f"{path} is a {'folder' if path.is_dir() else 'device or pipe'}, not a file"
                if path.exists()
                else f"no audio file at {path}"
            )
        if not path.stat().st_size:
            raise ValueError(f"{path} is empty (0 bytes); it holds no audio")
        return path
    if isinstance(source, bytes | bytearray | memoryview):
        data = bytes(source)
    else:
        seekable = hasattr(source, "seekable") and source.seekable()
        begin = source.tell() if seekable else 0  # type: ignore[attr-defined]
        data = source.read()  # type: ignore[attr-defined]
        if seekable:
            source.seek(begin)  # type: ignore[attr-defined]
        if not isinstance(data, bytes):
            raise TypeError(f"the open file gives {type(data).__name__}: open it in binary mode, 'rb'")
    if not data:
        raise ValueError("the audio is empty (0 bytes)")
    return BytesIO(data)


def container(data: Path | BytesIO) -> str | None:
    """Name the container if it is one that libsndfile does not read."""
    if isinstance(data, Path):
        with data.open("rb") as file:
            head = file.read(16)
    else:
        head = data.getvalue()[:16]
    return next((name for name, (at, magic) in OTHERS.items() if head[at:].startswith(magic)), None)


def sound_file(data: Path | BytesIO, name: str) -> soundfile.SoundFile:
    """Open a file with libsndfile, or say what is wrong with it."""
    check_whole(data, name)
    try:
        file = soundfile.SoundFile(data)
    except (soundfile.LibsndfileError, TypeError) as refused:  # TypeError: a .raw name, which has no header
        reason = getattr(refused, "error_string", str(refused)).rstrip(". ")
        raise ValueError(
            f"{name} is no audio file that can be read ({reason}): convert it, for instance to WAV or FLAC; "
            "raw PCM has no header, so pass its samples and their rate"
        ) from None
    if not 1 <= file.samplerate <= MAX_RATE:
        file.close()
        raise ValueError(f"{name} claims a rate of {file.samplerate} Hz; sample rates are 1 to {MAX_RATE} Hz")
    if file.frames == UNKNOWN_LENGTH:
        file.close()
        raise ValueError(
            f"{name} does not say how long it is, as a FLAC that was written to a pipe: write it again, for instance "
            "with ffmpeg -i IN OUT.flac"
        )
    return file


def read_with_soundfile(data: Path | BytesIO, name: str, max_seconds: float) -> tuple[Wave, int]:
    """Decode block by block, mixing each, and compare the length with what the header promised."""
    with sound_file(data, name) as file:
        check_seconds(f"claims {file.frames / file.samplerate:.0f} s", file.frames, file.samplerate, name, max_seconds)
        blocks = list(mixed_blocks(file, name))
        wave = np.concatenate(blocks) if blocks else np.empty(0, np.float32)
        if len(wave) < file.frames:
            raise ValueError(
                f"{name} is cut off: its header promises {file.frames} samples and {len(wave)} are there: "
                "fetch it again, or repair it"
            )
        return wave, int(file.samplerate)


def check_seconds(says: str, frames: int, rate: float, name: str, max_seconds: float) -> None:
    """Refuse a file that is longer than the limit, or has more samples than that many seconds at `DENSE`."""
    if frames > max_seconds * rate:
        raise ValueError(
            f"{name} {says} of audio; the limit is {max_seconds:.0f} s: "
            "pass max_seconds=… if it is meant to be that long, or read it in pieces"
        )
    if frames > max_seconds * DENSE:
        raise ValueError(
            f"{name} holds {frames} samples at {rate:.0f} Hz; the limit is {max_seconds * DENSE:.0f}, as of "
            f"{max_seconds:.0f} s at {DENSE} Hz: pass a larger max_seconds=…, or read it in pieces"
        )


def mixed_blocks(file: soundfile.SoundFile, name: str) -> Iterator[Wave]:
    """Give the file's samples, mixed to one channel, block by block."""
    try:
        while len(block := file.read(BLOCK, dtype="float32", always_2d=True)):  # [frames, channels]
            yield mixed(block.T)
    except soundfile.LibsndfileError as broken:
        raise ValueError(
            f"{name} is damaged ({broken.error_string.rstrip('. ')}): fetch it again, or repair it"
        ) from None


def read_with_librosa(data: Path | BytesIO, name: str, kind: str, max_seconds: float) -> tuple[Wave, int]:
    """Decode what libsndfile does not know, through librosa and what it finds on this machine (ffmpeg)."""
    librosa = need("librosa", extra="model", use=f"reading {kind}")
    # Its decoders take a path only; that it tries several, one of them deprecated, is no news to the user.
    with NamedTemporaryFile(suffix=".audio") as copy, warnings.catch_warnings(action="ignore"):
        if isinstance(data, BytesIO):
            copy.write(data.getbuffer())
            copy.flush()
        try:
            channels, rate = librosa.load(
                data if isinstance(data, Path) else copy.name,
                sr=None,
                mono=False,
                duration=max_seconds + 1,  # s; these files do not say how long they are, so one more tells
            )
        except Exception as refused:  # each of its decoders has errors of its own, with no parent in common
            reason = str(refused) or type(refused).__name__
            raise ValueError(
                f"{name} is {kind}, which could not be decoded here ({reason}): install ffmpeg, "
                "or convert it, for instance with ffmpeg -i IN OUT.wav"
            ) from refused
    check_seconds("holds more", np.shape(channels)[-1], rate, name, max_seconds)
    return mixed(np.atleast_2d(channels)), int(rate)
