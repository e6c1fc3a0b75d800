"""`configure`: what a session is to be. Only what it names changes; null sets a field back."""

from dataclasses import dataclass, field, replace
from typing import Any

from omni.engine.protocol import Tool
from omni.sampling import Sampling
from omni_server.dialects.dialect import WireLimits
from omni_server.dialects.omni_v1.fields import BadField, Fields, json_length, plain, repaired
from omni_server.dialects.omni_v1.sound import OPUS_RATE, TELEPHONE
from omni_server.session.setup import Live, PushToTalk, SemanticVad, ServerVad, Setup, Transcribing, TurnTaking
from omni_tokenizers.optional import MissingPackage, need

LOWEST_RATE = 4_000  # Hz
LONGEST_NAME = 64  # characters of a setting that there is not, in the error about it
FORMATS = ("pcm16", "opus", "pcmu", "pcma")
NAMES = ("instructions", "speaks", "codes", "audio_in", "audio_out", "turns", "transcribe", "tools", "tool_choice",
         "longest", "sampling")  # fmt: skip
SAMPLING = ("temperature", "top_k", "top_p", "repetition", "seed")


@dataclass(frozen=True)
class Format:
    """How sound is written on the wire."""

    type: str = "pcm16"
    rate: int = 16_000  # Hz


@dataclass(frozen=True)
class Wanted:
    """The session as the client wants it, with the formats that only the wire knows."""

    setup: Setup = field(default_factory=lambda: Setup(rate_out=16_000))
    audio_in: Format = field(default_factory=Format)
    audio_out: Format = field(default_factory=Format)

    def as_json(self) -> dict[str, Any]:
        """All of it, as `configure` takes it."""
        setup = self.setup
        return {
            "instructions": setup.instructions,
            "speaks": setup.speaks,
            "codes": setup.codes_out,
            "audio_in": vars(self.audio_in),
            "audio_out": vars(self.audio_out),
            "turns": turns_as_json(setup.turns),
            "transcribe": setup.transcribing is not None,
            "tools": [
                {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
                for tool in setup.tools
            ],
            "tool_choice": setup.tool_choice,
            "longest": setup.longest,
            "sampling": {name: getattr(setup.sampling, name) for name in SAMPLING},
        }


def turns_as_json(turns: TurnTaking) -> dict[str, Any]:
    """Who says when a turn is over."""
    match turns:
        case ServerVad():
            return {"by": "silence", **vars(turns)}
        case SemanticVad():
            return {"by": "meaning", **vars(turns)}
        case PushToTalk():
            return {"by": "client"}
        case Live():
            return {"by": "nobody"}


def configured(before: Wanted, said: Fields, limits: WireLimits) -> Wanted:
    """The session after a `configure`; raises `BadField`."""
    for name in said.values:
        if name not in NAMES and name not in ("type", "ref"):
            raise BadField(
                said.at + repaired(name[:LONGEST_NAME]), f"is no setting of a session: there are {', '.join(NAMES)}"
            )
    fresh = Wanted()
    audio_in = _format(said, "audio_in", before.audio_in, fresh.audio_in, limits)
    audio_out = _format(said, "audio_out", before.audio_out, fresh.audio_out, limits)
    changes: dict[str, Any] = {"rate_out": audio_out.rate}
    if "instructions" in said.values:
        changes["instructions"] = said.text("instructions", limits.text, "")
    if "speaks" in said.values:
        changes["speaks"] = said.flag("speaks", fresh.setup.speaks)
    if "codes" in said.values:
        changes["codes_out"] = said.flag("codes", False)
    if "turns" in said.values:
        changes["turns"] = turns(said.object("turns", {"by": "silence"}))
    if "transcribe" in said.values:
        changes["transcribing"] = Transcribing() if said.flag("transcribe", False) else None
    if "tools" in said.values:
        changes["tools"] = tools(said, limits)
    if "tool_choice" in said.values:
        changes["tool_choice"] = said.text("tool_choice", 64, "auto")
    if "longest" in said.values:
        changes["longest"] = said.whole("longest", 1, 1 << 20) if "longest" in said else None
    if "sampling" in said.values:
        changes["sampling"] = sampling(said.object("sampling", {}))
    return Wanted(replace(before.setup, **changes), audio_in, audio_out)


def turns(said: Fields) -> TurnTaking:
    """Who says when a turn is over."""
    match said.choice("by", ("silence", "meaning", "client", "nobody")):
        case "silence":
            return ServerVad(
                threshold=said.number("threshold", 0, 1, 0.5),
                prefix_padding_ms=said.whole("prefix_padding_ms", 0, 5_000, 300),
                silence_duration_ms=said.whole("silence_duration_ms", 50, 10_000, 500),
                idle_timeout_ms=said.whole("idle_timeout_ms", 1_000, 300_000) if "idle_timeout_ms" in said else None,
                create_response=said.flag("create_response", True),
                interrupt_response=said.flag("interrupt_response", True),
            )
        case "meaning":
            return SemanticVad(
                eagerness=said.choice("eagerness", ("low", "medium", "high", "auto"), "auto"),  # type: ignore[arg-type]
                create_response=said.flag("create_response", True),
                interrupt_response=said.flag("interrupt_response", True),
            )
        case "client":
            return PushToTalk()
        case _:
            return Live()


def tools(said: Fields, limits: WireLimits) -> tuple[Tool, ...]:
    """Functions that the model may call."""
    found = []
    for one in said.objects("tools", limits.tools):
        parameters, path = one.object("parameters", {}).values, f"{one.at}parameters"
        if json_length(parameters) > limits.tool:
            raise BadField(path, f"is longer than {limits.tool:,} characters")
        schema = plain(parameters, path)
        found.append(Tool(one.text("name", 64), one.text("description", limits.text, ""), schema))
    return tuple(found)


def sampling(said: Fields) -> Sampling:
    """How the next token is chosen."""
    try:
        return Sampling(
            temperature=said.number("temperature", 0, 2, 0.0),
            top_k=said.whole("top_k", 0, 1 << 20, 0),
            top_p=said.number("top_p", 0, 1, 1.0),
            repetition=said.number("repetition", 0.5, 2, 1.0),
            seed=said.whole("seed", 0, (1 << 63) - 1, 0),
        )
    except BadField:
        raise
    except ValueError as wrong:
        raise BadField(said.at.rstrip("."), f"does not hold together: {wrong}") from None


def _format(said: Fields, name: str, before: Format, fresh: Format, limits: WireLimits) -> Format:
    if name not in said.values:
        return before
    if name not in said:
        return fresh
    inner = said.object(name)
    kind = inner.choice("type", FORMATS, "pcm16")
    if kind == "opus":
        try:
            need("av", extra="server", use="Opus")
        except MissingPackage as missing:
            raise BadField(f"{inner.at}type", f"is opus, which this server cannot read or write: {missing}") from None
        return Format(kind, OPUS_RATE)
    if kind in ("pcmu", "pcma"):
        return Format(kind, TELEPHONE)
    return Format(kind, inner.whole("rate", LOWEST_RATE, limits.audio_rate, 16_000))
