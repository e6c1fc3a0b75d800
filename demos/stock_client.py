"""An unmodified OpenAI client talks to this server: the published package `openai` connects, sends a recorded question
in real time, and gets events and sound back, without a line that knows about this project but the address.

The picture has the question above, the answer below, and between them what the server said and when. The demo starts
the server, with the model nano where its weights are there, and else with the engine that says back what it hears.
"""

import asyncio
import base64
import time
from dataclasses import dataclass, field
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from openai import AsyncOpenAI
from stage import Stage, open_stage

import omni.nano
from omni_server.client.own_server import flags_of, own_server
from omni_server.client.recording import Recording
from omni_server.compare.questions import BUNDLED

RATE = 24_000  # Hz, what OpenAI's clients send and get
CHUNK = 480  # samples in one event, 20 ms
QUIET = 0.8  # s of silence behind the question: the server takes the turn for over after half a second of it
SHOWN = {
    "input_audio_buffer.speech_started": "speech heard",
    "input_audio_buffer.speech_stopped": "speech over",
    "response.created": "answer begins",
    "response.output_audio.delta": "sound",
    "response.done": "done",
}


@dataclass
class Heard:
    events: list[tuple[float, str]] = field(default_factory=list)  # second since the question began, type
    sound: list[np.ndarray] = field(default_factory=list)
    text: str = ""


async def ask(url: str, question: np.ndarray) -> Heard:
    heard = Heard()
    client = AsyncOpenAI(base_url=f"{url}v1", api_key="any", websocket_base_url=f"{url.replace('http', 'ws')}v1")
    async with client.realtime.connect(model="nano") as connection:
        begin = time.perf_counter()

        async def speak() -> None:
            for number, at in enumerate(range(0, len(question), CHUNK), 1):
                await asyncio.sleep(max(0.0, begin + number * CHUNK / RATE - time.perf_counter()))
                piece = (question[at : at + CHUNK] * 32_767).astype("<i2").tobytes()
                await connection.input_audio_buffer.append(audio=base64.b64encode(piece).decode())

        speaking = asyncio.create_task(speak())
        async for event in connection:
            if event.type in SHOWN:
                heard.events.append((time.perf_counter() - begin, event.type))
            if event.type == "response.output_audio.delta":
                heard.sound.append(np.frombuffer(base64.b64decode(event.delta), "<i2") / 32_768)
            elif event.type == "response.output_audio_transcript.delta":
                heard.text += event.delta
            elif event.type == "response.done":
                break
        await speaking
    return heard


def draw(stage: Stage, question: np.ndarray, heard: Heard, name: str) -> None:
    figure, axes = plt.subplots(3, 1, figsize=(8, 4.6), sharex=True, height_ratios=(2, 1.5, 2), layout="constrained")
    first = next(second for second, kind in heard.events if kind.endswith("audio.delta"))
    answer = np.concatenate(heard.sound)
    for axis, wave, start, title in ((axes[0], question, 0.0, "the question"), (axes[2], answer, first, "the answer")):
        axis.plot(start + np.arange(len(wave)) / RATE, wave, linewidth=0.4)
        axis.set(title=title, yticks=[])
        axis.spines["left"].set_visible(False)
    rows = list(SHOWN.values())
    for second, kind in heard.events:
        axes[1].plot(second, -rows.index(SHOWN[kind]), "|", markersize=9, color="C1")
    axes[1].set(title="what the server said", yticks=[-at for at in range(len(rows))], yticklabels=rows)
    axes[2].set_xlabel("seconds since the question began")
    figure.suptitle(f"The published OpenAI client and this server ({name})")
    late = 1000 * (first - Recording.of(question, RATE).speech[1])
    stage.close(figure, f"answer {heard.text!r}, its first sound {late:.0f} ms after the last sample of speech, {name}")


async def main() -> None:
    stage = open_stage(__doc__, Path(__file__).stem)
    mode = "native" if (omni.nano.WEIGHTS / "config.json").is_file() else "echo"
    recording = Recording.of(BUNDLED / ("calendar-2.flac" if stage.quick else "capital-2.flac"))
    question = np.concatenate((recording.at(RATE), np.zeros(round(QUIET * RATE), np.float32)))
    async with own_server(flags_of(mode, sessions=2)) as url:
        heard = await ask(url, question)
    draw(stage, question, heard, f"engine {mode}")


if __name__ == "__main__":
    asyncio.run(main())
