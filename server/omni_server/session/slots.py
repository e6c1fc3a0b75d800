"""The sessions of the engine that a conversation holds: each is given back, whoever is cancelled while it is taken."""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

from omni.engine.protocol import Closed, Engine, EngineSession, Full, Refused, SessionSpec


@dataclass
class Slots:
    """Taking and freeing run in tasks of their own: a cancel in the middle of either would keep a slot for ever."""

    engine: Engine
    _held: set[EngineSession] = field(default_factory=set)
    _opening: set[asyncio.Task[EngineSession]] = field(default_factory=set)
    _ended: bool = False
    _work: set[asyncio.Task[None]] = field(default_factory=set)

    async def take(self, spec: SessionSpec) -> EngineSession:
        """Open one; raises `Full`, `Closed` or `Refused`."""
        opening = asyncio.create_task(self.engine.open(spec))
        self._opening.add(opening)
        try:
            session = await asyncio.shield(opening)
        except asyncio.CancelledError:
            self._start(_undo(opening))
            raise
        finally:
            self._opening.discard(opening)
        if self._ended:  # and what was being opened is being closed
            raise Closed("the session is over")
        self._held.add(session)
        return session

    async def free(self, session: EngineSession) -> None:
        """Close one; closing twice is closing once."""
        if session in self._held:
            self._held.discard(session)
            await asyncio.shield(self._start(_close(session)))

    async def free_all(self) -> None:
        """Close every one, and wait for those that are being closed."""
        self._ended = True
        for opening in self._opening:
            self._start(_undo(opening))
        while self._held:
            self._start(_close(self._held.pop()))
        if self._work:
            await asyncio.wait(set(self._work))

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)
        return task


async def _close(session: EngineSession) -> None:
    await session.close()


async def _undo(opening: "asyncio.Task[EngineSession]") -> None:
    try:
        session = await opening
    except (Full, Closed, Refused):
        return
    await session.close()
