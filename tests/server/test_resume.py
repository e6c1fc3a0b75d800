"""A lost connection: the client comes back with its token, and has everything once and in order."""

import asyncio
import json
import struct
from contextlib import AsyncExitStack
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from omni.engine.scripted import Say, ScriptedEngine
from omni_server.limits.keys import Keyring
from omni_server.server import Server
from omni_server.settings import Limits, Resume
from omni_server.transport.journal import Journal, Lost
from omni_server.transport.parking import NoSuchSession, Parking
from tests.server.loopback import client, serving, until

WORDS = [f"word {n} " for n in range(40)]


class Traveller:
    """A client that loses its connection, and counts what it has as docs/server.md says."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.token = "new"
        self.got: list[Any] = []  # of the session, without the transport's own
        self.handled = 0  # of its own messages, as the server says
        self.said: list[str | bytes] = []
        self.socket: Any = None

    async def arrive(self) -> dict[str, Any]:
        path = f"/v1/omni?resume={self.token}&received={len(self.got)}"
        self.socket = await connect(f"ws://127.0.0.1:{self.server.port}{path}", open_timeout=5)
        first = json.loads(await self.socket.recv())
        self.token = first["token"]
        self.handled = first.get("received", 0)
        for message in self.said[self.handled :]:  # what the server has not handled is said again
            await self.socket.send(message)
        return dict(first)

    async def say(self, kind: str, **about: Any) -> None:
        self.said.append(json.dumps({"type": kind, **about}))
        await self.socket.send(self.said[-1])

    async def sound(self, seconds: float) -> None:
        """One frame of silence; only the first of a session is numbered right."""
        self.said.append(struct.pack("<BBHIQ", 1, 0, 0, 0, 0) + bytes(2 * round(16_000 * seconds)))
        await self.socket.send(self.said[-1])

    async def hear(self) -> Any:
        message = await asyncio.wait_for(self.socket.recv(), 5)
        self.got.append(json.loads(message) if isinstance(message, str) else message)
        return self.got[-1]

    def lose(self) -> None:
        """As when a phone leaves the house: no closing handshake."""
        self.socket.transport.abort()


def words(got: list[Any]) -> list[str]:
    return [message["text"] for message in got if message["type"] == "text"]


async def ask(one: Traveller) -> None:
    await one.say("configure", turns={"by": "client"}, speaks=False)
    await one.say("say", text="count")
    await one.say("respond")


@pytest.mark.parametrize("every", [1, 2, 3, 7])
async def test_a_client_that_loses_its_connection_every_few_messages_gets_everything_once(every: int) -> None:
    engine = ScriptedEngine([Say(word) for word in WORDS])
    async with serving(engine) as server:
        one = Traveller(server)
        await one.arrive()
        await ask(one)
        while not one.got or one.got[-1]["type"] != "answer_done":
            await one.hear()
            if len(one.got) % every == 0:
                one.lose()
                await one.arrive()
        assert words(one.got) == WORDS
        assert [message["type"] for message in one.got].count("answer_started") == 1
        assert [message["type"] for message in one.got].count("configured") == 1
        await one.socket.close()
        await until(lambda: not server.talks)


async def test_an_answer_goes_on_while_nobody_is_there_and_is_there_when_the_client_comes_back() -> None:
    async with serving(ScriptedEngine([Say(word, after=0.005) for word in WORDS])) as server:
        one = Traveller(server)
        await one.arrive()
        await ask(one)
        while not words(one.got):
            await one.hear()
        one.lose()
        await until(lambda: server.parking.waiting == 1)
        (talk,) = server.talks
        await until(lambda: talk.answering == 0)
        assert (await one.arrive())["type"] == "transport.resumed"
        while one.got[-1]["type"] != "answer_done":
            await one.hear()
        assert words(one.got) == WORDS
        await one.socket.close()


async def test_what_was_on_its_way_to_the_server_is_said_again_by_its_count() -> None:
    async with serving(ScriptedEngine([Say("yes")])) as server:
        one = Traveller(server)
        await one.arrive()
        await one.say("configure", turns={"by": "client"}, speaks=False)
        for n in range(50):
            await one.say("say", text=f"item {n}", id=f"item_{n}")
        one.lose()  # some of them are lost, nobody knows how many
        back = await one.arrive()
        assert 0 <= back["received"] <= 51
        await one.say("respond")
        while not one.got or one.got[-1]["type"] != "answer_done":
            await one.hear()
        added = [m["item"]["id"] for m in one.got if m["type"] == "item_added" and m["item"]["role"] == "user"]
        assert added == [f"item_{n}" for n in range(50)]
        assert not [m for m in one.got if m["type"] == "error"]
        await one.socket.close()


@pytest.mark.parametrize("missed", [True, False])
async def test_a_message_that_is_being_handled_when_the_connection_is_lost_is_handled_once(missed: bool) -> None:
    slow = Limits(audio_burst_s=0.1, audio_speed=1.0)  # what comes after the sound waits for 0.4 s
    async with serving(ScriptedEngine([Say("yes")]), limits=slow) as server:
        one = Traveller(server)
        await one.arrive()
        await one.say("configure", turns={"by": "client"}, speaks=False)
        await one.sound(0.5)
        await one.say("say", text="first", id="item_1")
        (talk,) = server.talks
        await until(lambda: talk.session.core.listening.audio.position > 0)
        await asyncio.sleep(0.05)
        if missed:
            one.lose()
            await until(lambda: server.parking.waiting == 1, seconds=0.3)  # though a message is being handled
        await one.arrive()
        await one.say("say", text="second", id="item_2")
        await asyncio.sleep(0.5)  # whoever still handles something is done
        await one.say("respond")
        while not one.got or one.got[-1]["type"] != "answer_done":
            await one.hear()
        added = [m["item"]["id"] for m in one.got if m["type"] == "item_added" and m["item"]["role"] == "user"]
        assert added == ["item_1", "item_2"]
        assert not [m for m in one.got if m["type"] == "error"]
        one.lose()
        assert (await one.arrive())["received"] == len(one.said)
        await one.socket.close()


async def test_a_token_is_not_used_up_by_what_came_over_the_connection_before() -> None:
    async with serving(limits=Limits(audio_burst_s=0.1, audio_speed=1.0)) as server:
        one = Traveller(server)
        await one.arrive()
        await one.sound(0.5)
        await one.say("ping", t=1)
        (talk,) = server.talks
        await until(lambda: talk.session.core.listening.audio.position > 0)
        await asyncio.sleep(0.05)
        first = one.token
        await one.arrive()  # the token that this brings may be lost with its connection
        while not one.got or one.got[-1]["type"] != "pong":
            await one.hear()
        one.token = first
        await one.arrive()
        await one.socket.close()


async def test_nobody_comes_back_and_the_place_in_the_engine_is_free_after_the_grace_period() -> None:
    engine = ScriptedEngine([Say("yes")], sessions=1)
    async with serving(engine, resume=Resume(grace_s=0.3)) as server:
        one = Traveller(server)
        await one.arrive()
        one.lose()
        await until(lambda: server.parking.waiting == 1)
        assert len(engine._open) == 1
        await until(lambda: not server.talks, seconds=2)
        assert not engine._open
        with pytest.raises(InvalidStatus) as gone:
            await one.arrive()
        assert gone.value.response.status_code == 410


async def test_a_client_that_says_goodbye_is_not_waited_for() -> None:
    async with serving(resume=Resume(grace_s=60)) as server:
        one = Traveller(server)
        await one.arrive()
        await one.socket.close(1000)
        await until(lambda: not server.talks, seconds=2)


async def test_a_client_that_did_not_ask_to_resume_is_not_waited_for() -> None:
    async with serving(resume=Resume(grace_s=60)) as server, AsyncExitStack() as stack:
        one = await stack.enter_async_context(client(server))
        await one.until("opened")
        one.socket.transport.abort()
        await until(lambda: not server.talks, seconds=2)


async def test_what_waits_of_a_client_that_is_gone_for_good_is_not_handled_any_more() -> None:
    slow = Limits(audio_burst_s=0.1, audio_speed=0.1)
    async with serving(limits=slow) as server, AsyncExitStack() as stack:
        one = await stack.enter_async_context(client(server))
        for _ in range(20):
            await one.sound(np.zeros(8_000, np.int16))
        (talk,) = server.talks
        await until(lambda: talk.received > 1)
        one.socket.transport.abort()
        await until(lambda: not server.talks and not server.gateway.admission.inside, seconds=1)
        assert talk.received == 2


async def test_a_client_comes_back_before_its_old_connection_is_missed() -> None:
    async with serving() as server:
        one = Traveller(server)
        await one.arrive()
        await one.hear()
        old = one.socket
        await one.arrive()
        await old.wait_closed()
        await one.say("ping", t=1)
        assert (await one.hear())["type"] == "pong"
        assert len(server.talks) == 1
        await one.socket.close()


async def test_a_token_is_good_once_and_the_one_before_until_the_new_one_was_used() -> None:
    async with serving() as server:
        one = Traveller(server)
        await one.arrive()
        await one.hear()
        first = one.token
        one.lose()
        await one.arrive()
        second = one.token
        assert second != first
        one.lose()  # the second token may never have arrived: the first is still good
        one.token = first
        await one.arrive()
        await one.say("ping", t=1)
        await one.hear()
        for used in (first, second):
            stranger = Traveller(server)
            stranger.token = used
            with pytest.raises(InvalidStatus):
                await stranger.arrive()
        await one.socket.close()


async def test_a_client_that_never_gets_its_new_token_comes_back_with_the_one_it_has() -> None:
    async with serving() as server:
        one = Traveller(server)
        await one.arrive()
        await one.hear()
        one.lose()
        for _ in range(3):
            await until(lambda: server.parking.waiting == 1)
            path = f"/v1/omni?resume={one.token}&received={len(one.got)}"
            socket = await connect(f"ws://127.0.0.1:{server.port}{path}", open_timeout=5)
            socket.transport.abort()  # before it has read anything
        await one.arrive()
        await one.say("ping", t=1)
        assert (await one.hear())["type"] == "pong"
        await one.socket.close()


async def test_a_token_of_somebody_else_resumes_nothing() -> None:
    keyring = Keyring.of([("anna", "correct-horse-battery"), ("ben", "another-key-of-his")])
    async with serving(keyring=keyring) as server:
        anna = {"Authorization": "Bearer correct-horse-battery"}
        async with client(server, "/v1/omni?resume=new", additional_headers=anna) as one:
            token = (await one.next())["token"]
            ben = {"Authorization": "Bearer another-key-of-his"}
            with pytest.raises(InvalidStatus) as refused:
                async with client(server, f"/v1/omni?resume={token}", additional_headers=ben):
                    pass
            assert refused.value.response.status_code == 410


async def test_a_client_that_claims_more_than_was_sent_is_refused() -> None:
    async with serving() as server:
        one = Traveller(server)
        await one.arrive()
        await one.hear()
        for received in ("99", "-1", "many"):
            with pytest.raises(InvalidStatus):
                async with client(server, f"/v1/omni?resume={one.token}&received={received}"):
                    pass
        await one.socket.close()


async def test_the_other_dialect_resumes_the_same_way() -> None:
    async with serving() as server, AsyncExitStack() as stack:
        one = await stack.enter_async_context(client(server, "/v1/realtime?model=x&resume=new"))
        token = (await one.next())["token"]
        created = await one.next()
        assert created["type"] == "session.created"
        one.socket.transport.abort()
        async with client(server, f"/v1/realtime?resume={token}&received=0") as again:
            assert (await again.next())["type"] == "transport.resumed"
            assert await again.next() == created


async def test_an_engine_waits_when_the_journal_is_full_and_nobody_reads() -> None:
    many = [Say("x" * 200) for _ in range(2_000)]
    async with serving(ScriptedEngine(many), resume=Resume(grace_s=5, journal_bytes=20_000)) as server:
        one = Traveller(server)
        await one.arrive()
        await ask(one)
        while not words(one.got):
            await one.hear()
        one.lose()
        await until(lambda: server.parking.waiting == 1)
        (talk,) = server.talks
        assert talk.journal is not None
        await until(lambda: talk.journal is not None and talk.journal.full)
        sent = talk.journal.sent
        for _ in range(50):
            await asyncio.sleep(0)
        assert talk.journal.sent == sent < 1_900
        try:
            await one.arrive()
        except InvalidStatus:  # buffers on the way held more than the journal keeps
            return
        while one.got[-1]["type"] != "answer_done":
            await one.hear()
        assert len(words(one.got)) == 2_000
        await one.socket.close()


# Its parts


@settings(deadline=None, max_examples=200)
@given(st.lists(st.text(max_size=30), max_size=60), st.integers(100, 2_000), st.integers(-3, 70))
def test_a_journal_gives_the_rest_or_says_that_it_is_lost(sent: list[str], limit: int, received: int) -> None:
    journal = Journal(limit)
    for message in sent:
        journal.add(message)
        assert journal._bytes == sum(len(m.encode()) + 64 for m in journal._kept)
        assert journal._bytes <= limit or len(journal._kept) == 1
    try:
        rest = journal.after(received)
    except Lost:
        assert not 0 <= received <= len(sent) or sum(len(m.encode()) + 64 for m in sent[received:]) > limit
    else:
        assert rest == sent[received:]


async def test_only_so_many_sessions_wait() -> None:
    parking: Parking[str] = Parking(places=1, grace=60)
    first, second = parking.issue("a", "x", "A"), parking.issue("b", "x", "B")
    assert parking.park(first, lambda: None)
    assert not parking.park(second, lambda: None)
    parking.forget(first)
    assert parking.park(second, lambda: None)
    with pytest.raises(NoSuchSession):
        parking.find("a." + first._secret, "x")
    parking.give_up_all()
    assert parking.waiting == 0


def test_the_journal_counts_sound_as_well() -> None:
    journal = Journal(1_000)
    journal.add(np.zeros(600, np.uint8).tobytes())
    journal.add(np.zeros(600, np.uint8).tobytes())
    assert journal.sent == 2
    with pytest.raises(Lost, match="the last 1 are still there"):
        journal.after(0)


async def test_what_is_pushed_out_of_the_journal_at_the_last_moment_leaves_a_session_that_still_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with serving(ScriptedEngine([Say("ok")]), resume=Resume(grace_s=30)) as server:
        traveller = Traveller(server)
        await traveller.arrive()
        await traveller.hear()
        traveller.socket.transport.abort()
        await until(lambda: server.parking.waiting == 1)
        (talk,) = server.talks
        assert talk.journal is not None
        after, asked = talk.journal.after, 0

        def gone(received: int) -> Any:
            nonlocal asked
            asked += 1
            if asked == 2:  # the first is at the door
                raise Lost("it is not kept any more")
            return after(received)

        monkeypatch.setattr(talk.journal, "after", gone)
        other = await connect(f"ws://127.0.0.1:{server.port}/v1/omni?resume={traveller.token}&received=1")
        with pytest.raises(ConnectionClosed):
            await asyncio.wait_for(other.recv(), 5)
        assert other.close_code == 1008
        assert server.parking.waiting == 1
        await traveller.arrive()
        assert server.parking.waiting == 0
        await traveller.socket.close()
