"""The suite itself: an engine that breaks a rule fails it."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from omni.engine.answering import AnsweringSession
from omni.engine.inlet import Inlet
from omni.engine.outlet import Outlet
from omni.engine.protocol import AudioOut, Done, Event, Full, Origin, Refused, TextDelta
from omni.engine.scripted import ScriptedEngine, ScriptedSession
from tests import virtual_time
from tests.omni.conformance import CASES, ENUMERATED, Case
from tests.omni.test_engines import ENGINES

Patch = Callable[[pytest.MonkeyPatch], None]


def two_ends(patch: pytest.MonkeyPatch) -> None:
    offer = Outlet.offer

    def twice(self: Outlet, event: Event, **how: Any) -> bool:
        taken = offer(self, event, **how)
        if isinstance(event, Done):
            self._queue.append(event)
        return taken

    patch.setattr(Outlet, "offer", twice)


def late_events(patch: pytest.MonkeyPatch) -> None:
    offer = Outlet.offer

    def unfenced(self: Outlet, event: Event, **how: Any) -> bool:
        if isinstance(event, TextDelta | AudioOut) and event.origin != self.origin and not self.ended:
            self._queue.append(event)
            self._wake()
            return True
        return offer(self, event, **how)

    patch.setattr(Outlet, "offer", unfenced)
    patch.setattr(AnsweringSession, "_interrupt", lambda self: None)  # and nobody stops who answers


def wrong_origin(patch: pytest.MonkeyPatch) -> None:
    async def shared(self: AnsweringSession[Any], event: Event) -> None:
        if isinstance(event, TextDelta):
            self.outlet._queue.append(TextDelta(Origin("resp_1", 1), event.text))
        else:
            await self.outlet.emit(event)

    patch.setattr(AnsweringSession, "emit", shared)


def early_words(patch: pytest.MonkeyPatch) -> None:
    begin = Outlet.begin

    def eager(self: Outlet, origin: Origin) -> None:
        begin(self, origin)
        self._begun = False

    patch.setattr(Outlet, "begin", eager)


def unbounded_audio(patch: pytest.MonkeyPatch) -> None:
    async def room(self: Inlet, unit: Any) -> None:
        pass

    patch.setattr(Inlet, "room", room)
    init = AnsweringSession.__init__

    def endless(self: AnsweringSession[Any], *about: Any, **options: Any) -> None:
        init(self, *about, **options)
        self._longest_turn = float("inf")

    patch.setattr(AnsweringSession, "__init__", endless)


def lost_when_nobody_reads(patch: pytest.MonkeyPatch) -> None:
    async def drop(self: Outlet, event: Event) -> None:
        self.offer(event)

    patch.setattr(Outlet, "emit", drop)


def a_place_that_is_never_free_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(ScriptedEngine, "forget", lambda self, session: None)


def a_task_that_stays(patch: pytest.MonkeyPatch) -> None:
    async def nothing(self: AnsweringSession[Any]) -> None:
        self._answering = None

    patch.setattr(AnsweringSession, "_answered", nothing)


def waiting_instead_of_full(patch: pytest.MonkeyPatch) -> None:
    open_session = ScriptedEngine.open

    async def patient(self: ScriptedEngine, spec: Any) -> ScriptedSession:
        while True:
            try:
                return await open_session(self, spec)
            except Full:
                await asyncio.sleep(0.1)

    patch.setattr(ScriptedEngine, "open", patient)


def anything_goes(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("omni.engine.answering.accept", lambda unit, sees: None)


def unbounded_events(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Outlet, "room", True)


def closed_without_an_end(patch: pytest.MonkeyPatch) -> None:
    close = ScriptedEngine.close

    async def silent(self: ScriptedEngine) -> None:
        for session in self._open:
            session.outlet._origin, session.outlet._ended = None, True
            session.outlet._queue.clear()
        await close(self)

    patch.setattr(ScriptedEngine, "close", silent)


def unread_and_forgotten(patch: pytest.MonkeyPatch) -> None:
    begin = Outlet.begin

    def forgetful(self: Outlet, origin: Origin) -> None:
        begin(self, origin)
        self._opened = origin

    patch.setattr(Outlet, "begin", forgetful)


def taken_back_by_what_is_refused(patch: pytest.MonkeyPatch) -> None:
    push = AnsweringSession.push

    async def careless(self: AnsweringSession[Any], unit: Any) -> None:
        try:
            await push(self, unit)
        except Refused:
            if self.outlet.take_back() is not None:
                self._interrupt()
            raise

    patch.setattr(AnsweringSession, "push", careless)


MISTAKES: list[Patch] = [
    two_ends, late_events, wrong_origin, early_words, unbounded_audio, lost_when_nobody_reads,
    a_place_that_is_never_free_again, a_task_that_stays, waiting_instead_of_full, anything_goes,
    unbounded_events, closed_without_an_end, unread_and_forgotten, taken_back_by_what_is_refused,
]  # fmt: skip


async def hurried(case: Case) -> None:
    async with asyncio.timeout(1e6):  # virtual seconds
        await case(ENGINES["scripted"])


@pytest.mark.parametrize("mistake", MISTAKES, ids=lambda m: m.__name__)
def test_the_suite_catches(mistake: Patch, monkeypatch: pytest.MonkeyPatch) -> None:
    mistake(monkeypatch)
    caught = []
    for case in [*CASES, *ENUMERATED]:
        try:
            virtual_time.run(hurried(case))
        except (Exception, pytest.fail.Exception) as error:
            caught.append((case.__name__, type(error).__name__))
            break
    assert caught
