"""Conversations in real time on this machine: how many stay within the frame deadline."""

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from random import Random

import numpy as np

from omni.engine.native.engine import NativeEngine
from omni.engine.protocol import AudioIn, AudioOut, Done, EndOfTurn, Failed, Full, Origin, SessionSpec
from tests.benchmarks.harness import Row
from tests.omni.planted import planted

FRAME = 0.04  # s
SPOKEN = 2.0  # s of each turn of the user
ANSWERED = 100  # frames of each answer: 4 s
SIZES = (4, 8, 16, 24)  # sessions
SECONDS = 16.0  # of each size


@dataclass
class Seen:
    """What the users of one size saw."""

    ticks: list[float] = field(default_factory=list)  # s
    late: list[float] = field(default_factory=list)  # s that a frame came after it was due; below 0 where it was early
    first: list[float] = field(default_factory=list)  # s from the end of a turn to the first sound
    refused: int = 0


async def user(engine: NativeEngine, seen: Seen, number: int, until: float) -> None:
    """Speaks for two seconds, listens to the answer, and again."""
    draw = Random(number)
    await asyncio.sleep(draw.uniform(0, 3))
    try:
        session = await engine.open(SessionSpec(instructions="Be brief."))
    except Full:
        seen.refused += 1
        return
    frame = np.random.default_rng(number).normal(0, 0.05, round(FRAME * 16_000)).astype(np.float32)
    turn = 0
    while time.monotonic() < until:
        turn += 1
        begin = time.monotonic()
        for n in range(round(SPOKEN / FRAME)):
            await session.push(AudioIn(frame))
            await asyncio.sleep(max(0.0, begin + (n + 1) * FRAME - time.monotonic()))
        asked = time.monotonic()
        await session.push(EndOfTurn(Origin(f"r{turn}", turn)))
        first, count = 0.0, 0
        async for event in session.events():
            now = time.monotonic()
            if isinstance(event, AudioOut):
                if not count:
                    first = now
                    seen.first.append(now - asked)
                seen.late.append(now - first - count * FRAME)
                count += 1
            elif isinstance(event, Done | Failed):
                break
        await asyncio.sleep(max(0.0, first + count * FRAME - time.monotonic()))  # until it is heard
    await session.close()


async def crowd(sessions: int, seconds: float) -> Seen:
    """So many of them for so long."""
    shape = {"width": 256, "depth": 6, "heads": 8, "kv_heads": 8, "hidden": 704, "longest": 2048}
    bundle = planted("ab", ANSWERED, **shape)  # two ids: the median of first words
    engine = NativeEngine(bundle, sessions=sessions)
    await engine.start()
    seen = Seen()
    step = engine.tick.step

    def timed(work: object) -> None:
        begin = time.perf_counter()
        step(work)  # type: ignore[arg-type]
        seen.ticks.append(time.perf_counter() - begin)

    engine.tick.step = timed  # type: ignore[method-assign, assignment]
    until = time.monotonic() + seconds
    await asyncio.gather(*(user(engine, seen, number, until) for number in range(sessions)))
    await engine.close()
    return seen


def rows(quick: bool) -> Iterable[Row]:
    """The curve: the 99th of 100 steps, and of 100 frames, by the number of sessions."""
    for sessions in (4, 16) if quick else SIZES:
        seen = asyncio.run(crowd(sessions, 8.0 if quick else SECONDS))
        tick = float(np.percentile(seen.ticks, 99)) * 1e3
        holds = tick <= FRAME * 1e3 and seen.refused == 0
        yield Row(
            f"{sessions} sessions in real time ({seen.refused} refused): 99th of 100 steps", tick, FRAME * 1e3,
            "a frame", "ms", FRAME * 1e3 / tick, 1.0 if sessions == 16 else None, holds if sessions == 16 else None,
            len(seen.ticks),
        )  # fmt: skip
        late = float(np.percentile(seen.late, 99)) * 1e3
        yield Row(
            f"{sessions} sessions: 99th of 100 frames, after it was due", late, 0.0, "on time", "ms",
            float(np.mean(np.array(seen.late) <= 0)), None, None, len(seen.late),
        )  # fmt: skip
        first = float(np.median(seen.first)) * 1e3
        yield Row(
            f"{sessions} sessions: end of the turn to the first sound, median", first, FRAME * 1e3, "a frame", "ms",
            FRAME * 1e3 / first, None, None, len(seen.first),
        )  # fmt: skip
