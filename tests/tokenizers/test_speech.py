"""wav2vec features: counts, streams that equal the whole to the bit, refusals."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from omni_tokenizers.audio import resample
from omni_tokenizers.audio.wav2vec import FixedNorm, Wav2Vec
from omni_tokenizers.audio.wav2vec_encoder import ConvShape, FeatureEncoder
from omni_tokenizers.tokenizer import CannotStream, Stream, Tokenizer
from tests.tokenizers.small_speech import cut, noise, published_speech, small_wav2vec

LIVE = small_wav2vec(normalize=False)
LENGTHS = [0, 1, 200, 201, 399, 400, 401, 719, 720, 1679, 1680, 16_000]


def streamed(stream, pieces):
    return torch.cat([*[stream.push(piece) for piece in pieces], stream.finish()])


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 6000),
    st.lists(st.integers(0, 2000), max_size=5),
    st.sampled_from([1, 2, 3, 4, 7]),
    st.booleans(),
    st.sampled_from([False, FixedNorm(0.01, 0.09)]),
)
def test_a_stream_equals_the_whole_bit_for_bit_for_every_chunking(samples, lengths, block, eager, normalize):
    speech = small_wav2vec(normalize=normalize, block=block)
    clip = noise(samples, seed=samples)
    whole = speech.encode(clip)
    assert torch.equal(streamed(speech.stream(eager=eager), cut(clip, lengths)), whole)
    assert len(whole) == speech.count(samples)


def test_a_stream_of_published_size_equals_the_whole_bit_for_bit():
    speech = small_wav2vec(width=512, normalize=False)
    clip = noise(8000)
    whole = speech.encode(clip)
    for size in (160, 320, 1001):
        assert torch.equal(streamed(speech.stream(), cut(clip, [size])), whole)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 12_000), st.lists(st.integers(0, 3000), max_size=4), st.sampled_from([8000, 44_100, 48_000]))
def test_a_stream_at_another_rate_equals_the_whole_at_that_rate(samples, lengths, rate):
    clip = noise(samples)
    whole = LIVE.encode(clip, rate)
    assert torch.equal(streamed(LIVE.stream(rate), cut(clip, lengths)), whole)
    assert len(whole) == LIVE.count(samples, rate)
    assert torch.equal(whole, LIVE.encode(resample(clip, rate, 16_000)))


def test_an_eager_stream_gives_a_frame_as_soon_as_its_samples_are_in():
    stream = LIVE.stream()
    given_out = [len(stream.push(noise(320))) for _ in range(6)]
    assert given_out == [0, 1, 1, 1, 1, 1]
    patient = LIVE.stream(eager=False)
    assert [len(patient.push(noise(320))) for _ in range(6)] == [0, 0, 0, 0, 4, 0]


@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("samples", LENGTHS)
def test_count_from_sizes_is_the_length_of_encode(norm, samples):
    speech = small_wav2vec(norm)
    assert len(speech.encode(noise(samples))) == speech.count(samples) == max(0, (samples - 400) // 320 + 1)


@given(st.integers(0, 100_000))
@settings(max_examples=60, deadline=None)
def test_the_fewest_samples_for_some_frames_give_just_those(frames):
    shape = ConvShape()
    if frames:
        assert shape.frames(shape.samples(frames)) == frames
        assert shape.frames(shape.samples(frames) - 1) == frames - 1


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_an_item_of_a_batch_is_itself_alone(norm):
    speech = small_wav2vec(norm)
    clips = [noise(5000, 1), noise(400, 2) * 100, noise(0), noise(9000, 3)]
    for together, clip in zip(speech.encode_batch(clips), clips, strict=True):
        assert torch.equal(together, speech.encode(clip))


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_a_row_of_a_padded_training_batch_has_the_values_it_has_alone(norm):
    torch.manual_seed(0)
    encoder = FeatureEncoder(ConvShape(norm, channels=(8,) * 7)).eval()
    lengths = [5000, 400, 9000, 399]
    batch = torch.full((4, 9000), 5.0)  # loud padding, so that a leak shows
    for row, length in zip(batch, lengths, strict=True):
        row[:length] = torch.tensor(noise(length, length))
    with torch.no_grad():
        together = encoder(batch, torch.tensor(lengths))
        for row, length, padded in zip(together, lengths, batch, strict=True):
            frames = encoder.shape.frames(length)
            assert not row[frames:].any()
            if frames:
                torch.testing.assert_close(row[:frames], encoder(padded[None, :length])[0], rtol=1e-4, atol=1e-5)


def test_the_trainable_module_and_the_tokenizer_agree_and_gradients_flow():
    for norm in ("group", "layer"):
        torch.manual_seed(0)
        encoder = FeatureEncoder(ConvShape(norm, channels=(8,) * 7))
        clip = noise(8000)
        features = encoder(torch.tensor(clip)[None])[0]
        torch.testing.assert_close(
            Wav2Vec(encoder, normalize=False).encode(clip), features.detach(), rtol=1e-4, atol=1e-5
        )
        features.sum().backward()
        assert all(weight.grad is not None and weight.grad.isfinite().all() for weight in encoder.parameters())


def test_features_can_be_fed_to_a_model_that_is_trained():
    head = torch.nn.Linear(LIVE.width, 2)
    head(LIVE.encode(noise(4000))).sum().backward()
    assert head.weight.grad is not None


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_an_encoder_that_is_trained_later_does_not_change_its_tokenizer(norm):
    encoder = FeatureEncoder(ConvShape(norm, channels=(8,) * 7))
    speech = Wav2Vec(encoder, normalize=False)
    before = speech.encode(noise(4000))
    with torch.no_grad():
        for weight in encoder.parameters():
            weight.add_(torch.randn_like(weight))
    assert torch.equal(speech.encode(noise(4000)), before)


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_features_are_float32_whatever_the_encoder_and_the_caller_work_in(norm):
    encoder = FeatureEncoder(ConvShape(norm, channels=(8,) * 7))
    speech = Wav2Vec(encoder, normalize=False)
    features = speech.encode(noise(4000))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(speech.encode(noise(4000)), features)
    for kind in (torch.float16, torch.float64):
        other = Wav2Vec(encoder.to(kind), normalize=False).encode(noise(4000))
        torch.testing.assert_close(other, features, rtol=0, atol=1e-2)
    torch.set_default_dtype(torch.float64)
    try:
        assert speech.encode(noise(100)).dtype == torch.float32
    finally:
        torch.set_default_dtype(torch.float32)


def test_normalised_silence_is_finite_and_loudness_does_not_matter():
    speech = small_wav2vec()
    assert speech.encode(np.zeros(16_000, np.float32)).isfinite().all()
    torch.testing.assert_close(speech.encode(noise(4000)), speech.encode(noise(4000) * 8), rtol=1e-3, atol=1e-4)


def test_int16_tensors_lists_and_two_channels_are_audio():
    clip = (noise(2000) * 3e4).astype(np.int16)
    whole = LIVE.encode(clip)
    assert torch.equal(LIVE.encode(torch.tensor(clip)), whole)
    assert torch.equal(LIVE.encode(clip.astype(np.float32) / 32768), whole)
    assert torch.equal(LIVE.encode(np.stack([clip, clip])), whole)


def test_the_argument_is_not_changed():
    clip = noise(4000)
    before = clip.copy()
    small_wav2vec().encode(clip)
    LIVE.stream().push(clip)
    assert np.array_equal(clip, before)


def test_group_norm_refuses_to_stream_and_says_why():
    with pytest.raises(CannotStream, match="over the whole utterance"):
        small_wav2vec("group", normalize=False).stream()


def test_normalising_by_the_utterance_refuses_to_stream_and_says_the_way_out():
    with pytest.raises(CannotStream, match="normalize=FixedNorm"):
        small_wav2vec().stream()


def test_chunks_of_the_group_kind_really_differ_from_the_whole():
    # What the refusal is for: half an utterance alone gives other features than inside the whole.
    speech = small_wav2vec("group", normalize=False)
    clip = np.concatenate([noise(8000), noise(8000) * 10])
    whole, half = speech.encode(clip), speech.encode(clip[:8000])
    assert (whole[: len(half)] - half).abs().max() > 0.1 * half.abs().max()


def test_a_finished_stream_takes_nothing_more():
    stream = LIVE.stream()
    stream.finish()
    with pytest.raises(ValueError, match="finished"):
        stream.push(noise(1))
    with pytest.raises(ValueError, match="finished"):
        stream.finish()


def test_it_is_a_tokenizer_with_a_stream():
    assert isinstance(LIVE, Tokenizer)
    assert isinstance(LIVE.stream(), Stream)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.array([0, np.nan], np.float32), "sample 1 is nan"),
        (np.array([np.inf], np.float32), "sample 0 is inf"),
        (np.zeros((2, 3, 4), np.float32), r"\(2, 3, 4\)"),
        (np.array(["a"]), "<U1"),
    ],
)
def test_what_is_not_audio_is_refused_with_the_value(audio, message):
    with pytest.raises((ValueError, TypeError), match=message):
        LIVE.encode(audio)
    with pytest.raises((ValueError, TypeError), match=message):
        LIVE.stream().push(audio)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LIVE.count(-1), "samples is -1"),
        (lambda: LIVE.count(1, 0), "0"),
        (lambda: small_wav2vec(block=0), "block is 0"),
        (lambda: ConvShape("batch"), "batch"),
        (lambda: ConvShape(kernels=(10,)), "1 kernels, 7 strides"),
        (lambda: ConvShape(kernels=(4, 3, 3, 3, 3, 2, 2)), "skip sound"),
        (lambda: FixedNorm(0, -1), "variance"),
        (lambda: FeatureEncoder()(torch.zeros(400)), r"\(400,\)"),
        (lambda: Wav2Vec.from_state({"encoder.layers.0.weight": torch.zeros(1)}), "not a whole wav2vec"),
        (lambda: Wav2Vec.load("no/such/folder"), "not a folder"),
    ],
)
def test_wrong_settings_are_refused_with_the_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_shape_of_lists_is_that_of_tuples():
    same = ConvShape(channels=[8] * 7, strides=list(ConvShape.strides))
    assert same == ConvShape(channels=(8,) * 7)
    assert hash(same) == hash(ConvShape(channels=(8,) * 7))


@pytest.mark.parametrize("wrong", [None, 1, "true", np.True_])
def test_a_normalisation_that_would_be_passed_over_is_refused(wrong):
    with pytest.raises(TypeError, match="True, False or a FixedNorm"):
        small_wav2vec(normalize=wrong)


def test_a_broken_checkpoint_says_what_is_wrong(tmp_path):
    published_speech("Wav2Vec2", "layer").save_pretrained(tmp_path)
    weights, config = tmp_path / "model.safetensors", tmp_path / "config.json"
    whole, settings_ = weights.read_bytes(), json.loads(config.read_text())

    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="not a whole safetensors"):
        Wav2Vec.load(tmp_path)
    weights.unlink()
    (tmp_path / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(ValueError, match="pickled"):
        Wav2Vec.load(tmp_path)

    weights.write_bytes(whole)
    state = load_file(weights)
    del state["feature_extractor.conv_layers.3.conv.weight"]
    save_file(state, weights)
    with pytest.raises(ValueError, match=r"conv_layers.3.conv.weight is missing"):
        Wav2Vec.load(tmp_path)

    weights.write_bytes(whole)
    config.write_text(json.dumps(settings_ | {"conv_kernel": [10, 3, 3, 3, 3, 2, 3]}))
    with pytest.raises(ValueError, match="different models"):
        Wav2Vec.load(tmp_path)
    config.write_text(json.dumps(settings_ | {"feat_extract_activation": "relu"}))
    with pytest.raises(ValueError, match="'relu'"):
        Wav2Vec.load(tmp_path)
    config.write_text("{}")
    with pytest.raises(ValueError, match="not a wav2vec-like model"):
        Wav2Vec.load(tmp_path)
    config.write_text("{")
    with pytest.raises(ValueError, match="not JSON"):
        Wav2Vec.load(tmp_path)


def test_a_checkpoint_in_shards_is_read(tmp_path):
    model = published_speech("Wav2Vec2", "layer")
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert (tmp_path / "model.safetensors.index.json").exists()
    whole = Wav2Vec.from_state(model.state_dict())
    assert torch.equal(Wav2Vec.load(tmp_path).encode(noise(4000)), whole.encode(noise(4000)))


def test_the_codec_protocol_and_the_masks_need_no_torch():
    code = (
        "import sys; import omni_tokenizers.audio.codec, omni_tokenizers.audio.spans, "
        "omni_tokenizers.audio.negatives, omni_tokenizers.audio.mixing; sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_on_a_gpu_the_stream_equals_the_whole_and_the_values_are_those_of_the_cpu():
    torch.manual_seed(0)
    encoder = FeatureEncoder()
    speech = Wav2Vec(encoder, normalize=False, device="cuda")
    clip = noise(48_000)
    whole = speech.encode(clip)
    assert torch.equal(streamed(speech.stream(), cut(clip, [320, 1001])), whole)
    torch.testing.assert_close(whole.cpu(), Wav2Vec(encoder, normalize=False).encode(clip), rtol=1e-4, atol=1e-4)
