"""A whole server on a free port of this machine, inside the test's event loop."""

import asyncio
import json
import struct
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect

from omni.engine.echo import EchoEngine
from omni.engine.protocol import Engine
from omni_server.dialects.wires import wires
from omni_server.limits.keys import Keyring
from omni_server.server import Handler, Server
from omni_server.settings import Limits, Resume, Settings, Socket
from omni_server.turns.detector import Heard

PATIENCE = 10.0  # s that a test waits for anything
QUICK = Settings(port=0, socket=Socket(drain_s=2.0, close_s=1.0), resume=Resume(grace_s=0.5), limits=Limits())


class NobodySpeaks:
    """A detector that hears only silence."""

    def ear(self) -> "NobodySpeaks":
        return self

    @property
    def waiting(self) -> int:
        return 0

    def hear(self, window: NDArray[np.float32], heard: Heard) -> None:
        heard(0.0)

    def forget(self) -> None:
        pass


@asynccontextmanager
async def serving(
    engine: Engine | Mapping[str, Engine] | None = None,
    settings: Settings = QUICK,
    *,
    keyring: Keyring | None = None,
    also: Mapping[str, Handler] | None = None,
    **changes: Any,
) -> AsyncIterator[Server]:
    """A server that is gone afterwards, and has left no task behind."""
    before = asyncio.all_tasks()
    engine = engine or EchoEngine()
    engines = engine if isinstance(engine, Mapping) else {"omni": engine}
    settings = replace(settings, **changes)
    offered = wires(settings.limits.session_s)
    server = Server(settings, engine, offered, NobodySpeaks(), keyring=keyring, also=also)
    await server.start()
    try:
        yield server
    finally:
        await asyncio.wait_for(server.close(), PATIENCE)
        for one in engines.values():
            await one.close()
    await until(lambda: asyncio.all_tasks() <= before)


async def until(true: Callable[[], bool], seconds: float = PATIENCE) -> None:
    """Wait until something holds, and fail when it does not in time."""
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110  # what is waited for has no event
            await asyncio.sleep(0.005)  # what is waited for has no event


class Client:
    """A client of omni.v1 that knows only what docs/protocol.md says."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket
        self.sent = 0  # samples
        self.frames = 0

    async def say(self, kind: str, **about: Any) -> None:
        """A message in JSON."""
        await self.socket.send(json.dumps({"type": kind, **about}))

    async def sound(self, samples: NDArray[np.int16]) -> None:
        """A frame of pcm16."""
        header = struct.pack("<BBHIQ", 1, 0, 0, self.frames, self.sent)
        self.frames += 1
        self.sent += len(samples)
        await self.socket.send(header + samples.astype("<i2").tobytes())

    async def next(self) -> Any:
        """The next message: a dict, or the parts of a binary frame."""
        message = await asyncio.wait_for(self.socket.recv(), PATIENCE)
        if isinstance(message, str):
            return json.loads(message)
        kind, flags, stream, sequence, sample = struct.unpack_from("<BBHIQ", message)
        return {"type": kind, "flags": flags, "stream": stream, "sequence": sequence, "sample": sample,
                "payload": message[16:]}  # fmt: skip

    async def until(self, kind: str | int) -> list[Any]:
        """Messages up to and with one of this type."""
        found = [await self.next()]
        while found[-1]["type"] != kind:
            found.append(await self.next())
        return found


@asynccontextmanager
async def client(server: Server, path: str = "/v1/omni", **options: Any) -> AsyncIterator[Client]:
    """A connection."""
    async with connect(f"ws://127.0.0.1:{server.port}{path}", open_timeout=PATIENCE, **options) as socket:
        yield Client(socket)


async def get(server: Server, path: str, **headers: str) -> tuple[int, dict[str, str], bytes]:
    """A page."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    lines = [f"GET {path} HTTP/1.1", "Host: 127.0.0.1", *(f"{k.replace('_', '-')}: {v}" for k, v in headers.items())]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    answer = await asyncio.wait_for(reader.read(), PATIENCE)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    first, *rest = head.decode().split("\r\n")
    return int(first.split()[1]), {k.lower(): v for k, _, v in (line.partition(": ") for line in rest)}, body
