"""A client may go at any moment: its slot is free at once, no task is left, and its memory comes back."""

import asyncio
import gc
import json
import weakref
from typing import Any

import pytest
from websockets.asyncio.client import connect

from omni.engine.clock import LoopClock, SystemClock
from omni.engine.scripted import Call, Hang, Say, ScriptedEngine, Speak, Step
from omni_server.dialects.dialect import WireLimits
from omni_server.dialects.realtime.wire import RealtimeWire
from omni_server.dialects.wires import wires
from omni_server.server import Server
from omni_server.session.session import Session
from omni_server.session.settings import SessionSettings
from omni_server.settings import Settings
from tests.server.loud_is_speech import LoudIsSpeech
from tests.server.realtime_talk import Talk, pcm, silence, tone
from tests.virtual_time import run, virtual_loop

SCRIPTS: list[list[Step]] = [
    [Say("One moment."), Speak(0.2, pace=4.0), Call("light")],
    [Say("A long"), Speak(0.6, pace=1.0), Hang()],
    [Say("It is on.")],
]
TEXT = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hello"}]}
ASIDE = {"conversation": "none", "input": [TEXT], "output_modalities": ["text"]}


async def conversation(t: Talk) -> None:
    """Speech, a tool, an answer beside, an interruption, a truncation, a change of the past."""
    await t.say(tone(0.3), piece=0.1)
    await t.say(silence(0.7), piece=0.1)
    done = await t.until("response.done")
    call = done["response"]["output"][1]["call_id"]
    await t.send("conversation.item.create", item={"type": "function_call_output", "call_id": call, "output": "ok"})
    await t.send("response.create")
    await t.send("response.create", response=ASIDE)
    await t.until("response.output_audio.delta", 8)
    await t.say(tone(0.3), piece=0.1)
    cut = await t.until("response.done", 2)
    await t.say(silence(0.7), piece=0.1)
    await t.send("conversation.item.delete", item_id=done["response"]["output"][0]["id"])
    await t.send("response.cancel")
    await t.send("response.create")
    await asyncio.sleep(0.5)
    assert cut


async def gone_at(step: int | None) -> int:
    """Hold the conversation and go at a round of the loop; how many rounds it has in all."""
    loop, engine = virtual_loop(), ScriptedEngine(*SCRIPTS)
    dialect = RealtimeWire().open({}, WireLimits())
    session = await Session.open(engine, dialect.setup, SessionSettings(), LoopClock(), LoudIsSpeech())
    t = Talk(session, dialect)
    talking = [asyncio.create_task(t.read()), asyncio.create_task(conversation(t))]
    left = asyncio.Event()
    if step is not None:
        loop.at_step(loop.steps + step, left.set)
        waiting = asyncio.create_task(left.wait())
        await asyncio.wait({talking[1], waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
    else:
        await talking[1]
    steps, began = loop.steps, loop.time()
    talking[1].cancel()  # the reading side of the connection ends, in the middle of whatever it does
    await session.close()
    await asyncio.wait(talking)
    assert loop.time() - began < 1.0
    assert not engine._open, f"a slot is taken after a disconnect in round {step}"
    await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}, f"a task is left after a disconnect in round {step}"
    gone = weakref.ref(session.core)
    del session, t, talking
    gc.collect()
    assert gone() is None, f"the session is still in memory after a disconnect in round {step}"
    return steps


def go_in_rounds(first: int, stride: int) -> None:
    rounds = run(gone_at(None))
    assert rounds > 100
    gc.collect()
    gc.freeze()  # so that a collection looks only at what the conversation made
    try:
        for step in range(first, rounds, stride):
            run(gone_at(step))
    finally:
        gc.unfreeze()


def test_a_client_that_goes_in_a_round_of_the_loop_leaves_nothing() -> None:
    go_in_rounds(1, 5)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_client_that_goes_in_any_round_of_the_loop_leaves_nothing() -> None:
    go_in_rounds(1, 1)


async def test_a_socket_that_breaks_after_any_event_frees_its_slot_within_a_second() -> None:
    engine = ScriptedEngine([Say("Long."), Speak(0.08), Call("light"), Hang()], clock=SystemClock())
    server = Server(Settings(host="127.0.0.1", port=0), engine, wires(3600), LoudIsSpeech())
    await server.start()
    before = len(asyncio.all_tasks())
    speech = [
        json.dumps({"type": "input_audio_buffer.append", "audio": pcm(wave)}) for wave in (tone(0.3), silence(0.7))
    ]
    seen: list[str] = []

    async def break_after(count: int) -> None:
        kinds: list[str] = []
        async with connect(f"ws://127.0.0.1:{server.port}/v1/realtime?model=omni") as socket:
            if count:
                for frame in speech:
                    await socket.send(frame)
            for _ in range(count):
                event: dict[str, Any] = json.loads(await asyncio.wait_for(socket.recv(), 10))
                kinds.append(event["type"])
            socket.transport.abort()
        async with asyncio.timeout(1.0):
            while engine._open or server.talks:  # noqa: ASYNC110  # nobody tells when the last of it is gone
                await asyncio.sleep(0.005)
        seen[:] = kinds

    try:
        for count in range(26):
            await break_after(count)
        assert "response.function_call_arguments.done" in seen
        async with asyncio.timeout(1.0):
            while len(asyncio.all_tasks()) > before:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
    finally:
        await server.close()
        await engine.close()
