"""pipecat: text, a function with its result, two spoken turns; any `error` event would end its pipeline."""

import asyncio
import math
import struct
import sys
from collections import Counter

from pipecat.adapters.schemas.function_schema import FunctionSchema
from pipecat.adapters.schemas.tools_schema import ToolsSchema
from pipecat.frames.frames import ErrorFrame, InputAudioRawFrame, LLMRunFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.runner import PipelineRunner
from pipecat.pipeline.task import PipelineParams, PipelineTask
from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregatorPair
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.services.openai.realtime import events
from pipecat.services.openai.realtime.llm import OpenAIRealtimeLLMService

SECOND = struct.pack("<24000h", *(int(9000 * math.sin(n * 0.06)) for n in range(24_000)))
PIECE = 1920  # bytes, 40 ms
seen: Counter[str] = Counter()
errors: list[str] = []


class Witness(FrameProcessor):
    async def process_frame(self, frame, direction) -> None:
        await super().process_frame(frame, direction)
        seen[type(frame).__name__] += 1
        if isinstance(frame, ErrorFrame):
            errors.append(str(frame))
        await self.push_frame(frame, direction)


async def main(url: str) -> None:
    turns = events.TurnDetection(type="server_vad")
    heard = events.AudioInput(transcription=events.InputAudioTranscription(), turn_detection=turns)
    properties = events.SessionProperties(instructions="Be brief.", audio=events.AudioConfiguration(input=heard))
    settings = OpenAIRealtimeLLMService.Settings(model="omni", session_properties=properties)
    llm = OpenAIRealtimeLLMService(api_key="none", base_url=url.partition("?")[0], settings=settings)

    async def weather(params) -> None:
        seen["called"] += 1
        await params.result_callback({"weather": "snow"})

    llm.register_function("weather", weather)
    schema = FunctionSchema(name="weather", description="", properties={"city": {"type": "string"}}, required=[])
    context = LLMContext([{"role": "user", "content": "hello"}], tools=ToolsSchema([schema]))
    pair = LLMContextAggregatorPair(context)
    rates = PipelineParams(audio_in_sample_rate=24_000, audio_out_sample_rate=24_000)
    task = PipelineTask(Pipeline([pair.user(), llm, Witness(), pair.assistant()]), params=rates, idle_timeout_secs=None)

    async def drive() -> None:
        await asyncio.sleep(1.0)
        await task.queue_frames([LLMRunFrame()])
        await asyncio.sleep(3.0)
        for _ in range(2):
            sound = SECOND + bytes(len(SECOND))
            for at in range(0, len(sound), PIECE):
                piece = sound[at : at + PIECE]
                await task.queue_frames([InputAudioRawFrame(audio=piece, sample_rate=24_000, num_channels=1)])
                await asyncio.sleep(0.02)
            await asyncio.sleep(1.5)
        await task.cancel()

    driving = asyncio.create_task(drive())
    await PipelineRunner(handle_sigint=False).run(task)
    await driving
    spoken = [message["content"] for message in context.messages if message.get("role") == "user"]
    assert not errors, errors
    assert seen["called"] == 1, seen
    assert spoken == ["hello", "what is the weather", "what is the weather"], spoken
    assert seen["TTSAudioRawFrame"] > 50, seen
    assert seen["InterruptionFrame"] == 2, seen


asyncio.run(main(sys.argv[1]))
