"""Llama, Qwen2 and Qwen3 from transformers: the same scores, gradients and greedy answers."""

import json
from pathlib import Path

import pytest
import torch
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from omni.model.decoder import Decoder
from omni.model.generate import generate
from omni.model.load import load
from tests.parity.published import assert_same_gradients, assert_same_numbers, save_random

SMALL = {
    "vocab_size": 97,
    "hidden_size": 32,
    "intermediate_size": 56,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip


def llama(**changes: object) -> PreTrainedModel:
    return LlamaForCausalLM(LlamaConfig(**{**SMALL, **changes}))


def qwen2(**changes: object) -> PreTrainedModel:
    return Qwen2ForCausalLM(Qwen2Config(**{**SMALL, **changes}))


def qwen3(**changes: object) -> PreTrainedModel:
    return Qwen3ForCausalLM(Qwen3Config(**{**SMALL, "head_dim": 16, **changes}))


PUBLISHED = {
    "llama": llama,
    "llama, as many key-value heads as heads": lambda: llama(num_key_value_heads=4),
    "llama, wide heads": lambda: llama(head_dim=12),
    "llama with biases": lambda: llama(attention_bias=True, mlp_bias=True),
    "llama 3 rope": lambda: llama(rope_parameters=LLAMA3),
    "llama, another activation": lambda: llama(hidden_act="gelu_pytorch_tanh"),
    "llama tied": lambda: llama(tie_word_embeddings=True),
    "qwen2": qwen2,
    "qwen2 tied, another base": lambda: qwen2(
        tie_word_embeddings=True, rope_parameters={"rope_type": "default", "rope_theta": 1e6}
    ),
    "qwen3": qwen3,
    "qwen3 tied with biases": lambda: qwen3(tie_word_embeddings=True, attention_bias=True),
}


@pytest.fixture(params=PUBLISHED, scope="module")
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Decoder, PreTrainedModel]:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("published")
    theirs = save_random(PUBLISHED[request.param](), folder)
    checkpoint = load(folder)
    assert not checkpoint.untrained
    assert not checkpoint.unused
    return checkpoint.model, theirs


IDS = torch.randint(0, 97, (2, 40), generator=torch.Generator().manual_seed(3))


def test_the_scores_are_theirs(pair: tuple[Decoder, PreTrainedModel]) -> None:
    ours, theirs = pair
    with torch.no_grad():
        assert_same_numbers(ours(IDS), theirs(IDS).logits)


def test_greedy_answers_are_theirs(pair: tuple[Decoder, PreTrainedModel]) -> None:
    ours, theirs = pair
    answers = generate(ours, IDS[:, :9].tolist(), limit=20)
    expected = theirs.generate(IDS[:, :9], max_new_tokens=20, do_sample=False, eos_token_id=None, pad_token_id=0)
    assert answers == expected[:, 9:].tolist()


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_gradients_are_theirs(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    theirs = save_random(PUBLISHED[name](), tmp_path / "weights")
    ours = load(tmp_path / "weights").model
    direction = torch.randn(2, 40, 97)
    (ours(IDS) * direction).sum().backward()
    (theirs(IDS).logits * direction).sum().backward()
    assert_same_gradients(ours, theirs, tmp_path / "gradients")


def test_an_older_configuration_says_the_same_in_other_words(tmp_path: Path) -> None:
    theirs = save_random(llama(rope_parameters=LLAMA3), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    config["rope_scaling"] = rope
    (tmp_path / "config.json").write_text(json.dumps(config))
    with torch.no_grad():
        assert_same_numbers(load(tmp_path).model(IDS), theirs(IDS).logits)


def test_a_checkpoint_in_several_files_is_one_model(tmp_path: Path) -> None:
    theirs = save_random(qwen2(), tmp_path, write=lambda m, d: m.save_pretrained(d, max_shard_size="10KB"))
    assert len(list(tmp_path.glob("model-*.safetensors"))) > 1
    with torch.no_grad():
        assert_same_numbers(load(tmp_path).model(IDS), theirs(IDS).logits)


def test_a_missing_file_of_several_is_named(tmp_path: Path) -> None:
    save_random(qwen2(), tmp_path, write=lambda m, d: m.save_pretrained(d, max_shard_size="10KB"))
    lost = sorted(tmp_path.glob("model-*.safetensors"))[1]
    lost.unlink()
    with pytest.raises(ValueError, match=rf"lacks {lost.name}, which model.safetensors.index.json names"):
        load(tmp_path)


def test_rotary_positions_of_an_unknown_kind_are_named(tmp_path: Path) -> None:
    save_random(llama(rope_parameters={"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}), tmp_path)
    with pytest.raises(ValueError, match="type 'linear' are not built here: default, llama3 and mrope are"):
        load(tmp_path)


def test_sliding_windows_are_refused_rather_than_ignored(tmp_path: Path) -> None:
    save_random(qwen2(use_sliding_window=True, sliding_window=8, max_window_layers=1), tmp_path)
    with pytest.raises(ValueError, match="sliding window"):
        load(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "layer_types": None}))
    with pytest.raises(ValueError, match="sliding window"):
        load(tmp_path)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_as_far_from_theirs_as_theirs_from_float32(dtype: torch.dtype, tmp_path: Path) -> None:
    theirs = save_random(qwen3(), tmp_path)
    ours = load(tmp_path, dtype=dtype).model
    assert {p.dtype for p in ours.parameters()} == {dtype}
    with torch.no_grad():
        exact = theirs(IDS).logits
        published = (theirs.to(dtype)(IDS).logits.float() - exact).abs().max()
        assert (ours(IDS).float() - exact).abs().max() < 1.5 * published
