"""A client whose network goes away for a moment: the same session, nothing lost and nothing twice."""

import asyncio
import json
import os
import signal
import socket
import threading
from collections.abc import Iterator

import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosedError

from omni.engine.scripted import Hang, Say, ScriptedEngine, Speak
from omni_server.client import connect, events
from omni_server.client.blocking import connect as connect_blocking
from omni_server.client.link import Socket
from omni_server.client.refusals import Lost
from omni_server.client.talk import Talk
from omni_server.client.wire import Message
from omni_server.client.wire_omni import OmniV1
from tests.server.close_to_server import question
from tests.server.loopback import serving
from tests.server.threaded_server import threaded_server
from tests.virtual_time import run


def socket_of(talk: Talk) -> Socket:
    assert isinstance(talk._link, Socket)
    return talk._link


async def test_a_lost_connection_comes_back_in_the_middle_of_an_answer_and_nothing_is_missing() -> None:
    engine = ScriptedEngine([Say("One "), Speak(0.4, pace=1.0), Say("two."), Speak(0.4, pace=1.0)])
    async with serving(engine) as server, connect(f"http://127.0.0.1:{server.port}") as talk:
        seen: list[events.Event] = []
        await talk.say("count")
        waiting = asyncio.create_task(talk.answer(seen=seen.append))
        async with asyncio.timeout(10):
            for _ in range(3):
                await asyncio.sleep(0.15)
                await socket_of(talk).break_off()
            answer = await waiting
        assert answer.text == "One two."
        phase = np.arange(len(answer.samples)) % 6400 * (2 * np.pi * 440 / 16_000)
        assert np.abs(answer.samples - 0.1 * np.sin(phase)).max() < 1e-3
        assert len(answer.samples) == 12_800
        assert talk.resumed == sum(isinstance(event, events.Resumed) for event in seen) >= 2
        assert answer.troubles == []


async def test_what_is_said_while_the_network_is_away_arrives_once() -> None:
    engine = ScriptedEngine([Say("Yes."), Speak(0.1)])
    async with serving(engine) as server, connect(f"http://127.0.0.1:{server.port}") as talk:
        await socket_of(talk).break_off()
        await talk.say("are you there?")
        async with asyncio.timeout(10):
            assert (await talk.answer()).text == "Yes."
        noted = next(iter(server.talks)).session._told.noted  # type: ignore[union-attr]
        assert [unit.text for unit in noted.text] == ["are you there?"]


class SlowSocket:
    """The network when it is back: nothing goes out without a wait; it breaks once, if it is to."""

    def __init__(self, breaks_at: int | None = None) -> None:
        self.out: list[Message] = []
        self.broken = False
        self._breaks_at = breaks_at
        self.transport = self

    async def recv(self) -> str:
        return json.dumps({"type": "transport.resumed", "token": "t", "received": 0})

    async def send(self, message: Message) -> None:
        await asyncio.sleep(0.1)
        if len(self.out) == self._breaks_at:
            raise ConnectionClosedError(None, None)
        self.out.append(message)

    def abort(self) -> None:
        self.broken = True


async def speak_while_it_comes_back(monkeypatch: pytest.MonkeyPatch, *found: SlowSocket) -> list[Message]:
    """Say ten things while the client comes back to these sockets; what arrived on the last of them."""
    link, waiting = Socket("ws://there", OmniV1(), resumable=True, patience=1.0), list(found)
    said = [f"m{n}" for n in range(10)]

    async def connect_to(_resume: str | None) -> SlowSocket:
        return waiting.pop(0)

    monkeypatch.setattr(link, "_connect", connect_to)
    link._grace = 5.0
    for message in said[:5]:
        await link.send(message)
    coming = asyncio.create_task(link._come_back())
    for message in said[5:]:
        await asyncio.sleep(0.15)
        await link.send(message)
    await coming
    return found[-1].out


def test_what_is_said_while_the_client_sends_again_is_sent_behind_it(monkeypatch: pytest.MonkeyPatch) -> None:
    assert run(speak_while_it_comes_back(monkeypatch, SlowSocket())) == [f"m{n}" for n in range(10)]


def test_a_connection_that_breaks_while_the_client_sends_again_is_tried_once_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    broken = SlowSocket(breaks_at=3)
    assert run(speak_while_it_comes_back(monkeypatch, broken, SlowSocket())) == [f"m{n}" for n in range(10)]
    assert broken.broken


async def test_a_server_that_is_gone_for_good_is_said_to_be() -> None:
    async with serving(ScriptedEngine([Hang()])) as server, connect(f"http://127.0.0.1:{server.port}") as talk:
        await talk.say("hello")
        await asyncio.sleep(0.05)
        for one in list(server.talks):
            one.end("test")
        with pytest.raises(Lost):
            async with asyncio.timeout(10):
                await talk.answer()


def test_the_blocking_client_does_the_same_without_await() -> None:
    with threaded_server(ScriptedEngine([Say("Hello."), Speak(0.1)])) as url, connect_blocking(url) as talk:
        talk.say("hi")
        assert talk.answer().text == "Hello."
        assert talk.ask(question()).text == "Hello."
        talk.say("again")
        kinds = []
        for event in talk:
            kinds.append(type(event))
            if isinstance(event, events.AnswerDone):
                break
        assert events.Words in kinds
    with pytest.raises(ConnectionError, match="omni serve"), connect_blocking("http://127.0.0.1:1"):
        pass


async def test_a_server_that_comes_back_with_garbage_ends_the_conversation() -> None:
    async def handle(connection: ServerConnection) -> None:
        if "resume=new" not in connection.request.path:  # type: ignore[union-attr]
            await connection.send("nul")
            await connection.wait_closed()
            return
        await connection.send(json.dumps({"type": "transport.resumable", "token": "t", "grace_s": 0.5}))
        await connection.send(json.dumps({"type": "opened", "session": "s", "model": "m"}))
        await connection.recv()
        await connection.send(json.dumps({"type": "configured"}))
        await connection.recv()
        connection.transport.abort()

    async with serve(handle, "127.0.0.1", 0, subprotocols=["omni.v1"], close_timeout=0.2) as server:  # type: ignore[list-item]
        port = next(iter(server.sockets)).getsockname()[1]
        async with connect(f"http://127.0.0.1:{port}") as talk, asyncio.timeout(10):
            await talk.say("hello")
            with pytest.raises(Lost, match="not the session"):
                await talk.answer()


async def test_whoever_leaves_while_the_client_comes_back_is_not_connected_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    link, found = Socket("ws://there", OmniV1(), resumable=True, patience=1.0), SlowSocket()

    async def connect_to(_resume: str | None) -> SlowSocket:
        await asyncio.sleep(0.1)
        return found

    monkeypatch.setattr(link, "_connect", connect_to)
    coming = asyncio.create_task(link._come_back())
    await asyncio.sleep(0.05)
    await link.close()
    with pytest.raises(Lost, match="over"):
        await coming
    assert found.broken


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C works: a shell starts what is in the background deaf to it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_ctrl_c_while_the_server_is_silent_hangs_up() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
        with pytest.raises(KeyboardInterrupt), connect_blocking(f"http://127.0.0.1:{silent.getsockname()[1]}"):
            pass
        connection, _ = silent.accept()
        connection.settimeout(5)
        with connection:
            while connection.recv(4096):
                pass
