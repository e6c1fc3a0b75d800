"""What tests say to engines and models, and how they listen to them."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any

import numpy as np

from omni.engine.pipeline.stages import Call, Message, Stopped, TextModel
from omni.engine.protocol import (
    SAMPLE_RATE,
    AudioIn,
    AudioOut,
    CodesOut,
    Done,
    EndOfTurn,
    EngineSession,
    Event,
    Failed,
    Mark,
    Origin,
    Tool,
)  # fmt: skip
from omni.sampling import Sampling

FRAME = 640  # samples, 40 ms


def speech(seconds: float = 0.2, seed: int = 0) -> list[AudioIn]:
    """Something like speech, in frames."""
    draw = np.random.default_rng(seed)
    samples = draw.normal(0, 0.1, round(seconds * SAMPLE_RATE)).astype(np.float32)
    return [AudioIn(samples[at : at + FRAME]) for at in range(0, len(samples), FRAME)]


async def say(session: EngineSession, seconds: float = 0.2) -> None:
    for unit in speech(seconds):
        await session.push(unit)


async def ask(session: EngineSession, origin: Origin, seconds: float = 0.2) -> None:
    await say(session, seconds)
    await session.push(EndOfTurn(origin))


def is_end(event: Event, origin: Origin | None = None) -> bool:
    return isinstance(event, Done | Failed) and (origin is None or event.origin == origin)


async def until_end(session: EngineSession, origin: Origin) -> list[Event]:
    """Every event up to and with the end of a response."""
    seen: list[Event] = []
    async for event in session.events():
        seen.append(event)
        if is_end(event, origin):
            return seen
    raise AssertionError(f"the events ended before {origin} did: {seen}")


async def until_quiet(session: EngineSession, seconds: float) -> list[Event]:
    """Every event that comes, until none has come for so long."""
    seen: list[Event] = []
    events = session.events()
    while True:
        try:
            async with asyncio.timeout(seconds):
                seen.append(await anext(events))
        except (TimeoutError, StopAsyncIteration):
            return seen


def check_response(events: list[Event], origin: Origin) -> None:
    """The events of one response: its own origin on each, one end, at the end."""
    own = [e for e in events if getattr(e, "origin", None) is not None]
    assert {e.origin for e in own} == {origin}, own  # type: ignore[union-attr]
    assert [is_end(e) for e in own] == [False] * (len(own) - 1) + [True], own
    for event in events:
        assert isinstance(event, Event), event
        if isinstance(event, AudioOut):
            assert event.samples.dtype == np.float32
            assert event.samples.ndim == 1
            assert np.isfinite(event.samples).all()


def origin(number: int, epoch: int | None = None) -> Origin:
    return Origin(f"resp_{number}", number if epoch is None else epoch)


def plain(event: Event) -> object:
    """An event without its times, comparable."""
    if isinstance(event, AudioOut):
        return (event.origin, len(event.samples), event.samples.tobytes())
    if isinstance(event, CodesOut):
        return (event.origin, event.codes.tolist())
    return (event.origin, event.stage) if isinstance(event, Mark) else event


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


async def all_of(
    model: TextModel,
    *messages: Message,
    tools: tuple[Tool, ...] = (),
    how: Sampling | None = None,
    longest: int = 24,
    must_call: bool = False,
) -> list[str | Call | Stopped]:
    async with aclosing(model.answer(messages, tools, how or Sampling(), longest, must_call=must_call)) as pieces:
        return [piece async for piece in pieces]


def text_of(pieces: list[str | Call | Stopped]) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))
