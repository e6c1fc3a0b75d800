"""A server for oneself: started in a process of its own on a free port of this machine, and gone afterwards."""

import asyncio
import json
import os
import sys
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress

from omni_server.client.refusals import NoServer
from omni_server.configuration import NOT_SETTINGS, leaves

LONGEST_START = 600.0  # s: a large model loads slowly
LONGEST_END = 10.0  # s
LAST_WORDS = 20  # lines that are kept

MODES = ("native", "pipeline", "echo")
STAGES = ("stt", "llm", "tts")


def flags_of(mode: str, *, model: str = "nano", sessions: int = 16, **stages: str | None) -> list[str]:
    """The flags of `omni serve` for a mode. The pipeline's stages are the model's own weights unless others are named.

    >>> flags_of("pipeline", llm="hf:here", sessions=2)
    ['--engine', 'pipeline', '--sessions', '2', '--stt', 'nano:', '--llm', 'hf:here', '--tts', 'nano:']
    """
    if mode not in MODES:
        raise ValueError(f"mode is {mode!r}: there are {', '.join(MODES)}")
    flags = ["--engine", mode, "--sessions", str(sessions)]
    if mode == "native":
        flags += ["--model", model]
    elif mode == "pipeline":
        for stage in STAGES:
            flags += [f"--{stage}", stages.get(stage) or ("nano:" if model == "nano" else f"nano:{model}")]
    return flags


@asynccontextmanager
async def own_server(flags: Sequence[str], *, patience: float = LONGEST_START) -> AsyncIterator[str]:
    """The address of a server that was started with these flags of `omni serve`; raises `NoServer` with its words."""
    command = (sys.executable, "-m", "omni_server.cli", "serve", *flags, "--port", "0", "--log-format", "json")
    # Settings of another server, which the environment may hold, could lock this one or move it elsewhere.
    others = {leaf.variable for leaf in leaves()} | set(NOT_SETTINGS)
    environment = {name: value for name, value in os.environ.items() if name not in others}
    process = await asyncio.create_subprocess_exec(
        *command, env=environment, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE, limit=1 << 20,
    )  # fmt: skip
    assert process.stderr is not None
    said: deque[str] = deque(maxlen=LAST_WORDS)
    following: asyncio.Task[None] | None = None
    try:
        try:
            async with asyncio.timeout(patience):
                url = await _listening(process.stderr, said)
        except TimeoutError:
            raise NoServer(
                f"the server did not start within {patience:g} s: {said[-1] if said else 'it says nothing'}"
            ) from None
        following = asyncio.create_task(_follow(process.stderr, said))
        yield url
    finally:
        if process.returncode is None:
            process.terminate()
            process.terminate()  # the second one: do not wait for answers
        try:
            async with asyncio.timeout(LONGEST_END):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        if following is not None:
            await following


async def _listening(stream: asyncio.StreamReader, said: deque[str]) -> str:
    while line := await stream.readline():
        text = line.decode("utf-8", "replace").strip()
        with suppress(ValueError, KeyError, TypeError):
            told = json.loads(text)
            if told["message"] == "listening":
                return str(told["page"])
        if text:
            said.append(text)
    # The last line of a traceback says what was wrong; the lines before it only where.
    raise NoServer(f"the server did not start: {said[-1] if said else 'it said nothing'}")


async def _follow(stream: asyncio.StreamReader, said: deque[str]) -> None:
    """Its log is read to the end: a full pipe would stop it."""
    while line := await stream.readline():
        said.append(line.decode("utf-8", "replace").strip())
