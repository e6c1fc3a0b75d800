"""Whoever reads the events of a session, while there are none."""

import asyncio


class Reader:
    """One at a time waits; a future a wait, since nothing cheaper wakes a coroutine from outside."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    async def wait(self) -> None:
        """Until `wake`."""
        if self._waiting is not None:
            raise RuntimeError("the events of a session have one reader, and somebody is reading them already")
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            await self._waiting
        finally:
            self._waiting = None

    def wake(self) -> None:
        """There is something, or nothing will be."""
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)
