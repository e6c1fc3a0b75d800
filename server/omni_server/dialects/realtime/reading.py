"""The eleven events of a client as commands."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

from omni_server.dialects.dialect import WireLimits
from omni_server.dialects.realtime.fields import Wrong, choice, listed, missing, record, text, whole
from omni_server.dialects.realtime.items import LONGEST_ID, read_context, read_new_item
from omni_server.dialects.realtime.session_object import (
    read_longest,
    read_modalities,
    read_tool_choice,
    read_tools,
    read_voice,
    tool_choice_of,
    tools_of,
)
from omni_server.dialects.realtime.sound import Format, read_format
from omni_server.session.commands import (
    AddItem,
    AppendAudio,
    CancelResponse,
    ClearAudio,
    Command,
    CommitAudio,
    CreateResponse,
    DeleteItem,
    RetrieveItem,
    TruncateItem,
)
from omni_server.session.conversation import FRONT
from omni_server.session.setup import Wishes

LONGEST_AUDIO = 15 << 20  # bytes of audio in one event
PIECE = 1.0  # s of audio in one command: an hour in one event does not stop everybody else
LONGEST_MS = 24 * 3_600_000
MOST_INPUT = 1_000  # items
ENDLESS = sys.maxsize  # tokens: as many as the server lets, whatever the session says
METADATA = (16, 64, 512)  # pairs, characters of a key, characters of a value


def append(event: Mapping[str, Any], ref: str | None, sound: Format, _limits: WireLimits) -> list[Command]:
    """`input_audio_buffer.append`."""
    if event.get("audio") is None:
        raise missing("audio")
    wave = sound.decode(text(event["audio"], "audio", 4 * (LONGEST_AUDIO // 3) + 4), "audio")
    step = int(PIECE * sound.rate)
    return [AppendAudio(wave[at : at + step], sound.rate, ref=ref) for at in range(0, len(wave), step)]


def commit(_event: Mapping[str, Any], ref: str | None, _sound: Format, _limits: WireLimits) -> list[Command]:
    """`input_audio_buffer.commit`."""
    return [CommitAudio(ref)]


def clear(_event: Mapping[str, Any], ref: str | None, _sound: Format, _limits: WireLimits) -> list[Command]:
    """`input_audio_buffer.clear`."""
    return [ClearAudio(ref)]


def ignore(_event: Mapping[str, Any], _ref: str | None, _sound: Format, _limits: WireLimits) -> list[Command]:
    """`output_audio_buffer.clear`: there is no such buffer on a websocket, and no harm in saying so to nobody."""
    return []


def create_item(event: Mapping[str, Any], ref: str | None, sound: Format, limits: WireLimits) -> list[Command]:
    """`conversation.item.create`."""
    if event.get("item") is None:
        raise missing("item")
    after = event.get("previous_item_id")
    if after is not None:
        after = text(after, "previous_item_id", LONGEST_ID)
        after = FRONT if after == "root" else after
    return [AddItem(read_new_item(event["item"], "item", limits, sound), after, ref)]


def _item_id(event: Mapping[str, Any]) -> str:
    if event.get("item_id") is None:
        raise missing("item_id")
    return text(event["item_id"], "item_id", LONGEST_ID)


def retrieve_item(event: Mapping[str, Any], ref: str | None, _sound: Format, _limits: WireLimits) -> list[Command]:
    """`conversation.item.retrieve`."""
    return [RetrieveItem(_item_id(event), ref)]


def delete_item(event: Mapping[str, Any], ref: str | None, _sound: Format, _limits: WireLimits) -> list[Command]:
    """`conversation.item.delete`."""
    return [DeleteItem(_item_id(event), ref)]


def truncate_item(event: Mapping[str, Any], ref: str | None, _sound: Format, _limits: WireLimits) -> list[Command]:
    """`conversation.item.truncate`."""
    name = _item_id(event)
    for key in ("content_index", "audio_end_ms"):
        if event.get(key) is None:
            raise missing(key)
    part = whole(event["content_index"], "content_index", 0, 1_000)
    return [TruncateItem(name, part, whole(event["audio_end_ms"], "audio_end_ms", 0, LONGEST_MS), ref)]


def cancel_response(event: Mapping[str, Any], ref: str | None, _sound: Format, _limits: WireLimits) -> list[Command]:
    """`response.cancel`."""
    name = event.get("response_id")
    return [CancelResponse(None if name is None else text(name, "response_id", LONGEST_ID), ref)]


def create_response(event: Mapping[str, Any], ref: str | None, sound: Format, limits: WireLimits) -> list[Command]:
    """`response.create`."""
    fields = record(event.get("response") or {}, "response")
    aside = fields.get("conversation") is not None and (
        choice(fields["conversation"], "response.conversation", ("auto", "none")) == "none"
    )
    context = None
    if fields.get("input") is not None:
        given = listed(fields["input"], "response.input", MOST_INPUT)
        context = tuple(read_context(item, f"response.input[{at}]", limits, sound) for at, item in enumerate(given))
    return [CreateResponse(_wishes(fields, limits), aside, context, ref)]


def _wishes(fields: Mapping[str, Any], limits: WireLimits) -> Wishes:
    def wish(key: str, read: Callable[[Any, str], Any]) -> Any:
        return None if fields.get(key) is None else read(fields[key], f"response.{key}")

    modalities = wish("output_modalities", read_modalities)
    tools = wish("tools", lambda value, path: read_tools(value, path, limits))
    tool_choice = wish("tool_choice", read_tool_choice)
    longest = wish("max_output_tokens", read_longest)
    output = record((wish("audio", record) or {}).get("output") or {}, "response.audio.output")
    sound = None if output.get("format") is None else read_format(output["format"], "response.audio.output.format")
    voice = None if output.get("voice") is None else read_voice(output["voice"], "response.audio.output.voice")
    return Wishes(
        instructions=wish("instructions", lambda value, path: text(value, path, limits.text)),
        speaks=None if modalities is None else modalities == ["audio"],
        tools=None if tools is None else tools_of(tools),
        tool_choice=None if tool_choice is None else tool_choice_of(tool_choice),
        longest=ENDLESS if longest == "inf" else longest,
        rate_out=None if sound is None else sound.rate,
        metadata=wish("metadata", _metadata),
        wire={"modalities": modalities, "longest": longest, "format": sound, "voice": voice},
    )


def _metadata(value: Any, path: str) -> dict[str, str]:
    most, longest_key, longest_value = METADATA
    pairs = record(value, path)
    if len(pairs) > most:
        raise Wrong(path, f"'{path}' has {len(pairs)} pairs: at most {most} are taken.")
    return {
        text(key, path, longest_key): text(entry, f"{path}.{key[:longest_key]}", longest_value)
        for key, entry in pairs.items()
    }


READERS: Mapping[str, Callable[[Mapping[str, Any], str | None, Format, WireLimits], list[Command]]] = {
    "input_audio_buffer.append": append,
    "input_audio_buffer.commit": commit,
    "input_audio_buffer.clear": clear,
    "conversation.item.create": create_item,
    "conversation.item.retrieve": retrieve_item,
    "conversation.item.truncate": truncate_item,
    "conversation.item.delete": delete_item,
    "response.create": create_response,
    "response.cancel": cancel_response,
    "output_audio_buffer.clear": ignore,
}
