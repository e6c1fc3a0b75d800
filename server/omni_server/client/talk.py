"""A conversation: say, send, show; then read events, or wait for the answer.

One task reads, and gives every sample its moment at the ear; one sends the microphone in real time; events wait in a
bounded queue for whoever reads them. When nobody does, reading stops, and the server is told so by the network.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.engine.clock import Clock, LoopClock
from omni_server.client import asks, events
from omni_server.client.answer import Answer, Utterance
from omni_server.client.asks import Ask
from omni_server.client.calls import Calls
from omni_server.client.clock_offset import ClockOffset
from omni_server.client.ear import BUFFER, Ear, Playing
from omni_server.client.events import Event, Wave
from omni_server.client.link import Again, Link
from omni_server.client.mouth import Mouth
from omni_server.client.picture import data_url
from omni_server.client.recording import Recording
from omni_server.client.refusals import Lost, NoAnswer, NoServer, NotTaken, Refusal
from omni_server.client.wire import BadMessage, Wire
from omni_server.client.wishes import Wishes
from omni_server.session.low_latency import LowLatency
from omni_tokenizers.audio.waveform import Channels

MOST_WAITING = 4096  # events that nobody has read yet
MOST_ANSWERS = 16  # that are kept for `answer`
FIRST_PATIENCE = 15.0  # s for the handshake, and for the session to open
PATIENCE = 60.0  # s without any event while an answer is awaited
REPORT_EVERY = 0.25  # s between reports of play-out
PING_EVERY = 5.0  # s
FIRST_PINGS = 3
TOLD = 6  # events that are named where no answer came
HARMLESS = (
    "response_cancel_not_active",
    "input_audio_buffer_commit_empty",
    "item_truncate_invalid_item_id",
    "bad_message",
)
Source = str | Path | bytes | Wave | Recording
Picture = str | Path | bytes | NDArray[np.uint8]


class Talk:
    """One conversation. `connect` makes one; `async for event in talk` reads it."""

    def __init__(
        self, link: Link, wire: Wire, wishes: Wishes, *, clock: Clock | None = None, buffer: float = BUFFER
    ) -> None:
        self.wire = wire
        self.wishes = wishes
        self.clock = clock or LoopClock()
        self.ear = Ear(buffer)
        self.mouth = Mouth(wire.rate, self.clock, self._send_sound, keeps_open=wishes.turns != "client")
        self.offset: ClockOffset | None = None
        self.session = ""
        self.model = ""
        self.resumed = 0  # times that the connection was lost and came back
        self.ducked = False  # the answer should be played quietly now
        self._link = link
        self._queue: asyncio.Queue[Event | None] = asyncio.Queue(MOST_WAITING)
        self._end: Refusal | None = None
        self._ended = False
        self._said: Utterance | None = None  # the newest
        self._answers: dict[str, Answer] = {}
        self._calls = Calls()
        self._reopened = False
        self._lately: deque[str] = deque(maxlen=TOLD)  # what was read last, for people
        self._reading: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Wait for the session and tell it how to be; raises `Refusal`."""
        self._reading = self._spawn(self._read())
        try:
            async with asyncio.timeout(FIRST_PATIENCE):
                await self._until(events.Opened)
                await self._ask(asks.Configure(self.wishes))
                await self._until(events.Configured)
        except TimeoutError:
            raise NoServer(
                f"the server took the connection and then did not open a session within {FIRST_PATIENCE:g} s: "
                "is it overloaded, or another kind of server?"
            ) from None
        self._spawn(self.mouth.run())
        if self.wire.stamps:
            self._spawn(self._ping())

    # What the user does

    async def say(self, text: str, *, images: tuple[Picture, ...] = ()) -> None:
        """Type something, and ask for an answer."""
        if not text.strip():
            raise ValueError("there is nothing to say: the text is empty")
        await self._ask(asks.Message(text, tuple(data_url(image) for image in images)))
        self._said = Utterance(typed=True, speech_ends=self.clock.now())
        await self._ask(asks.Respond())

    async def show(self, image: Picture) -> None:
        """Show a picture: it belongs to what is said or typed next."""
        await self._ask(asks.Message(images=(data_url(image),)))

    async def send_audio(
        self,
        source: Source | AsyncIterator[Wave],
        rate: int | None = None,
        *,
        speech: tuple[float, float] | None = None,
    ) -> Utterance:
        """Speak, in real time: a file, samples, or a live source of samples at `rate`; back when the last one has left.

        `speech` says where speech begins and ends in it, in seconds; else its energy tells.
        """
        if isinstance(source, AsyncIterator):
            return await self._live(source, rate)
        recording = Recording.of(source, rate, speech=speech)
        samples = recording.at(self.wire.rate)
        first = self.mouth.put(samples)
        said = self._said = Utterance(typed=False)
        if recording.speech is not None:
            begin, end = recording.speech
            said.speech_starts = self.mouth.moment(first) + begin
            said.speech_ends = self.mouth.moment(first) + end
        await self._leave(first + len(samples))
        return said

    async def tool_result(self, call: str, output: str) -> None:
        """What a function gave; the answer goes on once every call of it has its result."""
        await self._ask(asks.ToolResult(call, output))
        if self._calls.brought(call):
            await self._ask(asks.Respond())

    async def interrupt(self) -> None:
        """Stop the answer: it falls silent here at once."""
        await self._ask(asks.Cancel())
        await self._silence(None)

    async def configure(self, wishes: Wishes) -> None:
        """From now on be like this."""
        await self._ask(asks.Configure(wishes))
        self.wishes = wishes
        self.mouth.keeps_open = wishes.turns != "client"

    async def answer(
        self, *, seen: Callable[[Event], None] | None = None, patience: float = PATIENCE, listen: bool = True
    ) -> Answer:
        """The next answer, whole, after it was heard out (`listen=False`: when it is complete); `seen` gets each event.

        An answer that the server takes back because the same utterance went on is not it.
        """
        troubles: list[events.Trouble] = []
        current: Answer | None = None
        while True:
            event = await self._next(patience, troubles)
            if seen is not None:
                seen(event)
            if isinstance(event, events.Trouble):
                troubles.append(event)
                if current is None and event.code not in HARMLESS:
                    raise NotTaken(f"the server says: {event.message}")
            elif isinstance(event, events.AnswerStarted):
                current = self._answers.get(event.answer)
            elif isinstance(event, events.AnswerDone):
                answer = self._answers.get(event.answer)
                if answer is None:
                    continue
                current = None
                if answer.status == "cancelled" and answer.reason == "turn_detected" and answer.asked is self._said:
                    self._reopened = True
                    self._forget(answer.id)
                    continue
                answer.troubles = troubles
                answer.reopened, self._reopened = self._reopened, False
                if listen:
                    await self.heard_out(answer)
                self._forget(answer.id)
                return answer

    async def heard_out(self, answer: Answer) -> None:
        """Wait until its last sample has come out of the loudspeaker, or it was cut."""
        while True:
            playing = [one for one in answer.spoken if one.stopped_at is None]
            wait = max((one.ends for one in playing), default=0.0) - self.clock.now()
            if wait <= 0:
                return
            await self.clock.sleep(min(wait, REPORT_EVERY))  # it may be cut meanwhile

    def __aiter__(self) -> AsyncIterator[Event]:
        return self

    async def __anext__(self) -> Event:
        event = await self._queue.get()
        if event is None:
            self._queue.put_nowait(None)
            if self._end is not None:
                raise self._end
            raise StopAsyncIteration
        name = type(event).__name__
        if not self._lately or self._lately[-1] != name:
            self._lately.append(name)
        return event

    async def close(self) -> None:
        """Hang up."""
        await self._link.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # Out

    async def _ask(self, ask: Ask) -> None:
        if self._ended:
            raise self._end or Lost("the server ended the conversation: connect again")
        for message in self.wire.write(ask):
            await self._link.send(message)

    async def _send_sound(self, samples: Wave, left_at: float) -> None:
        await self._ask(asks.Append(samples, left_at))

    async def _leave(self, sample: int) -> None:
        """Wait until so much has left; a turn that the client ends is then over."""
        await self._unless_it_ends(self.mouth.said(sample))
        if self.wishes.turns == "client":
            await self._ask(asks.Commit())
            await self._ask(asks.Respond())

    async def _unless_it_ends(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Wait for the mouth, which says nothing more once the conversation is over."""
        speaking = asyncio.ensure_future(waiting)
        assert self._reading is not None
        try:
            await asyncio.wait({speaking, self._reading}, return_when=asyncio.FIRST_COMPLETED)
            if not speaking.done():
                raise self._end or Lost("the server ended the conversation while you spoke: connect again")
        finally:
            speaking.cancel()

    async def _live(self, source: AsyncIterator[Wave], rate: int | None) -> Utterance:
        if rate is None:
            raise ValueError("a live source needs its rate: pass rate=48_000, or whatever it is")
        resampler, channels = LowLatency(rate, self.wire.rate), Channels()
        said = self._said = Utterance(typed=False)
        last = 0
        async for piece in source:
            await self._unless_it_ends(self.mouth.room())
            samples = resampler.push(channels.waveform(piece))
            last = self.mouth.put(samples) + len(samples)
        rest = resampler.finish()
        await self._leave(self.mouth.put(rest) + len(rest) if len(rest) else last)
        return said

    async def _ping(self) -> None:
        number = 0
        while True:
            trip = None if self.offset is None else self.offset.error * 2000
            await self._ask(asks.Ping(self.clock.now(), trip))
            number += 1
            await self.clock.sleep(PING_EVERY if number >= FIRST_PINGS else 0.1)

    async def _report(self, playing: Playing) -> None:
        """Tell the server what was heard of an item, from its first sample to its last."""
        await self.clock.sleep(max(0.0, playing.first_at - self.clock.now()))
        if playing.stopped_at is not None:
            return
        await self._ask(asks.Played(playing.item, 0.0, playing.received_at, playing.first_at))
        while playing.stopped_at is None:
            now = self.clock.now()
            if playing.complete and now >= playing.ends:
                await self._ask(asks.Played(playing.item, playing.heard(now) * 1000))
                return
            await self.clock.sleep(REPORT_EVERY)
            if playing.stopped_at is None:
                await self._ask(asks.Played(playing.item, playing.heard(self.clock.now()) * 1000))

    # In

    async def _read(self) -> None:
        try:
            while (message := await self._link.receive()) is not None:
                now = self.clock.now()
                if isinstance(message, Again):
                    self.resumed += 1
                    await self._queue.put(events.Resumed(message.lost_s))
                    continue
                try:
                    found = self.wire.read(message)
                except BadMessage as bad:
                    found = [events.Trouble("bad_message", str(bad))]
                for event in found:
                    await self._take(event, now)
                    if not isinstance(event, events.Pong):
                        await self._queue.put(event)
                    if isinstance(event, events.Ended):
                        self._end = Lost(f"the server ended the session: {event.message}")
        except Refusal as refused:
            self._end = refused
        finally:
            self._ended = True
            if self._queue.full():
                self._queue.get_nowait()
            self._queue.put_nowait(None)

    async def _take(self, event: Event, now: float) -> None:
        match event:
            case events.Sound():
                self._hear(event, now)
            case events.SoundEnded(item=item):
                self.ear.complete(item)
            case events.AnswerStarted(answer=name):
                self._answers[name] = Answer(name, self._said)
                if len(self._answers) > MOST_ANSWERS:  # whoever reads events alone never asks for them
                    self._forget(next(iter(self._answers)))
            case events.Words(answer=name, text=text) if name in self._answers:
                answer = self._answers[name]
                answer.text += text
                answer.first_text_at = answer.first_text_at or now
            case events.Called(answer=name) if name in self._answers:
                self._answers[name].calls.append(event)
                self._calls.made(name, event.call)
            case events.AnswerDone(answer=name) if name in self._answers:
                answer = self._answers[name]
                answer.status, answer.reason, answer.error = event.status, event.reason, event.error
                answer.latency = event.latency or answer.latency
                for playing in self.ear.of(name):
                    playing.complete = True
                if answer.status in ("cancelled", "failed"):
                    self._calls.forget(name)
                elif self._calls.over(name):
                    await self._ask(asks.Respond())
            case events.Measured(answer=name, latency=latency) if name in self._answers:
                self._answers[name].latency = latency
            case events.SpeechStarted() if self.wishes.interrupts:
                await self._silence(self._said)
            case events.Heard(text=text, final=True):
                if self._said is not None and not self._said.typed:
                    self._said.transcript = text
            case events.Ducked(on=on):
                self.ducked = on
            case events.Opened(session=session, model=model):
                self.session, self.model = session, model
            case events.Pong(sent=sent, server=server):
                found = ClockOffset.of(sent, server, now)
                if self.offset is None or found.error < self.offset.error:
                    self.offset = found
            case _:
                pass

    def _hear(self, sound: events.Sound, now: float) -> None:
        new = sound.item not in self.ear.items
        answer = self._answers.get(sound.answer)
        if answer is None:  # it was returned already, or never announced
            return
        self.ear.arrive(sound.answer, sound.item, len(sound.samples) / sound.rate, now)
        answer.pieces.append(sound.samples)
        answer.rate = sound.rate
        if new:
            playing = self.ear.items[sound.item]
            answer.spoken.append(playing)
            if self.wire.stamps:
                self._spawn(self._report(playing))

    async def _silence(self, by: Utterance | None) -> None:
        now = self.clock.now()
        for playing in self.ear.stop(now):
            answer = self._answers.get(playing.answer)
            if answer is not None and (by is None or by is not answer.asked):
                answer.interrupted_by = by
            await self._ask(asks.Truncate(playing.item, playing.heard(now) * 1000))

    def _forget(self, answer: str) -> None:
        self._answers.pop(answer, None)
        self.ear.forget(answer)

    # Inside

    async def _until(self, kind: type[Event]) -> None:
        async for event in self:
            if isinstance(event, kind):
                return
            if isinstance(event, events.Trouble):
                raise NotTaken(f"the server says: {event.message}")
        raise self._end or Lost("the server closed the connection before it opened a session: ask who runs it")

    async def _next(self, patience: float, troubles: list[events.Trouble]) -> Event:
        try:
            async with asyncio.timeout(patience):
                return await anext(self)
        except TimeoutError:
            why = f"; the last trouble was: {troubles[-1].message}" if troubles else ""
            lately = f"the last that came was {', '.join(self._lately)}" if self._lately else "nothing came at all"
            raise NoAnswer(
                f"no answer came within {patience:g} s: did it hear speech, and is it overloaded? {lately}{why}"
            ) from None
        except StopAsyncIteration:
            raise Lost("the server ended the conversation before it answered: connect again") from None

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        with suppress(Refusal):  # the reader says why, to everybody who waits
            await work
