"""Live log-Mel and live resampling equal the offline ones, bit for bit, however the audio is cut."""

import threading

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_tokenizers.audio import LogMel, Resampler, mel_blocks, resample, resampled_count
from omni_tokenizers.tokenizer import CannotStream, Stream

FLOORS = st.sampled_from(["fixed", "running", None])


def noise(samples: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    # Loud and quiet stretches, so that a floor which sees too much or too little shows.
    return (rng.standard_normal(samples) * 10 ** rng.uniform(-5, 0, samples // 800 + 1).repeat(800)[:samples]).astype(
        np.float32
    )


def cut(clip, lengths):
    """Cut a clip in pieces of these lengths, over and over; an empty piece among them is a piece."""
    pieces, at = [], 0
    while at < len(clip):
        for length in [*lengths, 1]:  # 1, so that it always ends
            pieces.append(clip[at : at + length])
            at += length
    return pieces


def streamed(stream, pieces):
    return np.concatenate([*[stream.push(piece) for piece in pieces], stream.finish()])


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(201, 5_000),
    lengths=st.lists(st.integers(0, 2_500), min_size=1, max_size=5),
    floor=FLOORS,
    bins=st.sampled_from([80, 128]),
)
def test_a_stream_equals_encode_for_every_chunking(samples, lengths, floor, bins):
    clip = noise(samples)
    mel = LogMel(bins, floor)
    frames = streamed(mel.stream(), cut(clip, lengths))
    np.testing.assert_array_equal(frames, mel.encode(clip))
    assert len(frames) == mel.count(samples)


@pytest.mark.parametrize("channels", [1, 2, 6])
@pytest.mark.parametrize("axis", [0, 1])
def test_short_pieces_of_several_channels_are_read_as_the_longer_ones_before_them(channels, axis):
    clip = np.stack([noise(2000, seed) for seed in range(channels)])  # [channels, samples]
    pieces = [clip[:, :400], *(clip[:, at : at + 16] for at in range(400, 2000, 16))]
    pieces = pieces if axis == 0 else [piece.T for piece in pieces]
    mel = LogMel(floor="fixed")
    stream = mel.stream()
    for _ in range(2):
        np.testing.assert_array_equal(streamed(stream, pieces), mel.encode(clip))
        with pytest.raises(ValueError, match=r"either axis.*as_waveform\(samples, channel_axis=0\)"):
            mel.stream().push(pieces[1] if channels > 1 else np.zeros((5, 4)))
        stream.reset()
    resampler = Resampler(48_000, 16_000)
    np.testing.assert_array_equal(streamed(resampler, pieces), resample(clip, 48_000, 16_000))


def test_a_piece_of_other_channels_than_before_is_read_by_its_own_shape_or_refused():
    stream = LogMel(floor="fixed").stream()
    stream.push(np.zeros((2, 400)))
    stream.push(np.zeros((400, 3)))
    stream.push(np.zeros((16, 3)))
    with pytest.raises(ValueError, match="either axis"):
        stream.push(np.zeros((2, 16)))


@pytest.mark.parametrize("samples", [201, 239, 240, 359, 360, 399, 400, 401, 519, 520, 15_999, 16_000, 16_001])
@pytest.mark.parametrize("piece", [1, 7, 160, 320])
def test_a_stream_equals_encode_at_every_edge(samples, piece):
    samples = samples if piece > 1 else min(samples, 600)
    clip, mel = noise(samples), LogMel(floor="running")
    np.testing.assert_array_equal(streamed(mel.stream(), cut(clip, [piece] * 50)), mel.encode(clip))


@settings(max_examples=25, deadline=None)
@given(
    rate=st.sampled_from([8_000, 11_025, 24_000, 44_100, 48_000]),
    samples=st.integers(1_500, 9_000),
    lengths=st.lists(st.integers(0, 3_000), min_size=1, max_size=4),
    floor=FLOORS,
)
def test_a_stream_at_another_rate_equals_encode(rate, samples, lengths, floor):
    clip, mel = noise(samples), LogMel(floor=floor)
    frames = streamed(mel.stream(rate=rate), cut(clip, lengths))
    np.testing.assert_array_equal(frames, mel.encode(clip, rate))
    assert len(frames) == mel.count(samples, rate)


def test_a_long_clip_fills_whole_runs_and_parts_of_one_with_the_same_bits():
    clip, mel = noise(16_000 * 23), LogMel(floor="fixed")
    np.testing.assert_array_equal(streamed(mel.stream(), cut(clip, [320])), mel.encode(clip))
    np.testing.assert_array_equal(streamed(mel.stream(), [clip]), mel.encode(clip))


def test_two_threads_of_torch_give_a_stream_the_same_bits():
    clip, mel = noise(16_000 * 8), LogMel(floor="fixed")
    before = torch.get_num_threads()
    alone = streamed(mel.stream(), cut(clip, [320]))
    torch.set_num_threads(2)
    try:
        np.testing.assert_array_equal(mel.encode(clip), alone)
    finally:
        torch.set_num_threads(before)


def test_cells_are_steady_here_and_computed_alone_where_they_are_not(monkeypatch):
    assert mel_blocks.steady(80)
    assert mel_blocks.steady(128)
    clip, mel = noise(20_000), LogMel(floor="fixed")
    together = mel.encode(clip)
    monkeypatch.setattr(mel_blocks, "steady", lambda bins: False)
    np.testing.assert_array_equal(mel.encode(clip), together)


def test_a_frame_comes_with_the_sample_that_completes_it():
    stream = LogMel(floor="fixed").stream()
    given_at = [at for at in range(1, 700) if len(stream.push(np.zeros(1, np.float32)))]
    assert given_at == [201, 360, 520, 680]  # the very first waits one sample more, for its reflection
    assert stream.latency == pytest.approx(0.0125)


def test_the_clip_floor_refuses_to_stream_and_says_why():
    with pytest.raises(CannotStream, match=r"maximum over the whole clip.*floor='fixed'"):
        LogMel().stream()
    with pytest.raises(CannotStream, match="device='cpu'"):
        LogMel(floor="fixed", device="cpu").stream()


def test_a_stream_holds_no_more_than_two_windows_and_not_the_callers_buffer():
    stream = LogMel(floor="running").stream()
    buffer = np.empty(320, np.float32)
    clip = noise(32_000)
    frames = []
    for start in range(0, len(clip), 320):
        buffer[:] = clip[start : start + 320]
        frames.append(stream.push(buffer))
        assert stream.state.held.nbytes <= 2 * 400 * 4
        assert stream.state.held.base is None
        buffer[:] = np.nan  # a live source uses its buffer again
    np.testing.assert_array_equal(np.concatenate([*frames, stream.finish()]), LogMel(floor="running").encode(clip))


def test_a_stream_takes_raw_pcm_bytes_and_stereo():
    pcm = (noise(3_200) * 20_000).clip(-32768, 32767).astype("<i2")
    mel = LogMel(floor="fixed")
    whole = mel.encode(pcm)
    np.testing.assert_array_equal(streamed(mel.stream(), [pcm[:700].tobytes(), pcm[700:].tobytes()]), whole)
    np.testing.assert_array_equal(streamed(mel.stream(), [memoryview(pcm[:701]), memoryview(pcm[701:])]), whole)
    with pytest.raises(ValueError, match="3 bytes of 16-bit PCM end inside a sample"):
        mel.stream().push(b"abc")
    stereo = np.stack([pcm, pcm[::-1]], axis=1)  # [samples, channels]
    np.testing.assert_array_equal(streamed(mel.stream(), [stereo[:900], stereo[900:]]), mel.encode(stereo))


@pytest.mark.parametrize("samples", [0, 1, 200])
def test_too_short_a_stream_is_refused_at_its_end_as_encode_refuses_it(samples):
    stream = LogMel(floor="fixed").stream()
    assert stream.push(np.zeros(samples, np.float32)).shape == (0, 80)
    with pytest.raises(ValueError, match=f"{samples} samples at 16 kHz.*needs 201"):
        stream.finish()


def test_a_finished_stream_is_closed_until_reset():
    clip, mel = noise(1_000), LogMel(floor="running")
    stream = mel.stream(rate=48_000)
    assert isinstance(stream, Stream)
    first = streamed(stream, [clip])
    for call in (lambda: stream.push(clip), stream.finish):
        with pytest.raises(ValueError, match="finished: reset"):
            call()
    stream.reset()
    np.testing.assert_array_equal(streamed(stream, [clip]), first)


def test_a_bad_sample_is_refused_and_the_stream_goes_on_without_that_piece():
    clip, mel = noise(2_000), LogMel(floor="fixed")
    stream = mel.stream()
    frames = [stream.push(clip[:1_000])]
    with pytest.raises(ValueError, match="sample 3 is nan"):
        stream.push(np.array([0, 0, 0, np.nan], np.float32))
    frames += [stream.push(clip[1_000:]), stream.finish()]
    np.testing.assert_array_equal(np.concatenate(frames), mel.encode(clip))


def test_streams_of_many_threads_do_not_disturb_each_other():
    clips = [noise(16_000, seed) for seed in range(4)]
    mel, results = LogMel(floor="running"), {}

    def work(number):
        results[number] = streamed(mel.stream(), cut(clips[number], [320] * 50))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, clip in enumerate(clips):
        np.testing.assert_array_equal(results[number], mel.encode(clip))


@settings(max_examples=40, deadline=None)
@given(
    rates=st.tuples(*[st.sampled_from([8_000, 16_000, 22_050, 24_000, 44_100, 48_000])] * 2),
    samples=st.integers(0, 6_000),
    lengths=st.lists(st.integers(0, 2_000), min_size=1, max_size=4),
)
def test_a_live_resampler_equals_the_offline_one_for_every_chunking(rates, samples, lengths):
    clip = noise(samples)
    live = streamed(Resampler(*rates), cut(clip, lengths))
    np.testing.assert_array_equal(live, resample(clip, *rates))
    assert len(live) == resampled_count(samples, *rates)


@pytest.mark.parametrize(
    ("rates", "samples"), [((24_000, 44_100), 4200), ((44_100, 48_000), 147), ((48_000, 32_000), 3)]
)
def test_a_length_that_falls_on_a_half_is_counted_as_it_comes_out(rates, samples):
    assert len(resample(noise(samples), *rates)) == resampled_count(samples, *rates)
    every_half = [n for n in range(1, 1200) if 2 * n * rates[1] % rates[0] == 0]
    for n in every_half:
        assert len(resample(np.zeros(n, np.float32), *rates)) == resampled_count(n, *rates)


def test_a_resampler_says_its_latency_and_no_sample_waits_longer():
    resampler = Resampler(48_000, 16_000)
    assert 0 < resampler.latency < 0.1
    assert Resampler(16_000, 16_000).latency == 0
    given = 0
    for pushed in range(480, 48_000 * 3, 480):
        given += len(resampler.push(np.zeros(480, np.float32)))
        assert pushed / 48_000 - given / 16_000 <= resampler.latency + 480 / 48_000


def test_a_resampler_begins_again_after_reset_and_refuses_what_is_no_rate():
    clip = noise(3_000)
    resampler = Resampler(44_100, 16_000)
    first = streamed(resampler, [clip])
    with pytest.raises(ValueError, match="finished"):
        resampler.push(clip)
    with pytest.raises(ValueError, match="finished"):
        resampler.finish()
    resampler.reset()
    np.testing.assert_array_equal(streamed(resampler, [clip]), first)
    with pytest.raises(ValueError, match="rate_in is 0 Hz"):
        Resampler(0, 16_000)
    with pytest.raises(TypeError, match=r"rate_out is 16000\.0"):
        Resampler(48_000, 16_000.0)
    with pytest.raises(ValueError, match="quality is 'best'"):
        Resampler(48_000, 16_000, quality="best")
