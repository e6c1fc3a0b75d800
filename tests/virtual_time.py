"""An event loop whose clock jumps to the next timer: an hour of conversation in milliseconds, always the same way.

    def test_patience_ends() -> None:
        run(something_that_sleeps())

When nothing is ready and no timer is set, a real loop waits for ever; this one raises `Deadlock` and says who waits.
Work in threads (`run_in_executor`, `asyncio.to_thread`) is waited for in real time, and costs no virtual time.
"""

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")
LONGEST_THREAD = 60.0  # real seconds that work in a thread may take


class Deadlock(RuntimeError):
    """Everybody waits for somebody else."""


class _Selector(selectors.DefaultSelector):  # type: ignore[valid-type, misc]
    """Where a loop would wait, this moves the clock instead."""

    loop: "VirtualLoop"

    def select(self, timeout: float | None = None) -> Any:
        self.loop.steps += 1
        ready = super().select(0)
        if ready or timeout == 0:
            return ready
        if self.loop.in_threads:  # real work: wait for it in real time
            ready = super().select(LONGEST_THREAD)
            if not ready:
                raise Deadlock(f"a thread has not come back for {LONGEST_THREAD:g} real seconds")
            return ready
        if timeout is None:
            raise Deadlock(self.loop.who_waits())
        self.loop.jump()
        return []


class VirtualLoop(asyncio.SelectorEventLoop):
    """A loop whose time is a number that only timers move. `steps` counts its rounds."""

    def __init__(self) -> None:
        selector = _Selector()
        selector.loop = self
        self.steps = 0
        self.in_threads = 0
        self._now = 0.0
        self._at: dict[int, Callable[[], object]] = {}
        super().__init__(selector)
        self.steps = 0

    def time(self) -> float:
        """Virtual seconds since the loop was made."""
        return self._now

    def jump(self) -> None:
        """Go to the next timer."""
        self._now = max(self._now, self._scheduled[0]._when)

    def at_step(self, step: int, call: Callable[[], object]) -> None:
        """Call something before a given round of the loop: so tests enumerate all moments at which it can happen."""
        self._at[step] = call

    def _run_once(self) -> None:
        for step in [s for s in self._at if s <= self.steps]:
            self._at.pop(step)()
        super()._run_once()

    def run_in_executor(self, executor: Any, func: Callable[..., T], *args: Any) -> asyncio.Future[T]:
        """Work in a thread; while it lasts, the clock stands still."""
        future = super().run_in_executor(executor, func, *args)
        self.in_threads += 1

        def back(_future: object) -> None:
            self.in_threads -= 1

        future.add_done_callback(back)
        return future

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  # asyncio's name
        """Wait for the threads, which is work in a thread as well."""
        self.in_threads += 1
        try:
            await super().shutdown_default_executor()
        finally:
            self.in_threads -= 1

    def who_waits(self) -> str:
        """The tasks that are left, and where each of them stands."""
        lines = ["nothing is ready and no timer is set; these wait for ever:"]
        for task in asyncio.all_tasks(self):
            frames = task.get_stack(limit=1)
            at = f"{frames[-1].f_code.co_filename}:{frames[-1].f_lineno}" if frames else "nowhere"
            lines.append(f"  {task.get_name()} {task.get_coro().__qualname__} at {at}")  # type: ignore[union-attr]
        return "\n".join(lines)


def run(main: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine in virtual time."""
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(main)


def virtual_loop() -> VirtualLoop:
    """The running loop, which has to be a virtual one."""
    loop = asyncio.get_running_loop()
    if not isinstance(loop, VirtualLoop):
        raise TypeError(f"the running loop is {type(loop).__name__}: call tests.virtual_time.run")
    return loop
