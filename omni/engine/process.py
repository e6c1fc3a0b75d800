"""A worker process from its start to its end: what was opened for it is closed, however it ends."""

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
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
        ours, theirs = socket.socketpair()
        memory = nameless(SHARED)
        inherited = (theirs.fileno(), memory)
        arguments = [*map(str, inherited), str(SHARED), factory, json.dumps(dict(options))]
        try:
            child = await asyncio.to_thread(
                subprocess.Popen,
                [sys.executable, "-m", "omni.engine.worker", *arguments],
                pass_fds=inherited,
                stdin=subprocess.DEVNULL,
                stdout=2,  # what a library prints belongs to the log, not to the output of who started us
                # It imports what we can import, from wherever we run.
                env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},  # noqa: PTH109
                start_new_session=True,
            )
            channel = await Channel.over(ours, pair(memory, SHARED, first=True), take)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
            os.close(memory)
        return cls(channel, child)

    async def end(self, patience: float = LAST_WORDS) -> int:
        """Hang up, wait a little, then kill; the exit code."""
        self.channel.close()
        try:
            return await asyncio.to_thread(self.child.wait, patience)
        except subprocess.TimeoutExpired:
            self.child.kill()
            return await asyncio.to_thread(self.child.wait)
