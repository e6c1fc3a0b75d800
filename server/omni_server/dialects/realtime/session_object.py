"""The session as this wire shows it: one JSON object, of which a client changes what it names."""

import time
from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from omni.engine.protocol import Tool
from omni_server.dialects.dialect import WireLimits
from omni_server.dialects.realtime.fields import (
    Wrong,
    bounded,
    choice,
    flag,
    listed,
    missing,
    number,
    record,
    text,
    whole,
)
from omni_server.dialects.realtime.sound import Format, read_format
from omni_server.session.setup import PushToTalk, SemanticVad, ServerVad, Setup, Transcribing, TurnTaking

EAGER = ("low", "medium", "high", "auto")
OURS = ("omni.waterfall", "omni.thinking", "omni.ducking")  # of `include`: events that stock clients do not know
LOGPROBS = "item.input_audio_transcription.logprobs"
MOST_TOKENS = 4096
LONGEST_WAIT = 60_000  # ms
LONGEST_BACK = 8_192  # characters of JSON of each field that changes nothing and is only sent back
SERVER_VAD: dict[str, Any] = {
    "type": "server_vad",
    "threshold": 0.5,
    "prefix_padding_ms": 300,
    "silence_duration_ms": 500,
    "idle_timeout_ms": None,
    "create_response": True,
    "interrupt_response": True,
}
SEMANTIC_VAD: dict[str, Any] = {
    "type": "semantic_vad",
    "eagerness": "auto",
    "create_response": True,
    "interrupt_response": True,
}


def first_session(model: str, kind: str, longest_s: float) -> dict[str, Any]:
    """The session before anybody asked for anything."""
    sound_in: dict[str, Any] = {
        "format": Format().as_json(),
        "transcription": None,
        "noise_reduction": None,
        "turn_detection": dict(SERVER_VAD),
    }
    sound_out = {"format": Format().as_json(), "voice": "marin", "speed": 1.0}
    return {
        "type": kind,
        "model": model,
        "output_modalities": ["audio"],
        "instructions": "",
        "tools": [],
        "tool_choice": "auto",
        "max_output_tokens": "inf",
        "tracing": None,
        "truncation": "auto",
        "prompt": None,
        "expires_at": int(time.time() + longest_s),
        "include": None,
        "audio": {"input": sound_in, "output": sound_out},
    }


def shown(session: Mapping[str, Any], name: str) -> dict[str, Any]:
    """As `session.created` and `session.updated` carry it."""
    include = [entry for entry in session["include"] or [] if entry not in OURS] or None
    if session["type"] == "transcription":
        heard = deepcopy(session["audio"]["input"])
        for key in ("create_response", "interrupt_response"):  # nothing is created here, nor interrupted
            (heard["turn_detection"] or {}).pop(key, None)
        return {
            "type": "transcription",
            "object": "realtime.transcription_session",
            "id": name,
            "expires_at": session["expires_at"],
            "include": include,
            "audio": {"input": heard},
        }
    return {**session, "object": "realtime.session", "id": name, "include": include}


def changed(session: Mapping[str, Any], value: Any, limits: WireLimits) -> dict[str, Any]:
    """The session after an update: only keys that are there change, and null takes back. Raises `Wrong`."""
    update = record(value, "session")
    if update.get("type") is None:
        raise missing("session.type")
    # Copied as far down as anything is changed in place: a small update costs the same however many tools there are.
    heard, spoken = session["audio"]["input"], session["audio"]["output"]
    new = {**session, "audio": {"input": dict(heard), "output": dict(spoken)}}
    new["type"] = choice(update["type"], "session.type", ("realtime", "transcription"))
    for key, read in READERS.items():
        if key in update:
            new[key] = read(update[key], f"session.{key}", limits)
    audio = record(update.get("audio") or {}, "session.audio")
    if audio.get("input") is not None:
        _change_input(new["audio"]["input"], record(audio["input"], "session.audio.input"))
    if audio.get("output") is not None:
        _change_output(new["audio"]["output"], record(audio["output"], "session.audio.output"))
    return new


def read_modalities(value: Any, path: str) -> list[str]:
    """`["audio"]` or `["text"]`; both at once is audio, which always has its text."""
    found = [choice(entry, f"{path}[{at}]", ("text", "audio")) for at, entry in enumerate(listed(value, path, 2))]
    if not found:
        raise Wrong(path, f"'{path}' is empty: it is ['audio'] or ['text'].")
    return ["audio"] if "audio" in found else ["text"]


def read_tools(value: Any, path: str, limits: WireLimits) -> list[dict[str, Any]]:
    """Functions that may be called."""
    found = []
    for at, entry in enumerate(listed(value or [], path, limits.tools)):
        where = f"{path}[{at}]"
        tool = record(entry, where)
        choice(tool.get("type") or "function", f"{where}.type", ("function",))
        if tool.get("name") is None:
            raise missing(f"{where}.name")
        parameters = record(tool.get("parameters") or {}, f"{where}.parameters")
        found.append(
            {
                "type": "function",
                "name": text(tool["name"], f"{where}.name", 256),
                "description": text(tool.get("description") or "", f"{where}.description", limits.text),
                "parameters": bounded(parameters, f"{where}.parameters", limits.tool),
            }
        )
    return found


def tools_of(tools: list[dict[str, Any]]) -> tuple[Tool, ...]:
    """As the engine knows them."""
    return tuple(Tool(tool["name"], tool["description"], tool["parameters"]) for tool in tools)


def read_tool_choice(value: Any, path: str) -> str | dict[str, Any]:
    """A word, or the one function."""
    if value is None:
        return "auto"
    if isinstance(value, str):
        return choice(value, path, ("none", "auto", "required"))
    fields = record(value, path)
    choice(fields.get("type") or "function", f"{path}.type", ("function",))
    if fields.get("name") is None:
        raise missing(f"{path}.name")
    return {"type": "function", "name": text(fields["name"], f"{path}.name", 256)}


def tool_choice_of(value: str | dict[str, Any]) -> str:
    """As `Setup` knows it."""
    return value if isinstance(value, str) else str(value["name"])


def read_longest(value: Any, path: str) -> int | str:
    """Tokens of an answer."""
    return "inf" if value is None or value == "inf" else whole(value, path, 1, MOST_TOKENS)


def read_voice(value: Any, path: str) -> str:
    """A name. Which voice it is, is the engine's: there is no list of names that a client could hit or miss."""
    if isinstance(value, dict):
        value = value.get("id")
    return text(value, path, 256)


def _include(value: Any, path: str, _limits: WireLimits) -> list[str] | None:
    if value is None:
        return None
    return [choice(entry, f"{path}[{at}]", (LOGPROBS, *OURS)) for at, entry in enumerate(listed(value, path, 16))]


def _back(value: Any, path: str, _limits: WireLimits) -> Any:
    return bounded(value, path, LONGEST_BACK)


READERS = {
    "output_modalities": lambda value, path, _limits: ["audio"] if value is None else read_modalities(value, path),
    "instructions": lambda value, path, limits: "" if value is None else text(value, path, limits.text),
    "tools": read_tools,
    "tool_choice": lambda value, path, _limits: read_tool_choice(value, path),
    "max_output_tokens": lambda value, path, _limits: read_longest(value, path),
    "include": _include,
    "tracing": _back,
    "prompt": _back,
    "truncation": lambda value, path, limits: "auto" if value is None else _back(value, path, limits),
}


def _change_input(sound: dict[str, Any], update: Mapping[str, Any]) -> None:
    path = "session.audio.input"
    if update.get("format") is not None:
        sound["format"] = read_format(update["format"], f"{path}.format").as_json()
    if "transcription" in update:
        sound["transcription"] = _transcription(
            sound["transcription"], update["transcription"], f"{path}.transcription"
        )
    if "noise_reduction" in update:
        value = update["noise_reduction"]
        if value is not None:
            kind = record(value, f"{path}.noise_reduction").get("type") or "near_field"
            value = {"type": choice(kind, f"{path}.noise_reduction.type", ("near_field", "far_field"))}
        sound["noise_reduction"] = value
    if "turn_detection" in update:
        sound["turn_detection"] = _turns(sound["turn_detection"], update["turn_detection"], f"{path}.turn_detection")


def _change_output(sound: dict[str, Any], update: Mapping[str, Any]) -> None:
    path = "session.audio.output"
    if update.get("format") is not None:
        sound["format"] = read_format(update["format"], f"{path}.format").as_json()
    if update.get("voice") is not None:
        sound["voice"] = read_voice(update["voice"], f"{path}.voice")
    if update.get("speed") is not None:
        sound["speed"] = number(update["speed"], f"{path}.speed", 0.25, 1.5)


def _transcription(old: dict[str, Any] | None, value: Any, path: str) -> dict[str, Any] | None:
    if value is None:
        return None
    # Only these three are shown: a strict client breaks on others.
    update, new = record(value, path), dict(old or {"model": "omni"})
    for key, most in (("model", 256), ("language", 64), ("prompt", 10_000)):
        if update.get(key) is not None:
            new[key] = text(update[key], f"{path}.{key}", most)
        elif key in update and key != "model":
            new.pop(key, None)
    return new


def _turns(old: dict[str, Any] | None, value: Any, path: str) -> dict[str, Any] | None:
    if value is None:
        return None
    update = record(value, path)
    default = (old or SERVER_VAD)["type"] if update.get("type") is None else update["type"]
    kind = choice(default, f"{path}.type", ("server_vad", "semantic_vad"))
    defaults = SERVER_VAD if kind == "server_vad" else SEMANTIC_VAD
    new = dict(old) if old is not None and old["type"] == kind else dict(defaults)
    for key in new.keys() & update.keys() - {"type"}:
        new[key] = defaults[key] if update[key] is None else _turn_value(key, update[key], f"{path}.{key}")
    return new


def _turn_value(key: str, value: Any, path: str) -> Any:
    if key == "eagerness":
        return choice(value, path, EAGER)
    if key == "threshold":
        return number(value, path, 0, 1)
    if key == "idle_timeout_ms":
        return whole(value, path, 1, 600_000)
    return flag(value, path) if key.endswith("response") else whole(value, path, 0, LONGEST_WAIT)


def setup_of(session: Mapping[str, Any]) -> Setup:
    """What the session core has to know of it."""
    heard, spoken = session["audio"]["input"], session["audio"]["output"]
    transcription = heard["transcription"]
    only = session["type"] == "transcription"
    if only and transcription is None:
        transcription = {}
    longest = session["max_output_tokens"]
    return Setup(
        model=session["model"],
        instructions=session["instructions"],
        speaks=session["output_modalities"] == ["audio"],
        tools=tools_of(session["tools"]),
        tool_choice=tool_choice_of(session["tool_choice"]),
        longest=None if longest == "inf" else longest,
        turns=turns_of(heard["turn_detection"]),
        transcribing=None if transcription is None else Transcribing(**transcription),
        only_transcribes=only,
        rate_out=Format(spoken["format"]["type"]).rate,
        wire=session,
    )


def turns_of(value: Mapping[str, Any] | None) -> TurnTaking:
    """The strategy."""
    if value is None:
        return PushToTalk()
    settings = {key: setting for key, setting in value.items() if key != "type"}
    return ServerVad(**settings) if value["type"] == "server_vad" else SemanticVad(**settings)
