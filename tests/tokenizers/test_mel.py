"""What `LogMel` promises about lengths, floors, windows, batches, devices and bad audio."""

import re
import subprocess
import sys

import numpy as np
import pytest
import torch
import whisper
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_tokenizers.audio import LogMel, mel_filters
from omni_tokenizers.tokenizer import Tokenizer


def noise(samples: int, level: float = 0.1, seed: int = 0) -> np.ndarray:
    return (level * np.random.default_rng(seed).standard_normal(samples)).astype(np.float32)


@pytest.mark.parametrize("samples", [0, 1, 200])
def test_audio_too_short_to_reflect_is_refused_by_encode_and_count(samples):
    for call in (lambda: LogMel().encode(np.zeros(samples, np.float32)), lambda: LogMel().count(samples)):
        with pytest.raises(ValueError, match=f"audio is {samples} samples at 16 kHz.*needs 201.*pad it"):
            call()


@pytest.mark.parametrize(("samples", "frames"), [(201, 1), (319, 1), (320, 2), (399, 2), (400, 2), (480_000, 3000)])
def test_there_is_a_frame_for_every_160_samples(samples, frames):
    assert LogMel().encode(noise(samples)).shape == (frames, 80)
    assert LogMel().count(samples) == frames


@settings(max_examples=40, deadline=None)
@given(samples=st.integers(700, 20_000), rate=st.sampled_from([8_000, 16_000, 22_050, 44_100, 48_000]))
def test_count_is_the_length_of_encode_at_any_rate(samples, rate):
    assert LogMel(128).count(samples, rate) == len(LogMel(128).encode(noise(samples), rate))


def test_silence_is_minus_one_and_a_half_everywhere():
    for floor in ("clip", None, "running"):
        np.testing.assert_array_equal(LogMel(floor=floor).encode(np.zeros(16_000, np.float32)), np.float32(-1.5))
    # The fixed floor lies 8 decades under 1.5 whatever comes: (−6.5 + 4) / 4.
    np.testing.assert_array_equal(LogMel(floor="fixed").encode(np.zeros(16_000, np.float32)), np.float32(-0.625))


def test_each_floor_lies_eight_decades_under_its_maximum():
    clip = np.concatenate([noise(16_000, 1e-6), noise(16_000, 0.5), noise(16_000, 1e-6, seed=1)])
    bare = LogMel(floor=None).encode(clip) * 4 - 4  # log10 power
    floors = {
        "clip": np.full(len(bare), bare.max() - 8),
        "fixed": np.full(len(bare), 1.5 - 8),
        "running": np.array([bare[: k + 1].max() - 8 for k in range(len(bare))]),
    }
    for name, floor in floors.items():
        expected = (np.maximum(bare, floor[:, None]) + 4) / 4
        np.testing.assert_allclose(LogMel(floor=name).encode(clip), expected, rtol=0, atol=1e-6)


def test_a_loud_neighbour_in_the_batch_does_not_change_a_quiet_clip():
    quiet, loud = noise(16_000, 1e-5), noise(16_000, 1.0, seed=1)
    for mel in (LogMel(), LogMel(device="cpu")):
        alone = np.asarray(mel.encode(quiet))
        np.testing.assert_array_equal(np.asarray(mel.encode_batch([quiet, loud])[0]), alone)
        np.testing.assert_array_equal(np.asarray(mel.encode_batch([loud, noise(201), quiet])[2]), alone)
    # The same batch in whisper's own code lifts the quiet clip to the loud one's floor: what this test is for.
    batch = whisper.log_mel_spectrogram(np.stack([quiet, loud])).numpy()
    assert np.abs(batch[0].T - whisper.log_mel_spectrogram(quiet).numpy().T).max() > 0.1


def test_encode_neither_pads_nor_trims_and_a_window_says_what_it_padded():
    mel = LogMel()
    assert len(mel.encode(noise(500_000))) == 3125
    window = mel.window(noise(16_000))
    assert window.frames.shape == (3000, 80)
    assert (window.start, window.samples) == (0.0, 16_000)
    np.testing.assert_array_equal(window.frames, mel.encode(np.pad(noise(16_000), (0, 464_000))))
    with pytest.raises(ValueError, match=r"audio is 31\.25 s; a window holds 30 s.*trim=True"):
        mel.window(noise(500_000))
    np.testing.assert_array_equal(mel.window(noise(500_000), trim=True).frames, mel.encode(noise(500_000)[:480_000]))


def test_windows_cover_the_clip_and_each_has_its_own_floor():
    clip = np.concatenate([noise(480_000, 1.0), noise(1_000, 1e-5)])
    first, last = LogMel().windows(clip)
    assert (first.start, first.samples, last.start, last.samples) == (0.0, 480_000, 30.0, 1_000)
    np.testing.assert_array_equal(last.frames, LogMel().window(clip[480_000:]).frames)
    assert len(LogMel().windows(noise(480_000))) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e20])
@pytest.mark.parametrize("where", [0, 777, 1_000])  # the last is beyond every window
def test_a_sample_that_is_no_number_is_refused_by_name(bad, where):
    clip = noise(1_001)
    clip[where] = bad
    for mel in (LogMel(), LogMel(device="cpu")):
        with pytest.raises(ValueError, match=re.escape(f"audio sample {where} is {bad:g}")):
            mel.encode(clip)


def test_clipped_and_hot_audio_is_still_audio():
    for clip in (np.ones(1_000, np.float32), 50 * noise(1_000), np.full(1_000, -32768, np.int16)):
        assert np.isfinite(LogMel().encode(clip)).all()


def test_encode_changes_neither_its_argument_nor_depends_on_its_layout():
    clip = noise(5_000)
    kept = clip.copy()
    whole = LogMel().encode(clip)
    np.testing.assert_array_equal(clip, kept)
    frozen = clip.copy()
    frozen.setflags(write=False)
    strided = np.stack([clip, clip], axis=1)[:, 0]
    for same in (frozen, strided, clip.astype(np.float64), torch.from_numpy(clip), clip.astype(">f4")):
        np.testing.assert_array_equal(LogMel().encode(same), whole)


def test_int16_counts_as_its_full_scale():
    pcm = (noise(4_000) * 32767).astype(np.int16)
    np.testing.assert_array_equal(LogMel().encode(pcm), LogMel().encode(pcm.astype(np.float32) / 32768))


@pytest.mark.parametrize("floor", ["clip", "fixed", "running", None])
@pytest.mark.parametrize("bins", [80, 128])
def test_the_device_path_gives_the_same_frames(floor, bins):
    clip = noise(20_000)
    frames = LogMel(bins, floor, device="cpu").encode(clip)
    assert isinstance(frames, torch.Tensor)
    np.testing.assert_allclose(frames.numpy(), LogMel(bins, floor).encode(clip), rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("floor", ["clip", "fixed", "running", None])
def test_the_gpu_gives_the_same_frames_even_with_tf32_and_autocast(floor):
    clip = noise(480_000)
    expected = LogMel(80, floor).encode(clip)
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cuda", torch.bfloat16):
            frames = LogMel(80, floor, device="cuda").encode(torch.from_numpy(clip).cuda())
    finally:
        torch.set_float32_matmul_precision(before)
    assert frames.device.type == "cuda"
    np.testing.assert_allclose(frames.cpu().numpy(), expected, rtol=0, atol=1e-5)


def test_the_mode_that_torch_is_in_changes_nothing():
    program = """
import numpy as np, torch
from omni_tokenizers.audio import LogMel
clip = np.random.default_rng(0).standard_normal(9_000).astype(np.float32)
with torch.inference_mode(), torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
    torch.set_default_dtype(torch.float64)
    first = LogMel().encode(clip)  # the working memory is made here
    live = LogMel(floor="fixed").stream().push(clip)
torch.set_default_dtype(torch.float32)
assert first.dtype == np.float32
assert np.array_equal(first, LogMel().encode(clip))
assert np.array_equal(live, LogMel(floor="fixed").stream().push(clip))
"""
    subprocess.run([sys.executable, "-c", program], check=True)


def test_counting_needs_no_torch():
    program = (
        "import sys; from omni_tokenizers.audio import LogMel; LogMel().count(9_000); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_settings_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="bins is 64"):
        LogMel(64)
    with pytest.raises(ValueError, match="floor is 'batch'"):
        LogMel(floor="batch")
    with pytest.raises(ValueError, match="bins is 40"):
        mel_filters(40)
    with pytest.raises(ValueError, match="samples is -1"):
        LogMel().count(-1)
    assert isinstance(LogMel(), Tokenizer)
    assert LogMel(80) == LogMel(80, "clip")
    assert (LogMel.frame_rate, LogMel.sample_rate) == (100, 16_000)
