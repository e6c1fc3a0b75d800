"""Client secrets: what a web page may bring instead of a key. Asked for by the published package and by hand."""

import asyncio
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import AsyncOpenAI, BadRequestError
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection
from websockets.exceptions import InvalidStatus
from websockets.typing import Subprotocol

from omni_server.limits.client_secrets import ClientSecrets, TooManySecrets
from omni_server.limits.keys import Keyring
from omni_server.server import Server
from tests.server.loopback import PATIENCE, get, serving

KEY = "correct-horse-battery"
KEYRING = Keyring.of([("anna", KEY)])
ADDRESS = "/v1/realtime/client_secrets"


def request(body: bytes, path: str = ADDRESS, key: str | None = KEY, **headers: str) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"content-length: {len(body)}"]
    lines += [] if key is None else [f"Authorization: Bearer {key}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def raw(server: Server, pieces: Sequence[bytes]) -> bytes:
    """All that comes for a request in pieces."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0)
        async with asyncio.timeout(PATIENCE):
            return await reader.read()
    finally:
        writer.close()


async def answered(server: Server, pieces: Sequence[bytes]) -> tuple[int, dict[str, Any]]:
    """The status and the JSON of an answer."""
    head, _, body = (await raw(server, pieces)).partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body) if body.startswith(b"{") else {}


def package(server: Server) -> AsyncOpenAI:
    return AsyncOpenAI(api_key=KEY, base_url=f"http://127.0.0.1:{server.port}/v1", max_retries=0)


async def first(server: Server, path: str = "/v1/realtime", **options: Any) -> Any:
    """The first message of a websocket."""
    async with connect(f"ws://127.0.0.1:{server.port}{path}", open_timeout=PATIENCE, **options) as socket:
        return json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))


async def test_the_published_package_makes_one_and_a_page_opens_the_session_with_it() -> None:
    async with serving(keyring=KEYRING) as server:
        async with package(server) as client:
            made = await client.realtime.client_secrets.create(
                expires_after={"anchor": "created_at", "seconds": 60},
                session={"type": "realtime", "model": "tiny", "instructions": "Be brief.",
                         "output_modalities": ["text"],
                         "audio": {"input": {"turn_detection": {"type": "semantic_vad"}}}},
            )  # fmt: skip
        assert made.value.startswith("ek_")
        assert made.session.type == "realtime"
        assert made.session.instructions == "Be brief."
        offered = [Subprotocol("realtime"), Subprotocol(f"openai-insecure-api-key.{made.value}")]
        for options in ({"subprotocols": offered}, {"additional_headers": {"Authorization": f"Bearer {made.value}"}}):
            created = await first(server, "/v1/realtime?model=other", **options)
            session = created["session"]
            assert created["type"] == "session.created"
            assert (session["model"], session["instructions"]) == ("tiny", "Be brief.")
            assert session["output_modalities"] == ["text"]
            assert session["audio"]["input"]["turn_detection"]["type"] == "semantic_vad"


async def test_the_published_package_makes_one_for_a_transcription() -> None:
    async with serving() as server:
        async with package(server) as client:
            made = await client.realtime.client_secrets.create(session={"type": "transcription"})
        assert made.session.type == "transcription"
        headers = {"Authorization": f"Bearer {made.value}"}
        assert (await first(server, additional_headers=headers))["session"]["type"] == "transcription"


async def test_the_published_package_is_told_which_field_is_wrong() -> None:
    async with serving(keyring=KEYRING) as server, package(server) as client:
        with pytest.raises(BadRequestError) as refused:
            await client.realtime.client_secrets.create(expires_after={"anchor": "created_at", "seconds": 5})
    assert refused.value.param == "expires_after.seconds"
    assert "10" in refused.value.message


async def test_a_secret_opens_sessions_of_its_wire_and_nothing_else() -> None:
    async with serving(keyring=KEYRING) as server:
        _, made = await answered(server, [request(b"")])
        secret = made["value"]
        assert (await answered(server, [request(b"", key=secret)]))[0] == 401
        assert (await get(server, "/metrics", Authorization=f"Bearer {secret}"))[0] == 401
        headers = {"Authorization": f"Bearer {secret}"}
        assert (await first(server, additional_headers=headers))["type"] == "session.created"
        with pytest.raises(InvalidStatus) as refused:
            await first(server, "/v1/omni", additional_headers=headers)
        assert refused.value.response.status_code == 401
        with pytest.raises(InvalidStatus) as refused:
            await first(server, additional_headers={"Authorization": f"Bearer {secret}x"})
        assert refused.value.response.status_code == 401


@pytest.mark.parametrize(
    ("sent", "status", "code", "param"),
    [
        (request(b"{}", key=None), 401, "invalid_api_key", None),
        (request(b"{}", Origin="http://evil.example"), 403, "origin", None),
        (request(b"{", key=KEY), 400, "invalid_json", None),
        (request(b"\xff", key=KEY), 400, "invalid_json", None),
        (request(b"[" * 100_000, key=KEY), 400, "invalid_json", None),
        (request(b"[]", key=KEY), 400, "invalid_type", "body"),
        (request(b'{"session": {}}', key=KEY), 400, "missing_required_parameter", "session.type"),
        (request(b'{"session": {"type": "realtime", "model": 3}}'), 400, "invalid_type", "session.model"),
        (request(b'{"session": {"type": "other"}}'), 400, "invalid_value", "session.type"),
        (request(b'{"expires_after": {"anchor": "now"}}'), 400, "invalid_value", "expires_after.anchor"),
    ],
)
async def test_what_is_wrong_is_said(sent: bytes, status: int, code: str, param: str | None) -> None:
    async with serving(keyring=KEYRING) as server:
        found, body = await answered(server, [sent])
    error = body["error"]
    assert (found, error["code"], error.get("param")) == (status, code, param)


async def test_nothing_else_is_taken() -> None:
    async with serving() as server:
        assert (await answered(server, [request(b"{}", "/v1/realtime")]))[0] == 405
        assert (await answered(server, [request(b"", "/healthz")]))[0] == 405
        long = request(b"").replace(b"content-length: 0", b"content-length: 2000000")
        assert (await answered(server, [long]))[0] == 413
        wide = [b"POST / HTTP/1.1\r\na: " + b"b" * 20_000 + b"\r\n\r\n"]
        assert b" 200 " not in await raw(server, wide)  # as the library does it with such a GET


@settings(max_examples=40, deadline=None)
@given(cuts=st.lists(st.integers(0, 240), max_size=12), begin=st.sampled_from(["realtime", "transcription"]))
def test_a_request_may_come_in_any_pieces(cuts: list[int], begin: str) -> None:
    whole = request(json.dumps({"session": {"type": begin}}).encode())
    edges = [0, *sorted(cut % len(whole) for cut in cuts), len(whole)]
    pieces = [whole[a:b] for a, b in pairwise(edges) if a < b]

    async def asked() -> tuple[int, dict[str, Any]]:
        async with serving(keyring=KEYRING) as server:
            return await answered(server, pieces)

    status, made = asyncio.run(asked())
    assert (status, made["session"]["type"]) == (200, begin)


async def test_the_library_sees_a_post_as_what_all_its_versions_take(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    take = ServerConnection.data_received
    monkeypatch.setattr(ServerConnection, "data_received", lambda self, data: (seen.append(data), take(self, data)))
    async with serving(keyring=KEYRING) as server:
        assert (await answered(server, [request(b"{}")]))[0] == 200
    (head,) = seen
    assert head.startswith(f"GET {ADDRESS} HTTP/1.1\r\n".encode())
    assert head.endswith(b"\r\n\r\n")
    assert b"content-length" not in head.lower()


async def test_a_handshake_whose_pieces_look_like_a_post_is_none() -> None:
    async with serving() as server:
        pieces = [b"GET /healthz HTTP/1.1\r\nHost: x\r\nA: ", b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"]
        assert await raw(server, pieces) == await raw(server, [b"".join(pieces)])
        assert (await answered(server, pieces))[0] == 200


async def test_a_session_is_resumed_with_the_secret_that_opened_it_however_old_it_is_and_nothing_else() -> None:
    now = 100.0
    async with serving(keyring=KEYRING) as server:
        server.gateway.secrets = ClientSecrets(now=lambda: now)
        made, other = [(await answered(server, [request(b"")]))[1]["value"] for _ in range(2)]
        opens = {"additional_headers": {"Authorization": f"Bearer {made}"}}
        stranger = {"additional_headers": {"Authorization": f"Bearer {other}"}}
        url = f"ws://127.0.0.1:{server.port}/v1/realtime"
        async with connect(f"{url}?resume=new", open_timeout=PATIENCE, **opens) as socket:
            token = json.loads(await asyncio.wait_for(socket.recv(), PATIENCE))["token"]
            socket.transport.abort()
        now = 10_000.0
        assert (await answered(server, [request(b"")]))[0] == 200  # and what is too old is forgotten
        tries = [("new", opens), ("", opens), (f"{token}x", opens), ("sess_x.y", opens), (token, stranger)]
        for resume, options in tries:
            with pytest.raises(InvalidStatus) as refused:
                await first(server, f"/v1/realtime?resume={resume}", **options)
            assert refused.value.response.status_code == 401
        with pytest.raises(InvalidStatus) as refused:
            await first(server, "/v1/realtime", **opens)
        assert refused.value.response.status_code == 401
        assert (await first(server, f"/v1/realtime?resume={token}", **opens))["type"] == "transport.resumed"


def test_secrets_end_and_are_so_many_at_most() -> None:
    now = 100.0
    held = ClientSecrets(most=2, now=lambda: now)

    def opens(*_about: object) -> Any:
        raise AssertionError("nobody opens one here")

    value, made = held.make("anna", "realtime", 10, opens)
    assert held.find(value) is made
    assert held.find(value[:-1]) is held.find("ek_") is held.find("") is held.find(None) is None
    held.make("anna", "realtime", 20, opens)
    with pytest.raises(TooManySecrets, match="2 client secrets"):
        held.make("anna", "realtime", 10, opens)
    held.make("bert", "realtime", 10, opens)
    now = 110.0
    assert held.find(value) is None
    held.make("anna", "realtime", 10, opens)


def test_no_value_is_kept() -> None:
    held = ClientSecrets()
    value, _ = held.make("anna", "realtime", 10, lambda *_about: None)  # type: ignore[arg-type, return-value]
    assert value not in repr(vars(held))
