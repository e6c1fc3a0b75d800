"""Reading audio: files of every kind, arrays of every type, and what is no audio."""

import io
import os
import struct

import numpy as np
import pytest
import soundfile
import torch

from omni_tokenizers import audio
from omni_tokenizers.audio import LogMel, as_waveform, read_audio
from omni_tokenizers.audio.read import audio_info
from omni_tokenizers.optional import MissingPackage


def tone(samples: int = 16_000, hz: float = 440) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * hz * np.arange(samples) / 16_000)).astype(np.float32)


def encoded(samples: np.ndarray, rate: int = 16_000, **how: str) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, **how)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "subtype", "tolerance"),
    [
        ("WAV", "PCM_U8", 1 / 127), ("WAV", "PCM_16", 1 / 32767), ("WAV", "PCM_24", 1e-6), ("WAV", "PCM_32", 1e-7),
        ("WAV", "FLOAT", 0), ("WAV", "DOUBLE", 0), ("WAV", "ULAW", 0.02), ("FLAC", "PCM_16", 1 / 32767),
        ("AIFF", "PCM_16", 1 / 32767), ("OGG", "VORBIS", 0.05), ("MP3", "MPEG_LAYER_III", 0.05),
    ],
)  # fmt: skip
def test_a_file_comes_back_as_its_samples_from_path_bytes_and_open_file(tmp_path, kind, subtype, tolerance):
    data = encoded(tone(), format=kind, subtype=subtype)
    path = tmp_path / f"tone.{kind.lower()}"
    path.write_bytes(data)
    wave, rate = read_audio(path)
    assert (rate, wave.dtype, wave.shape) == (16_000, np.float32, (16_000,))
    np.testing.assert_allclose(wave[500:-500], tone()[500:-500], rtol=0, atol=tolerance)
    with path.open("rb") as file:
        for source in (str(path), data, bytearray(data), memoryview(data), io.BytesIO(data), file):
            np.testing.assert_array_equal(read_audio(source)[0], wave)
        assert file.tell() == 0  # left where it was
    info = audio_info(path)
    assert (info.samples, info.rate, info.channels) == (16_000, 16_000, 1)


def test_channels_are_averaged():
    left, right = tone(), np.zeros(16_000, np.float32)
    for channels in (np.stack([left, right], axis=1), np.stack([left, right])):
        np.testing.assert_array_equal(as_waveform(channels), left / 2)
    wave, _ = read_audio(encoded(np.stack([left, right, -left, left], axis=1), format="WAV", subtype="FLOAT"))
    np.testing.assert_allclose(wave, left / 4, rtol=0, atol=1e-7)


def test_which_axis_is_channels_is_never_guessed_when_either_could_be():
    with pytest.raises(ValueError, match=r"shape \(2, 3\) and either axis could be channels.*channel_axis=0"):
        as_waveform(np.zeros((2, 3)))
    assert as_waveform(np.zeros((2, 3)), channel_axis=0).shape == (3,)
    assert as_waveform(np.zeros((2, 3)), channel_axis=-1).shape == (2,)
    with pytest.raises(ValueError, match="neither axis"):
        as_waveform(np.zeros((100, 100)))
    with pytest.raises(ValueError, match=r"shape \(1, 1, 5\)"):
        as_waveform(np.zeros((1, 1, 5)))
    with pytest.raises(ValueError, match="channel_axis is 2"):
        as_waveform(np.zeros((2, 3)), channel_axis=2)
    with pytest.raises(ValueError, match="no channel"):
        as_waveform(np.zeros((0, 3)), channel_axis=0)


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32])
def test_integers_are_scaled_by_their_full_scale(dtype):
    info = np.iinfo(dtype)
    np.testing.assert_allclose(as_waveform(np.array([info.min, 0, info.max], dtype)), [-1, 0, 1], rtol=0, atol=0.008)
    assert as_waveform(np.array([info.min, 0], dtype)).tolist() == [-1, 0]


def test_unsigned_bytes_are_centred_on_128():
    assert as_waveform(np.array([0, 128, 192], np.uint8)).tolist() == [-1, 0, 0.5]


def test_torch_tensors_of_any_float_are_taken():
    values = [0.5, -0.25, 0.0]
    for tensor in (torch.tensor(values), torch.tensor(values, dtype=torch.bfloat16), torch.tensor(values).half()):
        assert as_waveform(tensor).tolist() == values
    assert as_waveform(torch.tensor(values, requires_grad=True)).tolist() == values
    assert as_waveform(torch.tensor([16384], dtype=torch.int16)).tolist() == [0.5]


@pytest.mark.parametrize(
    "samples",
    [np.array([1 + 1j]), np.array([True]), np.array(["a"]), np.array([1, 2]), np.array([1], np.uint16), b"ab"],
)
def test_what_has_no_full_scale_is_refused(samples):
    with pytest.raises(TypeError, match=r"convert|read_audio"):
        as_waveform(samples)


@pytest.mark.parametrize("kind", ["WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "FLAC", "OGG", "MP3"])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_an_error_and_not_a_shorter_clip(kind, share):
    noise = np.random.default_rng(0).standard_normal(48_000) * 0.1
    data = encoded(noise, format=kind)
    assert len(read_audio(data)[0]) == 48_000
    with pytest.raises(ValueError, match=r"cut off|damaged|no audio file"):
        read_audio(data[: int(len(data) * share)])


@pytest.mark.parametrize(
    "data", [b"", b"RIFF", b"hello, world, this is text", bytes(5_000), b"\x89PNG\r\n\x1a\n" + bytes(99)]
)
def test_what_is_no_audio_is_a_value_error_from_bytes_and_from_a_path(tmp_path, data):
    path = tmp_path / "sound.wav"
    path.write_bytes(data)
    for source in (data, path):
        with pytest.raises(ValueError, match=r"no audio|empty|cut off"):
            read_audio(source)


def test_files_that_are_not_there_are_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no audio file at .*nothing\.wav"):
        read_audio(tmp_path / "nothing.wav")
    with pytest.raises(FileNotFoundError, match="is a folder"):
        read_audio(tmp_path)
    with pytest.raises(FileNotFoundError, match="is a device or pipe"):
        read_audio(os.devnull)
    with pytest.raises(TypeError, match="binary mode"):
        read_audio(io.StringIO("text"))
    with pytest.raises(TypeError, match="no path"):
        audio_info(np.zeros(3))


def test_a_file_that_claims_days_is_refused_before_it_is_decoded():
    data = encoded(np.zeros(48_000, np.float32), format="FLAC")
    with pytest.raises(ValueError, match=r"claims 3 s of audio; the limit is 2 s.*max_seconds"):
        read_audio(data, max_seconds=2)


def test_a_rate_beyond_all_use_makes_no_file_longer_than_the_limit_allows():
    data = encoded(np.zeros(200_000, np.float32), 192_000, format="FLAC")
    with pytest.raises(ValueError, match=r"200000 samples at 192000 Hz; the limit is 96000, as of 2 s at 48000 Hz"):
        read_audio(data, max_seconds=2)
    assert len(read_audio(data, max_seconds=5)[0]) == 200_000


@pytest.mark.parametrize("size", [0xFFFFFFFF, 0x80000000, 0x7FFFFFFF, 0x7FFFF000])
def test_a_header_that_a_pipe_left_open_is_read_to_its_end(size):
    data = bytearray(encoded(tone(), format="WAV", subtype="PCM_16"))
    data[4:8] = struct.pack("<I", min(size + 36, 0xFFFFFFFF))
    data[40:44] = struct.pack("<I", size)
    assert len(read_audio(bytes(data))[0]) == 16_000


def test_a_header_without_a_length_is_no_empty_clip():
    data = bytearray(encoded(tone(), format="WAV", subtype="PCM_16"))
    data[40:44] = bytes(4)
    with pytest.raises(ValueError, match="says that it holds no samples and 32000 bytes follow"):
        read_audio(bytes(data))
    empty = encoded(tone(0), format="WAV", subtype="PCM_16") + b"LIST" + struct.pack("<I", 4) + b"INFO"
    assert len(read_audio(empty)[0]) == 0
    piped = bytearray(encoded(tone(), format="FLAC"))
    piped[21] &= 0xF0
    piped[22:26] = bytes(4)
    for call in (read_audio, audio_info):
        with pytest.raises(ValueError, match="does not say how long it is"):
            call(bytes(piped))


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_ogg_streams_one_after_another_are_refused_since_only_the_first_would_be_read(subtype):
    data = encoded(tone(), format="OGG", subtype=subtype)
    with pytest.raises(ValueError, match="several Ogg streams one after another"):
        read_audio(data + data)


def test_a_chunk_that_claims_more_than_any_file_holds_is_a_value_error():
    data = bytearray(encoded(tone(), format="W64", subtype="PCM_16"))
    at = data.index(b"fmt ")
    data[at + 16 : at + 24] = b"\xff" * 8
    with pytest.raises(ValueError, match="cut off"):
        read_audio(bytes(data))


def test_nan_in_a_float_file_is_refused():
    broken = tone()
    broken[5] = np.nan
    with pytest.raises(ValueError, match="audio sample 5 is nan"):
        read_audio(encoded(broken, format="WAV", subtype="FLOAT"))


def test_a_file_knows_its_rate_and_a_contradiction_is_an_error():
    data = encoded(tone(8_000), rate=8_000, format="WAV")
    assert read_audio(data)[1] == read_audio(data, rate=8_000)[1] == 8_000
    with pytest.raises(ValueError, match="is at 8000 Hz and rate=16000 was given"):
        read_audio(data, rate=16_000)
    assert len(LogMel().encode(data)) == LogMel().count(8_000, rate=8_000) == 100
    with pytest.raises(ValueError, match="rate_in is -5"):
        read_audio(tone(), rate=-5)


def test_other_containers_go_to_librosa_and_fail_with_a_way_out(monkeypatch):
    m4a = b"\0\0\0\x20ftypM4A " + bytes(200)
    with pytest.raises(ValueError, match=r"MP4/M4A, which could not be decoded here.*ffmpeg"):
        read_audio(m4a)

    def missing(name, *, extra, use):
        raise MissingPackage(f"{use} needs the package {name}: {extra}")

    monkeypatch.setattr("omni_tokenizers.audio.read.need", missing)
    with pytest.raises(MissingPackage, match="reading MP4/M4A needs the package librosa: model"):
        read_audio(m4a)


def test_librosa_decodes_what_it_can_and_its_channels_are_mixed(tmp_path, monkeypatch):
    # A WAV sent down librosa's way: no encoder of an exotic container is at hand, its decoder stack is the real one.
    monkeypatch.setitem(audio.read.OTHERS, "pretended", (0, b"RIFF"))
    data = encoded(np.stack([tone(), np.zeros(16_000)], axis=1), format="WAV", subtype="FLOAT")
    path = tmp_path / "two.wav"
    path.write_bytes(data)
    for source in (data, path):
        wave, rate = read_audio(source)
        assert rate == 16_000
        np.testing.assert_array_equal(wave, tone() / 2)
    assert audio_info(data).samples == 16_000
    with pytest.raises(ValueError, match=r"holds more of audio; the limit is 0 s.*max_seconds"):
        read_audio(data, max_seconds=0.25)

    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    assert audio_info(Pipe(data)).samples == 16_000


def test_every_name_of_the_package_is_found_and_no_other():
    for name in (
        "LogMel",
        "MelStream",
        "MelWindow",
        "Resampler",
        "as_waveform",
        "mel_filters",
        "read_audio",
        "resample",
    ):
        assert name in audio.__all__
        assert name in dir(audio)
        assert getattr(audio, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'Spectrogram'"):
        getattr(audio, "Spectrogram")  # noqa: B009
