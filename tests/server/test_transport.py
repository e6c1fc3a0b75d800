"""The port: pages, the door, slow readers, the drain; over real sockets of this machine."""

import asyncio
import json
import logging
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Origin, Subprotocol

from omni.engine.echo import EchoEngine
from omni.engine.scripted import Hang, Say, ScriptedEngine, Speak
from omni_server.limits.keys import Keyring
from omni_server.settings import Limits, Resume, Socket
from omni_server.transport.connection import Connection
from tests.server.loopback import QUICK, client, get, serving, until

KEYS = Keyring.of([("anna", "correct-horse-battery"), ("ben", "another-key-of-his")])
SECOND = np.arange(640, dtype=np.int16)


async def test_the_pages_of_a_server_without_keys() -> None:
    async with serving() as server:
        status, headers, body = await get(server, "/")
        assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
        assert b"<" in body
        assert (await get(server, "/", If_None_Match=headers["etag"]))[0] == 304
        assert json.loads((await get(server, "/healthz"))[2]) == {"status": "ok"}
        assert json.loads((await get(server, "/readyz"))[2]) == {"status": "ready"}
        assert json.loads((await get(server, "/v1/models"))[2])["data"][0]["object"] == "model"
        assert b"omni_sessions_total" in (await get(server, "/metrics"))[2]
        assert (await get(server, "/v1/realtime"))[0] == 426


@pytest.mark.parametrize(
    "path",
    ["/nothing", "/../settings.py", "/..%2f..%2fetc/passwd", "//etc/passwd", "/index.html/../../server.py", "/%00"],
)
async def test_no_address_reaches_a_file_that_is_not_of_the_page(path: str) -> None:
    async with serving() as server:
        assert (await get(server, path))[0] == 404


async def test_a_clients_model_chooses_the_engine() -> None:
    engines = {"one": ScriptedEngine([Say("I am one.")]), "two": ScriptedEngine([Say("I am two.")])}
    async with serving(engines) as server:
        assert [m["id"] for m in json.loads((await get(server, "/v1/models"))[2])["data"]] == ["one", "two"]
        for asked, who in (("one", "one"), ("two", "two"), ("gpt-realtime", "one")):
            async with client(server, f"/v1/omni?model={asked}") as one:
                await one.say("configure", speaks=False)
                await one.say("respond")
                assert (await one.until("text"))[-1]["text"] == f"I am {who}."


async def test_another_websocket_of_the_same_port_passes_the_same_door() -> None:
    async def shout(connection: Connection) -> None:
        while isinstance(message := await connection.next(), str):
            connection.put(message.upper())

    async with serving(keyring=KEYS, also={"/v1/shout": shout}) as server:
        with pytest.raises(InvalidStatus, match="401"):
            async with client(server, "/v1/shout"):
                pass
        bearer = {"Authorization": "Bearer correct-horse-battery"}
        async with client(server, "/v1/shout", additional_headers=bearer) as one:
            await one.socket.send("hello")
            assert await asyncio.wait_for(one.socket.recv(), 5) == "HELLO"
            assert server.gateway.admission.inside == 1


async def test_a_folder_of_ones_own_is_the_page(tmp_path: Path) -> None:
    (tmp_path / "app").mkdir()
    (tmp_path / "index.html").write_text("<p>mine</p>")
    (tmp_path / "app" / "main.js").write_text("1")
    (tmp_path / ".secret").write_text("no")
    async with serving(web=str(tmp_path)) as server:
        assert (await get(server, "/"))[2] == b"<p>mine</p>"
        assert (await get(server, "/app/main.js"))[1]["content-type"] == "text/javascript; charset=utf-8"
        assert (await get(server, "/.secret"))[0] == 404


async def test_a_server_with_keys_lets_nobody_in_without_one() -> None:
    async with serving(keyring=KEYS) as server:
        for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic correct-horse-battery"}):
            with pytest.raises(InvalidStatus) as refused:
                async with client(server, additional_headers=headers):
                    pass
            assert refused.value.response.status_code == 401
            assert json.loads(refused.value.response.body)["error"]["code"] == "invalid_api_key"
        for path in ("/metrics", "/v1/models"):
            assert (await get(server, path))[0] == 401
            assert (await get(server, path, Authorization="Bearer another-key-of-his"))[0] == 200
        assert (await get(server, "/healthz"))[0] == 200


async def test_a_browser_brings_its_key_as_a_subprotocol_and_never_gets_it_back() -> None:
    async with serving(keyring=KEYS) as server:
        for path, name, prefix in (
            ("/v1/realtime?model=x", "realtime", "openai-insecure-api-key."),
            ("/v1/omni", "omni.v1", "omni-key."),
        ):
            offered = [Subprotocol(name), Subprotocol(prefix + "correct-horse-battery")]
            async with client(server, path, subprotocols=offered) as one:
                assert one.socket.subprotocol == name


async def test_a_subprotocol_is_answered_only_when_it_is_offered() -> None:
    async with serving() as server:
        async with client(server) as one:
            assert one.socket.subprotocol is None
        async with client(server, subprotocols=[Subprotocol("openai-agents-sdk.1"), Subprotocol("omni.v1")]) as one:
            assert one.socket.subprotocol == "omni.v1"


async def test_offered_compression_is_declined() -> None:
    async with serving() as server, client(server, compression="deflate") as one:
        assert "Sec-WebSocket-Extensions" not in one.socket.response.headers  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("origin", "enters"),
    [(None, True), ("http://127.0.0.1:{port}", True), ("http://evil.example", False), ("null", False),
     ("https://friend.example", True), ("http://127.0.0.1:1", False)],
)  # fmt: skip
async def test_pages_of_strangers_do_not_connect(origin: str | None, enters: bool) -> None:
    async with serving(limits=Limits(origins=("https://friend.example",))) as server:
        where = None if origin is None else Origin(origin.format(port=server.port))
        expected = nullcontext() if enters else pytest.raises(InvalidStatus, match="403")
        with expected:
            async with client(server, origin=where) as one:
                await one.until("opened")


async def test_a_full_engine_says_when_to_come_again(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(EchoEngine(sessions=1)) as server, client(server) as first:
        await first.until("opened")
        with pytest.raises(InvalidStatus) as refused:
            async with client(server):
                pass
        assert refused.value.response.status_code == 503
        assert int(refused.value.response.headers["Retry-After"]) >= 1
        async with client(server, origin=Origin(f"http://127.0.0.1:{server.port}")) as browser:
            assert (await browser.next())["code"] == "full"
            with pytest.raises(ConnectionClosed) as closed:
                await browser.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1013
        assert len([record for record in caplog.records if "not let in" in record.message]) == 2


async def test_a_key_and_an_address_have_so_many_connections() -> None:
    async with serving(keyring=KEYS, limits=Limits(per_key=1, per_address=2)) as server:
        anna, ben = ({"Authorization": f"Bearer {key}"} for key in ("correct-horse-battery", "another-key-of-his"))
        async with client(server, additional_headers=anna):
            with pytest.raises(InvalidStatus) as refused:
                async with client(server, additional_headers=anna):
                    pass
            assert refused.value.response.status_code == 429
            async with client(server, additional_headers=ben):
                assert server.gateway.admission.inside == 2
        await until(lambda: server.gateway.admission.inside == 0)
        async with client(server, additional_headers=anna):
            pass


async def test_a_session_has_its_longest_time() -> None:
    async with serving(limits=Limits(session_s=0.1)) as server, client(server, "/v1/realtime?model=x") as one:
        found = await one.until("error")
        assert found[-1]["error"]["code"] == "session_expired"
        with pytest.raises(ConnectionClosed):
            await one.next()


@pytest.mark.parametrize("where", ["in time", "in a message"])
async def test_a_fault_inside_the_server_closes_with_1011(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    async with serving() as server, client(server, "/v1/omni?resume=new") as one:
        await one.until("opened")
        (talk,) = server.talks
        if where == "in time":
            talk.session.failed(RuntimeError("a test"))
        else:
            monkeypatch.setattr(talk.session, "handle", None)
            await one.say("respond")
        with pytest.raises(ConnectionClosed) as closed:
            await one.until("nothing that there is")
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1011
        await until(lambda: not server.talks)


async def test_an_engine_waits_for_a_client_that_does_not_read_and_the_client_is_cut_off_in_the_end() -> None:
    engine = ScriptedEngine([Speak(3_600.0)])
    quick = Socket(send_bytes=20_000, slow_reader_s=0.2, close_s=0.2)
    async with serving(engine, socket=quick) as server:
        async with client(server, max_queue=1, ping_interval=None) as one:
            await one.say("configure", turns={"by": "client"}, audio_out={"type": "pcm16", "rate": 48_000})
            await one.say("say", text="go on")
            await one.say("respond")
            await until(lambda: not server.talks)
        assert (
            server.metrics.traffic.bytes["out"] < 8 << 20
        )  # what buffers of the kernel and the client take, out of 345 MB
        page = server.metrics.page()[0].decode()
        assert 'omni_sessions_ended_total{reason="slow reader"} 1.0' in page


async def test_who_pings_and_does_not_read_fills_no_memory_and_is_cut_off() -> None:
    quick = Socket(send_bytes=20_000, slow_reader_s=0.5, close_s=0.2)
    async with serving(socket=quick) as server, connect(f"ws://127.0.0.1:{server.port}/v1/omni", max_queue=1) as one:
        await one.recv()
        one.transport.pause_reading()
        most = 0

        async def ping() -> None:
            nonlocal most
            for number in range(100_000):
                await one.send('{"type":"ping","t":1.5}')
                if number % 500 == 0:
                    await asyncio.sleep(0)
                    most = max(most, *(c.transport.get_write_buffer_size() for c in server._connections), 0)

        pinging = asyncio.create_task(ping())
        await until(lambda: not server.talks)
        pinging.cancel()
        await asyncio.gather(pinging, return_exceptions=True)
        assert most < 400_000
        one.transport.abort()


async def test_a_client_that_is_dead_is_missed() -> None:
    async with serving(socket=replace(QUICK.socket, heartbeat_s=0.1, heartbeat_patience_s=0.1)) as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(
            b"GET /v1/omni HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        assert b" 101 " in await reader.readline()
        await until(lambda: len(server.talks) == 1)
        await until(lambda: not server.talks, seconds=3)
        writer.close()


@pytest.mark.parametrize("abrupt", [True, False])
async def test_a_client_that_is_lost_while_its_messages_wait_is_missed_at_a_ping(abrupt: bool) -> None:
    limits = Limits(audio_burst_s=0.1, audio_speed=0.01)
    quick = replace(QUICK.socket, heartbeat_s=0.3, heartbeat_patience_s=0.3, close_s=0.2, receive_bytes=10_000)
    async with serving(limits=limits, socket=quick) as server, client(server, ping_interval=None) as one:
        await one.until("opened")
        for _ in range(3):
            await one.sound(np.zeros(8_000, np.int16))
        (connection,) = server._connections
        await until(lambda: connection._held)
        if abrupt:
            one.socket.transport.abort()
        else:
            one.socket.transport.close()
        await until(lambda: not server.talks and not server.gateway.admission.inside, seconds=3)


async def test_a_drain_lets_an_answer_end_and_nobody_in() -> None:
    engine = ScriptedEngine([Say("one"), Say("two", after=0.3)])
    async with serving(engine) as server, client(server) as talking, client(server) as idle:
        for one in (talking, idle):
            await one.until("opened")
        await talking.say("configure", turns={"by": "client"}, speaks=False)
        await talking.say("say", text="count")
        await talking.say("respond")
        await talking.until("text")
        draining = asyncio.create_task(server.drain(5.0))
        assert (await talking.until("answer_done"))[-1]["status"] == "completed"
        assert (await talking.next())["type"] == "measured"
        for one in (talking, idle):
            with pytest.raises(ConnectionClosed) as closed:
                await one.next()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        await asyncio.wait_for(draining, 2)
        assert (await get(server, "/healthz"))[0] == 200
        assert (await get(server, "/readyz"))[0] == 503
        with pytest.raises(InvalidStatus) as refused:
            async with client(server):
                pass
        assert refused.value.response.status_code == 503


async def test_a_drain_does_not_wait_for_ever() -> None:
    async with serving(ScriptedEngine([Say("one"), Hang()])) as server, client(server) as one:
        await one.say("configure", turns={"by": "client"}, speaks=False)
        await one.say("respond")
        await one.until("text")
        begin = asyncio.get_running_loop().time()
        await server.drain(0.2)
        await server.close()
        assert asyncio.get_running_loop().time() - begin < 3


async def test_a_drain_does_not_wait_for_a_client_that_is_gone_and_cannot_come_back() -> None:
    async with serving(ScriptedEngine([Say("one"), Hang()]), resume=Resume(grace_s=20.0)) as server:
        async with client(server, "/v1/omni?resume=new") as one:
            await one.say("configure", turns={"by": "client"}, speaks=False)
            await one.say("respond")
            await one.until("text")
            draining = asyncio.create_task(server.drain(20.0))
            await asyncio.sleep(0)
            one.socket.transport.abort()
        await asyncio.wait_for(draining, 5)
        assert server.parking.waiting == 0
