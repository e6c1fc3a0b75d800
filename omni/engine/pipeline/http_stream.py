"""A POST whose answer streams, on asyncio alone: enough of HTTP/1.1 for an endpoint that sends server-sent events."""

import asyncio
import json
import ssl
from collections.abc import AsyncGenerator, Mapping
from typing import Any
from urllib.parse import urlsplit

CONNECT = 10.0  # s
LONGEST_LINE = 1 << 20  # bytes; an event of an endpoint is one line
LONGEST_ERROR = 2_000  # characters of an error's body that are worth reading


class HttpError(RuntimeError):
    """The endpoint said no, or nothing that is HTTP."""


async def post_events(
    url: str, body: Mapping[str, Any], headers: Mapping[str, str], patience: float, tls: ssl.SSLContext | None = None
) -> AsyncGenerator[str, None]:
    """The data of each server-sent event. Closing the generator closes the connection, and the endpoint stops.

    `patience` is how many seconds nothing may come, and how many the question may take to leave. With `tls` the way is
    encrypted; to make one takes up to 0.2 s, so it is made once, and not while somebody waits for an answer.
    """
    parts = urlsplit(url)
    port = parts.port or (80 if tls is None else 443)
    host = parts.hostname or ""
    try:
        async with asyncio.timeout(CONNECT):
            reader, writer = await asyncio.open_connection(host, port, ssl=tls, limit=LONGEST_LINE)
    except (OSError, TimeoutError) as error:
        raise HttpError(f"{host}:{port} cannot be reached: {str(error) or 'no answer'}") from error
    try:
        data = json.dumps(body).encode()
        path = parts.path + (f"?{parts.query}" if parts.query else "")
        head = {
            "Host": parts.netloc.rpartition("@")[2], "Content-Type": "application/json", "Accept": "text/event-stream",
            "Content-Length": str(len(data)), "Connection": "close", **headers,
        }  # fmt: skip
        lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in head.items()), "", ""]
        writer.write("\r\n".join(lines).encode() + data)
        async with asyncio.timeout(patience):
            await writer.drain()
        response = _Response(reader, patience)
        await response.begin()
        if response.moved and response.status // 100 == 3:
            raise HttpError(f"{url} answered {response.status}: it is at {response.moved} now, so name that address")
        if response.status != 200:
            text = (await response.text())[:LONGEST_ERROR]
            raise HttpError(f"{url} answered {response.status}: {text.strip()}")
        async for event in response.events():
            yield event
    except (asyncio.IncompleteReadError, ConnectionError) as error:
        raise HttpError(f"{url} hung up in the middle of its answer") from error
    except TimeoutError:
        raise HttpError(f"{url} has sent nothing for {patience:g} s") from None
    except ValueError as error:
        raise HttpError(f"{url} does not speak HTTP as expected: {error}") from error
    finally:
        writer.transport.abort()  # a close waits for a peer that may never read what is left


class _Response:
    """What comes back, line by line."""

    def __init__(self, reader: asyncio.StreamReader, patience: float) -> None:
        self._reader = reader
        self._patience = patience
        self.status = 0
        self.moved = ""  # where to
        self._chunked = False
        self._length: int | None = None

    async def begin(self) -> None:
        """Read the status and the headers; what an endpoint says before them, as that it goes on, is passed over."""
        while self.status < 200:
            first = (await self._line()).split(maxsplit=2)
            if len(first) < 2 or not first[0].startswith("HTTP/1."):
                raise ValueError(f"its first line is {' '.join(first)!r}")
            self.status = int(first[1])
            await self._headers()

    async def _headers(self) -> None:
        while header := (await self._line()).strip():
            name, _, value = header.partition(":")
            match name.lower():
                case "location":
                    self.moved = value.strip()[:LONGEST_ERROR]
                case "transfer-encoding":
                    self._chunked = "chunked" in value.lower()
                case "content-length":
                    self._length = int(value)

    async def text(self) -> str:
        """The body, as far as it is short."""
        found = b""
        async for piece in self._body():
            found += piece
            if len(found) > 4 * LONGEST_ERROR:
                break
        return found.decode(errors="replace")

    async def events(self) -> AsyncGenerator[str, None]:
        """The data of each event."""
        data = []
        async for line in self._lines():
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif line.startswith("error:"):  # llama.cpp, in the middle of an answer
                yield json.dumps({"error": line[6:].strip()})
            elif not line and data:
                yield "\n".join(data)
                data = []
        if data:
            yield "\n".join(data)

    async def _lines(self) -> AsyncGenerator[str, None]:
        rest = b""
        async for piece in self._body():
            *lines, rest = (rest + piece).split(b"\n")
            if len(rest) > LONGEST_LINE:
                raise ValueError(f"a line of its answer is longer than {LONGEST_LINE} bytes")
            for line in lines:
                yield line.rstrip(b"\r").decode(errors="replace")
        if rest:  # nothing ends the last one
            yield rest.rstrip(b"\r").decode(errors="replace")

    async def _body(self) -> AsyncGenerator[bytes, None]:
        if self._chunked:
            while size := int((await self._line()).partition(";")[0], 16):
                async with asyncio.timeout(self._patience):
                    piece = await self._reader.readexactly(size + 2)
                yield piece[:-2]
            return
        left = self._length
        while left is None or left > 0:
            async with asyncio.timeout(self._patience):
                piece = await self._reader.read(1 << 16 if left is None else min(left, 1 << 16))
            if not piece:
                if left:
                    raise ConnectionError("the body is shorter than it said")
                return
            left = None if left is None else left - len(piece)
            yield piece

    async def _line(self) -> str:
        async with asyncio.timeout(self._patience):
            line = await self._reader.readline()
        if not line:
            raise ConnectionError("nothing more came")
        return line.decode("latin-1").rstrip("\r\n")
