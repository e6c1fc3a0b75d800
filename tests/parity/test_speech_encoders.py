"""wav2vec 2.0, HuBERT and WavLM from transformers and torchaudio: the same frames, losses and gradients."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torchaudio.models.wav2vec2.utils import import_huggingface_model
from transformers import (
    HubertConfig,
    HubertForCTC,
    HubertModel,
    PreTrainedModel,
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
    Wav2Vec2ForPreTraining,
    Wav2Vec2Model,
    WavLMConfig,
    WavLMForCTC,
    WavLMModel,
)

from omni.model.ctc import CtcModel
from omni.model.load import load
from omni.model.masked_speech import MaskedSpeech
from omni_tokenizers.audio.negatives import batch_negatives
from omni_tokenizers.audio.spans import span_masks
from tests.parity.published import assert_same_gradients, assert_same_numbers, save_random

SMALL = {
    "vocab_size": 20, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48,
    "conv_dim": (16, 16, 24), "conv_kernel": (10, 3, 2), "conv_stride": (5, 2, 2), "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 9, "num_conv_pos_embedding_groups": 4, "num_codevectors_per_group": 12,
    "codevector_dim": 8, "proj_codevector_dim": 12, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2,
    "hidden_dropout": 0.0, "activation_dropout": 0.0, "attention_dropout": 0.0, "feat_proj_dropout": 0.0,
    "final_dropout": 0.0, "feat_quantizer_dropout": 0.0, "layerdrop": 0.0,
}  # fmt: skip
MODELS = {
    "wav2vec2": (Wav2Vec2Config, Wav2Vec2Model),
    "hubert": (HubertConfig, HubertModel),
    "wavlm": (WavLMConfig, WavLMModel),
}
HOP, RECEPTIVE = 20, 25  # samples, of the small convolutions above
families = pytest.mark.parametrize("family", MODELS)
norms = pytest.mark.parametrize(("stable", "norm"), [(False, "group"), (True, "layer"), (False, "layer")])


def published(
    family: str, *, stable: bool, norm: str, kind: type[PreTrainedModel] | None = None, **more: object
) -> PreTrainedModel:
    config, model = MODELS[family]
    settings = {**SMALL, "do_stable_layer_norm": stable, "feat_extract_norm": norm, "conv_bias": norm == "layer"}
    if family == "wavlm":
        settings |= {"num_buckets": 16, "max_bucket_distance": 40}
    return (kind or model)(config(**{**settings, **more}))


def some_audio(rows: int = 2, samples: int = 1500) -> torch.Tensor:
    return torch.randn(rows, samples, generator=torch.Generator().manual_seed(3))


@families
@norms
def test_frames_and_gradients_are_those_of_transformers(family: str, stable: bool, norm: str, tmp_path: Path) -> None:
    theirs = save_random(published(family, stable=stable, norm=norm, num_conv_pos_embeddings=8), tmp_path)
    found = load(tmp_path)
    assert not found.untrained
    assert not found.unused
    expected = theirs(some_audio()).last_hidden_state
    heard = found.model(some_audio())
    assert_same_numbers(heard.frames, expected)
    weight = torch.randn(expected.shape, generator=torch.Generator().manual_seed(5))
    (heard.frames * weight).sum().backward()
    (expected * weight).sum().backward()
    assert_same_gradients(found.model, theirs, tmp_path / "gradients")


@families
def test_a_padded_batch_is_that_of_transformers(family: str, tmp_path: Path) -> None:
    theirs = save_random(published(family, stable=True, norm="layer"), tmp_path)
    lengths = torch.tensor([1500, 720])
    mask = torch.arange(1500) < lengths[:, None]
    audio = some_audio() * mask
    expected = theirs(audio, attention_mask=mask.long()).last_hidden_state
    heard = load(tmp_path).model(audio, lengths)
    assert heard.lengths.tolist() == [(n - RECEPTIVE) // HOP + 1 for n in lengths.tolist()]
    for row, count in enumerate(heard.lengths.tolist()):
        assert_same_numbers(heard.frames[row, :count], expected[row, :count])


@families
@norms
def test_a_short_utterance_in_a_padded_batch_equals_itself_alone(
    family: str, stable: bool, norm: str, tmp_path: Path
) -> None:
    save_random(published(family, stable=stable, norm=norm), tmp_path)
    model = load(tmp_path).model
    lengths = torch.tensor([1500, 333, 725])
    # What lies behind an utterance is anything: it must not be heard.
    heard = model(some_audio(rows=3), lengths)
    for row, (length, count) in enumerate(zip(lengths.tolist(), heard.lengths.tolist(), strict=True)):
        alone = model(some_audio(rows=3)[row : row + 1, :length])
        assert_same_numbers(heard.frames[row : row + 1, :count], alone.frames)


@families
def test_layer_outputs_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    theirs = save_random(published(family, stable=False, norm="group"), tmp_path)
    expected = theirs(some_audio(), output_hidden_states=True).hidden_states
    states: list[torch.Tensor] = []
    load(tmp_path).model(some_audio(), states=states)
    assert len(states) == len(expected) == 4
    for ours, want in zip(states, expected, strict=True):
        assert_same_numbers(ours, want)


@pytest.mark.parametrize("stable", [False, True])
def test_pretraining_loss_is_that_of_transformers_for_the_same_masks_and_negatives(
    stable: bool, tmp_path: Path
) -> None:
    kind = Wav2Vec2ForPreTraining
    theirs = save_random(
        published("wav2vec2", stable=stable, norm="layer", kind=kind, num_negatives=30), tmp_path, skip=["codevectors"]
    )
    found = load(tmp_path)
    assert isinstance(found.model, MaskedSpeech)
    assert not found.untrained
    assert not found.unused
    frames = found.model.encoder.frames(torch.tensor(1500)).item()
    masks = span_masks([frames, frames], [1, 2], length=5)
    drawn = batch_negatives(masks, [3, 4], count=30)
    expected = theirs(
        some_audio(), mask_time_indices=torch.from_numpy(masks), sampled_negative_indices=torch.from_numpy(drawn)
    )
    ours = found.model(some_audio(), torch.from_numpy(masks), torch.from_numpy(drawn))
    assert 0 < ours.count < 2 * frames
    assert_same_numbers(ours.context, expected.projected_states)
    assert_same_numbers(ours.targets, expected.projected_quantized_states)
    assert_same_numbers(ours.perplexity, expected.codevector_perplexity)
    assert_same_numbers(ours.contrastive, expected.contrastive_loss)
    assert_same_numbers(ours.diversity, expected.diversity_loss)
    assert_same_numbers(ours.loss, expected.loss)
    ours.loss.backward()
    expected.loss.backward()
    assert_same_gradients(found.model, theirs, tmp_path / "gradients")


@pytest.mark.parametrize(
    ("family", "kind"), [("wav2vec2", Wav2Vec2ForCTC), ("hubert", HubertForCTC), ("wavlm", WavLMForCTC)]
)
def test_ctc_loss_and_gradients_are_those_of_transformers(
    family: str, kind: type[PreTrainedModel], tmp_path: Path
) -> None:
    theirs = save_random(published(family, stable=True, norm="layer", kind=kind, ctc_loss_reduction="mean"), tmp_path)
    theirs.double()  # in float32 a few tiny gradients behind CTC differ by 1.1e-5, by rounding alone
    found = load(tmp_path, dtype=torch.float64)
    assert isinstance(found.model, CtcModel)
    assert not found.untrained
    assert not found.unused
    lengths = torch.tensor([1500, 720])
    mask = torch.arange(1500) < lengths[:, None]
    labels = torch.tensor([[4, 5, 5, 6, 19, 7], [8, 4, 9, -100, -100, -100]])
    audio = some_audio().double() * mask
    expected = theirs(audio, attention_mask=mask.long(), labels=labels)
    loss = found.model.loss(audio, [[4, 5, 5, 6, 19, 7], [8, 4, 9]], lengths)
    assert_same_numbers(loss, expected.loss)
    loss.backward()
    expected.loss.backward()
    assert_same_gradients(found.model, theirs, tmp_path / "gradients")


def test_a_fine_tuned_checkpoint_without_the_vector_for_hidden_frames_loads(tmp_path: Path) -> None:
    save_random(published("wav2vec2", stable=False, norm="group", kind=Wav2Vec2ForCTC), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    del state["wav2vec2.masked_spec_embed"]
    save_file(state, tmp_path / "model.safetensors")
    found = load(tmp_path)
    assert found.untrained == ["encoder.hidden"]
    assert torch.isfinite(found.model.encoder.hidden).all()


def test_weight_norm_loads_under_its_older_names(tmp_path: Path) -> None:
    theirs = save_random(published("hubert", stable=False, norm="group"), tmp_path)
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): t
        for name, t in load_file(tmp_path / "model.safetensors").items()
    }
    assert any("weight_g" in name for name in old)
    save_file(old, tmp_path / "model.safetensors")
    assert_same_numbers(load(tmp_path).model(some_audio()).frames, theirs(some_audio()).last_hidden_state)


def test_torchaudio_makes_the_same_frames_of_the_same_weights(tmp_path: Path) -> None:
    theirs = save_random(published("wav2vec2", stable=True, norm="layer"), tmp_path)
    imported = import_huggingface_model(theirs).eval()
    lengths = torch.tensor([1500, 720])
    expected, _ = imported(some_audio() * (torch.arange(1500) < lengths[:, None]), lengths)
    heard = load(tmp_path).model(some_audio(), lengths)
    for row, count in enumerate(heard.lengths.tolist()):
        assert_same_numbers(heard.frames[row, :count], expected[row, :count])


def test_a_part_that_no_family_has_is_named(tmp_path: Path) -> None:
    save_random(published("wav2vec2", stable=True, norm="layer", add_adapter=True), tmp_path)
    with pytest.raises(ValueError, match="add_adapter"):
        load(tmp_path)


def test_struck_out_negatives_are_those_made_of_the_same_codes(tmp_path: Path) -> None:
    """With one entry a book every negative equals the positive: no task, no loss, and nobody is called right."""
    save_random(
        published("wav2vec2", stable=True, norm="layer", kind=Wav2Vec2ForPreTraining, num_codevectors_per_group=1),
        tmp_path,
    )
    model = load(tmp_path).model
    masks = span_masks([74], [1], length=5)
    ours = model(some_audio(rows=1), torch.from_numpy(masks), torch.from_numpy(batch_negatives(masks, [3], count=10)))
    assert np.count_nonzero(masks) == ours.count
    assert (ours.contrastive.item(), ours.right.item()) == (0.0, 0)
