"""A model's own thread: its streams are bounded, stop when nobody reads them, and hinder no other."""

import asyncio
import threading
from contextlib import aclosing
from typing import Any

import pytest

from omni.engine.pipeline.thread import ModelThread
from tests.omni.talking import run


def test_a_stream_from_a_thread_is_bounded_stops_when_nobody_wants_it_and_passes_errors_on() -> None:
    async def main() -> None:
        thread, made = ModelThread("test"), []

        def numbers(stop: threading.Event) -> Any:
            for number in range(100_000):
                made.append(number)
                yield number

        async with aclosing(thread.stream(numbers)) as stream:
            assert await anext(stream) == 0
            await asyncio.sleep(0.05)
        assert len(made) < 100
        async with aclosing(thread.stream(lambda stop: iter(range(500)))) as stream:
            assert [n async for n in stream] == list(range(500))

        def broken(stop: threading.Event) -> Any:
            yield 1
            raise KeyError("lost")

        async with aclosing(thread.stream(broken)) as stream:
            assert await anext(stream) == 1
            with pytest.raises(KeyError, match="lost"):
                await anext(stream)
        await thread.close()

    run(main())


def test_a_stream_that_nobody_reads_stops_no_other_one_and_loses_nothing() -> None:
    async def main() -> None:
        thread, closed_in = ModelThread("test"), []

        def numbers(stop: threading.Event) -> Any:
            try:
                yield from range(1000)
            finally:
                closed_in.append(threading.current_thread().name)

        async with aclosing(thread.stream(numbers)) as unread, aclosing(thread.stream(numbers)) as left:
            assert [await anext(unread), await anext(left)] == [0, 0]
            await asyncio.sleep(0.05)  # both have as much as may wait
            async with asyncio.timeout(5):
                assert await thread.call(lambda: "free") == "free"
                async with aclosing(thread.stream(numbers)) as read:
                    assert [n async for n in read] == list(range(1000))
                assert [n async for n in unread] == list(range(1, 1000))
        assert await thread.call(lambda: len(closed_in)) == 3, "what is left in the middle is closed too"
        assert {name.rpartition("_")[0] for name in closed_in} == {"test"}, "and in the thread"
        await thread.close()

    run(main())


def test_a_stream_that_waits_for_the_thread_is_closed_without_going_on() -> None:
    async def main() -> None:
        thread, made, go = ModelThread("test"), [], threading.Event()

        def numbers(stop: threading.Event) -> Any:
            for number in range(1000):
                made.append(number)
                yield number

        async with aclosing(thread.stream(numbers)) as stream:
            await anext(stream)
            await asyncio.sleep(0.05)
            before = len(made)
            blocking = asyncio.create_task(thread.call(lambda: go.wait(5)))
            await asyncio.sleep(0)
            for _ in range(before // 2 + 5):  # now it wants the thread again, and has to wait
                await anext(stream)
        go.set()
        assert await blocking
        await thread.close()
        assert len(made) == before

    run(main())
