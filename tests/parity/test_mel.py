"""Log-Mel frames, filter banks and resampled samples against the published libraries."""

from pathlib import Path

import faster_whisper.feature_extractor
import librosa
import numpy as np
import pytest
import torch
import torchaudio
import transformers
import whisper
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_tokenizers.audio import LogMel, mel_filters, resample


def noise(samples: int, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


def tone(samples: int, hz: float, level: float = 0.5) -> np.ndarray:
    return (level * np.sin(2 * np.pi * hz * np.arange(samples) / 16_000)).astype(np.float32)


CLIPS = {
    "noise": noise(48_037),
    "quiet noise": noise(16_000, 1e-5),
    "tone": tone(32_000, 440),
    "tone at the edge of the band": tone(32_000, 7_999),
    "silence then a click": np.eye(1, 16_000, 9_000, dtype=np.float32)[0],
    "clipped": np.clip(noise(16_000, 5), -1, 1),
    "shortest": noise(201),
    "400 samples": noise(400),
    "one sample under a hop": noise(16_159),
}


@pytest.mark.parametrize("bins", [80, 128])
@pytest.mark.parametrize("name", CLIPS)
def test_frames_equal_openai_whisper(name, bins):
    ours = LogMel(bins).encode(CLIPS[name])
    theirs = whisper.log_mel_spectrogram(CLIPS[name], n_mels=bins).numpy().T
    assert ours.shape == theirs.shape
    # A tone's neighbours lie 80 dB down, where float32 FFTs of any library differ in the third digit.
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=2e-3 if "tone" in name else 1e-5)


@settings(max_examples=20, deadline=None)
@given(samples=st.integers(201, 9_000), level=st.floats(1e-4, 3.0), seed=st.integers(0, 99))
def test_frames_of_any_noise_equal_openai_whisper(samples, level, seed):
    clip = noise(samples, level, seed)
    np.testing.assert_allclose(LogMel().encode(clip).T, whisper.log_mel_spectrogram(clip).numpy(), rtol=0, atol=1e-5)


def test_our_error_against_float64_is_no_larger_than_whispers():
    clip = noise(160_000)
    padded = np.pad(clip.astype(np.float64), 200, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, 400)[::160][:1000]
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    power = np.abs(np.fft.rfft(frames * window)) ** 2
    log = np.log10(np.maximum(power @ mel_filters(80).astype(np.float64).T, 1e-10))
    exact = (np.maximum(log, log.max() - 8) + 4) / 4
    ours = np.abs(LogMel().encode(clip) - exact).max()
    theirs = np.abs(whisper.log_mel_spectrogram(clip).numpy().T - exact).max()
    assert ours <= max(theirs, 2e-6)


@pytest.mark.parametrize("bins", [80, 128])
def test_a_window_equals_the_transformers_feature_extractor(bins):
    clip = noise(100_000)
    extractor = transformers.WhisperFeatureExtractor(feature_size=bins)
    window = LogMel(bins).window(clip)
    assert window.frames.shape == (3000, bins)
    with_torch = extractor(clip, sampling_rate=16_000, return_tensors="np")["input_features"][0].T
    np.testing.assert_allclose(window.frames, with_torch, rtol=0, atol=1e-5)
    with_numpy = extractor._np_extract_fbank_features(np.pad(clip, (0, 480_000 - len(clip)))[None], "cpu")[0].T
    np.testing.assert_allclose(window.frames, with_numpy, rtol=0, atol=5e-5)


def test_frames_equal_faster_whisper():
    clip = noise(64_000)
    theirs = faster_whisper.feature_extractor.FeatureExtractor()(clip, padding=0).T
    np.testing.assert_allclose(LogMel().encode(clip), theirs, rtol=0, atol=5e-5)


def test_unfloored_frames_equal_librosa_and_torchaudio():
    clip = noise(64_000)
    ours = LogMel(floor=None).encode(clip)
    settings = {"n_fft": 400, "hop_length": 160, "n_mels": 80}
    power = librosa.feature.melspectrogram(y=clip, sr=16_000, pad_mode="reflect", **settings)[:, :-1].T
    np.testing.assert_allclose(ours, np.log10(np.maximum(power, 1e-10)) / 4 + 1, rtol=0, atol=1e-5)
    spectrogram = torchaudio.transforms.MelSpectrogram(16_000, norm="slaney", mel_scale="slaney", **settings)
    power = spectrogram(torch.from_numpy(clip))[:, :-1].T.numpy()
    np.testing.assert_allclose(ours, np.log10(np.maximum(power, 1e-10)) / 4 + 1, rtol=0, atol=1e-4)


@pytest.mark.parametrize("bins", [80, 128])
def test_filter_bank_is_librosas_to_the_bit_and_whispers(bins):
    ours = mel_filters(bins)
    np.testing.assert_array_equal(ours, librosa.filters.mel(sr=16_000, n_fft=400, n_mels=bins))
    with np.load(Path(whisper.__file__).parent / "assets" / "mel_filters.npz") as published:
        np.testing.assert_allclose(ours, published[f"mel_{bins}"], rtol=0, atol=2e-9)
    torchaudios = torchaudio.functional.melscale_fbanks(201, 0.0, 8000.0, bins, 16_000, "slaney", "slaney")
    np.testing.assert_allclose(ours, torchaudios.T.numpy(), rtol=0, atol=1e-6)


@pytest.mark.parametrize("rate", [8_000, 22_050, 44_100, 48_000])
def test_resampling_equals_librosa(rate):
    clip = noise(rate)
    np.testing.assert_array_equal(
        resample(clip, rate, 16_000), librosa.resample(clip, orig_sr=rate, target_sr=16_000, res_type="soxr_hq")
    )


def test_resampling_keeps_a_tone_that_torchaudio_keeps():
    clip = np.sin(2 * np.pi * 1000 * np.arange(48_000) / 48_000).astype(np.float32)
    theirs = torchaudio.functional.resample(torch.from_numpy(clip), 48_000, 16_000, lowpass_filter_width=64).numpy()
    np.testing.assert_allclose(resample(clip, 48_000, 16_000)[1000:-1000], theirs[1000:-1000], rtol=0, atol=1e-3)
