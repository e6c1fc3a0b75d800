"""nano's codec: live equals whole to the bit both ways, the sound is the sum it says it is, and what is refused."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.nano.codec.codec import NanoCodec
from omni.nano.codec.frame import FrameDecoder
from omni.nano.codec.fsq import Fsq
from omni.nano.codec.hearing import hear, pitch, windows
from omni.nano.codec.network import CodecNet, CodecSpec, Memory, pitch_codes, pitch_values
from omni.nano.codec.source_filter import (
    BANDS,
    FRAME,
    HARMONICS,
    NOISE_BANDS,
    NOISE_SAMPLES,
    RATE,
    SILENT,
    STEP,
    STEPS,
    TOP,
    TURN,
    Controls,
    amplitudes,
    cycle,
    mix,
    noise_table,
    signals,
)
from omni_tokenizers.audio import resample
from omni_tokenizers.audio.codec import Codec
from omni_tokenizers.tokenizer import Stream

SMALL = CodecSpec(encoder=16, encoder_blocks=1, decoder=16, decoder_blocks=1, fine=8, fine_blocks=1)


@pytest.fixture(scope="module")
def codec():
    torch.manual_seed(3)
    return NanoCodec(CodecNet(SMALL))


def sung(samples, hertz=187.3, seed=0):
    """A buzz at a pitch, in noise."""
    turns = np.arange(samples) * hertz / RATE
    noise = np.random.default_rng(seed).standard_normal(samples)
    return (0.2 * (2 * (turns % 1) - 1) + 0.02 * noise).astype(np.float32)


def cut(whole, lengths):
    pieces, at = [], 0
    for length in lengths:
        pieces.append(whole[at : at + length])
        at += length
    return [*pieces, whole[at:]]


def streamed(stream, pieces):
    return np.concatenate([*[stream.push(piece) for piece in pieces], stream.finish()])


@settings(max_examples=20, deadline=None)
@given(samples=st.integers(0, 9000), lengths=st.lists(st.integers(0, 3000), max_size=6))
def test_live_encoding_equals_encode_bit_for_bit_for_every_chunking(codec, samples, lengths):
    clip = sung(samples, seed=samples)
    whole = codec.encode(clip)
    assert np.array_equal(streamed(codec.stream(), cut(clip, lengths)), whole)
    assert whole.shape == (codec.count(samples), 12)
    assert whole.dtype == np.int32
    assert ((whole >= 0) & (whole < codec.book_sizes)).all()


@settings(max_examples=20, deadline=None)
@given(frames=st.integers(0, 45), lengths=st.lists(st.integers(0, 9), max_size=6), seed=st.integers(0, 99))
def test_live_decoding_equals_decode_bit_for_bit_for_every_chunking(codec, frames, lengths, seed):
    codes = np.random.default_rng(seed).integers(0, 64, (frames, 12))
    whole = codec.decode(codes)
    assert np.array_equal(streamed(codec.decoder(), cut(codes, lengths)), whole)
    assert whole.shape == (frames * FRAME,)
    assert whole.dtype == np.float32


@pytest.mark.parametrize("spec", [SMALL, CodecSpec()])
def test_what_decodes_a_frame_says_what_the_network_that_was_trained_says(spec):
    torch.manual_seed(4)
    net = CodecNet(spec).eval()
    decoder, memory = FrameDecoder(net.decoder), Memory()
    seen = decoder.start()
    with torch.inference_mode():
        for _ in range(7):
            values, octave = torch.rand(1, net.fsq.width) * 2 - 1, torch.rand(1)
            got, want = decoder(values, octave, seen), net.decoder(values[None], octave[None], memory)
            torch.testing.assert_close(got.pitch, want.pitch, rtol=1e-5, atol=0)
            torch.testing.assert_close(got.tone, want.tone, rtol=0, atol=1e-5)
            torch.testing.assert_close(got.noise, want.noise, rtol=0, atol=1e-5)


@settings(max_examples=5, deadline=None)
@given(rate=st.sampled_from([8000, 16_000, 44_100, 48_000]), length=st.integers(1, 2000))
def test_live_encoding_at_another_rate_equals_encode_at_that_rate(codec, rate, length):
    clip = sung(rate // 4)
    whole = codec.encode(clip, rate)
    assert np.array_equal(streamed(codec.stream(rate), cut(clip, [length] * 6)), whole)
    assert np.array_equal(codec.encode(resample(clip, rate, RATE)), whole)
    assert len(whole) == codec.count(len(clip), rate)


def test_it_is_a_codec_as_the_tokenizer_library_knows_them(codec):
    assert isinstance(codec, Codec)
    assert isinstance(codec.stream(), Stream)
    assert isinstance(codec.decoder(), Stream)
    assert (codec.sample_rate, codec.frame_rate, codec.book_sizes) == (24_000, 25.0, (64,) * 12)


def test_a_frame_of_codes_is_heard_at_once_and_nothing_is_held_back(codec):
    decoder = codec.decoder()
    codes = np.random.default_rng(1).integers(0, 64, (4, 12))
    assert [len(decoder.push(codes[i : i + 1])) for i in range(4)] == [FRAME] * 4
    assert len(decoder.finish()) == 0


def test_a_frame_of_sound_becomes_codes_one_frame_and_512_samples_after_its_end(codec):
    stream = codec.stream()
    needed = 2 * FRAME + 512
    assert len(stream.push(sung(needed - 1))) == 0
    assert len(stream.push(sung(1))) == 1
    assert len(stream.push(sung(FRAME))) == 1


def test_what_is_decoded_so_far_does_not_depend_on_what_follows(codec):
    codes = np.random.default_rng(2).integers(0, 64, (8, 12))
    other = codes.copy()
    other[5:] = 63 - other[5:]
    a, b = codec.decode(codes), codec.decode(other)
    assert np.array_equal(a[: 5 * FRAME], b[: 5 * FRAME])
    assert not np.array_equal(a[5 * FRAME :], b[5 * FRAME :])


def test_two_live_streams_of_one_codec_do_not_disturb_each_other(codec):
    one, two = (np.random.default_rng(seed).integers(0, 64, (6, 12)) for seed in (4, 5))
    first, second = codec.decoder(), codec.decoder()
    mixed = [(first.push(one[i : i + 1]), second.push(two[i : i + 1])) for i in range(6)]
    assert np.array_equal(np.concatenate([a for a, _ in mixed]), codec.decode(one))
    assert np.array_equal(np.concatenate([b for _, b in mixed]), codec.decode(two))


def test_a_finished_stream_refuses_more(codec):
    for stream, more in ((codec.stream(), np.zeros(10, np.float32)), (codec.decoder(), np.zeros((1, 12), int))):
        stream.finish()
        with pytest.raises(ValueError, match="finished: open another"):
            stream.push(more)
        with pytest.raises(ValueError, match="finished: open another"):
            stream.finish()


def test_a_code_out_of_range_is_named(codec):
    codes = np.zeros((3, 12), int)
    codes[1, 4] = 64
    with pytest.raises(ValueError, match="code 64 at frame 1, book 4"):
        codec.decode(codes)


def test_saved_and_loaded_it_says_the_same(codec, tmp_path):
    codec.save(tmp_path)
    again = NanoCodec.load(tmp_path)
    once_more = tmp_path / "again"
    again.save(once_more)
    codes = np.random.default_rng(6).integers(0, 64, (5, 12))
    # half precision rounds once: from then on it is the same to the bit
    assert np.array_equal(again.decode(codes), NanoCodec.load(once_more).decode(codes))
    # and it rounds, nothing more: each weight is within 2⁻¹¹ of what it was
    before, after = codec.net.state_dict(), again.net.state_dict()
    assert all(torch.allclose(after[name], before[name], rtol=2**-11, atol=1e-7) for name in before)


def test_a_folder_without_a_codec_and_an_unknown_format_are_named(codec, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no codec\.json"):
        NanoCodec.load(tmp_path)
    codec.save(tmp_path)
    about = json.loads((tmp_path / "codec.json").read_text())
    (tmp_path / "codec.json").write_text(json.dumps(about | {"format": 9}))
    with pytest.raises(ValueError, match="format 9, and this version reads 1"):
        NanoCodec.load(tmp_path)


def test_every_code_means_other_values_and_is_found_again():
    fsq = Fsq(books=2)
    entries = torch.arange(64)[:, None].expand(-1, 2)
    values = fsq.values(entries)
    assert len(torch.unique(values[:, :2], dim=0)) == 64
    z = torch.atanh(values.clamp(-0.999, 0.999))
    assert torch.equal(fsq.codes(z), entries)
    assert torch.allclose(fsq.quantize(z), values, atol=1e-6)


def test_the_gradient_goes_through_the_rounding():
    z = torch.tensor([[0.3, -0.4]], requires_grad=True)
    Fsq(books=1).quantize(z).sum().backward()
    assert torch.allclose(z.grad, 1 - torch.tanh(z.detach()).square(), atol=1e-5)


def test_pitch_codes_are_nineteen_cents_apart_over_an_octave():
    octaves = pitch_values(torch.arange(64))
    assert torch.equal(pitch_codes(octaves), torch.arange(64))
    assert octaves[0] == 0
    assert octaves[-1] == 1
    assert torch.equal(pitch_codes(torch.tensor([-3.0, 7.0])), torch.tensor([0, 63]))


@pytest.mark.parametrize("hertz", [135.0, 166.4, 187.3, 203.9, 240.0])
def test_the_pitch_of_a_buzz_is_found_within_a_fifth_of_a_percent(hertz):
    found, periodic = pitch(windows(torch.from_numpy(sung(5 * FRAME, hertz))))
    assert (found[1:4] / hertz - 1).abs().max() < 0.002
    assert periodic[1:4].min() > 0.9


def test_noise_and_silence_have_no_pitch():
    noise = torch.from_numpy(np.random.default_rng(0).standard_normal(6 * FRAME).astype(np.float32)) * 0.1
    assert hear(windows(noise))[2].sum() < 0.05
    assert hear(windows(torch.zeros(3 * FRAME)))[2].sum() == 0


def test_the_sound_is_the_sum_of_sines_that_the_controls_name():
    steps, hertz = 2 * STEPS, 170.0
    generator = torch.Generator().manual_seed(1)
    tone = torch.rand(1, steps, BANDS, generator=generator) * 3 - 5
    controls = Controls(torch.full((1, steps), hertz), tone, torch.full((1, steps, NOISE_BANDS), -20.0))
    loud = amplitudes(controls)
    turns = cycle(controls.pitch[:, 0], controls.pitch, torch.zeros(1, dtype=torch.float64))
    silence = torch.zeros(1, NOISE_BANDS, steps * STEP)
    sound = mix(torch.zeros_like(loud[:, :1]), loud, signals(turns, silence))[0].double().numpy()
    # In double precision, harmonic by harmonic: envelope straight in mel, loudness straight between steps.
    mels = lambda f: 2595 * np.log10(1 + f / 700)  # noqa: E731 – a formula, once
    grid = np.linspace(mels(80), mels(TOP), BANDS)
    time = np.arange(1, steps * STEP + 1)
    expected = np.zeros(steps * STEP)
    for k in range(1, HARMONICS + 1):
        if k * hertz >= TOP:
            break
        envelope = [np.interp(mels(k * hertz), grid, row) for row in tone[0].double().numpy()]
        ends = np.concatenate([[0], np.exp(envelope) - SILENT])
        sign = (1 if k % 2 else -1) * (1 if k * hertz < TURN else -1)
        expected += (
            sign * np.interp(time, np.arange(steps + 1) * STEP, ends) * np.sin(2 * np.pi * k * hertz * time / RATE)
        )
    assert np.abs(sound - expected).max() < 2e-3 * np.abs(expected).max()


def test_controls_at_the_floor_are_silence_and_not_a_faint_buzz():
    steps = STEPS
    floor = float(np.log(SILENT))
    quiet = Controls(
        torch.full((1, steps), 180.0),
        torch.full((1, steps, BANDS), floor - 1),
        torch.full((1, steps, NOISE_BANDS), floor - 1),
    )
    assert amplitudes(quiet).abs().max() == 0


def test_a_band_of_noise_sounds_where_it_says_and_joins_itself():
    table = noise_table()
    power = torch.fft.rfft(table).abs().square()
    hertz = torch.linspace(0, RATE / 2, NOISE_SAMPLES // 2 + 1)
    centre = (power * hertz).sum(1) / power.sum(1)
    assert (centre[1:] > centre[:-1]).all()
    assert power[:, hertz > TOP].max() < 1e-3 * power.max()
    assert torch.allclose(table.sum(0).std(), torch.tensor((TOP / (RATE / 2)) ** 0.5), rtol=0.05)
    jump = (table[:, 0] - table[:, -1]).abs()
    assert (jump <= (table[:, 1:] - table[:, :-1]).abs().max(1).values).all()


def test_the_shipped_shape_is_within_its_limits():
    net = CodecNet(CodecSpec())
    assert sum(p.numel() for p in net.decoder.parameters()) <= 2_000_000
    assert sum(p.numel() for p in net.parameters()) * 2 <= 8 << 20  # bytes in half precision
