"""Calls of tools in the text of open models: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, as it streams."""

import json
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from omni.engine.pipeline.stages import Call
from omni.script import call_of

OPEN, CLOSE = "<tool_call>", "</tool_call>"


@dataclass
class ToolText:
    """Takes calls out of a stream of text. What is no call stays text, to the character.

    >>> found = ToolText().push('Sure. <tool_call>{"name": "light", "arguments": {"on": true}}</tool_call>')
    >>> found[0], found[1].name, found[1].arguments
    ('Sure. ', 'light', '{"on":true}')
    """

    _text: str = ""

    def push(self, text: str) -> list[str | Call]:
        """More text; the text and the calls that are certain now."""
        self._text += text
        found: list[str | Call] = []
        while OPEN in self._text:
            before, _, rest = self._text.partition(OPEN)
            if before:
                found.append(before)
            inside, closed, after = rest.partition(CLOSE)
            if not closed:
                self._text = OPEN + rest
                return found
            found.append(_call(inside) or OPEN + inside + CLOSE)
            self._text = after
        held = next((n for n in range(len(OPEN) - 1, 0, -1) if self._text.endswith(OPEN[:n])), 0)
        certain, self._text = self._text[: len(self._text) - held], self._text[len(self._text) - held :]
        return [*found, certain] if certain else found

    def finish(self) -> list[str | Call]:
        """What is left: text, or a call that lacks its end."""
        text, self._text = self._text, ""
        call = _call(text.removeprefix(OPEN)) if text.startswith(OPEN) else None
        return [call or text] if text else []


def read_call(name: Any, arguments: Any, call: str) -> Call | None:
    """The call of this id, with its arguments as an object or the text of one; None if nobody could read it.

    >>> read_call("light", '{"on": true}', "c1") == read_call("light", {"on": True}, "c1")
    True
    >>> read_call("light", "on", "c1") is None
    True
    """
    try:
        given = json.loads(arguments) if isinstance(arguments, str) else arguments
        found = call_of(json.dumps({"name": name, "arguments": given}))
    except (ValueError, RecursionError):
        return None
    return None if found is None else Call(*found, call)


def _call(text: str) -> Call | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    return read_call(found.get("name"), found.get("arguments", {}), f"call_{uuid4().hex[:12]}")
