"""A bundle: what was saved is what is loaded, and what is missing is said."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from omni.bundle import Bundle
from omni_tokenizers import Text
from omni_tokenizers.sequence import Audio, Image
from omni_tokenizers.sequence import Omni as Tokens
from tests.omni.bundles import SENTENCES, random_bundle


def conversation(bundle: Bundle) -> object:
    draw = np.random.default_rng(0)
    sound = draw.normal(0, 0.1, 8000).astype(np.float32)
    pixels = draw.integers(0, 255, (32, 32, 3)).astype(np.uint8)
    return bundle.tokens.encode(["how many?", Image(pixels), Audio(sound, 16_000)])


def test_a_saved_bundle_says_the_same_when_it_is_loaded(tmp_path: Path) -> None:
    made = random_bundle(speaks=False)
    made.save(tmp_path)
    loaded = Bundle.load(tmp_path)
    assert loaded.about == {"name": "random"}
    assert loaded.special == made.special
    assert (loaded.sees, loaded.speaks) == (True, False)
    assert conversation(loaded) == conversation(made)
    with torch.no_grad():
        assert torch.equal(loaded.model(conversation(loaded)).text, made.model(conversation(made)).text)


def test_the_codec_of_another_bundle_is_not_taken_for_this_ones(tmp_path: Path) -> None:
    (tmp_path / "codec").mkdir()
    with pytest.raises(ValueError, match=r"the codec of another bundle.*remove .*codec"):
        random_bundle(speaks=False).save(tmp_path)
    assert [found.name for found in tmp_path.iterdir()] == ["codec"]


def test_the_codecs_placeholder_is_there_before_there_is_a_codec() -> None:
    assert "codec" in random_bundle(speaks=False).tokens.placeholders


def test_a_vocabulary_without_the_scripts_tokens_is_refused() -> None:
    made = random_bundle()
    tokens = Tokens(text=Text.train(SENTENCES, vocab_size=300))
    with pytest.raises(ValueError, match=r"no <\|system\|>.*special=omni.script.SPECIALS"):
        Bundle(made.model, tokens)


def test_a_folder_with_another_kind_of_model_is_refused(tmp_path: Path) -> None:
    made = random_bundle()
    made.save(tmp_path)
    (tmp_path / "config.json").write_text((tmp_path / "config.json").read_text().replace('"omni"', '"unheard"', 1))
    with pytest.raises(ValueError, match="unheard"):
        Bundle.load(tmp_path)


def test_a_model_that_writes_its_answers_otherwise_is_refused(tmp_path: Path) -> None:
    random_bundle().save(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "script": {"text": 4, "frames": 16}}))
    with pytest.raises(ValueError, match=r"was taught to write answers otherwise .*'frames': 16.* or train it again"):
        Bundle.load(tmp_path)
