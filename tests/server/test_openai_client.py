"""The published openai package, unmodified, against the real server on a real socket."""

import asyncio
import base64
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from openai import AsyncOpenAI
from openai.resources.realtime.realtime import AsyncRealtimeConnection
from PIL import Image

from omni.engine.clock import SystemClock
from omni.engine.pipeline.pipeline import PipelineEngine
from omni.engine.pipeline.scripted import ScriptedEars, ScriptedModel, ScriptedVoice
from omni.engine.protocol import Engine
from omni.engine.scripted import Call, Hang, Say, ScriptedEngine, Speak, Step
from omni_server.dialects.wires import wires
from omni_server.server import Server
from omni_server.settings import Settings
from tests.server.loud_is_speech import LoudIsSpeech
from tests.server.realtime_talk import RATE, pcm, silence, tone

PATIENCE = 20.0  # s
ANSWER: list[Step] = [Say("It is four."), Speak(0.4)]


@asynccontextmanager
async def serving(engine: Engine) -> AsyncIterator[int]:
    server = Server(Settings(host="127.0.0.1", port=0), engine, wires(3600), LoudIsSpeech())
    await server.start()
    try:
        yield server.port
    finally:
        await server.close()
        await engine.close()


class Client:
    """A connection of the package, and everything that came over it."""

    def __init__(self, connection: AsyncRealtimeConnection) -> None:
        self.connection = connection
        self.events: list[Any] = []

    async def until(self, kind: str) -> Any:
        """Read until an event of this type."""
        async with asyncio.timeout(PATIENCE):
            while True:
                event = await self.connection.recv()
                self.events.append(event)
                if event.type == kind:
                    return event

    async def update(self, **session: Any) -> None:
        await self.connection.session.update(session={"type": "realtime", **session})  # type: ignore[typeddict-item]
        await self.until("session.updated")

    async def say(self, *waves: np.ndarray) -> None:
        sound = np.concatenate(waves)
        for at in range(0, len(sound), RATE // 10):
            await self.connection.input_audio_buffer.append(audio=pcm(sound[at : at + RATE // 10]))

    def of(self, kind: str) -> list[Any]:
        return [event for event in self.events if event.type == kind]

    @property
    def seconds(self) -> float:
        return sum(len(base64.b64decode(event.delta)) for event in self.of("response.output_audio.delta")) / 2 / RATE


@asynccontextmanager
async def connected(engine: Engine, **options: Any) -> AsyncIterator[Client]:
    async with serving(engine) as port:
        address = f"127.0.0.1:{port}/v1"
        client = AsyncOpenAI(api_key="none", base_url=f"http://{address}", websocket_base_url=f"ws://{address}")
        async with client, client.realtime.connect(**({"model": "omni"} | options)) as connection:
            found = Client(connection)
            await found.until("session.created")
            yield found


def scripted(*scripts: list[Step]) -> ScriptedEngine:
    return ScriptedEngine(*scripts, clock=SystemClock())


async def test_server_vad() -> None:
    async with connected(scripted(ANSWER)) as client:
        await client.say(tone(0.8), silence(0.8))
        done = await client.until("response.done")
        assert done.response.status == "completed"
        assert done.response.output[0].content[0].transcript == "It is four."
        assert client.of("input_audio_buffer.speech_started")[0].audio_start_ms == 0
        assert abs(client.seconds - 0.4) < 0.001


async def test_push_to_talk() -> None:
    async with connected(scripted(ANSWER)) as client:
        await client.update(audio={"input": {"turn_detection": None}})
        await client.say(tone(0.8))
        await client.connection.input_audio_buffer.commit()
        await client.connection.response.create()
        assert (await client.until("response.done")).response.status == "completed"
        assert abs(client.seconds - 0.4) < 0.001


async def test_text_is_answered_in_speech() -> None:
    async with connected(scripted(ANSWER)) as client:
        part = {"type": "input_text", "text": "What is two and two?"}
        await client.connection.conversation.item.create(item={"type": "message", "role": "user", "content": [part]})  # type: ignore[typeddict-item]
        await client.connection.response.create()
        await client.until("response.done")
        assert "".join(e.delta for e in client.of("response.output_audio_transcript.delta")) == "It is four."
        assert client.seconds > 0.3


async def test_text_only() -> None:
    async with connected(scripted(ANSWER)) as client:
        await client.update(output_modalities=["text"])
        await client.connection.response.create()
        done = await client.until("response.done")
        assert done.response.output[0].content[0].text == "It is four."
        assert "".join(e.delta for e in client.of("response.output_text.delta")) == "It is four."
        assert client.seconds == 0


async def test_a_picture() -> None:
    engine = scripted(ANSWER)
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 0, 0)).save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    async with connected(engine) as client:
        item = {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": url}]}
        await client.connection.conversation.item.create(item=item)  # type: ignore[arg-type]
        done = await client.until("conversation.item.done")
        assert done.item.content[0].image_url == url
        await client.connection.response.create()
        assert (await client.until("response.done")).response.status == "completed"
        assert next(iter(engine._open)).noted.images == 1


async def test_a_tool_is_called_and_its_result_is_used() -> None:
    async with connected(scripted([Call("weather", '{"city":"Oslo"}')], [Say("Snow.")])) as client:
        tool = {"type": "function", "name": "weather", "parameters": {"type": "object", "properties": {}}}
        await client.update(tools=[tool], tool_choice="auto", output_modalities=["text"])
        await client.connection.response.create()
        called = (await client.until("response.done")).response.output[0]
        assert (called.type, called.name, called.arguments) == ("function_call", "weather", '{"city":"Oslo"}')
        result = {"type": "function_call_output", "call_id": called.call_id, "output": "-5, snow"}
        await client.connection.conversation.item.create(item=result)  # type: ignore[arg-type]
        await client.connection.response.create()
        assert (await client.until("response.done")).response.output[0].content[0].text == "Snow."


async def test_the_client_interrupts() -> None:
    async with connected(scripted([Say("A long"), Speak(0.4), Hang()], ANSWER)) as client:
        await client.connection.response.create()
        await client.until("response.output_audio.delta")
        await client.connection.response.cancel()
        done = await client.until("response.done")
        assert (done.response.status, done.response.status_details.reason) == ("cancelled", "client_cancelled")
        item = done.response.output[0].id
        await client.connection.conversation.item.truncate(item_id=item, content_index=0, audio_end_ms=10)
        assert (await client.until("conversation.item.truncated")).audio_end_ms == 10
        await client.connection.response.create()
        assert (await client.until("response.done")).response.status == "completed"


async def test_a_voice_barges_in() -> None:
    async with connected(scripted([Say("A long"), Speak(0.4), Hang()], ANSWER)) as client:
        await client.say(tone(0.5), silence(0.8))
        await client.until("response.output_audio.delta")
        await client.say(tone(0.5), silence(0.8))
        done = await client.until("response.done")
        assert (done.response.status, done.response.status_details.reason) == ("cancelled", "turn_detected")
        assert (await client.until("response.done")).response.status == "completed"


async def test_a_transcription_session() -> None:
    engine = PipelineEngine(ScriptedEars("two and two"), ScriptedModel(), ScriptedVoice())
    async with connected(engine, model="omni", extra_query={"intent": "transcription"}) as client:
        session = {"type": "transcription", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
        await client.connection.session.update(session=session)  # type: ignore[arg-type]
        assert (await client.until("session.updated")).session.type == "transcription"
        for _ in range(3):
            await client.say(tone(0.5), silence(0.8))
            done = await client.until("conversation.item.input_audio_transcription.completed")
            assert done.transcript == "two and two"
            assert done.usage.type == "duration"
        assert not [event for event in client.events if event.type.startswith("response.")]


async def test_errors_come_back_and_the_session_stays() -> None:
    async with connected(scripted(ANSWER)) as client:
        await client.connection.send({"type": "no.such.event", "event_id": "mine"})  # type: ignore[typeddict-item,misc,arg-type]
        error = (await client.until("error")).error
        assert (error.type, error.code, error.param, error.event_id) == (
            "invalid_request_error", "invalid_value", "type", "mine",
        )  # fmt: skip
        await client.connection.response.cancel()
        assert (await client.until("error")).error.code == "response_cancel_not_active"
        await client.connection.input_audio_buffer.commit()
        assert (await client.until("error")).error.code == "input_audio_buffer_commit_empty"
        await client.connection.conversation.item.retrieve(item_id="nobody")
        assert (await client.until("error")).error.code == "item_retrieve_invalid_item_id"
        await client.connection.response.create()
        assert (await client.until("response.done")).response.status == "completed"


@pytest.mark.parametrize("kind", ["audio/pcmu", "audio/pcma"])
async def test_g711(kind: str) -> None:
    async with connected(scripted(ANSWER)) as client:
        sound = {"format": {"type": kind}}
        await client.update(audio={"input": {**sound, "turn_detection": None}, "output": sound})
        await client.connection.input_audio_buffer.append(audio=base64.b64encode(bytes(8000)).decode())
        await client.connection.input_audio_buffer.commit()
        await client.connection.response.create()
        await client.until("response.done")
        assert abs(client.seconds * 2 * RATE / 8000 - 0.4) < 0.001
