"""DeiT: transformers' numbers and gradients, with the distillation token and its classifier."""

from pathlib import Path

import torch
from transformers import DeiTConfig, DeiTForImageClassification, DeiTForImageClassificationWithTeacher, DeiTModel

from omni.model.load import load
from tests.parity.published import assert_same_gradients, assert_same_numbers, save_random

CONFIG = DeiTConfig(
    hidden_size=24, num_hidden_layers=2, num_attention_heads=3, intermediate_size=56, image_size=40, patch_size=8,
    num_labels=5,
)  # fmt: skip


def test_both_classifiers_give_their_mean_and_the_gradients_of_transformers(tmp_path: Path) -> None:
    theirs = save_random(DeiTForImageClassificationWithTeacher(CONFIG), tmp_path / "w")
    ours = load(tmp_path / "w").model
    images = torch.randn(2, 3, 40, 40)
    want = theirs(images)
    assert_same_numbers(ours(images), want.logits)
    label, teacher = ours.head.both(ours.pool(ours.tokens(images)))
    assert_same_numbers(label, want.cls_logits)
    assert_same_numbers(teacher, want.distillation_logits)
    ours(images).square().sum().backward()
    want.logits.square().sum().backward()
    assert_same_gradients(ours, theirs, tmp_path / "g")


def test_the_class_token_alone_classifies_as_transformers_does_at_another_size(tmp_path: Path) -> None:
    theirs = save_random(DeiTForImageClassification(CONFIG), tmp_path)
    ours = load(tmp_path).model
    images = torch.randn(2, 3, 64, 48)
    assert_same_numbers(ours(images), theirs(images, interpolate_pos_encoding=True).logits)


def test_a_bare_deit_model_gives_its_tokens_and_its_pooler(tmp_path: Path) -> None:
    theirs = save_random(DeiTModel(CONFIG), tmp_path)
    ours = load(tmp_path).model
    images = torch.randn(2, 3, 40, 40)
    assert_same_numbers(ours.tokens(images), theirs(images).last_hidden_state)
    assert_same_numbers(ours(images), theirs(images).pooler_output)
