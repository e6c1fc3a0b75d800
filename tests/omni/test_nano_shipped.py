"""The shipped files load, are small, and answer recordings that were made once (`scripts/answers.py`)."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from omni import nano
from omni.bundle import Bundle
from omni.train.asking import Asked, Question, ask
from omni_tokenizers.sequence import Audio
from omni_tokenizers.sequence.parts import TextPart

MEGABYTES = 30  # of the shipped files, at most
RECORDINGS = Path(__file__).parent / "recordings"
KNOWN = json.loads((RECORDINGS / "answers.json").read_text())


@pytest.fixture(scope="module")
def bundle() -> Bundle:
    return nano.load()


def test_what_ships_is_small_and_holds_no_code(bundle: Bundle) -> None:
    files = [file for file in nano.WEIGHTS.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) < MEGABYTES * 1e6
    assert {file.suffix for file in files} <= {".json", ".safetensors"}
    assert 5e6 < sum(p.numel() for p in bundle.model.parameters()) < 15e6
    assert all(torch.isfinite(p).all() for p in bundle.model.parameters())


def test_it_hears_sees_and_knows_when_a_turn_is_over(bundle: Bundle) -> None:
    assert bundle.sees
    assert set(bundle.model.inputs) == {"audio", "image", "codec"}
    assert set(bundle.model.extra) == {"turn"}
    assert bundle.about["name"] == "nano"
    assert bundle.about["step"] > 0


def test_the_card_names_the_recipe_that_was_trained(bundle: Bundle) -> None:
    card = (nano.WEIGHTS.parent / "CARD.md").read_text()
    assert bundle.about["recipe_hash"] in card
    assert f"{bundle.about['step']} steps" in card


@pytest.mark.parametrize("name", sorted(KNOWN["spoken"]))
def test_a_recording_is_answered_as_it_was_when_it_was_shipped(bundle: Bundle, name: str) -> None:
    samples, rate = soundfile.read(RECORDINGS / name, dtype="float32")
    found = ask(bundle, [Question((Asked((Audio(samples.astype(np.float32), rate),), ""),))])
    assert found[0][0].text == KNOWN["spoken"][name]


def test_typed_questions_are_answered_as_they_were_when_it_was_shipped(bundle: Bundle) -> None:
    for text, answer in KNOWN["typed"].items():
        assert ask(bundle, [Question((Asked((TextPart(text),), ""),))])[0][0].text == answer
