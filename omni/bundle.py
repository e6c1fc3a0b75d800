"""A model that converses, with all that belongs to it: tokenizers, codec, and the script it was taught.

bundle = Bundle.load("folder")
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

import torch

from omni.model.load import load, save
from omni.model.omni import Omni
from omni.script import SPECIALS, Script
from omni_tokenizers.audio.codec import Codec
from omni_tokenizers.sequence import Omni as Tokens

CODEC = "codec"  # the folder beside the weights


def text_of(tokens: Tokens) -> Any:
    """The text tokenizer, which the seam of modalities does not know of."""
    return getattr(tokens.modalities["text"], "text")  # noqa: B009


@dataclass
class Bundle:
    """The omni model, the tokenizer of its sequences, the codec it speaks with, and how turns are written."""

    model: Omni
    tokens: Tokens
    codec: Codec | None = None
    script: Script = field(default_factory=Script)
    about: Mapping[str, Any] = field(default_factory=dict)  # what else config.json says: name, recipe, hash

    def __post_init__(self) -> None:
        missing = [name for name in SPECIALS if name not in self.special]
        if missing:
            raise ValueError(f"the vocabulary has no {', '.join(missing)}: train it with special=omni.script.SPECIALS")

    @property
    def special(self) -> dict[str, int]:
        """The ids of the script's special tokens, by name."""
        return cast(dict[str, int], self.text.special)

    @property
    def text(self) -> Any:
        """The text tokenizer."""
        return text_of(self.tokens)

    @property
    def sees(self) -> bool:
        """Whether it takes pictures."""
        return "image" in self.model.inputs

    @property
    def speaks(self) -> bool:
        """Whether it answers in sound."""
        return self.codec is not None and self.model.codes is not None

    def save(self, folder: str | Path) -> None:
        """Write config.json, model.safetensors and tokenizer.json; a codec with `save` goes into `codec/`."""
        folder = Path(folder)
        settings: dict[str, Any] = {}
        if "image" in self.tokens.modalities:
            settings["image"] = cast(Any, self.tokens.modalities["image"]).patches.settings()
        if "audio" in self.tokens.modalities:
            mel = cast(Any, self.tokens.modalities["audio"]).mel
            settings["audio"] = {"bins": mel.bins, "floor": mel.floor}
        config = {**self.about, **self.model.spec.config(), "tokenizers": settings, "script": asdict(self.script)}
        save(self.model, config, folder)
        self.text.save(folder / "tokenizer.json")
        if self.codec is not None and hasattr(self.codec, "save"):
            self.codec.save(folder / CODEC)

    @classmethod
    def load(
        cls,
        folder: str | Path,
        *,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> "Bundle":
        """Read what `save` wrote."""
        folder = Path(folder)
        found = load(folder, device=device, dtype=dtype)
        if not isinstance(found.model, Omni):
            raise ValueError(f"{folder} holds a {found.kind}, not an omni model: a conversation needs one")
        codec: Codec | None = None
        if (folder / CODEC).is_dir():
            from omni.nano.codec import NanoCodec

            codec = NanoCodec.load(folder / CODEC)
        tokens = Tokens(**found.tokenizers, codec=codec)
        script = Script(**found.config.get("script", {}))
        known = {*found.model.spec.config(), "tokenizers", "script"}
        about = {name: value for name, value in found.config.items() if name not in known}
        return cls(found.model, tokens, codec, script, about)
