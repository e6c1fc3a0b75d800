"""CLIP: transformers' logits, vectors, loss and gradients."""

import json
from pathlib import Path

import pytest
import torch
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel, CLIPVisionModelWithProjection

from omni.model.load import load
from omni.model.losses.pairs import clip_loss
from tests.parity.published import assert_same_gradients, assert_same_numbers, save_random

SIZES = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "intermediate_size": 56}
VISION = {**SIZES, "image_size": 40, "patch_size": 8}
END = 49


def config(end: int) -> CLIPConfig:
    """A small CLIP whose texts end with this id."""
    text = {**SIZES, "vocab_size": 50, "max_position_embeddings": 12, "eos_token_id": end, "bos_token_id": 0}
    return CLIPConfig(text_config=text, vision_config=VISION, projection_dim=16)


def texts() -> torch.Tensor:
    """Three texts of different lengths, padded with their end."""
    ids = torch.randint(3, END, (3, 9))
    for row, end in zip(ids, (3, 8, 5), strict=True):
        row[end:] = END
    return ids


@pytest.mark.parametrize("end", [END, 2])
def test_clip_gives_the_logits_loss_and_gradients_of_transformers(tmp_path: Path, end: int) -> None:
    theirs = save_random(CLIPModel(config(end)), tmp_path / "w")
    ours = load(tmp_path / "w").model
    images, ids = torch.randn(3, 3, 40, 40), texts()
    want = theirs(input_ids=ids, pixel_values=images, return_loss=True)
    assert_same_numbers(ours(images, ids), want.logits_per_image)
    image, text = ours.image_vectors(images), ours.text_vectors(ids)
    assert_same_numbers(image, want.image_embeds)
    assert_same_numbers(text, want.text_embeds)
    loss = clip_loss(image, text, ours.log_scale.exp())
    assert_same_numbers(loss, want.loss)
    loss.backward()
    want.loss.backward()
    assert_same_gradients(ours, theirs, tmp_path / "g")


def test_clip_sees_larger_pictures_as_transformers_does(tmp_path: Path) -> None:
    theirs = save_random(CLIPModel(config(END)), tmp_path)
    ours = load(tmp_path).model
    images = torch.randn(2, 3, 64, 48)
    want = theirs.get_image_features(pixel_values=images, interpolate_pos_encoding=True).pooler_output
    assert_same_numbers(ours.vision(images), want)


@pytest.mark.parametrize("kind", [CLIPVisionModel, CLIPVisionModelWithProjection])
def test_the_picture_tower_alone_gives_its_tokens(tmp_path: Path, kind: type) -> None:
    theirs = save_random(kind(CLIPVisionConfig(**VISION, projection_dim=16)), tmp_path)
    ours = load(tmp_path).model
    images = torch.randn(2, 3, 40, 40)
    want = theirs(images, output_hidden_states=True)
    states: list[torch.Tensor] = []
    assert_same_numbers(ours.tokens(images, states=states), want.last_hidden_state)
    assert_same_numbers(states[-2], want.hidden_states[-2])  # what LLaVA reads
    assert_same_numbers(ours(images), want.pooler_output if kind is CLIPVisionModel else want.image_embeds)


def test_a_text_longer_than_the_positions_is_named(tmp_path: Path) -> None:
    save_random(CLIPModel(config(END)), tmp_path)
    with pytest.raises(ValueError, match="13 tokens is longer than the 12 positions"):
        load(tmp_path).model.text_vectors(torch.zeros(1, 13, dtype=torch.long))


def test_the_towers_of_an_old_configuration_are_read_as_transformers_reads_them(tmp_path: Path) -> None:
    save_random(CLIPModel(config(END)), tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    about["text_config_dict"] = {**about["text_config"], "hidden_act": "gelu", "layer_norm_eps": 1e-3}
    about["vision_config_dict"] = {**VISION, "hidden_act": "gelu"}
    (tmp_path / "config.json").write_text(json.dumps(about))
    theirs = CLIPModel.from_pretrained(tmp_path).eval()
    images, ids = torch.randn(3, 3, 40, 40), texts()
    assert_same_numbers(load(tmp_path).model(images, ids), theirs(input_ids=ids, pixel_values=images).logits_per_image)
