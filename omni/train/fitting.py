"""Weights of another shape are refused in the words of the settings that differ, before anything is read or written."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from omni.model.load import read_json
from omni.model.omni import Omni
from omni.train.checkpoint import RECIPE, STATE
from omni.train.recipe import Recipe


def require_fit(model: Omni, recipe: Recipe, folder: Path, start: Path | None = None) -> None:
    """Raise ValueError where this model can neither go on from what is in the folder nor begin with the bundle."""
    if (folder / STATE).exists():
        if odd := misfit(model, folder / STATE, "model."):
            told = differing(read_json(folder / RECIPE), recipe.shape) if (folder / RECIPE).exists() else ""
            raise ValueError(
                f"the training in {folder} has weights of another shape ({told or odd}): "
                "name another folder, or use the version that made it"
            )
    elif start is not None and (odd := misfit(model, start / "model.safetensors")):
        there, here = read_json(start / "config.json"), json.loads(json.dumps(model.spec.config()))  # lists, no tuples
        raise ValueError(
            f"the bundle in {start} has weights of another shape ({differing(there, here) or odd}): "
            "begin with one that this recipe made, or use the version that made it"
        )


def misfit(model: Omni, file: Path, prefix: str = "") -> str:
    """The first weight that a file and a model do not have alike; nothing where all of them fit."""
    wanted = {f"{prefix}{name}": list(t.shape) for name, t in model.state_dict().items()}
    try:
        with safe_open(file, framework="pt") as opened:
            names = [name for name in opened.keys() if name.startswith(prefix)]  # noqa: SIM118  # it is no mapping
            held = {name: opened.get_slice(name).get_shape() for name in names}
    except SafetensorError as wrong:
        raise ValueError(f"{file} is damaged: put a copy in its place ({wrong})") from None
    return next((f"{name} differs" for name in sorted({*wanted, *held}) if wanted.get(name) != held.get(name)), "")


def differing(there: Mapping[str, Any], here: Mapping[str, Any]) -> str:
    """The settings that differ, by name, those of parts behind the names of the parts. What is asked for is `here`.

    >>> differing({"step": 9, "stem": {"spread": 512}}, {"width": 256, "stem": {"spread": 1024}})
    'width: none there, 256 here; stem.spread: 512 there, 1024 here'
    """
    theirs, ours = dict(leaves({name: value for name, value in there.items() if name in here})), dict(leaves(here))
    return "; ".join(
        f"{name}: {theirs.get(name, 'none')} there, {ours.get(name, 'none')} here"
        for name in {**ours, **theirs}
        if theirs.get(name) != ours.get(name)
    )


def leaves(settings: Mapping[str, Any], part: str = "") -> Iterator[tuple[str, Any]]:
    """Each setting that is given, with its whole name."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{part}{name}.")
        elif value is not None:
            yield f"{part}{name}", value
