"""The omni model of this repository, as `save` writes it."""

from pathlib import Path
from typing import Any

from omni.model.load import Config
from omni.model.omni import Omni, OmniSpec
from omni.model.weights import Names

IGNORED = ()


def build(config: Config) -> Omni:
    """The model that a configuration describes."""
    return Omni(OmniSpec.of(config))


def names(_config: Config) -> Names:
    """None to translate: the weights have our own names."""
    return []


def tokenizers(folder: Path, config: Config) -> dict[str, Any]:
    """The text vocabulary in tokenizer.json, and what `tokenizers` in the configuration says of the others."""
    from omni_tokenizers import LogMel, Patches, Text

    found: dict[str, Any] = {}
    if (folder / "tokenizer.json").exists():
        found["text"] = Text.load(folder)
    settings = config.get("tokenizers", {})
    if "image" in settings:
        found["image"] = Patches.from_settings(settings["image"])
    if "audio" in settings:
        found["audio"] = LogMel(**settings["audio"])
    return found
