"""openai-agents: speaks, has its tool called, interrupts, writes; its history has to be that of the conversation."""

import asyncio
import math
import struct
import sys
from collections import Counter

from agents import function_tool
from agents.realtime import RealtimeAgent, RealtimeRunner

SECOND = struct.pack("<24000h", *(int(9000 * math.sin(n * 0.06)) for n in range(24_000)))
called: list[str] = []


@function_tool
def weather(city: str) -> str:
    """The weather in a city."""
    called.append(city)
    return "snow"


async def main(url: str) -> None:
    runner = RealtimeRunner(RealtimeAgent(name="a", instructions="Be brief.", tools=[weather]))
    kinds: Counter[str] = Counter()
    history: list = []
    errors: list = []
    async with await runner.run(model_config={"api_key": "none", "url": url}) as session:

        async def watch() -> None:
            async for event in session:
                kinds[event.type] += 1
                if event.type == "error":
                    errors.append(event.error)
                elif event.type == "history_updated":
                    history[:] = event.history

        async def until(kind: str, count: int) -> None:
            async with asyncio.timeout(20):
                while kinds[kind] < count:  # noqa: ASYNC110  # the package has no event to wait for
                    await asyncio.sleep(0.02)

        watching = asyncio.create_task(watch())
        await session.send_audio(SECOND)
        await session.send_audio(bytes(len(SECOND)))
        await until("audio_end", 1)
        await session.send_audio(SECOND)
        await until("audio_interrupted", 1)
        await asyncio.sleep(0.5)  # it cancels what is being answered, which must not be the answer to this
        await session.send_audio(bytes(len(SECOND)))
        await until("audio_end", 2)
        await session.interrupt()
        await session.send_message("hello")
        await until("audio_end", 3)
        await asyncio.sleep(0.5)
        watching.cancel()
    parts = [part for item in history for part in getattr(item, "content", [])]
    words = [getattr(part, "transcript", None) or getattr(part, "text", None) for part in parts]
    assert not errors, errors
    assert called == ["Oslo"], called
    assert words.count("what is the weather") == 2, words
    assert "hello" in words, words
    assert kinds["audio"] > 50, kinds


asyncio.run(main(sys.argv[1]))
