"""JSON of the client to commands."""

import secrets
from collections.abc import Callable
from typing import Any

from omni_server.dialects.dialect import WireLimits
from omni_server.dialects.omni_v1.configure import tools
from omni_server.dialects.omni_v1.fields import BadField, Fields, repaired
from omni_server.session.commands import (
    AddItem,
    CancelResponse,
    ClearAudio,
    Command,
    CommitAudio,
    CreateResponse,
    DeleteItem,
    PlayedOut,
    RetrieveItem,
    TruncateItem,
)
from omni_server.session.items import FunctionResult, ImagePart, Message, Part, Reference, TextPart
from omni_server.session.setup import Wishes

ID = 128  # characters of an id
LONGEST_ANSWER_MS = 24 * 3600 * 1000
OurTime = Callable[[float], float | None]  # a moment on the client's clock, on ours


def command(said: Fields, limits: WireLimits, ours: OurTime) -> Command | None:
    """What the client asks for; None for a type that is not known here; raises `BadField`."""
    ref = said.text("ref", ID) if "ref" in said else None
    match said.text("type", ID):
        case "commit":
            return CommitAudio(ref)
        case "clear":
            return ClearAudio(ref)
        case "say":
            return AddItem(message(said, limits), said.text("after", ID) if "after" in said else None, ref)
        case "tool_result":
            result = FunctionResult(_id(said), said.text("call", ID), said.text("output", limits.text))
            return AddItem(result, ref=ref)
        case "respond":
            return respond(said, limits, ref)
        case "cancel":
            return CancelResponse(said.text("answer", ID) if "answer" in said else None, ref)
        case "played":
            return played(said, ours, ref)
        case "truncate":
            return TruncateItem(said.text("item", ID), 0, round(said.number("ms", 0, LONGEST_ANSWER_MS)), ref)
        case "show":
            return RetrieveItem(said.text("item", ID), ref)
        case "forget":
            return DeleteItem(said.text("item", ID), ref)
        case _:
            return None


def message(said: Fields, limits: WireLimits) -> Message:
    """Typed text and pictures."""
    parts: list[Part] = []
    if "text" in said:
        parts.append(TextPart(said.text("text", limits.text)))
    longest = limits.image_bytes * 4 // 3 + 1_000  # base64
    parts += [ImagePart(picture.text("url", longest)) for picture in said.objects("images", limits.images)]
    if not parts:
        raise BadField(said.at + "text", "is missing: a message has text, images, or both")
    role: Any = said.choice("role", ("user", "assistant", "system"), "user")
    return Message(_id(said), role, parts)


def respond(said: Fields, limits: WireLimits, ref: str | None) -> CreateResponse:
    """Answer now, perhaps otherwise than the session is set."""
    metadata = said.object("metadata", {}).values
    if not all(isinstance(value, str) and len(value) <= 512 and len(key) <= 64 for key, value in metadata.items()):
        raise BadField(said.at + "metadata", "has to hold strings, of at most 512 characters")
    if len(metadata) > 16:
        raise BadField(said.at + "metadata", f"has {len(metadata)} entries: at most 16 are taken")
    context = None
    if "context" in said:
        context = tuple(
            Reference(part.text("item", ID)) if "item" in part else message(part, limits)
            for part in said.objects("context", 1_000)
        )
    wishes = Wishes(
        instructions=said.text("instructions", limits.text) if "instructions" in said else None,
        speaks=said.flag("speaks") if "speaks" in said else None,
        tools=tools(said, limits) if "tools" in said else None,
        tool_choice=said.text("tool_choice", 64) if "tool_choice" in said else None,
        longest=said.whole("longest", 1, 1 << 20) if "longest" in said else None,
        metadata={repaired(key): repaired(value) for key, value in metadata.items()} or None,
    )
    return CreateResponse(wishes, aside=said.flag("aside", False), context=context, ref=ref)


def played(said: Fields, ours: OurTime, ref: str | None) -> PlayedOut:
    """What came out of the loudspeaker."""
    moments = {}
    for name in ("received_at", "first_at"):
        moments[name] = ours(said.number(name, -1e12, 1e12)) if name in said else None
    return PlayedOut(said.text("item", ID), said.number("ms", 0, LONGEST_ANSWER_MS), **moments, ref=ref)


def _id(said: Fields) -> str:
    return said.text("id", ID) if "id" in said else f"item_{secrets.token_hex(10)}"
