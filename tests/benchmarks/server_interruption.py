"""How fast an answer is silent when the user speaks into it: from the first sample of the speech to the last one sent.

A real voice (demos/recordings) against the real voice detector; the answer is sent as fast as it is heard, so that
its end was not sent long before. The clock starts when the first loud sample would leave the microphone.
"""

import asyncio
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import numpy as np
import soundfile
import uvloop
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect

from omni.engine.scripted import ScriptedEngine, Speak
from omni_server.dialects.omni_v1.frame import PCM16, Frame
from omni_server.dialects.wires import wires
from omni_server.server import Server
from omni_server.settings import Settings
from omni_server.turns.silero import Silero
from omni_tokenizers.audio import resample
from tests.benchmarks.harness import Row
from tests.benchmarks.server_load import Serving

RECORDING = Path(__file__).parents[2] / "demos" / "recordings" / "question.wav"
RATE = 16_000  # Hz
FRAME = 320  # samples, 20 ms
QUIET_DB = -30.0  # below the loudest 10 ms of the recording; speech begins where it is first louder
MOST_MS = 150.0


async def serve(port: int) -> None:
    """The server under test: it answers with ten minutes of a tone, in real time."""
    engine = ScriptedEngine([Speak(600.0, pace=1.0)])
    server = Server(Settings(port=port), engine, wires(3600), Silero())
    await server.start()
    await asyncio.Event().wait()


def speech() -> NDArray[np.int16]:
    """The recording from its first loud sample on, 0.8 s of it."""
    sound, rate = soundfile.read(RECORDING, dtype="float32")
    sound = resample(sound, rate, RATE)
    level = np.sqrt(np.add.reduceat(sound**2, np.arange(0, len(sound) - 160, 160)) / 160)
    onset = int(np.argmax(level > level.max() * 10 ** (QUIET_DB / 20))) * 160
    return np.asarray(sound[onset : onset + RATE * 4 // 5] * 32767, np.int16)


async def microphone(socket: ClientConnection, queue: "asyncio.Queue[NDArray[np.int16]]", began: list[float]) -> None:
    """20 ms every 20 ms, silence unless there is something to say; `began` gets the moment of its first sample."""
    at, sequence, begin = 0, 0, time.perf_counter()
    saying = np.zeros(0, np.int16)
    while True:
        if not len(saying) and not queue.empty():
            saying = queue.get_nowait()
            began.append(begin + at / RATE)
        piece, saying = saying[:FRAME], saying[FRAME:]
        piece = np.pad(piece, (0, FRAME - len(piece)))
        due = begin + (at + FRAME) / RATE  # a frame leaves when its last sample was taken
        await asyncio.sleep(max(0.0, due - time.perf_counter()))
        await socket.send(Frame(PCM16, piece.tobytes(), sequence=sequence, sample=at).pack())
        at += FRAME
        sequence += 1


async def interruptions(port: int, count: int) -> AsyncIterator[float]:
    """Seconds from the onset of the speech to the last sound of the answer, at the client."""
    chance, voice = random.Random(0), speech()
    async with connect(f"ws://127.0.0.1:{port}/v1/omni", compression=None) as socket:
        turns = {"by": "silence", "create_response": False, "silence_duration_ms": 200}
        await socket.send(json.dumps({"type": "configure", "turns": turns}))
        queue: asyncio.Queue[NDArray[np.int16]] = asyncio.Queue(1)
        began: list[float] = []
        speaking = asyncio.create_task(microphone(socket, queue, began))
        for _ in range(count):
            await socket.send('{"type": "respond"}')
            last, spoken = 0.0, False
            first: float | None = None
            wait = chance.uniform(0.6, 1.2)
            while True:
                message = await asyncio.wait_for(socket.recv(), 10)
                if isinstance(message, bytes):
                    if len(message) > 16:
                        last = time.perf_counter()
                        first = first or last
                elif json.loads(message)["type"] == "answer_done":
                    break
                if first is not None and not spoken and time.perf_counter() - first > wait:
                    spoken = True
                    queue.put_nowait(voice)
            yield last - began[-1]
            while json.loads(await asyncio.wait_for(socket.recv(), 10))["type"] != "item_done":  # the turn is over
                pass
        speaking.cancel()


def rows(quick: bool) -> Iterable[Row]:
    """The time that 95 of 100 interruptions stay below; a ratio above 1 is below the limit."""
    count = 8 if quick else 100

    async def all_of_them(port: int) -> list[float]:
        return [seconds async for seconds in interruptions(port, count)]

    with Serving("-m", "tests.benchmarks.server_interruption", "PORT") as server:
        took = uvloop.run(all_of_them(server.port))
    p95 = float(np.quantile(took, 0.95)) * 1e3
    yield Row(
        f"{count} interruptions, speech onset to last sample of the answer, p95", p95, MOST_MS, "the limit", "ms",
        MOST_MS / p95, 1.0, p95 <= MOST_MS, 1,
    )  # fmt: skip


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
