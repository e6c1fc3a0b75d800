"""The same conversation without `await`, for scripts and notebooks: a thread runs the loop behind it.

with connect("http://127.0.0.1:8000") as talk:
    answer = talk.ask("question.wav")
"""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from omni_server.client.answer import Answer, Utterance
from omni_server.client.events import Event
from omni_server.client.opening import connect as connect_awaiting
from omni_server.client.talk import PATIENCE, Picture, Source, Talk

T = TypeVar("T")


class BlockingTalk:
    """One conversation; every call waits until it is done."""

    def __init__(self, talk: Talk, loop: asyncio.AbstractEventLoop) -> None:
        self.talk = talk
        self._loop = loop

    def say(self, text: str, *, images: tuple[Picture, ...] = ()) -> None:
        """Type something, and ask for an answer."""
        self._wait(self.talk.say(text, images=images))

    def show(self, image: Picture) -> None:
        """Show a picture."""
        self._wait(self.talk.show(image))

    def send_audio(
        self, source: Source, rate: int | None = None, *, speech: tuple[float, float] | None = None
    ) -> Utterance:
        """Speak, in real time."""
        return self._wait(self.talk.send_audio(source, rate, speech=speech))

    def answer(self, *, patience: float = PATIENCE, listen: bool = True) -> Answer:
        """The next answer."""
        return self._wait(self.talk.answer(patience=patience, listen=listen))

    def ask(self, source: Source, rate: int | None = None, *, patience: float = PATIENCE) -> Answer:
        """Speak, and wait for the answer."""
        self.send_audio(source, rate)
        return self.answer(patience=patience)

    def interrupt(self) -> None:
        """Stop the answer."""
        self._wait(self.talk.interrupt())

    def __iter__(self) -> Iterator[Event]:
        return self

    def __next__(self) -> Event:
        try:
            return self._wait(self.talk.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result()
        except BaseException:  # Ctrl-C too: nothing goes on behind the caller's back
            future.cancel()
            raise


@contextmanager
def connect(url: str, **options: Any) -> Iterator[BlockingTalk]:
    """Open a conversation; takes what `omni_server.client.connect` takes, and raises what that raises."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=_run, args=(loop,), name="conversation", daemon=True)
    thread.start()
    opened = connect_awaiting(url, **options)
    try:
        talk = asyncio.run_coroutine_threadsafe(opened.__aenter__(), loop).result()
        try:
            yield BlockingTalk(talk, loop)
        finally:
            asyncio.run_coroutine_threadsafe(opened.__aexit__(None, None, None), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


def _run(loop: asyncio.AbstractEventLoop) -> None:
    """In the thread: until it is stopped; then what goes on is given up, as after Ctrl-C while a server is silent."""
    loop.run_forever()
    loop.run_until_complete(_give_up())
    loop.close()


async def _give_up() -> None:
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
