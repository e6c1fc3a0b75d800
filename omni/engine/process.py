"""A worker process from its start to its end: what was opened for it is closed, however it ends."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from omni.engine.channel import Channel, Take
from omni.engine.ring import nameless, pair

SHARED = 8 << 20  # bytes of shared memory, half for each direction: 65 s of audio on its way
LAST_WORDS = 2.0  # s that a worker has to end by itself


@dataclass
class Process:
    """A running worker and the channel to it."""

    channel: Channel
    child: subprocess.Popen[bytes]

    @classmethod
    async def start(cls, factory: str, options: Mapping[str, Any], take: Take) -> "Process":
        """Start a worker that builds its engine by calling `module:function`; its messages go to `take`."""
        written = json.dumps(dict(options))  # before anything is open
        with ExitStack() as given, ExitStack() as failed:
            ours, theirs = socket.socketpair()
            failed.callback(ours.close)
            given.callback(theirs.close)
            memory = nameless(SHARED)
            given.callback(os.close, memory)
            rings = pair(memory, SHARED, first=True)
            failed.callback(rings[0].close)
            inherited = (theirs.fileno(), memory)
            child = await _spawn([*map(str, inherited), str(SHARED), factory, written], inherited)
            failed.callback(child.wait)
            failed.callback(child.kill)
            channel = await Channel.over(ours, rings, take)
            failed.pop_all()
        return cls(channel, child)

    async def end(self, patience: float = LAST_WORDS) -> int:
        """Hang up, wait a little, then kill; the exit code."""
        self.channel.close()
        try:
            return await asyncio.to_thread(self.child.wait, patience)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return await asyncio.to_thread(self.child.wait)


async def _spawn(arguments: list[str], inherited: tuple[int, ...]) -> subprocess.Popen[bytes]:
    """Start the process, in a thread. A cancel waits for the thread: it uses what the caller would close."""
    spawning = asyncio.create_task(
        asyncio.to_thread(
            subprocess.Popen,
            [sys.executable, "-m", "omni.engine.worker", *arguments],
            pass_fds=inherited,
            stdin=subprocess.DEVNULL,
            stdout=2,  # what a library prints belongs to the log, not to the output of who started us
            # It imports what we can import, from wherever we run.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},  # noqa: PTH109
            start_new_session=True,
        )
    )
    try:
        return await asyncio.shield(spawning)
    except asyncio.CancelledError:
        child = await spawning
        child.kill()
        await asyncio.to_thread(child.wait)
        raise
