"""Codecs through the `Codec` seam against the published models worked in one go."""

import numpy as np
import pytest
import torch

from omni_tokenizers.audio.codec_hub import load_codec
from tests.tokenizers.small_speech import noise, published_dac, published_encodec, published_mimi, saved

LENGTHS = [1, 319, 320, 1000, 2500, 5000, 24_001, 40_000]


def published_codes(model, clip):
    batch = torch.tensor(clip)[None, None]
    with torch.no_grad():
        if model.config.model_type == "encodec":
            return model.encode(batch, bandwidth=model.config.target_bandwidths[-1]).audio_codes[0, 0].T.numpy()
        return model.encode(batch).audio_codes[0].T.numpy()


def published_sound(model, codes):
    books = torch.tensor(codes.T.astype(np.int64))[None]
    with torch.no_grad():
        if model.config.model_type == "encodec":
            return model.decode(books[None], [None])[0].numpy().reshape(-1)
        return model.decode(audio_codes=books)[0].numpy().reshape(-1)


def at_a_tie(model, clip, frame, codes):
    """Whether so little noise that only rounding is as small makes the published model give these codes too."""
    nudged = (clip + np.float32(3e-5) * noise(len(clip), seed) for seed in range(32))
    return any(np.array_equal(published_codes(model, clip)[frame], codes) for clip in nudged)


@pytest.mark.parametrize(
    "make",
    [
        published_encodec,
        lambda: published_encodec(num_residual_layers=2, use_conv_shortcut=False, num_lstm_layers=2),
        lambda: published_encodec(pad_mode="constant", upsampling_ratios=[4, 5, 2], target_bandwidths=[14.4]),
        lambda: published_encodec(use_causal_conv=False),
        published_mimi,
        lambda: published_mimi(num_residual_layers=2, use_conv_shortcut=True, num_semantic_quantizers=2),
    ],
)
def test_codes_and_sound_are_those_of_the_published_model_in_one_go(make, tmp_path):
    published = saved(make(), tmp_path)
    codec = load_codec(tmp_path)
    for samples in LENGTHS:
        clip = noise(samples, samples)
        ours, theirs = codec.encode(clip), published_codes(published, clip)
        assert ours.shape == theirs.shape
        for frame in np.flatnonzero((ours != theirs).any(axis=1)):
            assert at_a_tie(published, clip, frame, ours[frame])
        sound = published_sound(published, ours)
        np.testing.assert_allclose(codec.decode(ours), sound, atol=3e-6 * np.abs(sound).max())


@pytest.mark.parametrize("ratios", [(2, 4, 8, 8), (2, 3, 5)])
def test_dac_pads_to_whole_frames_as_its_published_feature_extractor_does(ratios, tmp_path):
    from transformers import DacFeatureExtractor

    published = saved(published_dac(downsampling_ratios=ratios), tmp_path)
    codec = load_codec(tmp_path)
    extractor = DacFeatureExtractor(sampling_rate=16_000, hop_length=published.config.hop_length)
    for samples in (1, 999, 5000, 24_000):
        clip = noise(samples, samples)
        padded = extractor(clip, sampling_rate=16_000, return_tensors="pt")["input_values"]
        ours, theirs = codec.encode(clip), published_codes(published, padded[0, 0].numpy())
        assert np.array_equal(ours, theirs)
        assert len(ours) == codec.count(samples)
        np.testing.assert_array_equal(codec.decode(ours), published_sound(published, ours))
