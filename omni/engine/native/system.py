"""The system's part of a tape: instructions and tools as tokens, which open it and stay while all else may go."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from omni.bundle import Bundle
from omni.engine.native.tape import Item, Tape
from omni.engine.protocol import Refused, SessionSpec
from omni.script import system


def system_part(bundle: Bundle, spec: SessionSpec, capacity: int) -> list[int]:
    """Its ids, none where there is nothing to say; raises `Refused` where it leaves too little of the context."""
    for tool in spec.tools:
        if not isinstance(tool.parameters.get("properties") or {}, Mapping):
            raise Refused(f"tool {tool.name}: the properties of its parameters are no object")
    ids = _ids(bundle, spec.instructions, spec.tools)
    if len(ids) > capacity // 2:
        raise Refused(
            f"instructions and tools make {len(ids)} tokens and the context of {capacity} has room for {capacity // 2}"
        )
    return ids


def held(tape: Tape) -> int:
    """Tokens of it on a tape."""
    items = tape.items
    if not items or items[0].kind != "system":
        return 0
    return items[1].start if len(items) > 1 else tape.length


def exchange(tape: Tape, vectors: Tensor) -> None:
    """Put another one [tokens, width] into its place."""
    tape.splice(0, held(tape), vectors)
    tape.items = [item for item in tape.items if item.kind != "system"]
    if len(vectors):
        tape.items.insert(0, Item("system", 0))


def _ids(bundle: Bundle, words: str, tools: tuple[Any, ...]) -> list[int]:
    ids: list[int] = []
    for name, text in system(words, [(tool.name, tool.parameters) for tool in tools]):
        ids.append(bundle.special[name])
        if text:
            ids += bundle.text.encode(text, special="text")
    return ids
