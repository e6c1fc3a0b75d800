"""A recorded session read back: what was heard of it, and what can be said to another server."""

import json
from base64 import b64encode
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omni.engine.scripted import Say, ScriptedEngine
from omni_server.client.wire import Message as Wired
from omni_server.compare.replaying import Side, again, named, read, said_again
from omni_server.dialects.dialect import WireLimits
from omni_server.dialects.omni_v1.frame import Frame
from omni_server.dialects.omni_v1.sound import encoder
from omni_server.dialects.omni_v1.wire import OmniV1Wire
from omni_server.dialects.realtime.sound import Format as Sound
from omni_server.dialects.realtime.wire import RealtimeWire
from omni_server.session.commands import Configure
from omni_server.session.events import Answer, AudioDelta, OutputAdded, PartDone, Place, ResponseCreated, SessionChanged
from omni_server.session.items import Message
from omni_tokenizers.audio.resampler import resample
from tests.server.close_to_server import tone
from tests.server.loopback import serving


def test_sound_that_an_interruption_cut_off_was_not_heard() -> None:
    ones = np.ones(100, np.float32)
    side = Side([(0.0, ones), (0.1, 2 * ones), (1.5, None), (3.0, 3 * ones), (9.0, None)], rate=100)
    line = side.mixed()
    # The second piece was to be heard from 1 s to 2 s; at 1.5 s all went silent.
    assert [line[i] for i in (0, 99, 100, 149, 150, 299, 300, 399)] == [1, 1, 2, 2, 0, 0, 3, 3]
    assert len(line) == 400


def test_what_waits_when_everything_stops_is_dropped_whole() -> None:
    ones = np.ones(100, np.float32)
    side = Side([(0.0, ones), (0.0, ones), (0.0, ones), (0.5, None), (0.55, 2 * ones)], rate=100)
    assert side.mixed().tolist() == [1.0] * 50 + [2.0] * 100


@pytest.mark.parametrize(
    ("message", "repeated"),
    [
        (b"\x01", b"\x01"),
        ("no JSON", "no JSON"),
        ("[1]", "[1]"),
        ('{"type":"commit"}', '{"type":"commit"}'),
        ('{"type":"truncate","item":"item_1"}', None),
        ('{"type":"conversation.item.truncate","item_id":"item_1"}', None),
        ('{"type":"response.cancel","response_id":"resp_1"}', '{"type": "response.cancel"}'),
        ('{"type":"cancel","answer":"resp_1"}', '{"type": "cancel"}'),
        ('{"type":"say","text":"é","after":"item_1"}', '{"type": "say", "text": "é"}'),
        ('{"type":"say","text":"é","after":"mine"}', '{"type":"say","text":"é","after":"mine"}'),
        ('{"type":"conversation.item.create","previous_item_id":"item_1"}', '{"type": "conversation.item.create"}'),
        (
            '{"type":"conversation.item.create","previous_item_id":"root"}',
            '{"type":"conversation.item.create","previous_item_id":"root"}',
        ),
        ('{"type":["say"]}', '{"type":["say"]}'),
        (
            '{"type":"respond","context":[{"item":"item_1"},{"item":"mine"},{"text":"é"}]}',
            '{"type": "respond", "context": [{"item": "mine"}, {"text": "é"}]}',
        ),
        (
            '{"type":"response.create","response":{"input":[{"type":"item_reference","id":"item_1"},{"id":"item_2"}]}}',
            '{"type": "response.create", "response": {"input": [{"id": "item_2"}]}}',
        ),
        ('{"type":"respond","context":[{"item":"mine"}]}', '{"type":"respond","context":[{"item":"mine"}]}'),
        ('{"type":"response.create","response":[]}', '{"type":"response.create","response":[]}'),
    ],
)
def test_what_only_the_first_session_had_is_left_out_when_it_is_said_again(
    message: str | bytes, repeated: str | bytes | None
) -> None:
    assert said_again(message, {"mine"}) == repeated


def test_ids_that_a_client_gave_are_known_to_another_session_too() -> None:
    messages: list[tuple[float, str, Wired]] = [
        (0.0, "client", '{"type":"say","id":"one","text":"a"}'),
        (0.0, "client", '{"type":"conversation.item.create","item":{"id":"two"}}'),
        (0.0, "client", '{"type":"session.update","session":{}}'),
        (0.0, "client", "no JSON"),
        (0.0, "client", b"id"),
        (0.0, "server", '{"type":"item_added","id":"three"}'),
    ]
    assert named(messages) == {"one", "two"}


TALKS = {
    "pcmu at /v1/realtime": ("realtime", "audio/pcmu"),
    "pcma at /v1/realtime": ("realtime", "audio/pcma"),
    "pcm at /v1/realtime": ("realtime", "audio/pcm"),
    "pcmu at /v1/omni": ("omni.v1", "pcmu"),
    "opus at /v1/omni": ("omni.v1", "opus"),
}


@pytest.mark.parametrize(("wire", "kind"), TALKS.values(), ids=TALKS)
def test_sound_is_heard_again_whatever_its_format(wire: str, kind: str, tmp_path: Path) -> None:
    """The server's own dialect writes the answer, and an encoder of the format the question."""
    question, answer = tone(1.0, 24_000, 300.0), tone(1.0, 16_000, 500.0)
    lines: list[tuple[str, str | bytes]] = []
    place = Place("resp_1", "item_1", 0)
    if wire == "realtime":
        realtime, sound = RealtimeWire().open({}, WireLimits()), Sound(kind)  # type: ignore[arg-type]
        form = {"format": {"type": kind}}
        update = {"type": "session.update", "session": {"type": "realtime", "audio": {"input": form, "output": form}}}
        lines.append(("client", json.dumps(update)))
        (command,) = realtime.read(lines[0][1])
        assert isinstance(command, Configure)
        dialect: Any = realtime
        setup = command.setup
        audio = sound.encode(resample(question, 24_000, sound.rate))
        lines.append(("client", json.dumps({"type": "input_audio_buffer.append", "audio": audio})))
        rate = sound.rate
    else:
        dialect = OmniV1Wire().open({}, WireLimits())
        lines.append(
            ("client", json.dumps({"type": "configure", "audio_in": {"type": kind}, "audio_out": {"type": kind}}))
        )
        setup = dialect.read(lines[0][1])[0].setup
        rate = setup.rate_out
        coder, at = encoder(kind, rate), 0
        for payload, count in coder.encode(resample(question, 24_000, rate)):
            lines.append(("client", Frame(coder.type, payload, sample=at).pack()))
            at += count
    said = [SessionChanged("sess_1", setup), ResponseCreated(Answer("resp_1")),
            OutputAdded(place, Message("item_1", "assistant")),
            AudioDelta(place, resample(answer, 16_000, rate), rate), PartDone(place, True, "")]  # fmt: skip
    lines += [("server", message) for event in said for message in dialect.write(event)]
    path = tmp_path / "one.jsonl"
    with path.open("w") as file:
        file.write(json.dumps({"dialect": wire}) + "\n")
        for side, message in lines:
            content = {"text": message} if isinstance(message, str) else {"bytes": b64encode(message).decode()}
            file.write(json.dumps({"t": 0.0, "from": side, **content}) + "\n")
    session = read(path)
    for voice, hertz in ((session.user, 300), (session.assistant, 500)):
        wave = voice.mixed()
        assert len(wave) / voice.rate == pytest.approx(1.0, abs=0.03)
        assert np.abs(wave).max() == pytest.approx(0.3, abs=0.05)
        spectrum = np.abs(np.fft.rfft(wave))
        assert np.argmax(spectrum) * voice.rate / len(wave) == pytest.approx(hertz, abs=2)


async def test_the_engine_that_answered_then_answers_again_unless_the_address_names_another(tmp_path: Path) -> None:
    scripts = {name: ScriptedEngine([Say(name)], [Say(name)]) for name in ("first", "second")}
    lines = [
        {"dialect": "omni.v1", "model": "second"},
        *({"t": 0.0, "from": "client", "text": json.dumps(said)} for said in ({"type": "configure", "speaks": False},
                                                                          {"type": "respond"})),
        {"t": 0.1, "from": "server", "text": '{"type": "answer_started", "answer": "resp_1", "aside": false}'},
        {"t": 0.2, "from": "server", "text": '{"type": "answer_done", "answer": "resp_1", "status": "completed"}'},
    ]  # fmt: skip
    path = tmp_path / "one.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    async with serving(scripts) as server:
        url = f"http://127.0.0.1:{server.port}"
        found = [await again(read(path), at, None) for at in (url, f"{url}?model=first")]
    assert [[one.text for one in answers] for answers in found] == [["second"], ["first"]]
