"""Stages that do what they are told to, with delays: the pipeline is tested with these, without any model."""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field

import numpy as np

from omni.engine.pipeline.stages import Call, Message, Samples, Stopped
from omni.engine.protocol import SAMPLE_RATE, Tool
from omni.sampling import Sampling

CHUNK = 640  # samples, 40 ms


@dataclass
class ScriptedEars:
    """Hears the same words in every turn that has sound in it; a word is there after each `pace` seconds of audio."""

    text: str = "hello"
    delay: float | str = 0.0  # s that `finish` takes
    pace: float | str = 0.1  # s of audio a word
    finished: int = field(default=0, init=False)

    def listen(self) -> "ScriptedHearing":
        """A new turn."""
        return ScriptedHearing(self)

    async def close(self) -> None:
        """Nothing to free."""


@dataclass
class ScriptedHearing:
    """One turn."""

    ears: ScriptedEars
    heard: float = 0.0  # s
    shown: str = ""

    async def push(self, samples: Samples) -> str | None:
        """The words that were said by now."""
        self.heard += len(samples) / SAMPLE_RATE
        text = " ".join(self.ears.text.split()[: int(self.heard / float(self.ears.pace))])
        if text == self.shown:
            return None
        self.shown = text
        return text

    async def finish(self) -> str:
        """All of it."""
        await asyncio.sleep(float(self.ears.delay))
        self.ears.finished += 1
        return self.ears.text if self.heard else ""

    def drop(self) -> None:
        """Nothing to stop."""


@dataclass
class ScriptedModel:
    """Answers word by word; keeps what it was asked. Several answers are given in turn, the last one for ever."""

    replies: str | Sequence[str | Sequence[str | Call | Stopped]] = "You said hello."
    delay: float | str = 0.0  # s before each piece
    sees: bool = True
    asked: list[tuple[Message, ...]] = field(default_factory=list, init=False)
    settings: list[tuple[tuple[Tool, ...], Sampling, bool]] = field(default_factory=list, init=False)
    stopped: int = field(default=0, init=False)  # answers that somebody did not want to the end

    async def answer(
        self, messages: Sequence[Message], tools: Sequence[Tool], sampling: Sampling, longest: int, *, must_call: bool
    ) -> AsyncGenerator[str | Call | Stopped, None]:
        """The next reply, at most `longest` pieces of it."""
        self.asked.append(tuple(messages))
        self.settings.append((tuple(tools), sampling, must_call))
        replies = [self.replies] if isinstance(self.replies, str) else self.replies
        reply = replies[min(len(self.asked), len(replies)) - 1]
        pieces = [f"{word} " for word in reply.split()] if isinstance(reply, str) else reply
        try:
            for piece in pieces[:longest]:
                await asyncio.sleep(float(self.delay))
                yield piece
        except (asyncio.CancelledError, GeneratorExit):
            self.stopped += 1
            raise
        if len(pieces) > longest:
            yield Stopped()

    async def close(self) -> None:
        """Nothing to free."""


@dataclass
class ScriptedVoice:
    """Speaks each character as so many seconds of a quiet tone; keeps what it spoke."""

    seconds: float | str = 0.05  # s a character
    delay: float | str = 0.0  # s before each chunk
    rate: int = field(default=SAMPLE_RATE, init=False)
    spoken: list[str] = field(default_factory=list, init=False)

    async def speak(self, text: str) -> AsyncGenerator[Samples, None]:
        """In chunks of 40 ms."""
        self.spoken.append(text)
        samples = np.full(round(len(text) * float(self.seconds or 0.05) * SAMPLE_RATE), 0.1, np.float32)
        for at in range(0, len(samples), CHUNK):
            await asyncio.sleep(float(self.delay))
            yield samples[at : at + CHUNK]

    async def close(self) -> None:
        """Nothing to free."""
