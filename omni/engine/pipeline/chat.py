"""Any OpenAI-compatible chat endpoint as the text model: vLLM, llama.cpp, Ollama and others serve one.

--llm "openai:http://localhost:8000/v1?model=qwen3"
"""

import base64
import io
import json
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Any

from PIL import Image

from omni.engine.pipeline.http_stream import post_events
from omni.engine.pipeline.stages import Call, Message, Stopped
from omni.engine.protocol import Tool
from omni.sampling import Sampling

PATIENCE = 60.0  # s without a byte


class ChatEndpoint:
    """`url` is the base, as `http://localhost:8000/v1`. The key, where one is needed, comes from the environment."""

    def __init__(
        self,
        url: str,
        *,
        model: str,
        key_env: str = "OPENAI_API_KEY",
        sees: str | bool = False,
        patience: float | str = PATIENCE,
    ) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError(f"{url!r} is no address of a chat endpoint: it begins with http:// or https://")
        self.sees = sees in (True, "yes", "true", "1")
        self._url = url.rstrip("/") + "/chat/completions"
        self._model = model
        self._key_env = key_env
        self._patience = float(patience)

    async def answer(
        self, messages: Sequence[Message], tools: Sequence[Tool], sampling: Sampling, longest: int, *, must_call: bool
    ) -> AsyncGenerator[str | Call | Stopped, None]:
        """Stream the answer. A call comes when it is complete."""
        body: dict[str, Any] = {
            "model": self._model, "messages": [as_chat(message) for message in messages], "stream": True,
            "max_tokens": longest, "temperature": sampling.temperature, "top_p": sampling.top_p, "seed": sampling.seed,
        }  # fmt: skip
        if tools:
            body["tools"] = [as_function(tool) for tool in tools]
            body["tool_choice"] = "required" if must_call else "auto"
        if sampling.top_k:  # not in the published interface, but vLLM and llama.cpp have them
            body["top_k"] = sampling.top_k
        if sampling.repetition != 1.0:
            body["repetition_penalty"] = sampling.repetition
        key = os.environ.get(self._key_env)
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        calls: dict[int, dict[str, str]] = {}
        cut = False
        async with aclosing(post_events(self._url, body, headers, self._patience)) as events:
            async for data in events:
                if data.strip() == "[DONE]":
                    break
                chunk = json.loads(data)
                if "error" in chunk:
                    raise RuntimeError(f"the endpoint says: {chunk['error']}")
                for choice in chunk.get("choices", ())[:1]:
                    delta = choice.get("delta") or {}
                    if text := delta.get("content"):
                        yield text
                    for piece in delta.get("tool_calls") or ():
                        call = calls.setdefault(piece.get("index", len(calls)), {"id": "", "name": "", "arguments": ""})
                        call["id"] = piece.get("id") or call["id"]
                        function = piece.get("function") or {}
                        call["name"] += function.get("name") or ""
                        call["arguments"] += function.get("arguments") or ""
                    cut = cut or choice.get("finish_reason") == "length"
        for number in sorted(calls):
            call = calls[number]
            yield Call(call["name"], call["arguments"] or "{}", call["id"] or f"call_{number}")
        if cut:
            yield Stopped()

    async def close(self) -> None:
        """Nothing is kept open between answers."""


def as_function(tool: Tool) -> dict[str, Any]:
    """A tool, as chat endpoints and templates know it."""
    function = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": function}


def as_chat(message: Message, *, parsed: bool = False) -> dict[str, Any]:
    """A message, as chat endpoints and templates know it; templates want the arguments of calls `parsed`.

    >>> as_chat(Message("tool", "done", call="call_7"))
    {'role': 'tool', 'content': 'done', 'tool_call_id': 'call_7'}
    """
    out: dict[str, Any] = {"role": message.role, "content": message.text}
    if message.images:
        pictures = [{"type": "image_url", "image_url": {"url": as_url(pixels)}} for pixels in message.images]
        out["content"] = [*pictures, {"type": "text", "text": message.text}]
    if message.calls:
        out["tool_calls"] = [
            {
                "id": call.call,
                "type": "function",
                "function": {"name": call.name, "arguments": json.loads(call.arguments) if parsed else call.arguments},
            }
            for call in message.calls
        ]
    if message.role == "tool":
        out["tool_call_id"] = message.call
    return out


def as_url(pixels: Any) -> str:
    """A picture as a data URL."""
    png = io.BytesIO()
    Image.fromarray(pixels).save(png, "PNG")
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
