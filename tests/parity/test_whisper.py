"""Whisper from transformers and openai-whisper: the same encoder, logits, gradients and greedy answers."""

import json
from pathlib import Path

import pytest
import torch
import whisper
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedModel, WhisperConfig, WhisperForConditionalGeneration, WhisperModel
from whisper.model import ModelDimensions

from omni.model.load import load, save
from omni.model.whisper import Whisper, sinusoids
from tests.parity.published import assert_same_gradients, assert_same_numbers, save_random
from tests.parity.published import write as write_published

BINS, PLACES, TOKENS, VOCABULARY = 80, 40, 30, 97


def transformers_whisper(kind: type[PreTrainedModel] = WhisperForConditionalGeneration) -> PreTrainedModel:
    return kind(
        WhisperConfig(
            vocab_size=VOCABULARY, num_mel_bins=BINS, d_model=32, encoder_layers=2, decoder_layers=3,
            encoder_attention_heads=4, decoder_attention_heads=2, encoder_ffn_dim=48, decoder_ffn_dim=56,
            max_source_positions=PLACES, max_target_positions=TOKENS, pad_token_id=0, bos_token_id=1,
            eos_token_id=2, decoder_start_token_id=3, suppress_tokens=None, begin_suppress_tokens=None,
        )
    )  # fmt: skip


DIMENSIONS = {
    "n_mels": BINS, "n_audio_ctx": PLACES, "n_audio_state": 32, "n_audio_head": 4, "n_audio_layer": 2,
    "n_vocab": VOCABULARY, "n_text_ctx": TOKENS, "n_text_state": 32, "n_text_head": 2, "n_text_layer": 3,
}  # fmt: skip


def write_openai(model: nn.Module, folder: Path) -> None:
    write_published(model, folder)
    (folder / "config.json").write_text(json.dumps({"model_type": "whisper", **DIMENSIONS}))


def openai_whisper() -> whisper.model.Whisper:
    model = whisper.model.Whisper(ModelDimensions(**DIMENSIONS))
    nn.init.normal_(model.decoder.positional_embedding)
    return model


def some_audio(rows: int = 2) -> torch.Tensor:
    return torch.randn(rows, 2 * PLACES, BINS, generator=torch.Generator().manual_seed(3))


def some_ids(rows: int = 2, count: int = 11) -> torch.Tensor:
    return torch.randint(0, VOCABULARY, (rows, count), generator=torch.Generator().manual_seed(4))


def test_the_encoder_alone_hears_what_transformers_hears(tmp_path: Path) -> None:
    theirs = save_random(transformers_whisper(), tmp_path)
    ours = load(tmp_path).model
    expected = theirs.get_encoder()(some_audio().transpose(1, 2)).last_hidden_state
    assert_same_numbers(ours.encoder(some_audio()), expected)


def test_logits_and_gradients_are_those_of_transformers(tmp_path: Path) -> None:
    theirs = save_random(transformers_whisper(), tmp_path)
    found = load(tmp_path)
    assert not found.untrained
    assert not found.unused
    goal = some_ids(count=12)[:, 1:]
    expected = theirs(input_features=some_audio().transpose(1, 2), decoder_input_ids=some_ids(), labels=goal)
    logits = found.model(some_audio(), some_ids())
    assert_same_numbers(logits, expected.logits)
    loss = F.cross_entropy(logits.flatten(0, 1), goal.flatten())
    assert_same_numbers(loss, expected.loss)
    loss.backward()
    expected.loss.backward()
    # The sinusoids are no weight of ours, and theirs get no gradient.
    assert_same_gradients(found.model, theirs, tmp_path / "gradients")


def test_a_bare_whisper_model_loads_too(tmp_path: Path) -> None:
    theirs = save_random(transformers_whisper(WhisperModel), tmp_path)
    ours = load(tmp_path).model
    hidden = theirs(input_features=some_audio().transpose(1, 2), decoder_input_ids=some_ids()).last_hidden_state
    assert_same_numbers(ours(some_audio(), some_ids()), hidden @ theirs.decoder.embed_tokens.weight.T)


def test_logits_and_gradients_are_those_of_openai_whisper(tmp_path: Path) -> None:
    theirs = save_random(openai_whisper(), tmp_path, write=write_openai)
    found = load(tmp_path)
    assert not found.untrained
    assert not found.unused
    expected = theirs(some_audio().transpose(1, 2), some_ids())
    logits = found.model(some_audio(), some_ids())
    assert_same_numbers(logits, expected)
    weight = torch.randn(logits.shape, generator=torch.Generator().manual_seed(5))
    (logits * weight).sum().backward()
    (expected * weight).sum().backward()
    assert_same_gradients(found.model, theirs, tmp_path / "gradients", write=write_openai)


def test_step_by_step_with_a_cache_it_writes_what_transformers_generates(tmp_path: Path) -> None:
    theirs = save_random(transformers_whisper(), tmp_path)
    ours = load(tmp_path).model
    expected = theirs.generate(
        input_features=some_audio().transpose(1, 2), do_sample=False, max_new_tokens=20, min_new_tokens=20,
        use_cache=True, return_timestamps=False, logprob_threshold=None,
    )  # fmt: skip
    assert ids_of(ours, some_audio(), expected.shape[1] - 1, without=2).tolist() == expected[:, 1:].tolist()


def ids_of(model: Whisper, mel: torch.Tensor, count: int, without: int) -> torch.Tensor:
    """Greedy ids, never the id that transformers strikes out with min_new_tokens."""
    with torch.inference_mode():
        seen, cache, rows = model.decoder.stack.remember(model.encoder(mel)), model.cache(len(mel)), range(len(mel))
        ids = torch.full((len(mel), 1), 3)
        for _ in range(count):
            logits = model.decoder(ids[:, -1:], seen, step=cache.step(list(rows), [1] * len(mel)))[:, -1]
            logits[:, without] = float("-inf")
            ids = torch.cat([ids, logits.argmax(-1, keepdim=True)], dim=1)
    return ids[:, 1:]


def test_what_we_save_we_load(tmp_path: Path) -> None:
    save_random(transformers_whisper(), tmp_path / "theirs")
    first = load(tmp_path / "theirs")
    save(first.model, first.config, tmp_path / "ours")
    again = load(tmp_path / "ours").model
    assert torch.equal(again(some_audio(), some_ids()), first.model(some_audio(), some_ids()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_near(tmp_path: Path, dtype: torch.dtype) -> None:
    save_random(transformers_whisper(), tmp_path)
    whole, half = load(tmp_path).model, load(tmp_path, dtype=dtype).model
    found = half(some_audio().to(dtype), some_ids()).float()
    # half a unit in the last of 8 bits, grown through five layers
    assert_same_numbers(found, whole(some_audio(), some_ids()), 0.05)


def test_position_tables_are_openai_whispers_sinusoids() -> None:
    assert torch.equal(sinusoids(1500, 512), whisper.model.sinusoids(1500, 512))


def test_a_head_of_its_own_is_refused_rather_than_passed_over(tmp_path: Path) -> None:
    save_random(transformers_whisper(), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "tie_word_embeddings": False}))
    with pytest.raises(ValueError, match="tie_word_embeddings is false"):
        load(tmp_path)
