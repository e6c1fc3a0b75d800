"""An engine under test, and the cases that every engine has to pass."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from omni.engine.protocol import Engine, EngineSession, SessionSpec
from tests import virtual_time


class Make(Protocol):
    async def __call__(self, *, sessions: int = 4, long: bool = False) -> Engine: ...


@dataclass(frozen=True)
class Subject:
    """An engine under test."""

    make: Make
    virtual: bool = True  # lives on the event loop alone, so that its time can be virtual
    quiet: float = 60.0  # s after which nothing more can come
    endless: bool = False  # takes any amount of audio in one turn in bounded memory, so it need not overflow

    @asynccontextmanager
    async def session(self, *, long: bool = False) -> AsyncIterator[EngineSession]:
        engine = await self.make(long=long)
        try:
            yield await engine.open(SessionSpec())
        finally:
            await engine.close()


Case = Callable[[Subject], Coroutine[Any, Any, None]]
CASES: list[Case] = []
ENUMERATED: list[Case] = []  # at every round of the loop: only in virtual time


def case(function: Case) -> Case:
    CASES.append(function)
    return function


def enumerated(function: Case) -> Case:
    ENUMERATED.append(function)
    return function


def name_of(function: Case) -> str:
    return function.__name__


def conforms(subject: Subject, function: Case) -> None:
    """Run one case."""
    if subject.virtual:
        virtual_time.run(function(subject))
    else:
        asyncio.run(asyncio.wait_for(function(subject), 60))
