"""What a session costs in memory, and what half an hour of sessions that come and go leaves behind."""

import asyncio
from collections.abc import Iterable
from pathlib import Path
from random import Random

import torch

from omni.engine.clock import LoopClock
from omni.engine.native.engine import NativeEngine
from omni.engine.native.prefixes import Nobody
from omni.engine.protocol import Cancel, Done, EndOfTurn, Failed, Origin, SessionSpec
from tests import virtual_time
from tests.benchmarks.engine_step import bundle
from tests.benchmarks.harness import Row
from tests.benchmarks.memory import forget_peak, peak
from tests.omni.planted import planted
from tests.omni.talking import speech

MANY = 17
CAPACITY = 1024  # tokens


def held(sessions: str) -> None:
    """An engine with room for many, and so many sessions whose context is full."""
    engine = NativeEngine(bundle(), sessions=MANY, capacity=CAPACITY)
    forget_peak()
    with torch.inference_mode():
        for slot in range(int(sessions)):
            lane = engine.slots.give(slot, Nobody())
            lane.tape.put(torch.randn(CAPACITY, bundle().model.spec.width))
            while lane.tape.unread:
                engine.tick.step([(lane, min(64, lane.tape.unread))])


def rows(quick: bool) -> Iterable[Row]:
    """Memory of one session more, beside the size of its keys and values."""
    runs = 1 if quick else 3
    few, many = (min(peak(__name__, "held", str(n)) for _ in range(runs)) for n in (1, MANY))
    each = (many - few) / (MANY - 1)
    stack = bundle().model.spec.stack
    _, kv_heads, head_width = stack.block.attention.sizes(stack.block.width)
    size = 2 * 4 * stack.depth * kv_heads * head_width * CAPACITY / 1e6
    yield Row(
        f"one session more, {CAPACITY} tokens", each, 1.2 * size, "1.2 × its keys and values", "MB",
        1.2 * size / each, 1.0, each <= 1.2 * size, runs,
    )  # fmt: skip


async def come_and_go(minutes: float, watched_from: float) -> tuple[float, float, int]:
    """Four users at a time, each with a few turns and some interruptions; resident memory, MB, then and at the end."""
    engine = NativeEngine(planted("abcdefgjklm", 80), sessions=4, clock=LoopClock())
    loop = asyncio.get_running_loop()
    turns = 0

    async def user(number: int) -> None:
        nonlocal turns
        draw = Random(number)
        while loop.time() < minutes * 60:
            session = await engine.open(SessionSpec(instructions=f"You are {draw.randrange(5)}, be brief."))
            for turn in range(draw.randint(1, 6)):
                turns += 1
                for unit in speech(draw.uniform(0.4, 2.0), turn):
                    await session.push(unit)
                    await asyncio.sleep(0.04)
                await session.push(EndOfTurn(Origin(f"r{turn}", turn)))
                patience = draw.choice([200, 200, 30])
                async for event in session.events():
                    patience -= 1
                    if patience == 0:
                        await session.push(Cancel(heard=0.5))
                    if isinstance(event, Done | Failed):
                        break
                await asyncio.sleep(draw.uniform(0.5, 3.0))
            await session.close()

    async def watch() -> float:
        await asyncio.sleep(watched_from * 60)
        return resident()

    watching = asyncio.create_task(watch())
    await asyncio.gather(*(user(number) for number in range(4)))
    before, after = await watching, resident()
    await engine.close()
    return before, after, turns


def resident() -> float:
    """Resident memory of this process, MB."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1e3


def soak(quick: bool) -> Iterable[Row]:
    """Half an hour of conversation in virtual time."""
    minutes, watched_from = (2.0, 0.5) if quick else (30.0, 3.0)
    before, after, turns = virtual_time.run(come_and_go(minutes, watched_from))
    growth = 100 * (after / before - 1)
    yield Row(
        f"{minutes:g} minutes of 4 users who come and go: growth from minute {watched_from:g}", growth, 2.0,
        "the most allowed", "%", 2.0 / max(growth, 0.01), 1.0, growth <= 2, turns,
    )  # fmt: skip
