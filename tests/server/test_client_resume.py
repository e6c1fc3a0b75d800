"""A client whose network goes away for a moment: the same session, nothing lost and nothing twice."""

import asyncio

import numpy as np
import pytest

from omni.engine.scripted import Hang, Say, ScriptedEngine, Speak
from omni_server.client import connect, events
from omni_server.client.blocking import connect as connect_blocking
from omni_server.client.link import Socket
from omni_server.client.refusals import Lost
from omni_server.client.talk import Talk
from tests.server.close_to_server import question
from tests.server.loopback import serving
from tests.server.threaded_server import threaded_server


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
