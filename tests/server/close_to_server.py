"""A client and a session without sockets, in virtual time, with a network of known delay."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import numpy as np
from numpy.typing import NDArray

from omni.engine.clock import LoopClock
from omni.engine.protocol import Engine
from omni_server.client.link import Again, Link
from omni_server.client.recording import Recording
from omni_server.client.talk import Talk
from omni_server.client.wire import Message, Wire
from omni_server.client.wire_omni import OmniV1
from omni_server.client.wire_realtime import Realtime
from omni_server.client.wishes import Wishes
from omni_server.dialects.dialect import Dialect, WireLimits
from omni_server.dialects.omni_v1.wire import OmniV1Wire
from omni_server.dialects.realtime.wire import RealtimeWire
from omni_server.session.session import Session
from omni_server.session.settings import SessionSettings
from tests.server.loud_is_speech import LoudIsSpeech

WIRES = ("omni.v1", "realtime")


def tone(seconds: float, rate: int = 16_000, hertz: float = 220.0) -> NDArray[np.float32]:
    return (0.3 * np.sin(np.arange(round(seconds * rate)) * (2 * np.pi * hertz / rate))).astype(np.float32)


def question(lead: float = 0.3, speech: float = 0.7, tail: float = 0.2, rate: int = 16_000) -> Recording:
    """A tone between silences: where it begins and ends is known."""
    silent = [np.zeros(round(seconds * rate), np.float32) for seconds in (lead, tail)]
    return Recording.of(np.concatenate((silent[0], tone(speech, rate), silent[1])), rate)


class Wires(Link):
    """In place of a socket: each message takes `up` or `down` seconds."""

    def __init__(self, session: Session, dialect: Dialect, up: float, down: float) -> None:
        self._session, self._dialect = session, dialect
        self._up, self._down = up, down
        self._sent: asyncio.Queue[tuple[float, Message]] = asyncio.Queue()
        self._coming: asyncio.Queue[tuple[float, Message] | None] = asyncio.Queue()
        self._tasks = [asyncio.create_task(self._deliver()), asyncio.create_task(self._listen())]

    def _now(self) -> float:
        return asyncio.get_running_loop().time()

    async def send(self, message: Message) -> None:
        self._sent.put_nowait((self._now() + self._up, message))

    async def receive(self) -> Message | Again | None:
        found = await self._coming.get()
        if found is None:
            return None
        await asyncio.sleep(max(0.0, found[0] - self._now()))
        return found[1]

    async def close(self) -> None:
        await self._session.close()
        for task in self._tasks:
            task.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(*self._tasks)

    async def _deliver(self) -> None:
        while True:
            due, message = await self._sent.get()
            await asyncio.sleep(max(0.0, due - self._now()))
            for command in self._dialect.read(message):
                await self._session.handle(command)
            for answer in getattr(self._dialect, "answers", list)():
                self._coming.put_nowait((self._now() + self._down, answer))

    async def _listen(self) -> None:
        async for event in self._session.events():
            for message in self._dialect.write(event):
                self._coming.put_nowait((self._now() + self._down, message))
        self._coming.put_nowait(None)


@asynccontextmanager
async def talking(
    engine: Engine,
    wire: str = "omni.v1",
    *,
    wishes: Wishes | None = None,
    up: float = 0.0,
    down: float = 0.0,
    buffer: float = 0.02,
    settings: SessionSettings | None = None,
) -> AsyncIterator[Talk]:
    """A conversation with an engine; the engine stays open."""
    spoken: Wire = OmniV1() if wire == "omni.v1" else Realtime()
    dialect: Dialect = (
        OmniV1Wire(LoopClock).open({}, WireLimits()) if wire == "omni.v1" else RealtimeWire().open({}, WireLimits())
    )
    session = await Session.open(engine, dialect.setup, settings or SessionSettings(), LoopClock(), LoudIsSpeech())
    talk = Talk(Wires(session, dialect, up, down), spoken, wishes or Wishes(), buffer=buffer)
    try:
        await talk.start()
        yield talk
    finally:
        await talk.close()
