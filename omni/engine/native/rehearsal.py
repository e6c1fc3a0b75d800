"""What is measured before the first session: threads, and the time of a step by its rows."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from statistics import median

import torch

from omni.engine.native.admission import FEWEST, StepTimes
from omni.engine.native.flat import Flat
from omni.engine.native.rows import Row
from omni.engine.native.tick import Stepper, Tick

PAST = 512  # tokens that each slot seems to hold: 20 s of sound
RUNS = 2 * FEWEST
BETTER = 0.75  # of the time with fewer threads, for more of them to be worth it: others want the cores too


def step_seconds(stepper: Stepper, rows: int, runs: int, tick: Tick | None = None) -> list[float]:
    """The times of steps of one token in each of the first slots; with a tick, the scores of text are part of it."""
    cache = stepper.cache
    past = min(PAST, cache.capacity // 2)
    x = torch.zeros(rows, stepper.width, dtype=cache.both.dtype, device=cache.both.device)
    work = [Row(slot, past, 1) for slot in range(rows)]
    took = []
    with _pretending(stepper, rows, past):
        for _ in range(runs + 2):
            begin = time.perf_counter()
            hidden = stepper.step(x, work)
            (hidden if tick is None else tick.scores(hidden)).sum().item()
            took.append(time.perf_counter() - begin)
            for slot in range(rows):
                cache.truncate(slot, past)
    return took[2:]


def choose_threads(stepper: Flat, sessions: int) -> int:
    """Give it the threads that a step of all sessions is fastest with; few where it makes little difference.

    The compiled loops have threads of their own, and torch then has one: its threads wait busily, for what is no
    work of theirs.
    """
    compiled, rows = stepper.compiles(sessions), max(1, sessions)
    best, least = 1, float("inf")

    def use(threads: int) -> None:
        stepper.threads = threads if compiled else 1
        torch.set_num_threads(1 if compiled else threads)

    for threads in [n for n in (1, 2, 4, 8, 16) if n <= (os.cpu_count() or 1)]:
        use(threads)
        took = median(step_seconds(stepper, rows, 8))
        if took < BETTER * least:
            best, least = threads, took
    use(best)
    return best


def rehearse(stepper: Stepper, tick: Tick, sessions: int, times: StepTimes) -> None:
    """Let the engine know what a step takes, by its rows."""
    rows = 1
    while rows < 2 * sessions:
        for seconds in step_seconds(stepper, min(rows, sessions), RUNS, tick):
            times.add(rows, seconds)
        rows *= 2


@contextmanager
def _pretending(stepper: Stepper, rows: int, past: int) -> Iterator[None]:
    """Slots that hold so many tokens, of which none was ever written: memory is not touched but for the last place."""
    cache = stepper.cache
    if any(cache.lengths[:rows]):
        raise RuntimeError("measuring is for an engine without sessions: call start() first")
    cache.lengths[:rows] = [past] * rows
    try:
        yield
    finally:
        cache.both[:, :, :rows, :, past] = 0
        cache.lengths[:rows] = cache.written[:rows] = [0] * rows
