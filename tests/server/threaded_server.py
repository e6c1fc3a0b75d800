"""A server in a thread of its own, for what runs an event loop itself: the commands and the blocking client."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from omni.engine.protocol import Engine
from omni_server.dialects.wires import wires
from omni_server.limits.keys import Keyring
from omni_server.server import Server
from omni_server.turns.detector import Detector
from tests.server.loopback import QUICK
from tests.server.loud_is_speech import LoudIsSpeech

PATIENCE = 20.0  # s


@contextmanager
def threaded_server(
    engine: Engine, *, detector: Detector | None = None, keyring: Keyring | None = None, **changes: Any
) -> Iterator[str]:
    """Its address."""
    started = threading.Event()
    known: dict[str, Any] = {}

    async def serve() -> None:
        settings = replace(QUICK, **changes)
        server = Server(settings, engine, wires(settings.limits.session_s), detector or LoudIsSpeech(), keyring=keyring)
        await server.start()
        known.update(loop=asyncio.get_running_loop(), stop=asyncio.Event(), url=f"http://127.0.0.1:{server.port}")
        started.set()
        try:
            await known["stop"].wait()
        finally:
            await server.close()
            await engine.close()

    thread = threading.Thread(target=asyncio.run, args=(serve(),), daemon=True)
    thread.start()
    assert started.wait(PATIENCE)
    try:
        yield known["url"]
    finally:
        known["loop"].call_soon_threadsafe(known["stop"].set)
        thread.join(PATIENCE)
        assert not thread.is_alive()
