"""Codecs behind the `Codec` seam: live equals whole to the bit both ways, counts, refusals."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_tokenizers.audio import resample
from omni_tokenizers.audio.codec import Codec, checked_codes
from omni_tokenizers.audio.codec_hub import load_codec
from omni_tokenizers.tokenizer import CannotStream, Stream
from tests.tokenizers.small_speech import cut, noise, published_dac, published_encodec, published_mimi

MAKERS = {"encodec": published_encodec, "mimi": published_mimi, "dac": published_dac}


@pytest.fixture(scope="module")
def codecs(tmp_path_factory):
    made = {}
    for name, make in MAKERS.items():
        folder = tmp_path_factory.mktemp(name)
        make().save_pretrained(folder)
        made[name] = load_codec(folder)
    return made


def streamed(stream, pieces):
    return np.concatenate([*[stream.push(piece) for piece in pieces], stream.finish()])


@pytest.mark.parametrize("name", ["encodec", "mimi"])
@settings(max_examples=15, deadline=None)
@given(samples=st.integers(0, 24_000), lengths=st.lists(st.integers(0, 5000), max_size=4))
def test_live_encoding_equals_encode_bit_for_bit_for_every_chunking(codecs, name, samples, lengths):
    codec, clip = codecs[name], noise(samples, seed=samples)
    whole = codec.encode(clip)
    assert np.array_equal(streamed(codec.stream(), cut(clip, lengths)), whole)
    assert len(whole) == codec.count(samples)


@pytest.mark.parametrize("name", ["encodec", "mimi"])
@settings(max_examples=15, deadline=None)
@given(frames=st.integers(0, 24), lengths=st.lists(st.integers(0, 9), max_size=4), seed=st.integers(0, 99))
def test_live_decoding_equals_decode_bit_for_bit_for_every_chunking(codecs, name, frames, lengths, seed):
    codec = codecs[name]
    codes = np.random.default_rng(seed).integers(0, 64, (frames, 4))
    whole = codec.decode(codes)
    assert np.array_equal(streamed(codec.decoder(), cut(codes, lengths)), whole)
    assert len(whole) == frames * codec.hop


@pytest.mark.parametrize("name", ["encodec", "mimi"])
def test_live_encoding_at_another_rate_equals_encode_at_that_rate(codecs, name):
    codec, clip = codecs[name], noise(20_001)
    whole = codec.encode(clip, 16_000)
    assert np.array_equal(streamed(codec.stream(16_000), cut(clip, [320])), whole)
    assert np.array_equal(codec.encode(resample(clip, 16_000, 24_000)), whole)
    assert len(whole) == codec.count(20_001, 16_000)


def test_live_codes_come_while_the_sound_is_still_arriving(codecs):
    # EnCodec mirrors the first 6 frames to the left of the clip, so its first piece is 7 frames; then 6 at a time.
    stream = codecs["encodec"].stream()
    assert [len(stream.push(noise(320))) for _ in range(14)] == [0] * 6 + [7] + [0] * 5 + [6, 0]
    stream = codecs["mimi"].stream()
    assert [len(stream.push(noise(960))) for _ in range(4)] == [0, 1, 0, 1]


@pytest.mark.parametrize("name", MAKERS)
@pytest.mark.parametrize("samples", [0, 1, 319, 320, 321, 512, 1920, 1921, 20_000])
def test_count_from_sizes_is_the_length_of_encode(codecs, name, samples):
    codec = codecs[name]
    codes = codec.encode(noise(samples))
    assert codes.shape == (codec.count(samples), len(codec.book_sizes))
    assert codes.dtype == np.int32
    assert ((codes >= 0) & (codes < codec.book_sizes)).all()


@pytest.mark.parametrize("name", MAKERS)
def test_a_loaded_codec_has_the_names_of_the_protocol(codecs, name):
    codec = codecs[name]
    assert isinstance(codec, Codec)
    assert codec.frame_rate == codec.sample_rate / codec.hop
    assert np.array_equal(codec.decode(codec.encode(noise(4000))), codec.decode(codec.encode(noise(4000)).tolist()))
    assert len(codec.decode(np.empty((0, len(codec.book_sizes)), int))) == 0


def test_a_codec_that_looks_ahead_refuses_to_stream_and_says_why(codecs, tmp_path):
    with pytest.raises(CannotStream, match="look ahead"):
        codecs["dac"].stream()
    with pytest.raises(CannotStream, match="look ahead"):
        codecs["dac"].decoder()
    published_encodec(use_causal_conv=False).save_pretrained(tmp_path)
    both_ways = load_codec(tmp_path)
    with pytest.raises(CannotStream, match="not causal"):
        both_ways.stream()
    assert both_ways.encode(noise(3200)).shape == (10, 4)


def test_a_norm_over_the_whole_clip_refuses_to_stream(tmp_path):
    published_encodec(norm_type="time_group_norm").save_pretrained(tmp_path)
    with pytest.raises(CannotStream, match="time_group_norm"):
        load_codec(tmp_path).stream()


@pytest.mark.parametrize("make", [published_encodec, published_mimi])
def test_longer_pieces_are_exact_too_and_come_later(make, tmp_path):
    make().save_pretrained(tmp_path)
    codec, clip = load_codec(tmp_path, piece=0.32), noise(24_001)
    codes = codec.encode(clip)
    assert np.array_equal(streamed(codec.stream(), cut(clip, [480, 5])), codes)
    assert np.array_equal(streamed(codec.decoder(), cut(codes, [1, 3])), codec.decode(codes))
    assert len(codec.stream().push(noise(7679))) == 0 < len(codec.stream().push(noise(7680)))
    with pytest.raises(ValueError, match="piece is 0"):
        load_codec(tmp_path, piece=0)


def test_streams_of_one_codec_do_not_disturb_each_other(codecs):
    for codec in (codecs["encodec"], codecs["mimi"]):
        one, two = noise(9600, 1), noise(9600, 2)
        first, second = codec.stream(), codec.stream()
        out = [[], []]
        for at in range(0, 9600, 960):
            out[0].append(first.push(one[at : at + 960]))
            out[1].append(second.push(two[at : at + 960]))
        assert np.array_equal(np.concatenate([*out[0], first.finish()]), codec.encode(one))
        assert np.array_equal(np.concatenate([*out[1], second.finish()]), codec.encode(two))


def test_a_finished_stream_takes_nothing_more(codecs):
    for stream, piece in ((codecs["mimi"].stream(), noise(10)), (codecs["mimi"].decoder(), np.zeros((1, 4), int))):
        assert isinstance(stream, Stream)
        stream.finish()
        with pytest.raises(ValueError, match="finished"):
            stream.push(piece)
        with pytest.raises(ValueError, match="finished"):
            stream.finish()


@pytest.mark.parametrize("name", MAKERS)
def test_fewer_books_are_the_first_of_all_books(codecs, name, tmp_path):
    MAKERS[name]().save_pretrained(tmp_path)
    coarse = load_codec(tmp_path, books=2)
    clip = noise(8000)
    assert len(coarse.book_sizes) == 2
    assert np.array_equal(coarse.encode(clip), codecs[name].encode(clip)[:, :2])
    assert len(coarse.decode(coarse.encode(clip))) == len(codecs[name].decode(codecs[name].encode(clip)))


@pytest.mark.parametrize(
    ("codes", "error", "message"),
    [
        ([[0, 0, 0, 64]], ValueError, "code 64 at frame 0, book 3"),
        ([[0, 0, 0, 0], [0, -1, 0, 0]], ValueError, "code -1 at frame 1, book 1"),
        ([[0, 0, 0]], ValueError, r"\(1, 3\)"),
        ([0, 0, 0, 0], ValueError, r"\(4,\)"),
        ([[0.5, 0, 0, 0]], TypeError, "float64"),
    ],
)
def test_codes_that_do_not_belong_are_refused_with_their_place(codecs, codes, error, message):
    for take in (codecs["mimi"].decode, codecs["mimi"].decoder().push):
        with pytest.raises(error, match=message):
            take(codes)


def test_checked_codes_takes_tensors_and_copies():
    codes = np.array([[1, 2]], np.int32)
    out = checked_codes(codes, (4, 4))
    out[0, 0] = 3
    assert codes[0, 0] == 1
    assert checked_codes(torch.tensor([[1, 2]]), (4, 4)).tolist() == [[1, 2]]


def test_sound_that_is_not_finite_is_refused(codecs):
    for take in (codecs["mimi"].encode, codecs["mimi"].stream().push, codecs["dac"].encode):
        with pytest.raises(ValueError, match="nan"):
            take(np.array([0, np.nan], np.float32))


def test_models_that_are_no_codec_for_us_are_refused(tmp_path):
    with pytest.raises(ValueError, match="neither the folder"):
        load_codec(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="'bert' model"):
        load_codec(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "encodec", "normalize": True}))
    with pytest.raises(ValueError, match="codes alone give no sound"):
        load_codec(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "encodec", "audio_channels": 2}))
    with pytest.raises(ValueError, match="2 channels"):
        load_codec(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "mimi"}))
    with pytest.raises(ValueError, match="books is 33"):
        load_codec(tmp_path, books=33)
    with pytest.raises(ValueError, match="no whole safetensors"):
        load_codec(tmp_path)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["encodec", "mimi"])
def test_on_a_gpu_live_equals_whole(name, tmp_path):
    MAKERS[name]().save_pretrained(tmp_path)
    codec, clip = load_codec(tmp_path, device="cuda"), noise(24_001)
    codes = codec.encode(clip)
    assert np.array_equal(streamed(codec.stream(), cut(clip, [480])), codes)
    assert np.array_equal(streamed(codec.decoder(), cut(codes, [1, 3])), codec.decode(codes))
