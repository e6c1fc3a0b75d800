"""Any OpenAI-compatible chat endpoint as the text model: vLLM, llama.cpp, Ollama and others serve one.

--llm "openai:http://localhost:8000/v1?model=qwen3"
"""

import asyncio
import base64
import io
import json
import os
import ssl
from codecs import getincrementaldecoder
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from PIL import Image

from omni.engine.answering import StageFailed
from omni.engine.pipeline.http_stream import HttpError, post_events
from omni.engine.pipeline.stages import Call, Message, Stopped
from omni.engine.pipeline.thoughts import Thoughts
from omni.engine.pipeline.tool_text import read_call
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
        if not is_address(url):
            raise ValueError(f"{url!r} is no address of a chat endpoint: write it as http://localhost:8000/v1")
        if not float(patience) > 0:
            raise ValueError(f"patience is {patience}: it is the seconds that nothing may come, more than 0")
        self.sees = str(sees).lower() in ("yes", "true", "1")
        self._url = url.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
        self._tls = ssl.create_default_context() if urlsplit(url).scheme == "https" else None
        self._model = model
        self._key_env = key_env
        self._patience = float(patience)

    async def answer(
        self, messages: Sequence[Message], tools: Sequence[Tool], sampling: Sampling, longest: int, *, must_call: bool
    ) -> AsyncGenerator[str | Call | Stopped, None]:
        """Stream the answer. A call comes when it is complete."""
        told = await asyncio.to_thread(lambda: [as_chat(message) for message in messages])  # a photo takes a second
        body: dict[str, Any] = {
            "model": self._model, "messages": told, "stream": True,
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
        calls: list[Begun] = []
        thoughts, halves = Thoughts(), getincrementaldecoder("utf-16-le")("replace")
        data = None
        ended = cut = False
        async with aclosing(post_events(self._url, body, headers, self._patience, self._tls)) as events:
            async for data in events:
                if data.strip() == "[DONE]":
                    ended = True
                    break
                chunk = json.loads(data)
                if not isinstance(chunk, dict):
                    raise HttpError(f"{self._url} sent an event that is no object: {data[:200]}")
                # Some put the error into an object, some are one.
                if error := chunk.get("error") or ("choices" not in chunk and chunk.get("message")):
                    raise RuntimeError(f"the endpoint says: {error}")
                for choice in (chunk.get("choices") or ())[:1]:
                    delta = choice.get("delta") or {}
                    # Some cut letters beyond 16 bits, emoji among them, into the halves that JSON writes them as.
                    said = halves.decode(words(delta.get("content")).encode("utf-16-le", "surrogatepass"))
                    if text := thoughts.push(said):
                        yield text
                    for piece in delta.get("tool_calls") or ():
                        take_piece(calls, piece)
                    if finish := choice.get("finish_reason"):
                        ended, cut = True, finish == "length"
                if ended:  # what may follow are counts of tokens
                    break
        if not ended:
            how = "sent no event: is it a chat endpoint?" if data is None else "hung up in the middle of its answer"
            raise HttpError(f"{self._url} {how}")
        if text := thoughts.push(halves.decode(b"", final=True)) + thoughts.finish():
            yield text
        for number, begun in enumerate(calls):
            torn = cut and begun is calls[-1]  # the longest answer was reached in it
            call = read_call(begun.name, begun.arguments or ("" if torn else "{}"), begun.id or f"call_{number}")
            if call is not None:
                yield call
            elif not torn:
                said = f"{begun.name}({begun.arguments})"
                raise StageFailed("no_call", f"the model began to call a tool and wrote no call: {said[:200]!r}")
        if cut:
            yield Stopped()

    async def close(self) -> None:
        """Nothing is kept open between answers."""


def is_address(url: str) -> bool:
    """Whether somebody can be asked there.

    >>> is_address("http://localhost:8000/v1"), is_address("http://localhost:80000/v1"), is_address("localhost:8000")
    (True, False, False)
    """
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # of the port, or of brackets that nobody closed
        return False


def words(content: str | list[dict[str, Any]] | None) -> str:
    """The text of a piece; models that think send it in parts, their thoughts among them.

    >>> words([{"type": "thinking", "thinking": []}, {"type": "text", "text": "Four."}])
    'Four.'
    """
    if isinstance(content, list):
        return "".join(part["text"] for part in content if part.get("type") == "text")
    return content or ""


@dataclass
class Begun:
    """A call of which more may come."""

    index: int | None
    id: str = ""
    name: str = ""
    arguments: str = ""


def take_piece(calls: list[Begun], piece: dict[str, Any]) -> None:
    """Add a piece to its call, or begin a new one: endpoints leave out the index, or give one index to all calls.

    >>> calls: list[Begun] = []
    >>> for i in "ab":
    ...     take_piece(calls, {"index": 0, "id": i, "function": {"name": "time"}})
    >>> take_piece(calls, {"index": 0, "function": {"arguments": "{}"}}); calls
    [Begun(index=0, id='a', name='time', arguments=''), Begun(index=0, id='b', name='time', arguments='{}')]
    """
    index, name = piece.get("index"), piece.get("id") or ""
    function = piece.get("function") or {}
    # A new id alone begins nothing: some endpoints draw one for each piece.
    begins = (name or index is None) if function.get("name") else (name and index is None)
    near = [call for call in calls if index in (None, call.index)]
    found = [call for call in near if name and call.id == name] or ([] if begins else near)
    if not found:
        found = [Begun(index)]
        calls += found
    call, arguments = found[-1], function.get("arguments") or ""
    call.id = call.id or name
    if function.get("name") != call.name:  # some say it again with each piece
        call.name += function.get("name") or ""
    call.arguments += arguments if isinstance(arguments, str) else json.dumps(arguments)


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
    Image.fromarray(pixels).save(png, "PNG", compress_level=1)  # a ninth of the time, for an eighth more bytes
    return "data:image/png;base64," + base64.b64encode(png.getvalue()).decode()
