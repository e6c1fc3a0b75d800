"""Habits and limits of a session over the realtime wire, in virtual time: waiting, interrupting, filling up."""

import asyncio
import base64
import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from omni.engine.scripted import Hang, Say, ScriptedEngine, Speak
from omni_server.session import pictures
from omni_server.session.items import ImagePart, Message, SpeechPart, still
from omni_server.session.settings import Interruption, SessionSettings
from omni_tokenizers.image.read import read_image
from tests.server.realtime_talk import Talk, pcm, silence, talk, tone
from tests.virtual_time import run

ANSWER = [Say("It is four."), Speak(1.0)]


async def ask(t: Talk) -> None:
    """One second of speech and enough silence."""
    await t.say(tone(1.0))
    await t.say(silence(0.8))


def test_an_answer_that_takes_long_is_announced_as_thinking_to_those_who_ask() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("Hm.", after=3.0), Speak(0.2)])) as t:
            t.checked = lambda frame: json.loads(frame)
            await t.update(include=["omni.thinking", "omni.waterfall"])
            await t.send("response.create")
            await t.until("response.done")
            await t.until("omni.waterfall")
        assert [event["on"] for event in t.of("omni.thinking")] == [True, False]

    run(main())


def test_an_idle_timeout_makes_the_model_speak_first() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER)) as t:
            await t.turns({"type": "server_vad", "idle_timeout_ms": 5000})
            await t.say(tone(1.0))
            asking = asyncio.create_task(t.say(silence(0.8)))
            done = await t.until("response.done")
            began = asyncio.get_running_loop().time()
            fired = await t.until("input_audio_buffer.timeout_triggered")
            waited = asyncio.get_running_loop().time() - began
            await asking
            await t.until("response.done", 2)
        assert 5.9 < waited < 6.1  # after the answer's one second has been played
        assert fired["item_id"] == t.of("input_audio_buffer.committed")[1]["item_id"]
        assert done["response"]["status"] == "completed"

    run(main())


def test_a_cough_ducks_the_answer_and_does_not_end_it() -> None:
    async def main() -> None:
        settings = SessionSettings(interruption=Interruption(speech_ms=400))
        async with talk(ScriptedEngine([Say("Long."), Speak(6.0, pace=1.0)]), settings=settings) as t:
            t.checked = lambda frame: json.loads(frame)
            await t.update(include=["omni.ducking"])
            await ask(t)
            await t.until("response.output_audio.delta")
            await t.say(tone(0.15))
            await t.say(silence(0.8))
            done = await t.until("response.done")
        assert done["response"]["status"] == "completed"
        assert [event["on"] for event in t.of("omni.ducking")] == [True, False]
        assert len(t.of("input_audio_buffer.speech_started")) == 1

    run(main())


def test_without_interruption_the_second_turn_is_answered_after_the_first() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("Long."), Speak(6.0, pace=1.0)], ANSWER)) as t:
            await t.turns({"type": "server_vad", "interrupt_response": False})
            await ask(t)
            await t.until("response.output_audio.delta")
            await ask(t)
            await t.until("response.done", 2)
        assert [e["response"]["status"] for e in t.of("response.done")] == ["completed", "completed"]
        assert len(t.of("input_audio_buffer.speech_started")) == 2

    run(main())


def test_a_voice_stops_the_answer_within_150_ms() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("Long."), Speak(30.0, pace=1.0)])) as t:
            await ask(t)
            await t.until("response.output_audio.delta")
            await asyncio.sleep(1.7)
            onset = asyncio.get_running_loop().time()
            speaking = asyncio.create_task(t.say(tone(2.0), piece=0.02))
            await t.until("response.done")
            assert asyncio.get_running_loop().time() - onset < 0.08
            last = len(t.of("response.output_audio.delta"))
            await speaking
            assert len(t.of("response.output_audio.delta")) == last

    run(main())


def test_a_buffer_that_nobody_commits_is_full_in_the_end_and_says_so_once() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER), settings=SessionSettings(longest_turn_s=2.0)) as t:
            await t.turns(None)
            await t.say(tone(4.0))
            await t.send("input_audio_buffer.commit")
            committed = await t.until("conversation.item.done")
            await t.say(tone(1.0))
            await t.send("input_audio_buffer.commit")
            await t.until("conversation.item.done", 2)
        assert [e["error"]["code"] for e in t.of("error")] == ["input_audio_buffer_full"]
        assert committed["item"]["status"] == "completed"

    run(main())


def test_a_turn_without_end_ends_at_the_longest_that_is_allowed() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER), settings=SessionSettings(longest_turn_s=2.0)) as t:
            await t.say(tone(2.5))
            await t.until("response.done")
        assert not t.of("error")

    run(main())


def test_texts_and_pictures_fill_a_conversation_up_to_a_limit() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER), settings=SessionSettings(content_bytes=1000)) as t:
            for text in ("x" * 700, "y" * 700):
                item = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": text}]}
                await t.send("conversation.item.create", item=item)
            await t.until("error")
        assert t.of("error")[0]["error"]["code"] == "conversation_full"
        assert len(t.of("conversation.item.added")) == 1

    run(main())


def picture(side: int) -> dict[str, str]:
    """A white square in black and white: a few bytes for many pixels."""
    file = io.BytesIO()
    Image.new("1", (side, side), 1).save(file, "PNG")
    url = f"data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}"
    return {"type": "input_image", "image_url": url}


def shown(*sides: int) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": [picture(side) for side in sides]}


@pytest.mark.parametrize("aside", [False, True])
def test_pictures_that_are_too_many_together_are_refused_before_any_is_decoded(
    aside: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded: list[int] = []

    def counted(file: bytes, **options: Any) -> Any:
        decoded.append(len(file))
        return read_image(file, **options)

    monkeypatch.setattr(pictures, "read_image", counted)

    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER), settings=SessionSettings(content_bytes=40_000)) as t:
            await t.send("conversation.item.create", item=shown(100))  # 30,000 bytes
            await t.until("conversation.item.done")
            if aside:
                context = [shown(50), shown(50)]  # 7,500 each: one of them fits
                await t.send("response.create", event_id="e", response={"conversation": "none", "input": context})
            else:
                await t.send("conversation.item.create", event_id="e", item=shown(50, 50))
            error = (await t.until("error"))["error"]
            assert (error["code"], error["event_id"]) == ("conversation_full", "e")
            assert error["param"] == ("response.input" if aside else "item.content")
            assert len(decoded) == 1
            assert [event["type"] for event in t.of("response.created")] == []
            await t.send("conversation.item.create", item=shown(50))
            await t.until("conversation.item.done", 2)

    run(main())


def test_an_engine_without_eyes_has_no_picture_read() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER, sees=False)) as t:
            broken = {"type": "input_image", "image_url": "data:image/png;base64,%%%"}
            item = {"type": "message", "role": "user", "content": [broken]}
            await t.send("conversation.item.create", item=item)
            await t.send("response.create", response={"input": [item]})
            await t.until("error", 2)
        assert [e["error"]["code"] for e in t.of("error")] == ["image_input_not_supported"] * 2

    run(main())


def test_the_frame_that_was_too_much_for_the_buffer_is_named() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER), settings=SessionSettings(longest_turn_s=1.0)) as t:
            await t.turns(None)
            for number in range(6):
                await t.send("input_audio_buffer.append", audio=pcm(tone(0.4)), event_id=f"frame {number}")
            error = (await t.until("error"))["error"]
            assert (error["param"], error["event_id"]) == ("audio", "frame 3")

    run(main())


def test_an_item_that_there_is_not_is_no_input_of_a_response() -> None:
    async def main() -> None:
        async with talk(ScriptedEngine([Say("hm")])) as t:
            text = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}
            for aside in ({}, {"conversation": "none"}):
                given = [text, {"type": "item_reference", "id": "nothing"}]
                await t.send("response.create", response={"input": given, **aside}, event_id="mine")
            await t.until("error", 2)
        for event in t.of("error"):
            error = event["error"]
            assert (error["code"], error["param"]) == ("item_reference_invalid_item_id", "response.input[1].id")
            assert error["event_id"] == "mine"
        assert not t.of("response.created")

    run(main())


def test_no_picture_is_read_of_what_is_refused_anyway() -> None:
    broken = {"type": "input_image", "image_url": "data:image/png;base64,%%%"}
    item = {"type": "message", "role": "user", "content": [broken]}
    text = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "hi"}]}

    async def main() -> None:
        async with talk(ScriptedEngine([Hang()]), settings=SessionSettings(items=1, asides=0)) as t:
            await t.send("conversation.item.create", item={**text, "id": "a"})
            await t.send("conversation.item.create", item={**item, "id": "a"})
            await t.send("conversation.item.create", item=item, previous_item_id="b")
            await t.send("conversation.item.create", item=item)
            await t.send("response.create")
            await t.send("response.create", response={"input": [item]})
            await t.send("response.create", response={"input": [item], "conversation": "none"})
            await t.until("error", 5)
        assert [e["error"]["code"] for e in t.of("error")] == [
            "item_create_duplicate_item_id",
            "item_create_invalid_previous_item_id",
            "conversation_full",
            "conversation_already_has_active_response",
            "too_many_responses",
        ]

    run(main())


def test_an_icon_is_refused_since_it_would_be_decoded_before_its_size_is_known() -> None:
    file = io.BytesIO()
    Image.new("RGB", (16, 16)).save(file, "ICO")
    url = f"data:image/x-icon;base64,{base64.b64encode(file.getvalue()).decode()}"

    async def main() -> None:
        async with talk(ScriptedEngine(ANSWER)) as t:
            item = {"type": "message", "role": "user", "content": [{"type": "input_image", "image_url": url}]}
            await t.send("conversation.item.create", item=item)
            await t.until("error")
        assert "icon" in t.of("error")[0]["error"]["message"]

    run(main())


def test_what_waits_for_the_wire_holds_neither_pixels_nor_sound() -> None:
    message = Message("a", "user", [ImagePart("data:", None, np.zeros((2, 2, 3), np.uint8))])
    message.parts.append(SpeechPart("hi", 1.0, np.zeros(16_000, np.int16)))
    image, speech = still(message).parts  # type: ignore[union-attr]
    assert (image, speech) == (ImagePart("data:"), SpeechPart("hi", 1.0))
