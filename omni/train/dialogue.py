"""What a conversation is, before anybody speaks it: turns of question and answer, with what belongs to them."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from omni.train.pictures import Scene

Split = Literal["train", "dev", "test"]


@dataclass(frozen=True)
class Call:
    """A tool that has to be called before the answer, and what it gives back."""

    name: str
    arguments: Mapping[str, str]
    result: str

    def as_text(self) -> str:
        """The call as the model writes it."""
        return json.dumps({"name": self.name, "arguments": dict(self.arguments)}, separators=(",", ":"))


@dataclass(frozen=True)
class Turn:
    """One question and its answer."""

    question: str
    answer: str
    picture: Scene | None = None
    call: Call | None = None


@dataclass(frozen=True)
class Dialogue:
    """One or more turns; the names of the tools that are declared; and the key that decides its split."""

    skill: str
    turns: tuple[Turn, ...]
    key: str  # the combination that must not be in two splits, for instance "7+5"
    tools: tuple[str, ...] = ()
    also: tuple[str, ...] = ()  # the keys of what is asked on the way: none that is held out comes in training


def split_of(key: str, *, dev: float = 0.05, test: float = 0.1) -> Split:
    """Which split a combination belongs to: a function of its name alone, the same on every machine for ever.

    >>> [split_of(key) for key in ("7+5", "3+4", "the red house runs")]
    ['train', 'train', 'train']
    """
    place = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return "test" if place < test else "dev" if place < test + dev else "train"


TOOLS: dict[str, dict[str, Any]] = {
    "get_weather": {
        "description": "The weather in a city now",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
    "set_light": {
        "description": "Switch the light in a room on or off",
        "parameters": {
            "type": "object",
            "properties": {"room": {"type": "string"}, "state": {"type": "string", "enum": ["on", "off"]}},
            "required": ["room", "state"],
        },
    },
    "get_time": {"description": "The time of day", "parameters": {"type": "object", "properties": {}}},
}
