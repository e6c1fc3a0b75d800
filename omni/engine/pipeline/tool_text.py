"""Calls of tools in the text of open models: `<tool_call>{"name": …, "arguments": {…}}</tool_call>`, as it streams."""

import json
from dataclasses import dataclass
from uuid import uuid4

from omni.engine.pipeline.stages import Call

OPEN, CLOSE = "<tool_call>", "</tool_call>"


@dataclass
class ToolText:
    """Takes calls out of a stream of text. What is no call stays text, to the character.

    >>> found = ToolText().push('Sure. <tool_call>{"name": "light", "arguments": {"on": true}}</tool_call>')
    >>> found[0], found[1].name, found[1].arguments
    ('Sure. ', 'light', '{"on": true}')
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


def _call(text: str) -> Call | None:
    try:
        found = json.loads(text)
        name, arguments = found["name"], found.get("arguments", {})
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    if not isinstance(name, str):
        return None
    return Call(name, arguments if isinstance(arguments, str) else json.dumps(arguments), f"call_{uuid4().hex[:12]}")
