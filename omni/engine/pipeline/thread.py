"""A model's own thread: one call at a time, results streamed to the event loop, and a stop that reaches it."""

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")
AHEAD = 64  # results that may wait for their reader


class ModelThread:
    """Models are not made for two callers at once, and a second thread would not make them faster."""

    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def call(self, work: Callable[[], T]) -> T:
        """Do something in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self._executor, work)

    async def stream(self, work: Callable[[threading.Event], Iterator[T]]) -> AsyncGenerator[T, None]:
        """What a generator in the thread yields. It is given an event that is set when nobody wants any more."""
        loop = asyncio.get_running_loop()
        results: asyncio.Queue[T] = asyncio.Queue()
        stop = threading.Event()
        room = threading.Semaphore(AHEAD)

        def run() -> None:
            if stop.is_set():
                return
            for result in work(stop):
                room.acquire()
                if stop.is_set():
                    return
                with suppress(RuntimeError):  # the loop is closed: nobody wants any more
                    loop.call_soon_threadsafe(results.put_nowait, result)

        running = loop.run_in_executor(self._executor, run)
        getting: asyncio.Task[T] | None = None
        try:
            while True:
                getting = asyncio.ensure_future(results.get())
                waiting: set[asyncio.Future[Any]] = {getting, running}
                await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                if not getting.done():
                    getting.cancel()
                    break
                room.release()
                yield getting.result()
            while not results.empty():
                yield results.get_nowait()
            await running  # raises what went wrong in the thread
        finally:
            stop.set()
            room.release()
            if getting is not None:
                getting.cancel()
            running.cancel()  # a call that has not begun never will

    async def close(self) -> None:
        """Wait for what runs, and end the thread."""
        await asyncio.to_thread(self._executor.shutdown, wait=True, cancel_futures=True)
