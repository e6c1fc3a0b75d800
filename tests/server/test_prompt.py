"""The short way of sound: at once where nothing waits before it, and never out of its turn."""

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.engine.echo import EchoEngine
from omni.engine.outlet import Outlet
from omni.engine.protocol import AudioOut, Event, Origin, TextDelta
from omni.engine.scripted import Say, ScriptedEngine, Speak
from omni_server.settings import Limits
from tests.server.loopback import client, serving

ORIGIN = Origin("resp_1", 1)
SOUND = np.zeros(4, np.float32)


@settings(deadline=None, max_examples=200)
@given(st.lists(st.sampled_from(["text", "sound", "read", "busy", "free"]), max_size=40))
async def test_events_of_an_engine_keep_their_order_however_often_the_short_way_is_closed(steps: list[str]) -> None:
    outlet, seen, free = Outlet(), list[Event](), True

    def straight(event: AudioOut) -> bool:
        if free:
            seen.append(event)
        return free

    outlet.straight = straight
    outlet.confirm(ORIGIN)
    made: list[Event] = []
    for step in steps:
        if step in ("text", "sound"):
            made.append(TextDelta(ORIGIN, str(len(made))) if step == "text" else AudioOut(ORIGIN, SOUND + len(made)))
            assert outlet.offer(made[-1])
        elif step == "read" and len(seen) < len(made):
            seen.append(await anext(outlet))
        else:
            free = step != "busy"
    while len(seen) < len(made):
        seen.append(await anext(outlet))
    assert [id(event) for event in seen] == [id(event) for event in made]


async def test_words_and_sound_of_an_answer_come_in_the_order_in_which_they_were_made() -> None:
    script = [step for n in range(12) for step in (Say(f"{n} "), Speak(0.08))]
    async with serving(ScriptedEngine(script)) as server, client(server) as one:
        await one.say("configure", turns={"by": "client"})
        await one.say("say", text="count")
        await one.say("respond")
        found = [m for m in await one.until("answer_done") if m["type"] in ("text", 1) and m.get("payload") != b""]
        kinds = "".join("t" if m["type"] == "text" else "s" for m in found)
        assert kinds == "tss" * 12
        assert [m["sample"] for m in found if m["type"] == 1] == [640 * n for n in range(24)]


@pytest.mark.parametrize("burst", [1, 7, 40])
async def test_frames_that_come_together_come_back_in_their_order(burst: int) -> None:
    async with serving(EchoEngine(duplex=True)) as server, client(server) as one:
        await one.say("configure", turns={"by": "nobody"})
        await one.say("respond")
        await one.until("answer_started")
        back: list[int] = []
        for first in range(0, 120, burst):
            await asyncio.gather(*(one.sound(np.full(64, n, np.int16)) for n in range(first, min(first + burst, 120))))
            if first % 3 == 0:
                await one.say("ping", t=1)
            while len(back) < min(first + burst, 120):
                message = await one.next()
                if message["type"] == 1:
                    back.append(int(np.frombuffer(message["payload"], "<i2")[0]))
        assert back == list(range(120))


async def test_sound_that_comes_too_fast_waits_and_none_of_it_is_lost() -> None:
    slow = Limits(audio_burst_s=0.2, audio_speed=2.0)
    async with serving(EchoEngine(duplex=True), limits=slow) as server, client(server) as one:
        await one.say("configure", turns={"by": "nobody"})
        await one.say("respond")
        await one.until("answer_started")
        begin = asyncio.get_running_loop().time()
        for n in range(25):
            await one.sound(np.full(640, n, np.int16))
        back = [int(np.frombuffer((await one.until(1))[-1]["payload"], "<i2")[0]) for _ in range(25)]
        assert back == list(range(25))
        assert asyncio.get_running_loop().time() - begin >= 0.3  # a second of sound, 0.2 s of it at once
