"""The microphone and the loudspeaker of this machine, through PortAudio (package sounddevice)."""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni_server.client import events
from omni_server.client.talk import Talk
from omni_tokenizers.optional import MissingPackage, need

Wave = NDArray[np.float32]
RATE = 48_000  # Hz, what every device has
BLOCK = 960  # samples, 20 ms
MOST_WAITING = 250  # blocks, 5 s, that wait while the network is away; older ones are lost, as what nobody could hear
LONGEST_ANSWER = 600.0  # s of sound that may wait for the loudspeaker
PORTAUDIO = "apt install libportaudio2, or brew install portaudio"
HINT = "plug one in, allow this program to use it, or ask with a recording instead: omni talk question.wav"


class NoDevice(OSError):
    """The machine has no microphone or loudspeaker that may be used."""


def devices() -> Any:
    """The package; raises where it is missing, or where there is no microphone."""
    try:
        sounddevice = need("sounddevice", extra="demos", use="the microphone")
    except MissingPackage as missing:
        if isinstance(missing.__cause__, OSError):  # the package is there, and the library below it is not
            raise NoDevice(f"the microphone cannot be used ({missing.__cause__}): {PORTAUDIO}") from None
        raise
    try:
        sounddevice.check_input_settings(samplerate=RATE, channels=1)
    except (sounddevice.PortAudioError, ValueError) as wrong:
        raise NoDevice(f"the microphone cannot be used ({wrong}): {HINT}") from None
    return sounddevice


def microphone() -> tuple[AsyncIterator[Wave], int]:
    """What the microphone hears from now on, and its rate."""
    return _hear(devices(), asyncio.get_running_loop()), RATE


async def _hear(sounddevice: Any, loop: asyncio.AbstractEventLoop) -> AsyncIterator[Wave]:
    blocks: asyncio.Queue[Wave] = asyncio.Queue(MOST_WAITING)

    def put(block: Wave) -> None:
        if blocks.full():
            blocks.get_nowait()
        blocks.put_nowait(block)

    def heard(data: Any, _frames: int, _time: Any, _status: Any) -> None:
        loop.call_soon_threadsafe(put, np.array(data[:, 0], np.float32))

    try:
        stream = sounddevice.InputStream(RATE, BLOCK, channels=1, dtype="float32", callback=heard)
        stream.start()
    except sounddevice.PortAudioError as wrong:
        raise NoDevice(f"the microphone was refused ({wrong}): {HINT}") from None
    try:
        while True:
            yield await blocks.get()
    finally:
        stream.stop()
        stream.close()


class Loudspeaker:
    """Plays answers as they come; falls silent when the user speaks."""

    def __init__(self) -> None:
        self._sounddevice = devices()
        self._lock = threading.Lock()
        self._pieces: deque[Wave] = deque()
        self._rate = 0
        self._stream: Any = None

    def __enter__(self) -> "Loudspeaker":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def follow(self, talk: Talk) -> Callable[[object], None]:
        """A function that takes every event of a conversation, and plays what is to be heard."""

        def took(event: object) -> None:
            if isinstance(event, events.Sound):
                self.play(event.samples, event.rate)
            elif isinstance(event, events.SpeechStarted) and talk.wishes.interrupts:
                self.silence()

        return took

    def play(self, samples: Wave, rate: int) -> None:
        """Behind what is played already."""
        if self._stream is None or rate != self._rate:
            self._close()
            self._rate = rate
            try:
                self._stream = self._sounddevice.OutputStream(
                    rate, rate // 50, channels=1, dtype="float32", callback=self._fill
                )
                self._stream.start()
            except self._sounddevice.PortAudioError as wrong:
                raise NoDevice(f"the loudspeaker was refused ({wrong}): {HINT}") from None
        with self._lock:
            if sum(map(len, self._pieces)) > LONGEST_ANSWER * rate:
                raise OSError(f"more than {LONGEST_ANSWER:g} s of sound wait for the loudspeaker: is it blocked?")
            self._pieces.append(samples)

    def silence(self) -> None:
        """Nothing more of it."""
        with self._lock:
            self._pieces.clear()

    def _fill(self, out: Any, frames: int, _time: Any, _status: Any) -> None:
        out[:] = 0
        at = 0
        with self._lock:
            while at < frames and self._pieces:
                piece = self._pieces.popleft()
                count = min(len(piece), frames - at)
                out[at : at + count, 0] = piece[:count]
                if count < len(piece):
                    self._pieces.appendleft(piece[count:])
                at += count

    def _close(self) -> None:
        if self._stream is not None:
            self._stream.stop()
            self._stream.close()
            self._stream = None
