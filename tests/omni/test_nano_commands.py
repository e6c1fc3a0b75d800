"""What `omni train` and `omni eval` refuse, they refuse in a sentence and before anything is spoken or asked."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from omni import nano
from omni.train.recipe import Recipe
from omni_server import cli


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--senses", "-1"], "--senses -1: at least 0 is needed"),
        (["--device", "cuda:7"], "--device cuda:7: torch finds none here; there is cpu, cuda:0, cuda:1\n"),
        (["--device", "gpu"], "--device gpu: torch finds none here; there is cpu, cuda:0, cuda:1\n"),
    ],
)
def test_flags_that_cannot_be_are_refused_before_anything_is_spoken(
    flags: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    places = ["--pool", str(tmp_path / "pool"), "--folder", str(tmp_path / "run"), "--dialogues", "0"]
    assert cli.main(["train", "nano", *places, *flags]) == 2
    assert told in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_damaged_or_unfinished_folder_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mute, damaged, halved, begun = (tmp_path / name for name in ("mute", "damaged", "halved", "begun"))
    for folder in (mute, damaged):
        shutil.copytree(nano.WEIGHTS, folder)
    (mute / "tokenizer.json").unlink()
    (damaged / "config.json").write_text("{")
    for folder, recipe in ((halved, "{"), (begun, json.dumps(Recipe().config()))):
        folder.mkdir()
        (folder / "recipe.json").write_text(recipe)
        shutil.copy(nano.WEIGHTS / "tokenizer.json", folder)
    for command, told in (
        (["eval", "nano", "--weights", str(mute)], "mute lacks tokenizer.json"),
        (["eval", "nano", "--weights", str(halved)], "halved/recipe.json is damaged"),
        (["eval", "nano", "--weights", str(begun)], "begun has written no checkpoint yet"),
        (
            ["train", "nano", "--start", str(damaged), "--pool", str(tmp_path / "pool"), "--folder", str(tmp_path)],
            "damaged/config.json is damaged",
        ),
    ):
        assert cli.main(command) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "pool").exists()
