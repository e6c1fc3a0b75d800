"""Items of a conversation as JSON, both ways."""

from dataclasses import replace
from typing import Any

import numpy as np

from omni.engine.protocol import SAMPLE_RATE
from omni_server.dialects.dialect import WireLimits
from omni_server.dialects.realtime.fields import Wrong, choice, compact, listed, missing, record, text
from omni_server.dialects.realtime.sound import Format
from omni_server.session.items import (
    FunctionCall,
    FunctionResult,
    ImagePart,
    Item,
    Message,
    Part,
    Reference,
    SpeechPart,
    TextPart,
)
from omni_tokenizers.audio.resampler import resample

LONGEST_ID = 512  # characters
MOST_PARTS = 256
LONGEST_ITEM = 1_000_000  # bytes: with all around it, an event stays below the 1 MiB that some clients take
DETAILS = ("auto", "low", "high")


def item_json(item: Item) -> dict[str, Any]:
    """An item, as events show it; without the bytes of its sound."""
    found: dict[str, Any] = {"id": item.id, "object": "realtime.item"}
    if isinstance(item, FunctionCall):
        return found | {
            "type": "function_call",
            "status": item.status,
            "call_id": item.call,
            "name": item.name,
            "arguments": item.arguments,
        }
    if isinstance(item, FunctionResult):
        return found | {
            "type": "function_call_output",
            "status": item.status,
            "call_id": item.call,
            "output": item.output,
        }
    parts = [part_json(part, item.role == "assistant") for part in item.parts]
    if any(isinstance(part, ImagePart) for part in item.parts):
        _leave_out_data(parts, LONGEST_ITEM - text_bytes(item))
    return found | {"type": "message", "status": item.status, "role": item.role, "content": parts}


def text_bytes(item: Item) -> int:
    """What an item takes on the wire without its pictures."""
    if isinstance(item, Message):
        item = replace(item, parts=[part for part in item.parts if not isinstance(part, ImagePart)])
    return len(compact(item_json(item)).encode(errors="replace"))


def _leave_out_data(parts: list[dict[str, Any]], left: int) -> None:
    """Of pictures that do not fit into so many bytes, leave the address without what comes after it.

    An address that is missing, or null, may break a client that wants a string.
    """
    for part in parts:
        if part["type"] == "input_image":
            url = part["image_url"]
            if len(url) <= left:
                left -= len(url)
            else:
                part["image_url"] = url.partition(",")[0] + ","


def part_json(part: Part, output: bool) -> dict[str, Any]:
    """A part of a message; `transcript` of a user's speech is there from the beginning, null until it is known."""
    if isinstance(part, TextPart):
        return {"type": "output_text" if output else "input_text", "text": part.text}
    if isinstance(part, SpeechPart):
        return {"type": "output_audio" if output else "input_audio", "transcript": part.transcript}
    return {"type": "input_image", "image_url": part.url, "detail": part.detail or "auto"}


def read_item(value: Any, path: str, limits: WireLimits, sound: Format) -> Item:
    """An item of the client. Its id is kept; without one it has an empty id."""
    fields = record(value, path)
    if fields.get("type") is None:
        raise missing(f"{path}.type")
    kind = choice(fields["type"], f"{path}.type", ("message", "function_call", "function_call_output"))
    name = "" if fields.get("id") is None else text(fields["id"], f"{path}.id", LONGEST_ID)
    if kind == "message":
        return read_message(fields, name, path, limits, sound)

    def needed(key: str, most: int) -> str:
        if fields.get(key) is None:
            raise missing(f"{path}.{key}")
        return text(fields[key], f"{path}.{key}", most)

    if kind == "function_call":
        call = text(fields.get("call_id") or "", f"{path}.call_id", LONGEST_ID)
        return FunctionCall(name, call, needed("name", LONGEST_ID), needed("arguments", limits.text))
    return FunctionResult(name, needed("call_id", LONGEST_ID), needed("output", limits.text))


def read_new_item(value: Any, path: str, limits: WireLimits, sound: Format) -> Item:
    """An item for the conversation: one that can be shown again to every client."""
    item = read_item(value, path, limits, sound)
    if (length := text_bytes(item)) > LONGEST_ITEM:
        text = f"the texts of '{path}' take {length:,} bytes: at most {LONGEST_ITEM:,} are taken; use several items."
        raise Wrong(path, text, "string_above_max_length")
    return item


def read_context(value: Any, path: str, limits: WireLimits, sound: Format) -> Item | Reference:
    """An item of a response's own input: one that is brought, or one of the conversation by its id."""
    fields = record(value, path)
    if fields.get("type") != "item_reference":
        return read_item(value, path, limits, sound)
    if fields.get("id") is None:
        raise missing(f"{path}.id")
    return Reference(text(fields["id"], f"{path}.id", LONGEST_ID))


def read_message(fields: dict[str, Any], name: str, path: str, limits: WireLimits, sound: Format) -> Message:
    """A message of anybody."""
    if fields.get("role") is None:
        raise missing(f"{path}.role")
    role = choice(fields["role"], f"{path}.role", ("user", "assistant", "system"))
    content = fields.get("content")
    if content is None:
        raise missing(f"{path}.content")
    parts: list[Part] = []
    for at, part in enumerate(listed(content, f"{path}.content", MOST_PARTS)):
        parts.append(_part(record(part, f"{path}.content[{at}]"), role, f"{path}.content[{at}]", limits, sound))
    if sum(isinstance(part, ImagePart) for part in parts) > limits.images:
        raise Wrong(f"{path}.content", f"at most {limits.images} pictures are taken in one item.")
    return Message(name, role, parts)  # type: ignore[arg-type]  # choice has checked it


def _part(fields: dict[str, Any], role: str, path: str, limits: WireLimits, sound: Format) -> Part:
    # The names of the beta are understood too: clients replay histories that they stored then.
    kinds = {
        "user": ("input_text", "input_audio", "input_image", "text"),
        "assistant": ("output_text", "output_audio", "text", "audio"),
        "system": ("input_text", "text"),
    }[role]
    if fields.get("type") is None:
        raise missing(f"{path}.type")
    kind = choice(fields["type"], f"{path}.type", kinds)
    if kind.endswith("text"):
        if fields.get("text") is None:
            raise missing(f"{path}.text")
        return TextPart(text(fields["text"], f"{path}.text", limits.text))
    if kind == "input_image":
        return _image(fields, path, limits)
    transcript = fields.get("transcript")
    words = None if transcript is None else text(transcript, f"{path}.transcript", limits.text)
    if role == "assistant":
        return SpeechPart(words or "")
    if fields.get("audio") is None:
        if words is None:
            raise missing(f"{path}.audio")
        return SpeechPart(words)
    wave = sound.decode(text(fields["audio"], f"{path}.audio", 1 << 30), f"{path}.audio")
    wave = resample(wave, sound.rate, SAMPLE_RATE)
    samples = np.clip(np.rint(wave * 32_768), -32_768, 32_767).astype(np.int16)
    return SpeechPart(words, len(samples) / SAMPLE_RATE, samples)


def _image(fields: dict[str, Any], path: str, limits: WireLimits) -> ImagePart:
    if fields.get("image_url") is None:
        raise missing(f"{path}.image_url")
    where = f"{path}.image_url"
    url = text(fields["image_url"], where, 4 * (limits.image_bytes // 3) + 128)
    if not url.startswith("data:image/"):
        raise Wrong(
            where, "a picture comes as data:image/png;base64,… or data:image/jpeg;base64,…; nothing is fetched."
        )
    detail = fields.get("detail")
    return ImagePart(url, None if detail is None else choice(detail, f"{path}.detail", DETAILS))
