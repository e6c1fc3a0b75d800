"""The training of nano's codec: the targets are right, it learns, resumes with the same weights, and freezes codes."""

import numpy as np
import pytest
import torch

from omni.nano.codec import NanoCodec
from omni.nano.codec.codec import SHIPPED
from omni.nano.codec.network import CodecNet, CodecSpec
from omni.nano.codec.source_filter import (
    BANDS,
    FRAME,
    NOISE_BANDS,
    NOISE_SAMPLES,
    RATE,
    STEP,
    STEPS,
    Controls,
    amplitudes,
    cycle,
    mix,
    noise_table,
    signals,
)
from omni.train.codec.analysis import take_apart
from omni.train.codec.data import Speech, codes_of, observed, trained, utterance
from omni.train.codec.scores import Listener, likeness, sentences, spoken, wrong_words
from omni.train.codec.training import Training, TrainSpec

SMALL = CodecSpec(encoder=24, encoder_blocks=1, decoder=24, decoder_blocks=1, fine=16, fine_blocks=1)
QUICK = TrainSpec(frames=6, batch=2, heard=1, sounded=4, frozen=8, steps=12)


def made_up(frames: int, seed: int) -> torch.Tensor:
    """A voice whose pitch and timbre move slowly, put together by the decoder's own synthesis, with some noise."""
    generator = torch.Generator().manual_seed(seed)
    steps = frames * STEPS
    time = torch.arange(steps) / STEPS
    pitch = 175 + 20 * torch.sin(time / 3 + seed)
    shape = torch.randn(3, BANDS, generator=generator).cumsum(1) / 4
    tone = (
        -4 - 0.04 * torch.arange(BANDS) + shape[0] * torch.sin(time[:, None]) + shape[1] * torch.cos(time[:, None] / 2)
    )
    noise = torch.full((steps, NOISE_BANDS), -7.0)
    controls = Controls(pitch[None], tone[None].clamp(max=-2), noise[None])
    loud = amplitudes(controls)
    turns = cycle(controls.pitch[:, 0], controls.pitch, torch.zeros(1, dtype=torch.float64))
    noises = noise_table().repeat(1, steps * STEP // NOISE_SAMPLES + 1)[None, :, : steps * STEP]
    return mix(torch.zeros_like(loud[:, :1]), loud, signals(turns, noises))[0]


@pytest.fixture(scope="module")
def pool() -> list[Speech]:
    return [observed(made_up(30, seed)) for seed in range(2)]


def test_analysis_finds_the_pitch_and_the_envelope_that_a_voice_was_made_with() -> None:
    steps = 12 * STEPS
    pitch = torch.linspace(165, 195, steps)
    grid = torch.linspace(0, 1, BANDS)
    tone = (-3 - 3 * grid + torch.sin(9 * grid)).expand(steps, -1)
    controls = Controls(pitch[None], tone[None], torch.full((1, steps, NOISE_BANDS), -20.0))
    loud = amplitudes(controls)
    turns = cycle(controls.pitch[:, 0], controls.pitch, torch.zeros(1, dtype=torch.float64))
    sound = mix(torch.zeros_like(loud[:, :1]), loud, signals(turns, torch.zeros(1, NOISE_BANDS, steps * STEP)))[0]
    parts = take_apart(sound)
    inside = slice(STEPS, steps - STEPS)
    assert parts.voiced[inside].all()
    assert (parts.pitch[inside] / pitch[inside] - 1).abs().max() < 0.002
    # below the second band nothing is heard of the envelope: the first harmonic is above it
    assert (parts.tone[inside, 6:60] - tone[inside, 6:60]).abs().mean() < 0.03


def test_analysis_and_synthesis_together_give_a_vowel_back_sample_by_sample() -> None:
    pytest.importorskip("espeakng_loader")
    sound = utterance("Aaaah.")
    parts = take_apart(sound)
    loud = amplitudes(Controls(parts.pitch[None], parts.tone[None], parts.noise[None]))
    silence = torch.zeros(1, NOISE_BANDS, len(sound))
    again = mix(torch.zeros_like(loud[:, :1]), loud, signals(parts.turns[None], silence))[0]
    level = sound.unfold(0, FRAME, FRAME).square().mean(1)
    at = int(level.argmax())
    piece = slice(at * FRAME, (at + 1) * FRAME)
    assert (sound[piece] - again[piece]).square().sum() < 0.03 * sound[piece].square().sum()  # 15 dB


def test_training_learns(pool: list[Speech]) -> None:
    training = Training(TrainSpec(frames=8, batch=2, sounded=99, frozen=90, steps=100, rate=0.03), SMALL)
    losses = [training.advance(pool)["tone"].item() for _ in range(40)]
    assert np.mean(losses[-5:]) < 0.8 * np.mean(losses[:5])


def test_going_on_from_a_checkpoint_gives_the_weights_of_not_stopping(pool: list[Speech], tmp_path) -> None:
    whole, first = Training(QUICK, SMALL), Training(QUICK, SMALL)
    for _ in range(10):
        whole.advance(pool)
    for _ in range(6):  # stops where the sound counts already and the encoder is not frozen yet
        first.advance(pool)
    first.save(tmp_path / "state.safetensors")
    second = Training(QUICK, SMALL)
    second.load(tmp_path / "state.safetensors")
    while second.step < whole.step:
        second.advance(pool)
    ours, theirs = second.net.state_dict(), whole.net.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_codes_keep_their_meaning_once_the_encoder_is_frozen(pool: list[Speech]) -> None:
    training = Training(TrainSpec(frames=8, batch=2, heard=1, sounded=2, frozen=4, steps=8), SMALL)
    for _ in range(4):
        training.advance(pool)
    before = {name: tensor.clone() for name, tensor in training.net.state_dict().items()}
    for _ in range(4):
        training.advance(pool)
    after = training.net.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before if name.startswith("encoder"))
    assert any(not torch.equal(after[name], before[name]) for name in before if name.startswith("decoder"))


def test_codes_of_a_whole_utterance_are_those_of_encode() -> None:
    torch.manual_seed(0)
    codec = NanoCodec(CodecNet(SMALL))
    sound = made_up(20, 5)[: 19 * FRAME + 100]
    whole, quick = codec.encode(sound), codes_of(codec, sound)
    assert quick.shape == whole.shape
    assert (quick == whole).mean() > 0.99  # a channel near a tie may fall to the other side


def test_word_errors_are_counted_as_replaced_left_out_and_put_in() -> None:
    assert wrong_words("a b c".split(), "a b c".split()) == 0
    assert wrong_words("a b c".split(), "a x c d".split()) == 2
    assert wrong_words("a b c".split(), []) == 3
    assert spoken("It's Monday, two-fold.") == ["it's", "monday", "two", "fold"]


@pytest.mark.skipif(not SHIPPED.exists(), reason="the weights of the codec are not in this checkout")
def test_the_shipped_codec_is_like_the_original_on_sentences_it_never_saw() -> None:
    for name in ("pesq", "pystoi", "espeakng_loader"):
        pytest.importorskip(name)
    assert not trained() & set(sentences(60, 77, "test"))
    scores = likeness(NanoCodec.load(), [utterance(text) for text in sentences(4, 77, "test")])
    assert np.mean(scores["stoi"]) >= 0.92
    assert np.mean(scores["pesq"]) >= 2.8


@pytest.mark.skipif(not SHIPPED.exists(), reason="the weights of the codec are not in this checkout")
def test_a_recogniser_that_is_not_ours_hears_the_shipped_codec() -> None:
    for name in ("pocketsphinx", "espeakng_loader"):
        pytest.importorskip(name)
    codec = NanoCodec.load()
    said = ["seven", "Monday", "twenty", "three"]
    listener = Listener(" | ".join(word.lower() for word in said))
    heard = [listener.hear(codec.decode(codec.encode(utterance(word + ".")))) for word in said]
    assert heard == [[word.lower()] for word in said]


def test_the_voice_is_at_the_rate_and_length_that_frames_need() -> None:
    pytest.importorskip("espeakng_loader")
    sound = utterance("Two.")
    assert len(sound) % FRAME == 0
    assert 0.2 * RATE < len(sound) < 2 * RATE
    assert sound[:960].abs().max() == 0
