"""The clock that jumps."""

import asyncio
import time

import pytest

from tests.virtual_time import Deadlock, run, virtual_loop


def test_an_hour_passes_at_once_and_in_order() -> None:
    order = []

    async def wait(seconds: float) -> None:
        await asyncio.sleep(seconds)
        order.append((seconds, asyncio.get_running_loop().time()))

    async def main() -> None:
        await asyncio.gather(*(wait(s) for s in (3600, 0.5, 7)))

    start = time.monotonic()
    run(main())
    assert time.monotonic() - start < 5
    assert order == [(0.5, 0.5), (7, 7.0), (3600, 3600.0)]


def test_a_timeout_ends_what_never_comes() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run(main()) == 30


def test_a_deadlock_is_an_error_that_names_who_waits() -> None:
    async def forever() -> None:
        await asyncio.Event().wait()

    with pytest.raises(Deadlock, match=r"wait for ever:\n.*forever at .*test_virtual_time.py"):
        run(forever())


def test_work_in_a_thread_takes_no_virtual_time() -> None:
    async def main() -> float:
        timer = asyncio.create_task(asyncio.sleep(5))
        assert await asyncio.to_thread(lambda: time.sleep(0.05) or 42) == 42  # type: ignore[func-returns-value]
        assert virtual_loop().time() == 0
        await timer
        return virtual_loop().time()

    assert run(main()) == 5


def test_something_can_happen_in_any_round_of_the_loop() -> None:
    async def main() -> tuple[int, int]:
        loop = virtual_loop()
        seen = []
        start = loop.steps
        loop.at_step(start + 3, lambda: seen.append(loop.steps))
        for _ in range(6):
            await asyncio.sleep(0)
        return start, seen[0]

    start, at = run(main())
    assert at == start + 3
