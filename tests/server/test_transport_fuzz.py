"""Whatever clients send, in whatever order, and whenever they leave: the server stays, and holds nothing of theirs."""

import asyncio
import base64
import contextlib
import gc
import json
import os
import random
import struct
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from omni.engine.echo import EchoEngine
from omni.engine.scripted import Call, Say, ScriptedEngine, Speak
from omni_server.server import Server
from tests.server.loopback import get, serving, until

REALTIME = [
    "session.update", "input_audio_buffer.append", "input_audio_buffer.commit", "input_audio_buffer.clear",
    "conversation.item.create", "conversation.item.retrieve", "conversation.item.truncate", "conversation.item.delete",
    "response.create", "response.cancel", "output_audio_buffer.clear", "nothing.like.this",
]  # fmt: skip
OMNI = "configure commit clear say tool_result respond cancel played truncate show forget ping nothing".split()
SCALARS: list[Any] = [
    None,
    True,
    0,
    -1,
    10**30,
    1e308,
    "",
    "x",
    "é" * 50,
    "root",
    "auto",
    "none",
    "audio",
    [],
    {},
    [1],
    [{}],
]
FIELDS = (
    "session item item_id content_index audio_end_ms previous_item_id response response_id audio type input "
    "output format rate turn_detection instructions tools tool_choice output_modalities max_output_tokens "
    "metadata role content text id image_url call_id ms t name by audio_in audio_out turns event_id ref "
    "conversation"
).split()


def value(chance: random.Random, depth: int = 0) -> Any:
    if depth < 3 and chance.random() < 0.4:
        return {chance.choice(FIELDS): value(chance, depth + 1) for _ in range(chance.randrange(4))}
    return chance.choice(SCALARS)


def message(chance: random.Random, path: str) -> str | bytes:
    draw = chance.random()
    if draw < 0.1:
        return os.urandom(chance.randrange(40))
    if draw < 0.2:
        header = struct.pack("<BBHIQ", chance.randrange(7), chance.randrange(8), 0, 0, chance.randrange(1 << 63))
        return header + os.urandom(chance.randrange(200))
    said: dict[str, Any] = {name: value(chance) for name in chance.sample(FIELDS, chance.randrange(5))}
    said["type"] = chance.choice(REALTIME if "realtime" in path else OMNI)
    if chance.random() < 0.3:
        said["audio"] = base64.b64encode(os.urandom(chance.randrange(600))).decode()
    text = json.dumps(said)
    return text[: chance.randrange(len(text))] if draw > 0.9 else text


async def pester(server: Server, path: str, count: int, chance: random.Random) -> int:
    """Send so many messages over as many connections as it takes; how many connections that were."""
    connections = 0
    while count > 0:
        connections += 1
        async with connect(f"ws://127.0.0.1:{server.port}{path}", ping_interval=None, max_size=None) as socket:
            reading = asyncio.create_task(_drop(socket))
            with contextlib.suppress(ConnectionClosed):
                for _ in range(min(count, 500)):
                    await socket.send(message(chance, path))
                    count -= 1
            if chance.random() < 0.5:
                socket.transport.abort()
            await socket.close()
            await reading
    return connections


async def _drop(socket: Any) -> None:
    with contextlib.suppress(ConnectionClosed):
        async for _ in socket:
            pass


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir()) if Path("/proc/self/fd").exists() else 0


async def fuzz(count: int, seed: int) -> None:
    engine = EchoEngine(sessions=64)
    async with serving(engine) as server:
        for path in ("/v1/realtime?model=x", "/v1/omni", "/v1/realtime?intent=transcription"):
            await pester(server, path, count // 3 + 1, random.Random(f"{seed}{path}"))
            await until(lambda: not server.talks and not engine._open and not server.gateway.admission.inside)
        assert (await get(server, "/readyz"))[0] == 200
        page = server.metrics.page()[0].decode()
        assert 'reason="error"' not in page
        assert 'reason="internal_error"' not in page


async def test_some_thousand_messages_of_any_kind_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    await fuzz(3_000, seed=1)
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


@pytest.mark.slow
@pytest.mark.timeout(1200)
async def test_a_hundred_thousand_messages_of_any_kind_leave_nothing_behind(caplog: pytest.LogCaptureFixture) -> None:
    await fuzz(100, seed=2)
    gc.collect()
    before = len(gc.get_objects()), open_files()
    await fuzz(100_000, seed=3)
    gc.collect()
    assert len(gc.get_objects()) < before[0] + 5_000
    assert open_files() <= before[1]
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == []


# Leaving at every point of a conversation

SOUND = base64.b64encode(bytes(4_800)).decode()
TURN = [
    {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}}},
    {"type": "input_audio_buffer.append", "audio": SOUND},
    {"type": "input_audio_buffer.append", "audio": SOUND},
    {"type": "input_audio_buffer.commit"},
    {"type": "response.create"},
]
MOST_EVENTS = 60  # of one such turn


@pytest.mark.parametrize("abrupt", [True, False])
async def test_wherever_a_client_leaves_its_place_is_free_within_a_second(abrupt: bool) -> None:
    engine = ScriptedEngine([Say("one "), Speak(0.2), Say("two"), Call("light")], sessions=1)
    async with serving(engine) as server:
        whole = False
        for sent in range(len(TURN) + 1):
            for heard in range(1, MOST_EVENTS):
                path = f"ws://127.0.0.1:{server.port}/v1/realtime?model=x"
                async with connect(path, ping_interval=None, max_queue=None) as socket:
                    for event in TURN[:sent]:
                        await socket.send(json.dumps(event))
                    got = 0
                    with contextlib.suppress(TimeoutError):
                        while got < heard:
                            await asyncio.wait_for(socket.recv(), 1.0 if sent > len(TURN) - 1 or got == 0 else 0.02)
                            got += 1
                    if abrupt:
                        socket.transport.abort()
                await until(lambda: not engine._open and not server.talks, seconds=1.0)
                if got < heard:
                    whole = sent == len(TURN)
                    break
        assert whole
