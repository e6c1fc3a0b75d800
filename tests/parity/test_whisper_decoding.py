"""openai-whisper's decoding on the same random weights: task tokens, rules, windows, fallback and seeking."""

from pathlib import Path

import numpy as np
import pytest
import torch
import whisper
from whisper.decoding import ApplyTimestampRules, DecodingOptions, SuppressBlank
from whisper.model import ModelDimensions
from whisper.tokenizer import LANGUAGES, Tokenizer, get_tokenizer

from omni.model.families.whisper import build, names
from omni.model.weights import fill, plan
from omni.model.whisper import Whisper
from omni.speech.decode_window import decode_windows, detect_language
from omni.speech.guard import Guard, compression
from omni.speech.logit_rules import NoBlankStart, Suppress, TimestampRules
from omni.speech.task_tokens import TaskTokens, unspoken
from omni.speech.transcribe import Transcriber
from omni_tokenizers import LogMel, Text

ASSETS = Path(whisper.__file__).parent / "assets"
DIMENSIONS = {
    "n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 16, "n_audio_head": 2, "n_audio_layer": 1,
    "n_vocab": 51865, "n_text_ctx": 64, "n_text_state": 16, "n_text_head": 2, "n_text_layer": 2,
}  # fmt: skip
PLACES = 1500


def vocabulary(name: str = "multilingual", languages: int = 99) -> Text:
    special = ["<|endoftext|>", "<|startoftranscript|>", *[f"<|{code}|>" for code in list(LANGUAGES)[:languages]]]
    special += [f"<|{n}|>" for n in ("translate", "transcribe", "startoflm", "startofprev", "nospeech", "notimestamps")]
    special += [f"<|{i * 0.02:.2f}|>" for i in range(1501)]
    return Text.load((ASSETS / f"{name}.tiktoken").read_bytes(), pattern="gpt2", special=special)


@pytest.fixture(scope="module")
def text() -> Text:
    return vocabulary()


@pytest.fixture(scope="module")
def tokens(text: Text) -> TaskTokens:
    return TaskTokens.of(text.special)


@pytest.fixture(scope="module")
def published() -> whisper.model.Whisper:
    torch.manual_seed(0)
    model = whisper.model.Whisper(ModelDimensions(**DIMENSIONS)).eval()
    tokenizer = get_tokenizer(True)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * (0.5 if parameter.ndim > 1 else 0.1))
        # Random weights never end a text and never say a time; a learned one does both now and then.
        table = model.decoder.token_embedding.weight
        model.decoder.ln.bias.copy_(0.15 * table[tokenizer.eot])
        table[tokenizer.timestamp_begin :] *= 0.7
    return model


@pytest.fixture(scope="module")
def ours(published: whisper.model.Whisper) -> Whisper:
    model = build(DIMENSIONS)
    assert isinstance(model, Whisper)
    state = published.state_dict()
    how = plan(names(DIMENSIONS), list(state), list(model.state_dict()))
    assert not how.missing
    fill(model, how, lambda name: state[name].clone(), torch.float32, "cpu")
    return model.eval()


def some_mel(rows: int) -> torch.Tensor:
    return torch.randn(rows, 2 * PLACES, 80, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(("name", "languages"), [("multilingual", 99), ("multilingual", 100), ("gpt2", 99)])
def test_task_tokens_have_the_published_ids(name: str, languages: int) -> None:
    text = vocabulary(name, languages)
    ours = TaskTokens.of(text.special)
    multilingual = name == "multilingual"
    theirs: Tokenizer = get_tokenizer(multilingual, num_languages=languages, language="de", task="translate")
    assert (ours.start, ours.end, ours.no_timestamps) == (theirs.sot, theirs.eot, theirs.no_timestamps)
    assert (ours.previous, ours.no_speech) == (theirs.sot_prev, theirs.no_speech)
    assert ours.first_timestamp == theirs.timestamp_begin
    assert unspoken(text.encode) == theirs.non_speech_tokens
    if multilingual:
        assert ours.languages == dict(zip(theirs.all_language_codes, theirs.all_language_tokens, strict=True))
        assert ours.prompt("de", "translate") == list(theirs.sot_sequence)
        assert ours.prompt("de", "translate", timestamps=False) == list(theirs.sot_sequence_including_notimestamps)
    else:
        assert ours.prompt("en") == list(theirs.sot_sequence) == [theirs.sot]


def test_an_english_model_says_that_it_cannot_translate() -> None:
    tokens = TaskTokens.of(vocabulary("gpt2").special)
    with pytest.raises(ValueError, match="only transcribes English"):
        tokens.prompt("de", "translate")


def test_an_unknown_language_is_named_with_the_known_ones(tokens: TaskTokens) -> None:
    with pytest.raises(ValueError, match=r"'xx'.*en, zh, de"):
        tokens.prompt("xx")


def test_after_any_history_the_same_tokens_may_follow(tokens: TaskTokens, text: Text) -> None:
    tokenizer = get_tokenizer(True)
    rules = [NoBlankStart((*text.encode(" "), tokens.end)), TimestampRules(tokens)]
    filters = [SuppressBlank(tokenizer, 3), ApplyTimestampRules(tokenizer, 3, 50)]
    draw = torch.Generator().manual_seed(7)
    begin = tokens.first_timestamp
    some = torch.tensor([11, 500, begin, begin + 1, begin + 7, begin + 700, tokens.end])
    struck = 0
    for length in (0, 1, 2, 3, 5):
        for _ in range(6):
            said = some[torch.randint(0, len(some), (3, length), generator=draw)]
            logits = torch.randn(3, 51865, generator=draw) * 3
            logits[:, begin:] += torch.randn(3, 1, generator=draw) * 4
            expected = logits.clone()
            for one in filters:
                one.apply(expected, torch.cat([torch.tensor([tokenizer.sot_sequence] * 3), said], dim=1))
            for rule in rules:
                rule(logits, said.tolist())
            assert torch.equal(logits, expected)
            struck += int(torch.isinf(expected).sum())
    assert struck > 0


@pytest.mark.parametrize("temperature", [0.0, 0.8])
@pytest.mark.parametrize("timestamps", [True, False])
def test_a_window_is_decoded_to_the_same_ids_and_numbers(
    temperature: float,
    timestamps: bool,
    published: whisper.model.Whisper,
    ours: Whisper,
    tokens: TaskTokens,
    text: Text,
) -> None:
    options = DecodingOptions(
        language="de", task="translate", temperature=temperature, without_timestamps=not timestamps, fp16=False,
        sample_len=12, prompt=[400, 401, 402],
    )  # fmt: skip
    torch.manual_seed(11)
    expected = whisper.decode(published, some_mel(2).transpose(1, 2), options)
    rules = [
        NoBlankStart((*text.encode(" "), tokens.end)),
        Suppress(tuple(sorted({*unspoken(text.encode), *tokens.control}))),
        *([TimestampRules(tokens)] if timestamps else []),
    ]
    prompt = tokens.prompt("de", "translate", timestamps=timestamps, before=[400, 401, 402])
    torch.manual_seed(11)
    with torch.inference_mode():
        memory = ours.encoder(some_mel(2))
    found = decode_windows(ours, memory, [prompt] * 2, tokens, rules, temperature=temperature, longest=12)
    for one, want in zip(found, expected, strict=True):
        assert list(one.ids) == want.tokens
        assert one.log_probability == pytest.approx(want.avg_logprob, rel=1e-4)
        assert one.no_speech == pytest.approx(want.no_speech_prob, rel=1e-4)
        assert compression(text.decode([i for i in one.ids if i < tokens.end]).strip()) == want.compression_ratio
    assert len(found[0].ids) > 1


def test_the_same_languages_are_detected(published: whisper.model.Whisper, ours: Whisper, tokens: TaskTokens) -> None:
    _, expected = published.detect_language(some_mel(2).transpose(1, 2))
    with torch.inference_mode():
        found = detect_language(ours, ours.encoder(some_mel(2)), tokens)
    for one, want in zip(found, expected, strict=True):
        assert one == pytest.approx(want, rel=1e-4)
        assert next(iter(one)) == max(want, key=want.__getitem__)


@pytest.mark.parametrize(
    ("context", "guard"),
    [(False, Guard((0.0,), None, None, None)), (True, Guard((0.0, 0.4, 0.9), 1.2, -7.0, 0.6))],
)
def test_long_audio_gives_the_same_segments_with_the_same_times(
    context: bool, guard: Guard, published: whisper.model.Whisper, ours: Whisper, text: Text
) -> None:
    audio = 0.1 * np.random.default_rng(5).standard_normal(16_000 * 41 + 123).astype(np.float32)
    torch.manual_seed(1)
    expected = whisper.transcribe(
        published, audio, fp16=False, sample_len=12, condition_on_previous_text=context,
        temperature=guard.temperatures, no_speech_threshold=guard.no_speech,
        logprob_threshold=guard.log_probability, compression_ratio_threshold=guard.compression,
    )  # fmt: skip
    transcriber = Transcriber(ours, text, LogMel(), guard=guard, longest=12)
    torch.manual_seed(1)
    found = transcriber.transcribe(audio, 16_000, context=context)
    kept = [segment for segment in expected["segments"] if segment["text"]]
    assert len(kept) > 3
    assert found.language == expected["language"]
    assert [list(s.ids) for s in found.segments] == [s["tokens"] for s in kept]
    assert [s.start for s in found.segments] == pytest.approx([s["start"] for s in kept])
    assert [s.end for s in found.segments] == pytest.approx([s["end"] for s in kept])
    assert [s.temperature for s in found.segments] == [s["temperature"] for s in kept]
    assert [s.log_probability for s in found.segments] == pytest.approx([s["avg_logprob"] for s in kept], rel=1e-3)
    assert found.text == expected["text"]
