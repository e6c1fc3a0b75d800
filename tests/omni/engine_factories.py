"""Engines that a worker process builds by name, for the tests."""

import logging
import os
import time

from omni.engine.echo import EchoEngine, EchoSession
from omni.engine.protocol import Refused, TextIn
from omni.engine.scripted import Break, Call, Say, ScriptedEngine, Speak, Stamp
from omni.engine.scripted import ScriptedSession as _Session


def scripted(*, sessions: int = 4, long: bool = False) -> ScriptedEngine:
    script = [Stamp("prefill"), Say("It is ", 0.02), Stamp("first_audio"), Speak(0.2, pace=5.0), Say("four.", 0.01)]
    return ScriptedEngine([*script, Speak(14.0)] if long else script, sessions=sessions)


def calling() -> ScriptedEngine:
    return ScriptedEngine(
        [Call("light", '{"on": true}')], [Break("no_model", "gone")], [Break("over", "all", fatal=True)]
    )


def talking_for_ever() -> ScriptedEngine:
    return ScriptedEngine([Say("I "), Speak(3600, pace=1.0)])


def telling() -> EchoEngine:
    logging.getLogger("omni.engine").info("a step is fast", extra={"threads": 2})
    return EchoEngine()


def one_that_cannot_start() -> EchoEngine:
    raise RuntimeError("no such model")


class _DyingSession(_Session):
    async def answer(self, origin, turn):  # type: ignore[no-untyped-def]
        os._exit(7)


class Dying(ScriptedEngine):
    """Takes the whole process with it at the first answer."""

    def begin(self, spec):  # type: ignore[no-untyped-def]
        return _DyingSession(spec, self.clock, scripts=((),), notices=(), closed=self.forget)


class _BlockingSession(_Session):
    async def answer(self, origin, turn):  # type: ignore[no-untyped-def]
        time.sleep(3600)  # noqa: ASYNC251  # what a careless engine does to its loop
        return "stop"


class Blocking(ScriptedEngine):
    """Blocks its event loop at the first answer."""

    def begin(self, spec):  # type: ignore[no-untyped-def]
        return _BlockingSession(spec, self.clock, scripts=((),), notices=(), closed=self.forget)


class _PickySession(EchoSession):
    async def push(self, unit):  # type: ignore[no-untyped-def]
        if isinstance(unit, TextIn) and len(unit.text) > 10:
            raise Refused("that is too long")
        await super().push(unit)


class Picky(EchoEngine):
    """Takes no long texts, which only it knows."""

    def begin(self, spec):  # type: ignore[no-untyped-def]
        return _PickySession(spec, self.clock, duplex=False, closed=self.forget)
