"""The native engine in virtual time, and a turn with it."""

from omni.engine.clock import LoopClock
from omni.engine.native.engine import NativeEngine
from omni.engine.native.session import NativeSession
from omni.engine.protocol import EndOfTurn, Event
from tests.omni.talking import origin, until_end


def engine_of(bundle: object, sessions: int = 4, **settings: object) -> NativeEngine:
    """An engine around this bundle."""
    return NativeEngine(bundle, sessions=sessions, clock=LoopClock(), **settings)  # type: ignore[arg-type]


async def turn(session: NativeSession, number: int, *units: object) -> list[Event]:
    """Say these, and hear the whole answer."""
    for unit in units:
        await session.push(unit)  # type: ignore[arg-type]
    await session.push(EndOfTurn(origin(number)))
    return await until_end(session, origin(number))


def tape_ids(session: NativeSession) -> list[int]:
    """The ids nearest to what is on the tape."""
    table = session.engine.bundle.model.embed.weight
    return [
        int((table - v).abs().sum(1).nan_to_num(1e9).argmin())
        for v in session.lane.tape.vectors[: session.lane.tape.length]
    ]
