"""livekit-plugins-openai: a reply that it asks for (by metadata), with a tool; then a spoken turn, written down."""

import asyncio
import math
import struct
import sys
from collections import Counter

import aiohttp
from livekit import rtc
from livekit.agents import llm
from livekit.plugins.openai import realtime

SECOND = struct.pack("<24000h", *(int(9000 * math.sin(n * 0.06)) for n in range(24_000)))
PIECE = 960  # bytes, 20 ms
seen: Counter[str] = Counter()
errors: list = []


@llm.function_tool
async def weather(city: str) -> str:
    """The weather in a city."""
    return "snow"


async def called(generation) -> list[str]:
    return [call.name async for call in generation.function_stream]


async def said(generation) -> tuple[str, float]:
    text, samples = "", 0
    async for message in generation.message_stream:
        async for piece in message.text_stream:
            text += str(piece)
        async for frame in message.audio_stream:
            samples += frame.samples_per_channel
    return text, samples / 24_000


async def main(url: str) -> None:
    async with aiohttp.ClientSession() as http:
        address = url.partition("/realtime")[0]
        session = realtime.RealtimeModel(api_key="none", base_url=address, model="omni", http_session=http).session()
        generations: list = []
        session.on("generation_created", generations.append)
        session.on("error", errors.append)
        for kind in ("input_speech_started", "input_speech_stopped", "input_audio_transcription_completed"):
            session.on(kind, lambda _event, kind=kind: seen.update([kind]))
        await session.update_instructions("Be brief.")
        await session.update_tools([weather])
        async with asyncio.timeout(30):
            reply = await session.generate_reply()
            names, _ = await asyncio.gather(called(reply), said(reply))
            sound = SECOND + bytes(len(SECOND))
            for at in range(0, len(sound), PIECE):
                data = sound[at : at + PIECE]
                frame = rtc.AudioFrame(
                    data=data, sample_rate=24_000, num_channels=1, samples_per_channel=len(data) // 2
                )
                session.push_audio(frame)
                await asyncio.sleep(0.01)
            while len(generations) < 2:  # noqa: ASYNC110  # the package has no event to wait for
                await asyncio.sleep(0.02)
            text, seconds = await said(generations[1])
        await session.aclose()
    assert not errors, errors
    assert names == ["weather"], names
    assert text.startswith("It snows in Oslo"), text
    assert seconds > 1.2, seconds
    assert seen["input_speech_started"] == seen["input_speech_stopped"] == 1, seen
    assert seen["input_audio_transcription_completed"] > 0, seen


asyncio.run(main(sys.argv[1]))
