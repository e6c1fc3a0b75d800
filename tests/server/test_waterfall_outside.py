"""The stages against a stopwatch at the client, which knows where the speech ends because it made the recording.

The client here is a plain websocket: it shares no code with the server.
"""

import asyncio
import base64
import json
import time
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from websockets.asyncio.client import ClientConnection, connect

from omni.engine.pipeline.pipeline import PipelineEngine
from omni.engine.pipeline.scripted import ScriptedEars, ScriptedModel, ScriptedVoice
from omni_server.dialects.wires import wires
from omni_server.server import Server
from omni_server.settings import Settings
from omni_server.turns.silero import Silero

RATE = 24_000  # Hz
PIECE = 480  # samples, 20 ms
RECORDING = Path(__file__).parents[2] / "demos" / "recordings" / "question.wav"
TURNS = 3
TOLERANCE = 10.0  # ms


def question() -> tuple[NDArray[np.int16], float]:
    """The recording at 24 kHz, cut in the middle of its last vowel; and the second at which its speech ends."""
    samples, rate = soundfile.read(RECORDING, dtype="float32")
    times = 0.9 + np.arange(RATE) / RATE
    wave = np.interp(times, np.arange(len(samples)) / rate, samples)
    return (wave * 32767).astype(np.int16), len(wave) / RATE


async def one_turn(
    socket: ClientConnection, wave: NDArray[np.int16], speech_end: float, *, push: bool
) -> tuple[float, Any]:
    """Speak in real time; the milliseconds until the first sound of the answer, and what the server says of it."""
    first: asyncio.Future[float] = asyncio.get_running_loop().create_future()
    done: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    async def listen() -> None:
        async for message in socket:
            now = time.monotonic()
            event = json.loads(message)
            if event["type"] == "response.output_audio.delta" and not first.done():
                first.set_result(now)
            elif event["type"] == "response.done":
                done.set_result(event)
                return

    async def speak() -> float:
        start, left = time.monotonic(), 0.0
        tail = int((0.1 if push else 1.5) * RATE)
        sound = np.concatenate((wave, np.zeros(tail, np.int16)))
        for at in range(0, len(sound), PIECE):
            end = (at + PIECE) / RATE  # a piece can leave when its last sample was spoken
            await asyncio.sleep(max(0.0, start + end - time.monotonic()))
            if done.done():
                break
            audio = base64.b64encode(sound[at : at + PIECE].tobytes()).decode()
            await socket.send(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
            if end >= speech_end and not left:
                left = time.monotonic()
        if push:
            await socket.send('{"type":"input_audio_buffer.commit"}')
            await socket.send('{"type":"response.create"}')
        return left

    listening = asyncio.create_task(listen())
    left = await speak()
    event = await asyncio.wait_for(done, 20)
    await listening
    return (first.result() - left) * 1000, event


@pytest.mark.parametrize("push", [False, True], ids=["by silence", "push to talk"])
async def test_the_stages_sum_to_what_a_stopwatch_at_the_client_measures(push: bool) -> None:
    engine = PipelineEngine(ScriptedEars(delay=0.15), ScriptedModel("Yes.", delay=0.08), ScriptedVoice(delay=0.05))
    detector = Silero()
    await detector.load()
    server = Server(Settings(host="127.0.0.1", port=0), engine, wires(3600), detector)
    await server.start()
    wave, speech_end = question()
    measured: list[float] = []
    summed: list[float] = []
    try:
        async with connect(f"ws://127.0.0.1:{server.port}/v1/realtime?model=omni") as socket:
            detection = None if push else {"type": "server_vad", "silence_duration_ms": 400}
            session = {"type": "realtime", "audio": {"input": {"turn_detection": detection}}}
            await socket.send(json.dumps({"type": "session.update", "session": session}))
            for _ in range(TURNS):
                stopwatch, event = await one_turn(socket, wave, speech_end, push=push)
                fall = event["waterfall"]
                measured.append(stopwatch)
                summed.append(sum(stage["ms"] for stage in fall["stages"]))
                assert [stage["name"] for stage in fall["stages"]] == [
                    "endpoint",
                    "stt",
                    "llm",
                    "clause",
                    "tts",
                    "send",
                ]
                assert fall["origin"] == "speech_end"
                assert abs(sum(stage["ms"] for stage in fall["stages"]) + fall["residual_ms"] - fall["total_ms"]) < 0.1
                assert json.loads(event["response"]["metadata"]["waterfall"]) == fall
                await asyncio.sleep(0.5)
    finally:
        await server.close()
        await engine.close()
        detector.close()
    apart = median(abs(ours - theirs) for ours, theirs in zip(summed, measured, strict=True))
    assert apart <= TOLERANCE, f"the client measured {measured} ms, the server's stages sum to {summed} ms"
    assert min(measured) > 80  # there was something to measure
