"""The three plug-ins of a pipeline, and what goes from one to the next. Write one of these, and `register` it.

Each is asked on the event loop and must not block it: work that takes long goes to a thread, as in thread.py, or over
a connection. Each may be cancelled at any await; its generators are closed then, and it stops working soon.
"""

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from omni.engine.protocol import Tool
from omni.sampling import Sampling

Samples = NDArray[np.float32]


class Hearing(Protocol):
    """Speech to text, for one turn of one session."""

    async def push(self, samples: Samples) -> str | None:
        """The next samples, at SAMPLE_RATE; the transcript so far, where it changed. Must not wait for a model."""
        ...

    async def finish(self) -> str:
        """The whole transcript. More may be pushed afterwards: the turn went on after all, and is finished again."""
        ...

    def drop(self) -> None:
        """Nobody wants it any more."""
        ...


class SpeechToText(Protocol):
    """Something that writes down what is said."""

    def listen(self) -> Hearing:
        """A new turn."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...


@dataclass(frozen=True)
class Call:
    """A tool is called."""

    name: str
    arguments: str  # JSON
    call: str  # its id


@dataclass(frozen=True)
class Message:
    """One item of the conversation, as text models know it."""

    role: Literal["system", "user", "assistant", "tool"]
    text: str
    calls: tuple[Call, ...] = ()  # of an assistant
    call: str = ""  # of a tool: the id of what is answered
    images: tuple[NDArray[np.uint8], ...] = ()  # of a user: [height, width, 3]


@dataclass(frozen=True)
class Stopped:
    """The model stopped because it reached the longest answer."""


class TextModel(Protocol):
    """Something that answers text."""

    sees: bool

    def answer(
        self, messages: Sequence[Message], tools: Sequence[Tool], sampling: Sampling, longest: int, *, must_call: bool
    ) -> AsyncGenerator[str | Call | Stopped, None]:
        """The answer, piece by piece; calls of tools among it, and nothing else where it must and can be made to."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...


class TextToSpeech(Protocol):
    """Something that speaks."""

    rate: int  # Hz

    def speak(self, text: str) -> AsyncGenerator[Samples, None]:
        """The clause, spoken, in pieces as they come."""
        ...

    async def close(self) -> None:
        """Free what it holds."""
        ...
