"""nano, or any other bundle, as the three plug-ins of a pipeline: the same weights that answer natively.

--stt nano --llm nano --tts nano, or "nano:/models/mine" for a bundle in a folder
"""

import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing

import numpy as np

from omni.engine.pipeline.saying import Word, bundle_at, read_out, say
from omni.engine.pipeline.stages import Call, Message, Samples, Stopped
from omni.engine.pipeline.thread import ModelThread
from omni.engine.protocol import SAMPLE_RATE, Tool
from omni.sampling import Sampling
from omni.script import ANSWER, CALL, END, RESULT, USER, Calls, call_of, system
from omni_tokenizers.sequence import Audio, Ids, Image
from omni_tokenizers.sequence.parts import Part

SHORTEST = 0.1  # s; less is no word
IDS_A_SECOND = 25  # of a transcript at most, and
IDS_MORE = 16  # more


class NanoEars:
    """Speech to text: the turn is read when it is over, and written down."""

    def __init__(self, source: str = "") -> None:
        self.bundle = bundle_at(source)
        self._thread = ModelThread("nano-ears")

    def listen(self) -> "NanoHearing":
        """A new turn."""
        return NanoHearing(self)

    async def transcribe(self, samples: Samples) -> str:
        """What is said. A cancel stops the model at its next token."""
        return "".join([piece async for piece in self._thread.stream(lambda stop: self._write(samples, stop))]).strip()

    def _write(self, samples: Samples, stop: threading.Event) -> Iterator[str]:
        parts: list[Part] = [Ids((self.bundle.special[USER],)), Audio(samples, SAMPLE_RATE)]
        longest = round(len(samples) / SAMPLE_RATE * IDS_A_SECOND) + IDS_MORE
        room = self.bundle.model.spec.longest - self.bundle.tokens.count(parts) - 1  # of a long turn, less is left
        longest = max(1, min(longest, room))
        said = say(self.bundle, parts, "transcribe", longest=longest, stopped=stop.is_set)
        decoder = self.bundle.text.decoder()
        for word in said:
            if isinstance(word, Word):
                yield decoder.push(word.id)
        yield decoder.finish()

    async def close(self) -> None:
        """End the thread; the bundle stays for the others."""
        await self._thread.close()


class NanoHearing:
    """One turn."""

    def __init__(self, ears: NanoEars) -> None:
        self._ears = ears
        self._samples: list[Samples] = []

    async def push(self, samples: Samples) -> str | None:
        """Keep it: nothing is written before the turn is over."""
        self._samples.append(samples)
        return None

    async def finish(self) -> str:
        """Write down all of it."""
        samples = np.concatenate(self._samples) if self._samples else np.zeros(0, np.float32)
        return await self._ears.transcribe(samples) if len(samples) >= SHORTEST * SAMPLE_RATE else ""

    def drop(self) -> None:
        """Nothing runs before the end."""


class NanoWords:
    """A text model that reads the whole conversation, pictures and tools among it."""

    def __init__(self, source: str = "") -> None:
        self.bundle = bundle_at(source)
        self.sees = self.bundle.sees
        self._thread = ModelThread("nano-words")

    async def answer(
        self, messages: Sequence[Message], tools: Sequence[Tool], sampling: Sampling, longest: int, *, must_call: bool
    ) -> AsyncGenerator[str | Call | Stopped, None]:
        """Stream the answer; a cancel stops the model at its next token."""
        calls: Calls = "no" if not tools else "must" if must_call else "may"
        stream = self._thread.stream(lambda stop: self._say(messages, tools, sampling, longest, calls, stop))
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                yield piece

    def parts(self, messages: Sequence[Message], tools: Sequence[Tool]) -> list[Part]:
        """The conversation as the model was taught to read it."""
        special, encode = self.bundle.special, self.bundle.text.encode
        words = "\n".join(message.text for message in messages if message.role == "system")
        ids = [
            number
            for name, text in system(words, [(tool.name, tool.parameters) for tool in tools])
            for number in (special[name], *encode(text, special="text"))
        ]
        parts: list[Part] = [Ids(tuple(ids))] if ids else []
        for message in messages:
            told = tuple(encode(message.text, special="text"))
            if message.role == "user":
                parts += [Ids((special[USER],)), *(Image(pixels) for pixels in message.images), Ids(told)]
            elif message.role == "tool":
                parts.append(Ids((special[RESULT], *told)))
            elif message.role == "assistant":
                if told or not message.calls:
                    parts.append(Ids((special[ANSWER], *told, special[END])))
                for call in message.calls:
                    written = f'{{"name":"{call.name}","arguments":{call.arguments}}}'
                    parts.append(Ids((special[ANSWER], special[CALL], *encode(written, special="text"), special[END])))
        return parts

    def prompt(self, messages: Sequence[Message], tools: Sequence[Tool], longest: int) -> list[Part]:
        """The conversation, without its oldest turns where it is too long; the system's words always stay."""
        system = [message for message in messages if message.role == "system"]
        kept = [message for message in messages if message.role != "system"]
        while True:
            parts = self.parts([*system, *kept], tools)
            length = self.bundle.tokens.count(parts) + 1 + longest  # with the token that asks for an answer
            turns = [i for i in range(1, len(kept)) if kept[i].role == "user"]
            if length <= self.bundle.model.spec.longest or not turns:
                return parts
            del kept[: turns[0]]

    def _say(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        sampling: Sampling,
        longest: int,
        calls: Calls,
        stop: threading.Event,
    ) -> Iterator[str | Call | Stopped]:
        decoder, ids, calling = self.bundle.text.decoder(), 0, False
        written = ""
        # A server's limit is for any model, and may be more than all that this one reads.
        longest = min(longest, self.bundle.model.spec.longest // 2)
        said = say(
            self.bundle, self.prompt(messages, tools, longest + 1), "answer", longest=longest + 1, sampling=sampling,
            calls=calls, stopped=stop.is_set,
        )  # fmt: skip
        for word in said:
            assert isinstance(word, Word)
            if word.id == self.bundle.special[CALL]:
                calling = True
                continue
            ids += 1
            if ids > longest:
                yield Stopped()
                return
            piece = decoder.push(word.id)
            if calling:
                written += piece
            elif piece:
                yield piece
        rest = decoder.finish()
        if not calling:
            if rest:
                yield rest
            return
        call = call_of(written + rest)
        if call is None:
            raise ValueError(f"the model began to call a tool and wrote no call: {written[:200]!r}")
        yield Call(call[0], call[1], f"call_{len(messages)}")

    async def close(self) -> None:
        """End the thread; the bundle stays for the others."""
        await self._thread.close()


class NanoVoice:
    """Text to speech: a clause is read out, frame after frame."""

    def __init__(self, source: str = "") -> None:
        self.bundle = bundle_at(source)
        if not self.bundle.speaks or self.bundle.codec is None:
            raise ValueError(f"the bundle {source or 'nano'} has no voice: it has no codec or no head for codes")
        self.codec = self.bundle.codec
        self.rate = self.codec.sample_rate
        self._thread = ModelThread("nano-voice")

    async def speak(self, text: str) -> AsyncGenerator[Samples, None]:
        """The clause, in pieces as they come."""
        async with aclosing(self._thread.stream(lambda stop: self._read(text, stop))) as pieces:
            async for piece in pieces:
                yield piece

    def _read(self, text: str, stop: threading.Event) -> Iterator[Samples]:
        decoder = self.codec.decoder()
        for frame in read_out(self.bundle, text, stop.is_set):
            if len(samples := decoder.push(frame.codes)):
                yield samples
        if len(samples := decoder.finish()):
            yield samples

    async def close(self) -> None:
        """End the thread; the bundle stays for the others."""
        await self._thread.close()
