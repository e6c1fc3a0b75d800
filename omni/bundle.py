"""A model that converses, with all that belongs to it: tokenizers and codec.

bundle = Bundle.load("folder")
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

import torch

from omni.model.load import load, save
from omni.model.omni import Omni
from omni.model.walker import Walker
from omni.script import SPECIALS
from omni_tokenizers.audio.codec import Codec
from omni_tokenizers.sequence import Omni as Tokens

CODEC = "codec"  # the folder beside the weights
SCRIPT = "words"  # how answers are spoken, in config.json: word by word


def text_of(tokens: Tokens) -> Any:
    """The text tokenizer, which the seam of modalities does not know of."""
    return getattr(tokens.modalities["text"], "text")  # noqa: B009


@dataclass
class Bundle:
    """The omni model, the tokenizer of its sequences, and the codec it speaks with."""

    model: Omni
    tokens: Tokens
    codec: Codec | None = None
    about: Mapping[str, Any] = field(default_factory=dict)  # what else config.json says: name, recipe, hash

    def __post_init__(self) -> None:
        missing = [name for name in SPECIALS if name not in self.special]
        if missing:
            raise ValueError(f"the vocabulary has no {', '.join(missing)}: train it with special=omni.script.SPECIALS")

    @cached_property
    def walker(self) -> Walker | None:
        """What steps the model by single tokens on a CPU: made once, of the weights as they are then."""
        return Walker(self.model, self.model.spec.longest) if Walker.can(self.model) else None

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
        if self.codec is None and (folder / CODEC).exists():
            raise ValueError(
                f"{folder} holds the codec of another bundle, and this one has none: remove {folder / CODEC}"
            )
        settings: dict[str, Any] = {}
        if "image" in self.tokens.modalities:
            settings["image"] = cast(Any, self.tokens.modalities["image"]).patches.settings()
        if "audio" in self.tokens.modalities:
            mel = cast(Any, self.tokens.modalities["audio"]).mel
            settings["audio"] = {"bins": mel.bins, "floor": mel.floor}
        config = {**self.about, **self.model.spec.config(), "tokenizers": settings, "script": SCRIPT}
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
        if "text" not in found.tokenizers:
            raise ValueError(f"{folder} lacks tokenizer.json: without its vocabulary a model can say nothing")
        tokens = Tokens(**found.tokenizers, codec=codec)
        if (script := found.config.get("script", SCRIPT)) != SCRIPT:
            raise ValueError(
                f"the model in {folder} was taught to write answers otherwise ({script!r}, not {SCRIPT!r}): "
                "use the version that made it, or train it again"
            )
        known = {*found.model.spec.config(), "tokenizers", "script"}
        about = {name: value for name, value in found.config.items() if name not in known}
        return cls(found.model, tokens, codec, about)
