"""A training becomes a bundle: for examining it, and for shipping it in half precision."""

import copy
import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import load_file

from omni.bundle import Bundle
from omni.model.load import read_json
from omni.train.checkpoint import RECIPE, STATE
from omni.train.fitting import require_fit
from omni.train.pool import VERSION
from omni.train.recipe import Recipe, load_or_train, model, tokenizers


def bundle_of(folder: Path, codec: Any = None) -> Bundle:
    """What a training folder holds now, as a bundle; the training may go on meanwhile."""
    recipe = Recipe.of(read_json(folder / RECIPE))
    if not (folder / STATE).exists():
        raise ValueError(f"the training in {folder} has written no checkpoint yet: wait for its first")
    tokens = tokenizers(load_or_train(recipe, folder), codec)
    built = model(recipe, tokens)
    require_fit(built, recipe, folder)
    with safe_open(folder / STATE, framework="pt") as opened:
        about = json.loads(opened.metadata()["about"])
        built.load_state_dict({name: opened.get_tensor(f"model.{name}") for name in built.state_dict()})
    return Bundle(built.eval(), tokens, codec, description(recipe, about))


def blended(bundle: Bundle, start: Path, share: float) -> Bundle:
    """So much of what was trained and the rest of what it began with, weight by weight.

    Two ends of one training are noisy in different ways, and their mean is better than either.
    """
    before = load_file(start / "model.safetensors")
    model = copy.deepcopy(bundle.model)
    with torch.no_grad():
        for name, weight in model.state_dict().items():
            weight.lerp_(before[name].to(weight), 1 - share)
    with_hash = read_json(start / "config.json").get("recipe_hash")
    return Bundle(model, bundle.tokens, bundle.codec, {**bundle.about, "blend": share, "blended_with": with_hash})


def description(recipe: Recipe, about: Mapping[str, Any]) -> dict[str, Any]:
    """What config.json says beside the shape: the recipe, how far it went, and a hash of both."""
    told = {"recipe": recipe.config(), "step": about["step"], "shards": len(about["shards"]), "pool": VERSION}
    digest = hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()
    return {"name": "nano", **told, "recipe_hash": digest[:16]}


def ship(bundle: Bundle, folder: Path) -> None:
    """Write the bundle in half precision."""
    half = copy.deepcopy(bundle.model).to(torch.float16)
    Bundle(half, bundle.tokens, bundle.codec, bundle.about).save(folder)
