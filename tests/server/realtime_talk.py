"""A conversation over the realtime wire without sockets: what a client sends, and what comes back, checked."""

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.engine.clock import Clock, LoopClock
from omni.engine.protocol import Engine
from omni_server.dialects.dialect import WireLimits
from omni_server.dialects.realtime.wire import RealtimeDialect, RealtimeWire
from omni_server.session.events import AudioDelta
from omni_server.session.session import Session
from omni_server.session.settings import SessionSettings
from omni_server.session.word_times import WordTimes
from omni_server.turns.detector import Detector
from tests.server.loud_is_speech import LoudIsSpeech
from tests.server.stock_events import check

RATE = 24_000  # Hz
Event = dict[str, Any]


def tone(seconds: float, loudness: float = 0.3, rate: int = RATE) -> NDArray[np.float32]:
    return (loudness * np.sin(np.arange(round(seconds * rate)) * (2 * np.pi * 220 / rate))).astype(np.float32)


def silence(seconds: float, rate: int = RATE) -> NDArray[np.float32]:
    return np.zeros(round(seconds * rate), np.float32)


def pcm(wave: NDArray[np.float32]) -> str:
    return base64.b64encode((wave * 32767).astype("<i2").tobytes()).decode()


@dataclass
class Talk:
    """Sends like a client, and keeps what comes."""

    session: Session
    dialect: RealtimeDialect
    events: list[Event] = field(default_factory=list)
    sent: int = 0  # frames
    slowness: float = 0.0  # s that the wire takes for a second of sound
    _came: asyncio.Event = field(default_factory=asyncio.Event)
    checked: Callable[[str | bytes], Event] = check

    async def send(self, kind: str, **fields: Any) -> None:
        await self.raw(json.dumps({"type": kind, **fields}))

    async def raw(self, frame: str | bytes) -> None:
        self.sent += 1
        for command in self.dialect.read(frame):
            await self.session.handle(command)

    async def update(self, **session: Any) -> None:
        await self.send("session.update", session={"type": "realtime", **session})

    async def turns(self, value: Any) -> None:
        await self.update(audio={"input": {"turn_detection": value}})

    async def say(self, wave: NDArray[np.float32], piece: float = 0.04, rate: int = RATE) -> None:
        """Speak in real time, in pieces."""
        step = round(piece * rate)
        for at in range(0, len(wave), step):
            await asyncio.sleep(piece)
            await self.send("input_audio_buffer.append", audio=pcm(wave[at : at + step]))

    async def read(self) -> None:
        async for event in self.session.events():
            for frame in self.dialect.write(event):
                self.events.append(self.checked(frame))
                self._came.set()
            if self.slowness and isinstance(event, AudioDelta):
                await asyncio.sleep(self.slowness * len(event.samples) / event.rate)

    async def until(self, kind: str, count: int = 1, patience: float = 30.0) -> Event:
        """Wait for so many events of a kind; the last of them."""
        async with asyncio.timeout(patience):
            while len(self.of(kind)) < count:
                self._came.clear()
                await self._came.wait()
        return self.of(kind)[count - 1]

    def of(self, kind: str) -> list[Event]:
        return [event for event in self.events if event["type"] == kind]

    @property
    def kinds(self) -> list[str]:
        """The types of all events, in order; repeated deltas once."""
        found: list[str] = []
        for event in self.events:
            if not (found and found[-1] == event["type"] and event["type"].endswith(".delta")):
                found.append(event["type"])
        return found

    @property
    def noted(self) -> Any:
        """What the scripted engine was given."""
        return self.session._told.noted  # type: ignore[union-attr]

    def heard_seconds(self, response: str | None = None) -> float:
        """Audio that came."""
        deltas = [e for e in self.of("response.output_audio.delta") if response in (None, e["response_id"])]
        return sum(len(base64.b64decode(e["delta"])) for e in deltas) / 2 / RATE


@asynccontextmanager
async def talk(
    engine: Engine,
    *,
    query: dict[str, str] | None = None,
    settings: SessionSettings | None = None,
    detector: Detector | None = None,
    clock: Clock | None = None,
    limits: WireLimits | None = None,
    word_times: WordTimes | None = None,
    slowness: float = 0.0,
) -> AsyncIterator[Talk]:
    dialect = RealtimeWire().open(query or {}, limits or WireLimits())
    session = await Session.open(
        engine,
        dialect.setup,
        settings or SessionSettings(),
        clock or LoopClock(),
        detector or LoudIsSpeech(),
        word_times,
    )
    found = Talk(session, dialect, slowness=slowness)
    reading = asyncio.create_task(found.read())
    try:
        yield found
    finally:
        await session.close()
        await reading
        await engine.close()


def told(t: Talk) -> list[str]:
    """Texts that the engine's present session was given."""
    return [unit.text for unit in t.noted.text]


async def answered(t: Talk) -> None:
    """Ask for an answer, and wait for its end."""
    count = len(t.of("response.done"))
    await t.send("response.create")
    await t.until("response.done", count + 1)
