"""Whoever reads slowly, or not at all, can interrupt all the same, and fills no memory."""

import asyncio

import numpy as np
import pytest

from omni.engine.scripted import Hang, Say, ScriptedEngine, Speak
from omni_server.session.settings import SessionSettings
from omni_server.settings import Socket
from tests.server.loopback import client, serving, until
from tests.server.realtime_talk import Talk, silence, talk, tone
from tests.virtual_time import run

LONG = [Say("On and on."), Speak(60.0)]


async def heard_for(t: Talk, seconds: float) -> None:
    """An answer, and so many seconds of it."""
    await t.send("response.create")
    await t.until("response.output_audio.delta")
    await asyncio.sleep(seconds)


def sound_behind(t: Talk, kind: str) -> int:
    """How many pieces of it came behind the first event of that type."""
    kinds = [event["type"] for event in t.events]
    return kinds[kinds.index(kind) :].count("response.output_audio.delta")


@pytest.mark.parametrize("slowness", [1.0, 2.0])
def test_a_cancel_does_not_wait_for_a_slow_wire(slowness: float) -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(LONG), slowness=slowness) as t:
            await heard_for(t, 2.0)
            begin = asyncio.get_running_loop().time()
            await t.send("response.cancel")
            done = await t.until("response.done")
            assert asyncio.get_running_loop().time() - begin < 0.1
            assert done["response"]["status"] == "cancelled"

    run(main())


@pytest.mark.parametrize("after", [2.0, 2.02, 2.04, 2.06])
@pytest.mark.parametrize("seconds", [60.0, 9.0])  # the engine waits for the wire, or has made all of it
def test_a_voice_interrupts_what_waits_for_a_slow_wire(seconds: float, after: float) -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("On and on."), Speak(seconds)], [Hang()]), slowness=2.0) as t:
            await heard_for(t, after)
            begin = asyncio.get_running_loop().time()
            await t.say(tone(0.2), piece=0.02)
            await t.until("input_audio_buffer.speech_started")
            assert asyncio.get_running_loop().time() - begin < 0.3
            await asyncio.sleep(20.0)
        assert sound_behind(t, "input_audio_buffer.speech_started") == 0

    run(main())


def test_who_speaks_and_does_not_read_fills_no_memory() -> None:
    async def main() -> None:
        few = SessionSettings(outbox_events=16)
        async with talk(ScriptedEngine([Say("a"), Speak(1.0)]), settings=few, slowness=1e6) as t:

            async def speak() -> None:
                while True:
                    await t.say(tone(0.4))
                    await t.say(silence(0.8))

            speaking = asyncio.create_task(speak())
            most = 0
            for _ in range(600):
                await asyncio.sleep(0.1)
                most = max(most, len(t.session._outbox._events))
            speaking.cancel()
        assert few.outbox_events < most < 3 * few.outbox_events

    run(main())


async def test_a_cancel_and_sound_reach_the_session_of_a_client_whose_socket_is_clogged() -> None:
    patient = Socket(send_bytes=20_000, slow_reader_s=30.0, close_s=0.2)
    async with serving(ScriptedEngine([Speak(3_600.0)]), socket=patient) as server, client(server, max_queue=1) as one:
        await one.say("configure", turns={"by": "client"}, audio_out={"type": "pcm16", "rate": 48_000})
        await one.say("respond")
        (talk,) = server.talks
        link, went = talk._link, 0
        assert link is not None
        one.socket.transport.pause_reading()
        while not talk._held_up or went != link.went:
            went = link.went
            await asyncio.sleep(0.3)
        await one.say("ping", t=1.0)
        await one.sound(np.zeros(8_000, np.int16))
        await until(lambda: talk.session.core.listening.audio.position > 0, seconds=1.0)
        await one.say("cancel")
        await until(lambda: talk.session.core.answers.active is None, seconds=1.0)
        assert link.clogged
        one.socket.transport.abort()
