"""What tests of plug-ins share: a bounded run of a coroutine, and a text model's whole answer."""

import asyncio
from collections.abc import Coroutine
from contextlib import aclosing
from typing import Any

from omni.engine.pipeline.stages import Call, Message, Stopped, TextModel
from omni.engine.protocol import Tool
from omni.sampling import Sampling


def run(main: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(main, 60))


async def all_of(
    model: TextModel,
    *messages: Message,
    tools: tuple[Tool, ...] = (),
    how: Sampling | None = None,
    longest: int = 24,
    must_call: bool = False,
) -> list[str | Call | Stopped]:
    async with aclosing(model.answer(messages, tools, how or Sampling(), longest, must_call=must_call)) as pieces:
        return [piece async for piece in pieces]


def text_of(pieces: list[str | Call | Stopped]) -> str:
    return "".join(piece for piece in pieces if isinstance(piece, str))
