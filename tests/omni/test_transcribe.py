"""The guards against invented text, and the voice that is asked before anything is decoded."""

import numpy as np
import pytest
import torch

from omni.model.families.whisper import stack
from omni.model.whisper import Whisper, WhisperSpec
from omni.speech.decode_window import Decoded
from omni.speech.guard import Guard
from omni.speech.transcribe import Transcriber
from omni.speech.voice import join, silero
from omni_tokenizers import Text
from tests.parity.published import randomise

RATE = 16_000
NAMES = ["endoftext", "startoftranscript", "en", "de", "translate", "transcribe", "startoflm", "startofprev"]
NAMES += ["nospeech", "notimestamps", *[f"{i * 0.02:.2f}" for i in range(1501)]]


@pytest.fixture(scope="module")
def text() -> Text:
    words = ["hello there how are you - ' one two three"] * 3
    return Text.train(words, vocab_size=1800, special=[f"<|{name}|>" for name in NAMES])


@pytest.fixture(scope="module")
def model(text: Text) -> Whisper:
    torch.manual_seed(0)  # biases begin at random
    encoder, decoder = stack(16, 2, 16, 1, cross=False), stack(16, 2, 16, 1, cross=True)
    found = Whisper(WhisperSpec(80, text.size, encoder, decoder, 1500, 64))
    randomise(found)
    with torch.no_grad():
        found.decoder.embedding.weight[text.special["<|endoftext|>"] :] *= 0.3  # words are likelier than times
    return found.eval()


def noise(seconds: float) -> np.ndarray:
    return (0.1 * np.random.default_rng(1).standard_normal(int(seconds * RATE))).astype(np.float32)


ANYTHING = Guard((0.0,), None, None, None)


@pytest.mark.parametrize(
    ("decoded", "text", "verdict"),
    [
        (Decoded((), -0.3, 0.1, 0.0), "good morning", "keep"),
        (Decoded((), -0.3, 0.9, 0.0), "good morning", "keep"),  # it is sure: the no-speech token alone decides nothing
        (Decoded((), -1.3, 0.9, 0.0), "thanks for watching", "silent"),
        (Decoded((), -1.3, 0.1, 0.0), "good mourning", "again"),
        (Decoded((), -0.1, 0.1, 0.0), "so so so so so so so so so so so so so so so so so so so so", "again"),
    ],
)
def test_the_verdict_on(decoded: Decoded, text: str, verdict: str) -> None:
    assert Guard().verdict(decoded, text) == verdict


def test_a_switched_off_sign_is_not_read() -> None:
    assert ANYTHING.verdict(Decoded((), -9.0, 0.99, 0.0), "so " * 99) == "keep"


def test_where_nobody_speaks_nothing_is_decoded_and_nothing_said(model: Whisper, text: Text) -> None:
    transcriber = Transcriber(model, text, voice=lambda _: [], guard=ANYTHING)

    found = transcriber.transcribe(noise(3), RATE, language="en")
    assert (found.text, found.segments) == ("", ())


def test_segments_lie_where_somebody_speaks(model: Whisper, text: Text) -> None:
    transcriber = Transcriber(model, text, voice=lambda _: [(2.0, 3.0), (9.5, 11.0)], guard=ANYTHING, longest=8)
    found = transcriber.transcribe(noise(12), RATE, language="en", timestamps=False)
    assert [(s.start, s.end) for s in found.segments] == [(2.0, 3.0), (9.5, 11.0)]
    everywhere = Transcriber(model, text, guard=ANYTHING, longest=8).transcribe(
        noise(12), RATE, language="en", timestamps=False
    )
    assert [(s.start, s.end) for s in everywhere.segments] == [(0.0, 12.0)]


def test_a_window_that_the_guard_takes_for_silent_says_nothing(model: Whisper, text: Text) -> None:
    silent = Guard((0.0,), None, 0.0, -1.0)  # any doubt is doubt, any probability is silence
    found = Transcriber(model, text, guard=silent, longest=8).transcribe(noise(3), RATE, language="en")
    assert found.segments == ()


def test_a_doubtful_window_is_tried_at_every_temperature(model: Whisper, text: Text) -> None:
    doubtful = Guard((0.0, 0.3, 0.9), None, 0.0, None)
    torch.manual_seed(0)
    found = Transcriber(model, text, guard=doubtful, longest=8).transcribe(
        noise(3), RATE, language="en", timestamps=False
    )
    assert {segment.temperature for segment in found.segments} == {0.9}


def test_a_generator_makes_drawn_text_repeatable(model: Whisper, text: Text) -> None:
    hot = Transcriber(model, text, guard=Guard((1.0,), None, None, None), longest=8)
    texts = [
        hot.transcribe(noise(2), RATE, language="en", generator=torch.Generator().manual_seed(seed)).text
        for seed in (1, 1, 2)
    ]
    assert texts[0] == texts[1] != texts[2]


def test_an_empty_clip_has_an_empty_transcript(model: Whisper, text: Text) -> None:
    assert Transcriber(model, text).transcribe(np.zeros(0, np.float32), RATE, language="en").text == ""


def test_a_clip_of_a_few_milliseconds_is_decoded(model: Whisper, text: Text) -> None:
    found = Transcriber(model, text, guard=ANYTHING, longest=4).transcribe(noise(0.05), RATE, language="en")
    assert found.language == "en"


def test_silero_finds_speech_and_no_noise_and_leaves_the_threads_alone() -> None:
    threads = torch.get_num_threads()
    voice = silero()
    assert torch.get_num_threads() == threads
    assert list(voice(noise(2))) == []
    assert list(voice(np.zeros(2 * RATE, np.float32))) == []


def test_breaths_do_not_cut_a_sentence() -> None:
    assert join([(0.0, 1.0), (1.5, 2.0), (9.0, 9.5)], gap=1.0) == [(0.0, 2.0), (9.0, 9.5)]
