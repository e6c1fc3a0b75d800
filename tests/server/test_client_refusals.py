"""A client and servers that misbehave, refuse, or are not there: one sentence with the remedy, within seconds."""

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from websockets.asyncio.server import ServerConnection, serve

from omni.engine.scripted import Say, ScriptedEngine, Speak
from omni_server.client import connect, events
from omni_server.client.refusals import Lost, NoServer, NotTaken, ServerFull, WrongKey
from omni_server.client.talk import MOST_ANSWERS
from omni_server.client.wire import BadMessage
from omni_server.client.wire_omni import OmniV1
from omni_server.client.wire_realtime import Realtime
from omni_server.limits.keys import Keyring
from omni_server.settings import Limits
from tests.server.loopback import serving, until


async def open_session(connection: ServerConnection) -> None:
    await connection.send(json.dumps({"type": "opened", "session": "s", "model": "m"}))
    await connection.recv()
    await connection.send(json.dumps({"type": "configured"}))


@asynccontextmanager
async def strange(handle: Callable[[ServerConnection], Awaitable[None]]) -> AsyncIterator[str]:
    """A server that does as it likes."""
    async with serve(handle, "127.0.0.1", 0, subprotocols=["omni.v1"], close_timeout=0.2) as server:
        yield f"http://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}"


async def test_no_server_is_named_with_the_command_that_starts_one() -> None:
    with pytest.raises(NoServer, match="omni serve"):
        async with connect("http://127.0.0.1:1"):
            pass


@pytest.mark.parametrize(
    "url",
    ["ftp://host", "http://", "ws:///v1/omni", "http://[::1", "http://host:99999", "http://host:abc", "http://a..b"],
)
async def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(NoServer, match=r"http://HOST:PORT"):
        async with connect(url):
            pass


@pytest.mark.parametrize(("mode", "says"), [(None, "speaks no websocket"), ("native", "speaks no HTTP")])
async def test_somebody_who_speaks_another_protocol_is_named(mode: str | None, says: str) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.6\r\n")
        writer.close()

    server = await asyncio.start_server(other, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(NoServer, match=says):
            async with connect(f"http://127.0.0.1:{port}", mode=mode):
                pass


async def test_a_wrong_key_is_refused_and_a_right_one_opens() -> None:
    keyring = Keyring.of([("anna", "correct-horse-battery")])
    async with serving(ScriptedEngine([Say("Hi.")]), keyring=keyring) as server:
        url = f"http://127.0.0.1:{server.port}"
        for key in (None, "wrong-wrong-wrong-wrong"):
            with pytest.raises(WrongKey, match="--key"):
                async with connect(url, key=key):
                    pass
        async with connect(url, key="correct-horse-battery") as talk:
            await talk.say("hello")
            assert (await talk.answer()).text == "Hi."


async def test_a_full_server_says_when_to_come_again() -> None:
    async with serving(ScriptedEngine([Say("Hi.")], sessions=1)) as server:
        url = f"http://127.0.0.1:{server.port}"
        async with connect(url):
            with pytest.raises(ServerFull, match=r"try again in \d") as full:
                async with connect(url):
                    pass
        assert full.value.retry_after is not None
        assert full.value.retry_after > 0


async def test_too_many_connections_say_when_to_come_again() -> None:
    async with serving(limits=Limits(connections=1)) as server:
        url = f"http://127.0.0.1:{server.port}"
        async with connect(url):
            with pytest.raises(ServerFull, match="try again"):
                async with connect(url):
                    pass


async def test_a_server_that_closes_early_ends_the_conversation_with_its_reason() -> None:
    async def handle(connection: ServerConnection) -> None:
        await open_session(connection)
        await connection.send(json.dumps({"type": "answer_started", "answer": "a"}))
        await connection.recv()
        await connection.close(1011, "out of memory")

    async with strange(handle) as url, connect(url) as talk:
        with pytest.raises(Lost, match="out of memory"):
            await talk.answer()
        with pytest.raises(Lost, match="out of memory"):
            await talk.say("still there?")


async def test_a_server_that_closes_before_it_opens_a_session_is_named() -> None:
    async def handle(connection: ServerConnection) -> None:
        await connection.close(1000)

    async with strange(handle) as url:
        with pytest.raises(Lost, match="before it opened"):
            async with connect(url):
                pass


async def test_a_server_that_dies_without_a_goodbye_is_named() -> None:
    async def handle(connection: ServerConnection) -> None:
        await open_session(connection)
        await connection.recv()
        connection.transport.abort()

    async with strange(handle) as url, connect(url) as talk:
        with pytest.raises(Lost, match="without a goodbye"):
            await talk.answer()


async def test_a_server_that_is_silent_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("omni_server.client.talk.FIRST_PATIENCE", 0.2)

    async def handle(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with strange(handle) as url:
        with pytest.raises(NoServer, match="did not open a session"):
            async with connect(url):
                pass


async def test_a_server_that_ends_while_somebody_speaks_does_not_leave_them_speaking() -> None:
    async def handle(connection: ServerConnection) -> None:
        await open_session(connection)
        async for message in connection:
            if isinstance(message, bytes):
                await connection.close(1011, "enough")

    async with strange(handle) as url, connect(url) as talk:
        async with asyncio.timeout(5):
            with pytest.raises(Lost, match="enough"):
                await talk.send_audio(np.ones(16_000 * 60, np.float32) * 0.1, 16_000)


async def test_garbage_is_told_and_the_conversation_goes_on() -> None:
    rubbish: list[str | bytes] = [
        "", "[]", "nul", "{", '{"type": 7}', '{"type": "text"}', "\ud7ff", b"", b"\x01" * 7,
        '["transport."]', '{"type": "transport.resumed"', '{"type": "text", "answer": "a", "item": "b", "text": 5}',
        '{"type": "text", "answer": ["a"], "item": "b", "text": "x"}',
        '{"type": "measured", "answer": "a", "latency": 5}',
        '{"type": "output_started", "stream": 1, "answer": "a", "item": "b", "audio": {"rate": 0}}',
        b"\x01\x00\x05\x00" + bytes(12), '{"type": "answer_done"}', '{"type": "tomorrow", "x": 1}',
    ]  # fmt: skip

    async def handle(connection: ServerConnection) -> None:
        await open_session(connection)
        for message in rubbish:
            await connection.send(message)
        for kind in ("answer_started", "answer_done"):
            await connection.send(json.dumps({"type": kind, "answer": "a", "status": "completed"}))
        await connection.wait_closed()

    async with strange(handle) as url, connect(url) as talk:
        told = []
        async for event in talk:
            told.append(event)
            if isinstance(event, events.AnswerDone):
                break
    troubles = [event for event in told if isinstance(event, events.Trouble)]
    assert len(troubles) == len(rubbish) - 1
    assert all("the server sent" in trouble.message for trouble in troubles)
    assert [event.type for event in told if isinstance(event, events.Other)] == ["tomorrow"]


async def test_a_slow_server_is_waited_for() -> None:
    engine = ScriptedEngine([Say("At last.", after=0.5), Speak(0.1)])
    async with serving(engine) as server, connect(f"http://127.0.0.1:{server.port}") as talk:
        await talk.say("hello")
        assert (await talk.answer()).text == "At last."


@pytest.mark.parametrize("wire", [OmniV1(), Realtime()], ids=lambda wire: wire.name)
def test_no_message_makes_a_wire_raise_anything_else(wire: OmniV1 | Realtime) -> None:
    for message in ('{"type": "error", "error": 3}', '{"type": "response.done", "response": []}', "1" * 5000,
                    '{"type":"response.output_audio.delta","delta":"!","response_id":"a","item_id":"b"}',
                    '{"type":"response.output_audio.delta","delta":"AAA=","response_id":"a","item_id":"b"}',
                    '{"type":"output_started","stream":1,"answer":"a","item":"b","audio":{"rate":"x"}}',
                    '{"type":"pong","t":1' + "0" * 400 + ',"server":1}', "[" * 100_000):  # fmt: skip
        with suppress(BadMessage):
            wire.read(message)


def test_files_that_are_wrong_are_named(tmp_path: Path) -> None:
    from omni_server.client.picture import data_url
    from omni_server.client.recording import Recording

    empty, text = tmp_path / "empty.wav", tmp_path / "text.wav"
    empty.write_bytes(b"")
    text.write_text("this is no sound")
    for file in (empty, text, tmp_path / "missing.wav", tmp_path):
        with pytest.raises((ValueError, OSError), match=str(file.name)):
            Recording.of(file)
        with pytest.raises(ValueError, match=str(file.name)):
            data_url(file)
    with pytest.raises(ValueError, match="pass rate="):
        Recording.of(np.zeros(100, np.float32))
    with pytest.raises(ValueError, match=r"NaN|finite|not a number"):
        Recording.of(np.full(100, np.nan, np.float32), 16_000)
    with pytest.raises(ValueError, match="speech is"):
        Recording.of(np.ones(100, np.float32), 16_000, speech=(0.0, 9.0))


async def test_a_mode_that_the_server_lacks_is_said_with_those_it_has() -> None:
    async with serving() as server:
        url = f"http://127.0.0.1:{server.port}"
        with pytest.raises(NotTaken, match="no pipeline engine: it has "):
            async with connect(url, mode="pipeline"):
                pass
    with pytest.raises(NoServer, match="omni serve"):
        async with connect("http://127.0.0.1:1", mode="pipeline"):
            pass


async def test_garbage_before_an_answer_is_not_in_its_place() -> None:
    async def handle(connection: ServerConnection) -> None:
        await open_session(connection)
        await connection.recv()
        await connection.send("nul")
        for kind in ("answer_started", "answer_done"):
            await connection.send(json.dumps({"type": kind, "answer": "a", "status": "completed"}))
        await connection.wait_closed()

    async with strange(handle) as url, connect(url) as talk:
        await talk.say("hello")
        answer = await talk.answer(patience=5.0)
    assert answer.id == "a"
    assert ["the server sent" in trouble.message for trouble in answer.troubles] == [True]


async def test_whoever_asks_late_gets_the_oldest_answer_that_is_kept() -> None:
    async def handle(connection: ServerConnection) -> None:
        await open_session(connection)
        for number in range(40):
            for kind in ("answer_started", "answer_done"):
                await connection.send(json.dumps({"type": kind, "answer": f"a{number}", "status": "completed"}))
        await connection.send(json.dumps({"type": "speech_started", "item": "i"}))
        await connection.wait_closed()

    async with strange(handle) as url, connect(url) as talk:
        await until(lambda: talk._queue.qsize() == 81)
        assert (await talk.answer()).id == f"a{40 - MOST_ANSWERS}"


async def test_a_live_source_ends_with_the_conversation_however_fast_it_is() -> None:
    async def handle(connection: ServerConnection) -> None:
        await open_session(connection)
        async for message in connection:
            if isinstance(message, bytes):
                await connection.close(1011, "enough")
                return

    async def endless() -> AsyncIterator[np.ndarray]:
        while True:
            yield np.full(1600, 0.1, np.float32)

    async with strange(handle) as url, connect(url) as talk, asyncio.timeout(5):
        with pytest.raises(Lost, match="enough"):
            await talk.send_audio(endless(), 16_000)


async def test_whoever_stops_waiting_while_they_speak_leaves_no_task_behind() -> None:
    async def handle(connection: ServerConnection) -> None:
        await open_session(connection)
        await connection.wait_closed()

    async with strange(handle) as url:
        before = asyncio.all_tasks()
        async with connect(url) as talk:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(talk.send_audio(np.full(80_000, 0.1, np.float32), 16_000), 0.2)
        await until(lambda: not {one for one in asyncio.all_tasks() - before if "said" in repr(one.get_coro())})


@pytest.mark.parametrize("key", ["geheim-schlüssel", "two words", "line\nbreak"])
async def test_a_key_that_no_header_can_carry_is_said_to_be_wrong_and_not_shown(key: str) -> None:
    with pytest.raises(WrongKey, match="no header can carry") as wrong:
        async with connect("http://127.0.0.1:1", key=key):
            pass
    assert key not in str(wrong.value)


def photograph() -> bytes:
    """A picture of 7 MB that is quick to read."""
    file = io.BytesIO()
    Image.fromarray(np.zeros((1500, 1500, 3), np.uint8)).save(file, "PNG", compress_level=0)
    return file.getvalue()


async def test_pictures_come_back_in_a_message_as_large_as_the_one_that_brought_them() -> None:
    async with (
        serving(ScriptedEngine([Say("Two cats.")])) as server,
        connect(f"http://127.0.0.1:{server.port}") as talk,
    ):
        await talk.say("what is this?", images=(photograph(),) * 2)
        assert (await talk.answer()).text == "Two cats."
        assert talk.resumed == 0


@pytest.mark.parametrize("wire", ["omni.v1", "realtime"])
async def test_pictures_that_are_too_large_together_end_the_conversation_with_what_to_do(wire: Any) -> None:
    async with (
        serving(ScriptedEngine([Say("Cats.")])) as server,
        connect(f"http://127.0.0.1:{server.port}", wire=wire) as talk,
    ):

        async def ask() -> None:
            await talk.say("what is this?", images=(photograph(),) * 3)
            await talk.answer()

        with pytest.raises(Lost, match="fewer pictures at once"):
            await ask()
