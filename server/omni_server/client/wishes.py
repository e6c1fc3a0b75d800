"""What a client wants of its session, whatever the wire."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class Tool:
    """A function that the model may call; `parameters` is a JSON schema."""

    name: str
    description: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Wishes:
    """How the conversation is to be. `turns`: who says that a turn is over; by the client, `commit` does."""

    instructions: str = ""
    speaks: bool = True  # answers in speech; False: in text alone
    turns: Literal["silence", "meaning", "client"] = "silence"
    silence_ms: int | None = None  # turns by silence: so much of it; None: as the server has it
    eagerness: Literal["low", "medium", "high", "auto"] = "auto"  # turns by meaning
    interrupts: bool = True  # the user's voice stops an answer
    transcribe: bool = True  # the user's words come back as text
    tools: tuple[Tool, ...] = ()
    voice: str | None = None  # realtime wire only
