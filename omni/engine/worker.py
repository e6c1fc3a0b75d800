"""The process that an engine runs in: `python -m omni.engine.worker`, started by `omni.engine.handle`.

It builds the engine, says that it is ready, and then does what the messages say, until its socket closes: a worker
never outlives the process that started it.
"""

import asyncio
import importlib
import json
import logging
import signal
import socket
import sys
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from omni.engine.channel import Channel
from omni.engine.inlet import weight
from omni.engine.protocol import AudioIn, Engine, EngineSession, Failed, Unit
from omni.engine.ring import Ring, pair
from omni.engine.wire import Array, frame, pack, pack_error, unpack, unpack_spec

TELL = 32 << 10  # bytes of audio after which the handle is told that they were taken: half a second
EVENTS = 64  # that may be on their way, or unread, for each session
log = logging.getLogger(__name__)


def build(factory: str, options: dict[str, Any]) -> Any:
    """Call `module:function` with these options.

    >>> build("omni.engine.echo:EchoEngine", {"duplex": True}).rate_out
    16000
    """
    module, _, name = factory.partition(":")
    if not name:
        raise ValueError(f"{factory!r} names no engine: write module:function")
    return getattr(importlib.import_module(module), name)(**options)


class Served:
    """One session of the engine, with a task for each direction."""

    def __init__(self, number: int, session: EngineSession, channel: Channel) -> None:
        self._number = number
        self._session = session
        self._channel = channel
        self._unread = 0
        self._read = asyncio.Event()
        self._units: asyncio.Queue[tuple[int, Unit]] = asyncio.Queue()  # bounded by what the handle lets out
        self._tasks = [asyncio.create_task(self._push()), asyncio.create_task(self._send())]

    def take(self, number: int, unit: Unit) -> None:
        """A unit came."""
        self._units.put_nowait((number, unit))

    def read(self, count: int) -> None:
        """So many events were read at the other side."""
        self._unread = max(0, self._unread - count)
        self._read.set()

    async def close(self) -> None:
        """End it."""
        self._tasks[0].cancel()
        await self._session.close()
        self.read(1 << 30)
        await asyncio.wait(self._tasks)

    async def _push(self) -> None:
        untold = 0
        while True:
            number, unit = await self._units.get()
            answer: dict[str, Any] = {"t": "took", "s": self._number, "n": number}
            untold += weight(unit)
            try:
                await self._session.push(unit)
            except Exception as error:
                answer |= pack_error(error)
            if untold >= TELL or not isinstance(unit, AudioIn) or "error" in answer:
                self._channel.send(answer)
                untold = 0

    async def _send(self) -> None:
        try:
            async for event in self._session.events():
                while self._unread >= EVENTS:
                    self._read.clear()
                    await self._read.wait()
                self._unread += 1
                packed, array = pack(event)
                self._channel.send({"t": "event", "s": self._number, "event": packed}, array)
                await self._channel.drain()
        except Exception as error:
            # Nobody awaits this task: without a word, the other side would wait for ever for the end of its answer.
            log.exception("the events of a session cannot be sent")
            says = f"the engine's events cannot be sent: {type(error).__name__}: {error}"
            packed, _ = pack(Failed(None, "engine_error", says, fatal=True))
            self._channel.send({"t": "event", "s": self._number, "event": packed})
            await self._session.close()
        else:
            self._channel.send({"t": "ended", "s": self._number})


async def serve(engine: Engine, end: socket.socket, rings: tuple[Ring, Ring]) -> None:
    """Do what the messages say until the other side hangs up."""
    sessions: dict[int, Served] = {}
    opening: set[int] = set()  # sessions that somebody still waits for
    tasks: set[asyncio.Task[None]] = set()

    def in_background(work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    async def open_session(number: int, spec: dict[str, Any]) -> None:
        answer: dict[str, Any] = {"t": "opened", "s": number}
        try:
            session = await engine.open(unpack_spec(spec))
            if number in opening:
                sessions[number] = Served(number, session, channel)
            else:
                await session.close()
        except Exception as error:
            answer |= pack_error(error)
        opening.discard(number)
        channel.send(answer)

    async def close_session(number: int) -> None:
        opening.discard(number)
        if number in sessions:
            await sessions.pop(number).close()
        channel.send({"t": "closed", "s": number})

    def take(message: dict[str, Any], array: Array | None) -> None:
        match message:
            case {"t": "unit", "s": number, "n": n, "unit": packed}:
                if number in sessions:
                    sessions[number].take(n, unpack(packed, array))
            case {"t": "read", "s": number, "count": count}:
                if number in sessions:
                    sessions[number].read(count)
            case {"t": "open", "s": number, "spec": spec}:
                opening.add(number)
                in_background(open_session(number, spec))
            case {"t": "close", "s": number}:
                in_background(close_session(number))
            case {"t": "ping"}:
                channel.send({"t": "pong", "ready": engine.ready})
                if getattr(engine, "broken", False):  # only another process can help: the handle starts one
                    channel.close()

    channel = await Channel.over(end, rings, take)
    channel.send({"t": "ready", "rate_out": engine.rate_out, "sees": engine.sees})
    await channel.gone.wait()
    await engine.close()
    channel.close()


async def main(descriptor: int, memory: int, size: int, factory: str, options: dict[str, Any]) -> None:
    """Build the engine and serve it on the inherited socket."""
    end = socket.socket(fileno=descriptor)
    try:
        engine = build(factory, options)
        if hasattr(engine, "start"):  # what an engine can only do on a running loop
            await engine.start()
    except Exception as error:
        with suppress(OSError):
            end.sendall(frame({"t": "failed", "says": f"{type(error).__name__}: {error}"}))
        raise
    await serve(engine, end, pair(memory, size, first=False))


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C and systemd send them to every process: the server decides
        signal.signal(number, signal.SIG_IGN)
    socket_end, shared, shared_size = map(int, sys.argv[1:4])
    asyncio.run(main(socket_end, shared, shared_size, sys.argv[4], json.loads(sys.argv[5])))
