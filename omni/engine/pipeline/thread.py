"""A model's own thread: one call at a time, results streamed to the event loop, and a stop that reaches it.

A stream that nobody reads gives the thread back and goes on later, so that it stops no other one.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")
AHEAD = 64  # results that may wait for their reader


class ModelThread:
    """Models are not made for two callers at once, and a second thread would not make them faster."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def call(self, work: Callable[[], T]) -> T:
        """Do something in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    def wait(self, work: Callable[[], T]) -> T:
        """Do something in the thread where nobody else waits: while the plug-in is made."""
        return self._executor.submit(work).result()

    async def stream(self, work: Callable[[threading.Event], Iterator[T]]) -> AsyncGenerator[T, None]:
        """What a generator in the thread yields. It is given an event that is set when nobody wants any more."""
        loop = asyncio.get_running_loop()
        results: deque[T] = deque()
        news = asyncio.Event()
        stop = threading.Event()
        room = threading.Semaphore(AHEAD)

        def make() -> Generator[T, None, None]:
            yield from work(stop)

        made = make()

        def came(result: T) -> None:
            results.append(result)
            news.set()

        def go_on() -> bool:
            """In the thread: make more, until that is all or nobody reads; whether there may be more."""
            while not stop.is_set() and room.acquire(blocking=False):
                try:
                    result = next(made)
                except StopIteration:
                    return False
                with suppress(RuntimeError):  # the loop is closed: nobody wants any more
                    loop.call_soon_threadsafe(came, result)
            return True

        def turn() -> "asyncio.Future[bool]":
            running = loop.run_in_executor(self._executor, go_on)
            running.add_done_callback(lambda _: news.set())
            return running

        running = turn()
        try:
            while True:
                if len(results) <= AHEAD // 2 and _paused(running):
                    running = turn()  # behind whoever else waits for the thread
                if results:
                    room.release()
                    yield results.popleft()
                elif running.done():
                    await running  # raises what went wrong in the thread
                    return
                else:
                    news.clear()
                    await news.wait()
        finally:
            stop.set()
            running.cancel()  # a turn that has not begun never will
            with suppress(RuntimeError):  # the thread has ended
                self._executor.submit(made.close)

    async def close(self) -> None:
        """Wait for what runs, and end the thread."""
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)


def _paused(running: "asyncio.Future[bool]") -> bool:
    """Whether this turn in the thread ended only because there was no room."""
    return running.done() and not running.cancelled() and running.exception() is None and running.result()
