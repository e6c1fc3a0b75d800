"""Codes become sound in a thread of their own, so that the model's next step does not wait for it.

Frames that were made while the thread was busy go through the codec together, which costs less than one by one.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from omni_tokenizers.audio.codec import Codec

Samples = NDArray[np.float32]
MOST = 16  # frames of one answer that are decoded at once


@dataclass
class Speech:
    """The sound of one answer. Chunks have one length, whatever was decoded together."""

    decoder: Any  # a live decoder of the codec
    chunk: int  # samples
    rest: Samples = field(default_factory=lambda: np.zeros(0, np.float32))

    def decode(self, codes: list[NDArray[np.int64]], last: bool) -> list[Samples]:
        """The next frames, and the end if these are the last."""
        parts = [self.rest]
        with torch.inference_mode():
            if codes:
                parts.append(self.decoder.push(np.concatenate(codes)))
            if last:
                parts.append(self.decoder.finish())
        sound = np.concatenate(parts).astype(np.float32, copy=False)
        whole = len(sound) if last else len(sound) // self.chunk * self.chunk
        self.rest = sound[whole:].copy()
        return [sound[at : at + self.chunk] for at in range(0, whole, self.chunk)]


Then = Callable[[list[Samples] | Exception], None]


class Voice:
    """The thread, and what waits for it."""

    def __init__(self, codec: Codec) -> None:
        self.codec = codec
        self.chunk = round(codec.sample_rate / codec.frame_rate)
        self._thread: ThreadPoolExecutor | None = None

    def begin(self) -> Speech:
        """The sound of a new answer."""
        return Speech(self.codec.decoder(), self.chunk)

    def say(self, speech: Speech, codes: list[NDArray[np.int64]], last: bool, then: Then) -> None:
        """Decode in the thread; `then` is called in the loop with the chunks, or with what went wrong."""
        if self._thread is None:
            self._thread = ThreadPoolExecutor(1, thread_name_prefix="codec")
        future = asyncio.get_running_loop().run_in_executor(self._thread, speech.decode, codes, last)

        def back(done: "asyncio.Future[list[Samples]]") -> None:
            if not done.cancelled():
                error = done.exception()
                then(error if isinstance(error, Exception) else done.result())

        future.add_done_callback(back)

    def close(self) -> None:
        """Let the thread go."""
        if self._thread is not None:
            self._thread.shutdown(cancel_futures=True)
            self._thread = None
