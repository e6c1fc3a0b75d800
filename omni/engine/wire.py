"""Units and events as JSON and arrays, for the way to another process and back. Nothing that runs is ever read.

    frame: u32 bytes of JSON · u32 bytes that follow it · JSON · bytes

A message is a JSON object. One array may travel with it: behind the JSON, or in shared memory.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.engine.protocol import (
    AudioIn,
    AudioOut,
    Begin,
    Cancel,
    Closed,
    CodesOut,
    Configure,
    Discard,
    Done,
    EndOfTurn,
    Event,
    Failed,
    Full,
    ImageIn,
    Mark,
    Origin,
    Overflow,
    Refused,
    SessionSpec,
    TextDelta,
    TextIn,
    Tokens,
    Tool,
    ToolCall,
    Transcript,
    TurnPrediction,
    Unit,
    Usage,
)
from omni.sampling import Sampling

HEAD = struct.Struct("<II")
LONGEST_JSON = 64 << 20  # bytes: a million characters of text, escaped, and room
KINDS: dict[str, type[Any]] = {
    kind.__name__: kind
    for kind in (
        AudioIn, TextIn, ImageIn, EndOfTurn, Begin, Cancel, Discard, Configure,
        Transcript, TurnPrediction, TextDelta, AudioOut, CodesOut, ToolCall, Mark, Done, Failed,
    )
}  # fmt: skip
NAMES = {kind: tuple(field.name for field in fields(kind)) for kind in KINDS.values()}
ARRAYS = {AudioIn: "samples", ImageIn: "pixels", AudioOut: "samples", CodesOut: "codes"}
TYPES: dict[str, np.dtype[Any]] = {"f": np.dtype("<f4"), "i": np.dtype("<i8"), "b": np.dtype("u1")}
LETTERS = {dtype: letter for letter, dtype in TYPES.items()}
ERRORS: dict[str, type[Exception]] = {kind.__name__: kind for kind in (Refused, Overflow, Closed)}

ENCODE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode  # json.dumps makes one for every call

Array = NDArray[Any]


def pack(thing: Unit | Event) -> tuple[dict[str, Any], Array | None]:
    """A unit or an event as JSON, and the array in it.

    >>> pack(TextDelta(Origin("resp_1", 2), "four"))
    ({'is': 'TextDelta', 'origin': ['resp_1', 2], 'text': 'four'}, None)
    """
    kind = type(thing)
    array_name = ARRAYS.get(kind)
    out: dict[str, Any] = {"is": kind.__name__}
    array: Array | None = None
    for name in NAMES[kind]:
        value = getattr(thing, name)
        if name == array_name:
            array = value
        elif isinstance(value, Origin):
            out[name] = [value.response, value.epoch]
        elif isinstance(value, SessionSpec | Usage):
            out[name] = asdict(value)
        else:
            out[name] = value
    return out, array


def unpack(packed: Mapping[str, Any], array: Array | None) -> Any:
    """The unit or event again."""
    kind = KINDS.get(packed["is"])
    if kind is None:
        raise ValueError(f"{packed['is']!r} is no unit and no event: both sides must run the same version")
    given = {name: packed[name] for name in NAMES[kind] if name in packed}
    for name in ("origin", "turn"):
        if given.get(name) is not None:
            given[name] = Origin(*given[name])
    if "spec" in given:
        given["spec"] = unpack_spec(given["spec"])
    if given.get("usage") is not None:
        given["usage"] = Usage(**{part: Tokens(**counts) for part, counts in given["usage"].items()})
    if kind in ARRAYS:
        given[ARRAYS[kind]] = array
    return kind(**given)


def pack_spec(spec: SessionSpec) -> dict[str, Any]:
    """What a session wants, as JSON."""
    return asdict(spec)


def unpack_spec(packed: Mapping[str, Any]) -> SessionSpec:
    """What a session wants, again."""
    tools = tuple(Tool(**tool) for tool in packed["tools"])
    return SessionSpec(**{**packed, "tools": tools, "sampling": Sampling(**packed["sampling"])})


def pack_error(error: Exception) -> dict[str, Any]:
    """An exception of the protocol by name; any other one by its words."""
    if isinstance(error, Full):
        return {"error": "Full", "says": str(error), "retry_after": error.retry_after}
    name = type(error).__name__
    return {"error": name, "says": str(error)} if name in ERRORS else {"error": "", "says": f"{name}: {error}"}


def unpack_error(packed: Mapping[str, Any]) -> Exception:
    """The exception again."""
    if packed["error"] == "Full":
        return Full(packed["says"], packed["retry_after"])
    return ERRORS.get(packed["error"], RuntimeError)(packed["says"])


def shape_of(array: Array) -> list[Any]:
    """What is needed to read an array's bytes again."""
    return [LETTERS[array.dtype], *array.shape]


def read_array(shape: list[Any], data: bytes) -> Array:
    """An array out of its bytes; it owns them."""
    dtype = TYPES[shape[0]]
    return np.frombuffer(data, dtype).reshape(shape[1:])


def frame(message: Mapping[str, Any], data: bytes = b"") -> bytes:
    """A message on the wire."""
    text = ENCODE(message).encode()
    return HEAD.pack(len(text), len(data)) + text + data
