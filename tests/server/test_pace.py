"""Sound that comes faster than it may is taken later, whichever way it comes."""

import asyncio
import json
from typing import Any

import pytest

from omni.engine.clock import LoopClock
from omni.engine.scripted import Say, ScriptedEngine
from omni_server.dialects.dialect import WireLimits
from omni_server.dialects.realtime.wire import RealtimeWire
from omni_server.limits.pace import Pace
from omni_server.session.session import Session
from omni_server.session.settings import SessionSettings
from omni_server.settings import Limits
from omni_server.transport.connection import Connection
from omni_server.transport.talk import Talk
from tests.server.loopback import until
from tests.server.loud_is_speech import LoudIsSpeech
from tests.server.realtime_talk import pcm, silence
from tests.server.wire_bytes import masked, opened
from tests.virtual_time import run

TEXT = 0x1


class Usual(Connection):
    largest = Limits().message_bytes


def appended(seconds: float) -> dict[str, Any]:
    return {"type": "input_audio_buffer.append", "audio": pcm(silence(seconds))}


def item(seconds: float) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [{"type": "input_audio", "audio": pcm(silence(seconds))}]}


def in_an_item(seconds: float) -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": item(seconds)}


def in_the_input_of_a_response(seconds: float) -> dict[str, Any]:
    return {"type": "response.create", "response": {"conversation": "none", "input": [item(seconds)]}}


async def seconds_until_all_is_taken(pace: Pace, *events: dict[str, Any]) -> float:
    """All of it comes at once over one connection, and a word behind it."""
    loop = asyncio.get_running_loop()
    engine, dialect = ScriptedEngine(*([Say("hi")] for _ in events)), RealtimeWire().open({}, WireLimits())
    session = await Session.open(engine, dialect.setup, SessionSettings(), LoopClock(), LoudIsSpeech())
    connection, pipe = opened(Usual)
    talk = Talk(session, dialect, LoopClock(), pace)
    carrying = asyncio.create_task(talk.carry(connection))
    await asyncio.sleep(0)
    began = loop.time()
    for event in (*events, {"type": "response.cancel", "event_id": "the last"}):
        connection.data_received(masked(TEXT, json.dumps(event).encode()))
    await until(lambda: b"the last" in pipe.written, 60)  # it is answered with an error that names it
    took = loop.time() - began
    connection.connection_lost_waiter.set_result(None)
    await carrying
    await talk.gone()
    await engine.close()
    return took


@pytest.mark.parametrize("way", [appended, in_an_item, in_the_input_of_a_response])
def test_sound_beyond_the_burst_makes_what_comes_after_it_wait(way: Any) -> None:
    took = run(seconds_until_all_is_taken(Pace(burst=1.0, speed=2.0), *(way(0.5) for _ in range(6))))
    assert took == pytest.approx((6 * 0.5 - 1.0) / 2.0, abs=0.06)


def test_with_the_limits_as_they_are_a_history_of_long_turns_does_not_wait() -> None:
    usual = Limits()
    events = [in_an_item(30.0) for _ in range(4)]
    assert run(seconds_until_all_is_taken(Pace(usual.audio_burst_s, usual.audio_speed), *events)) < 0.1
