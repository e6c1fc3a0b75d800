"""What a client asked for: everything a session can be told to be, whole and typed."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from omni.engine.protocol import SessionSpec, Tool
from omni.sampling import GREEDY, Sampling

Eagerness = Literal["low", "medium", "high", "auto"]


@dataclass(frozen=True)
class ServerVad:
    """Turns by silence."""

    threshold: float = 0.5
    prefix_padding_ms: int = 300
    silence_duration_ms: int = 500
    idle_timeout_ms: int | None = None
    create_response: bool = True
    interrupt_response: bool = True


@dataclass(frozen=True)
class SemanticVad:
    """Turns by the model's own prediction."""

    eagerness: Eagerness = "auto"
    create_response: bool = True
    interrupt_response: bool = True


@dataclass(frozen=True)
class PushToTalk:
    """The client says when a turn is over."""


@dataclass(frozen=True)
class Live:
    """No turns: audio goes to the engine as it comes and none is kept; a response stays open until it is cancelled."""


TurnTaking = ServerVad | SemanticVad | PushToTalk | Live


@dataclass(frozen=True)
class Transcribing:
    """The user's speech comes back as text."""

    model: str | None = None
    language: str | None = None
    prompt: str | None = None


@dataclass(frozen=True)
class Setup:
    """What the client wants. A change brings a whole new one; `wire` is the dialect's own view, only handed back."""

    model: str = "omni"
    instructions: str = ""
    speaks: bool = True  # answers in speech; False: in text alone
    tools: tuple[Tool, ...] = ()
    tool_choice: str = "auto"  # none, auto, required, or the name of the one tool to call
    longest: int | None = None  # tokens of an answer; None: as long as the server lets
    sampling: Sampling = GREEDY
    turns: TurnTaking = field(default_factory=ServerVad)
    transcribing: Transcribing | None = None
    only_transcribes: bool = False  # never answers
    rate_out: int = 24_000  # Hz of the audio that the client gets
    codes_out: bool = False  # acoustic codes besides, where the engine has them
    wire: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def spec(self, longest: int, wishes: "Wishes | None" = None) -> SessionSpec:
        """What the engine has to know, for one answer."""
        wishes = wishes or Wishes()
        tools = self.tools if wishes.tools is None else wishes.tools
        choice = self.tool_choice if wishes.tool_choice is None else wishes.tool_choice
        if choice == "none":
            tools = ()
        elif choice not in ("auto", "required"):
            tools = tuple(tool for tool in tools if tool.name == choice)
        limit = self.longest if wishes.longest is None else wishes.longest
        return SessionSpec(
            instructions=self.instructions if wishes.instructions is None else wishes.instructions,
            speaks=self.speaks if wishes.speaks is None else wishes.speaks,
            transcribes=self.transcribing is not None or self.only_transcribes,
            codes=self.codes_out,
            tools=tools,
            must_call=bool(tools) and choice not in ("auto", "none"),
            sampling=self.sampling,
            longest=longest if limit is None else min(limit, longest),
        )


@dataclass(frozen=True)
class Wishes:
    """What one response wants otherwise than the session; None: as the session."""

    instructions: str | None = None
    speaks: bool | None = None
    tools: tuple[Tool, ...] | None = None
    tool_choice: str | None = None
    longest: int | None = None
    rate_out: int | None = None  # Hz
    metadata: Mapping[str, str] | None = None
    wire: Mapping[str, Any] = field(default_factory=dict, compare=False)
