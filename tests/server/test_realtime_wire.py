"""Frames in and frames out: what is taken, what is refused with which path, and how sound is written."""

import base64
import json
import warnings
from typing import Any

import numpy as np
import pytest

from omni.engine.protocol import Tokens, Usage
from omni_server.dialects.dialect import NotServed, WireLimits
from omni_server.dialects.realtime.sound import nearest, table
from omni_server.dialects.realtime.wire import RealtimeDialect, RealtimeWire
from omni_server.session import events
from omni_server.session.commands import AppendAudio, Configure, CreateResponse, Reject
from omni_server.session.items import ImagePart, Message, TextPart
from omni_server.session.outbox import weight
from omni_server.session.setup import PushToTalk, SemanticVad, ServerVad
from tests.server.stock_events import check


def dialect(**query: str) -> RealtimeDialect:
    return RealtimeWire().open(query, WireLimits(text=1000, tools=2, tool=200, image_bytes=1000))


def read(event: dict[str, Any], wire: RealtimeDialect | None = None) -> Any:
    commands = (wire or dialect()).read(json.dumps(event))
    assert len(commands) == 1
    return commands[0]


def update(wire: RealtimeDialect, **session: Any) -> dict[str, Any]:
    """What `session.updated` shows after an update."""
    command = read({"type": "session.update", "session": {"type": "realtime", **session}}, wire)
    assert isinstance(command, Configure), command
    return check(wire.write(events.SessionChanged("sess_1", command.setup))[0])["session"]


def item(part: Any, role: str = "user") -> dict[str, Any]:
    return {"type": "conversation.item.create", "item": {"type": "message", "role": role, "content": [part]}}


SESSION = "session.update"
ITEM = "conversation.item.create"
TURNS = "session.audio.input.turn_detection"
MISSING, TYPE, VALUE, LONG = "missing_required_parameter", "invalid_type", "invalid_value", "string_above_max_length"


def session(**fields: Any) -> dict[str, Any]:
    return {"type": SESSION, "session": {"type": "realtime", **fields}}


def heard(**fields: Any) -> dict[str, Any]:
    return session(audio={"input": fields})


def response(**fields: Any) -> dict[str, Any]:
    return {"type": "response.create", "response": fields}


def truncate(**fields: Any) -> dict[str, Any]:
    return {"type": "conversation.item.truncate", "item_id": "a", "content_index": 0, **fields}


REFUSED: list[tuple[dict[str, Any], str, str]] = [
    ({}, MISSING, "type"),
    ({"type": 7}, VALUE, "type"),
    ({"type": SESSION}, MISSING, "session"),
    ({"type": SESSION, "session": []}, TYPE, "session"),
    ({"type": SESSION, "session": {}}, MISSING, "session.type"),
    ({"type": SESSION, "session": {"type": "x"}}, VALUE, "session.type"),
    (session(instructions=1), TYPE, "session.instructions"),
    (session(instructions="x" * 1001), LONG, "session.instructions"),
    (session(tools=[{"type": "function"}]), MISSING, "session.tools[0].name"),
    (session(tools=[{}] * 3), VALUE, "session.tools"),
    (session(tools=[{"type": "mcp"}]), VALUE, "session.tools[0].type"),
    (session(max_output_tokens=5000), VALUE, "session.max_output_tokens"),
    (session(tracing=[[]] * 5_000), VALUE, "session.tracing"),
    (session(prompt={"id": "p", "variables": {"a": "x" * 8_192}}), VALUE, "session.prompt"),
    (session(truncation={"type": "x" * 8_192}), VALUE, "session.truncation"),
    (session(tools=[{"name": "f", "parameters": {"a": "x" * 200}}]), VALUE, "session.tools[0].parameters"),
    (heard(turn_detection={"type": "x"}), VALUE, f"{TURNS}.type"),
    (heard(turn_detection={"threshold": 2}), VALUE, f"{TURNS}.threshold"),
    (heard(format={"type": "audio/pcm", "rate": 16000}), VALUE, "session.audio.input.format.rate"),
    (session(audio={"output": {"format": {"type": "audio/mp3"}}}), VALUE, "session.audio.output.format.type"),
    ({"type": "input_audio_buffer.append"}, MISSING, "audio"),
    ({"type": "input_audio_buffer.append", "audio": 5}, TYPE, "audio"),
    ({"type": "input_audio_buffer.append", "audio": "%%%"}, VALUE, "audio"),
    ({"type": "input_audio_buffer.append", "audio": "AAAA"}, VALUE, "audio"),  # three bytes
    ({"type": ITEM}, MISSING, "item"),
    ({"type": ITEM, "item": {"type": "x"}}, VALUE, "item.type"),
    (item({"type": "input_text"}), MISSING, "item.content[0].text"),
    (item({"type": "input_text", "text": "x"}, "nobody"), VALUE, "item.role"),
    (item({"type": "output_text", "text": "x"}), VALUE, "item.content[0].type"),
    (item({"type": "input_image", "image_url": "http://x/y.png"}), VALUE, "item.content[0].image_url"),
    (
        item({"type": "input_image", "image_url": "data:image/png;base64," + "A" * 2000}),
        LONG,
        "item.content[0].image_url",
    ),
    (truncate(), MISSING, "audio_end_ms"),
    (truncate(audio_end_ms=-1), VALUE, "audio_end_ms"),
    ({"type": "conversation.item.delete"}, MISSING, "item_id"),
    (response(metadata={"k": 7}), TYPE, "response.metadata.k"),
    (response(metadata={str(n): "" for n in range(17)}), VALUE, "response.metadata"),
    (response(input=[{"type": "item_reference"}]), MISSING, "response.input[0].id"),
    (response(conversation="other"), VALUE, "response.conversation"),
]


@pytest.mark.parametrize(("event", "code", "param"), REFUSED, ids=[f"{p}: {c}" for _, c, p in REFUSED])
def test_what_is_wrong_is_named_by_its_path_with_the_clients_own_id(
    event: dict[str, Any], code: str, param: str
) -> None:
    command = read({**event, "event_id": "mine"})
    assert isinstance(command, Reject)
    assert (command.code, command.param, command.ref) == (code, param, "mine")
    frame = check(dialect().write(events.Problem(command.code, command.message, command.param, ref=command.ref))[0])
    assert frame["error"]["event_id"] == "mine"


FUNCTION = {"type": "function", "name": "f", "description": None, "parameters": None}
ACCEPTED: list[dict[str, Any]] = [
    {"tracing": "auto"},
    {"tracing": None, "prompt": None, "truncation": None, "include": None, "instructions": None},
    {"tracing": {"workflow_name": "x", "metadata": {"a": 1}}},
    {"truncation": {"type": "retention_ratio", "retention_ratio": 0.5}},
    {"model": "somebody-elses-model", "no_such_key": 1, "reasoning": {"effort": "low"}},
    {"audio": {"output": {"voice": {"id": "voice_1"}, "speed": 1.5}, "input": {"noise_reduction": None}}},
    {"audio": {"output": {"voice": "nobody has this voice"}, "input": {"noise_reduction": {"type": "far_field"}}}},
    {"output_modalities": ["text", "audio"], "max_output_tokens": None, "tool_choice": "required"},
    {"tools": [FUNCTION], "tool_choice": {"type": "function", "name": "f"}},
    {"audio": {"input": {"turn_detection": {"type": "semantic_vad"}, "transcription": {"model": "m", "delay": "low"}}}},
    {"audio": {"input": None, "output": None}},
]


@pytest.mark.parametrize(
    ("choice", "offered", "forced"),
    [
        ("auto", ["f", "g"], False), ("none", [], False), ("required", ["f", "g"], True),
        ({"type": "function", "name": "g"}, ["g"], True),
    ],
)  # fmt: skip
def test_the_engine_is_told_which_tools_there_are_and_whether_one_has_to_be_called(
    choice: Any, offered: list[str], forced: bool
) -> None:
    command = read(session(tools=[FUNCTION, {**FUNCTION, "name": "g"}], tool_choice=choice))
    spec = command.setup.spec(100)
    assert ([tool.name for tool in spec.tools], spec.must_call) == (offered, forced)


@pytest.mark.parametrize("fields", ACCEPTED, ids=[str(n) for n in range(len(ACCEPTED))])
def test_what_stock_clients_send_is_taken_and_shown_as_they_expect_it(fields: dict[str, Any]) -> None:
    shown = update(dialect(), **fields)
    assert shown["object"] == "realtime.session"
    assert set(shown["audio"]["input"]["transcription"] or {}) <= {"model", "language", "prompt"}
    assert shown["audio"]["output"]["format"] == {"type": "audio/pcm", "rate": 24000}
    if shown["audio"]["input"]["turn_detection"] is not None:
        assert shown["audio"]["input"]["turn_detection"]["interrupt_response"] is True


def test_only_keys_that_are_there_change() -> None:
    wire = dialect(model="m")
    update(wire, instructions="Be kind.", audio={"input": {"turn_detection": {"silence_duration_ms": 900}}})
    shown = update(wire, audio={"input": {"turn_detection": {"type": "server_vad", "threshold": 0.7}}})
    assert shown["instructions"] == "Be kind."
    assert shown["model"] == "m"
    assert shown["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 900
    assert shown["audio"]["input"]["turn_detection"]["threshold"] == 0.7
    shown = update(wire, instructions="", audio={"input": {"turn_detection": None}})
    assert (shown["instructions"], shown["audio"]["input"]["turn_detection"]) == ("", None)
    shown = update(wire, audio={"input": {"turn_detection": {"type": "server_vad"}}})
    assert shown["audio"]["input"]["turn_detection"]["silence_duration_ms"] == 500


def test_a_small_update_copies_nothing_that_it_does_not_change() -> None:
    wire = dialect()
    before = read(session(tools=[FUNCTION], tracing={"a": 1}), wire).setup.wire
    after = read(heard(turn_detection=None), wire).setup.wire
    assert after["tools"] is before["tools"]
    assert after["tracing"] is before["tracing"]
    assert before["audio"]["input"]["turn_detection"]["type"] == "server_vad"
    assert after["audio"]["input"]["turn_detection"] is None


def test_what_waits_for_the_wire_weighs_what_it_holds() -> None:
    command = read(session(instructions="x" * 900))
    assert weight(events.SessionChanged("sess_1", command.setup)) > 1_000
    assert weight(events.ItemAdded(Message("a", "user", [ImagePart("data:" + "x" * 900)]), None)) > 1_000


def test_a_response_may_be_as_long_as_the_server_lets_although_the_session_is_short() -> None:
    short = read(session(max_output_tokens=5)).setup
    for said, longest in (({"max_output_tokens": "inf"}, 4_096), ({"max_output_tokens": 7}, 7), ({}, 5)):
        command = read(response(**said))
        assert short.spec(4_096, command.wishes).longest == longest


def test_an_update_that_is_refused_changes_nothing() -> None:
    wire = dialect()
    assert isinstance(read(session(instructions="no", output_modalities=["video"]), wire), Reject)
    assert update(wire)["instructions"] == ""


def test_turn_taking_becomes_a_strategy() -> None:
    assert dialect().setup.turns == ServerVad()
    for value, wanted in (
        (None, PushToTalk()),
        ({"type": "semantic_vad", "eagerness": "high"}, SemanticVad("high")),
        ({"type": "server_vad", "idle_timeout_ms": 6000}, ServerVad(idle_timeout_ms=6000)),
    ):
        assert read(heard(turn_detection=value)).setup.turns == wanted


def test_a_response_says_what_it_took_in_tokens_where_the_engine_counts_them() -> None:
    usage = Usage(Tokens(30, 50, 64), Tokens(30, 45, 64), Tokens(4, 20))
    wire = dialect()
    done = check(wire.write(events.ResponseDone(events.Answer("resp_1", "completed", usage=usage), None))[0])
    assert done["response"]["usage"] == {
        "total_tokens": 168, "input_tokens": 144, "output_tokens": 24,
        "input_token_details": {
            "text_tokens": 30, "audio_tokens": 50, "image_tokens": 64, "cached_tokens": 139,
            "cached_tokens_details": {"text_tokens": 30, "audio_tokens": 45, "image_tokens": 64},
        },
        "output_token_details": {"text_tokens": 4, "audio_tokens": 20},
    }  # fmt: skip
    uncounted = check(wire.write(events.ResponseDone(events.Answer("resp_2", "completed"), None))[0])
    assert uncounted["response"]["usage"] is None


def test_a_transcription_session_shows_only_what_it_has() -> None:
    wire = dialect(intent="transcription")
    shown = check(wire.write(events.SessionOpened("sess_1", wire.setup))[0])["session"]
    assert (shown["type"], shown["object"]) == ("transcription", "realtime.transcription_session")
    assert set(shown["audio"]) == {"input"}
    assert wire.setup.only_transcribes


def test_what_cannot_become_a_session_is_said_before_it_begins() -> None:
    for query in ({"call_id": "rtc_1"}, {"intent": "translation"}):
        with pytest.raises(NotServed):
            RealtimeWire().open(query, WireLimits())


def test_a_long_piece_of_audio_becomes_commands_that_others_can_run_between() -> None:
    audio = base64.b64encode(np.zeros(60_000, "<i2").tobytes()).decode()
    commands = dialect().read(json.dumps({"type": "input_audio_buffer.append", "audio": audio}))
    assert [len(command.samples) for command in commands if isinstance(command, AppendAudio)] == [
        24_000,
        24_000,
        12_000,
    ]
    assert dialect().read('{"type":"input_audio_buffer.append","audio":""}') == []


def test_sound_is_written_in_events_that_every_client_takes() -> None:
    wire, place = dialect(), events.Place("resp_1", "item_1", 0)
    sound = np.linspace(-1.5, 1.5, 24_000 * 30, dtype=np.float32)  # louder than full scale at both ends
    frames = [check(frame) for frame in wire.write(events.AudioDelta(place, sound, 24_000))]
    assert all(len(frame["delta"]) < 1 << 18 for frame in frames)
    whole = np.frombuffer(b"".join(base64.b64decode(frame["delta"]) for frame in frames), "<i2")
    assert np.abs(whole - np.clip(sound * 32768, -32768, 32767)).max() <= 0.5


@pytest.mark.parametrize("kind", [events.ItemAdded, events.ItemDone])
def test_pictures_that_would_make_an_event_too_long_come_back_without_their_data(kind: Any) -> None:
    head, small, big = "data:image/png;base64,", "A" * 300_000, "A" * 900_000
    parts = [TextPart("€" * 20_000), ImagePart(head + small), ImagePart(head + big), ImagePart(head + small)]
    (frame,) = dialect().write(kind(Message("a", "user", list(parts)), None))
    content = check(frame)["item"]["content"]
    assert [part.get("image_url") for part in content] == [None, head + small, head, head + small]
    assert content[0]["text"] == "€" * 20_000
    assert len(frame.encode()) < 1 << 20


@pytest.mark.parametrize("letter", ["a", "é", "€", "😀", '"', "\x01"])
def test_a_text_as_long_as_it_may_be_comes_back_in_an_event_that_every_client_takes(letter: str) -> None:
    wire, most = RealtimeWire().open({}, WireLimits()), letter * WireLimits().text
    said = read(item({"type": "input_text", "text": most}), wire).item
    setup = read(session(instructions=most), wire).setup
    sizes, texts = [], []
    for event in (events.ItemAdded(said, None), events.SessionChanged("s", setup), events.Transcribed("i", most, True)):
        (frame,) = wire.write(event)
        sizes.append(len(frame.encode()))
        came = check(frame)
        texts += [came["item"]["content"][0]["text"]] if "item" in came else []
        texts += [came["session"]["instructions"]] if "session" in came else []
        texts += [came["transcript"]] if "transcript" in came else []
    assert texts == [most] * 3
    assert max(sizes) < 1 << 20


def test_an_item_whose_texts_no_event_could_hold_is_refused() -> None:
    wire = RealtimeWire().open({}, WireLimits())
    part = {"type": "input_text", "text": "€" * 100_000}
    for count, taken in ((3, True), (4, False)):
        command = read({"type": ITEM, "item": {"type": "message", "role": "user", "content": [part] * count}}, wire)
        assert isinstance(command, Reject) is not taken
        if taken:
            (frame,) = wire.write(events.ItemAdded(command.item, None))
            assert len(check(frame)["item"]["content"]) == 3
            assert 900_000 < len(frame.encode()) < 1 << 20
        else:
            assert (command.code, command.param) == (LONG, "item")


def test_an_answer_may_have_a_format_of_its_own() -> None:
    wire = dialect()
    command = read(response(audio={"output": {"format": {"type": "audio/pcmu"}}}), wire)
    assert isinstance(command, CreateResponse)
    assert command.wishes.rate_out == 8000
    wire.write(events.ResponseCreated(events.Answer("resp_1", wire=command.wishes.wire)))
    frame = check(wire.write(events.AudioDelta(events.Place("resp_1", "i", 0), np.zeros(80, np.float32), 8000))[0])
    assert base64.b64decode(frame["delta"]) == b"\xff" * 80


@pytest.mark.parametrize(("kind", "law"), [("audio/pcmu", "u"), ("audio/pcma", "a")])
def test_g711_is_that_of_the_standard_library(kind: Any, law: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = pytest.importorskip("audioop", reason="left the standard library with Python 3.13")
    codes = bytes(range(256))
    ours = table(kind)[np.frombuffer(codes, np.uint8)]
    theirs = np.frombuffer(getattr(audioop, f"{law}law2lin")(codes, 2), np.int16)
    assert (ours == theirs).all()
    every = np.arange(-32768, 32768).astype(np.int16)
    there = table(kind)[nearest(kind)[every.view(np.uint16)]].astype(int)
    back = getattr(audioop, f"lin2{law}law")(every.tobytes(), 2)
    reference = np.frombuffer(getattr(audioop, f"{law}law2lin")(back, 2), np.int16).astype(int)
    assert (np.abs(there - every) <= np.abs(reference - every)).all()  # the nearest code, never a worse one


def test_half_a_surrogate_pair_does_not_reach_the_engine() -> None:
    command = read(item({"type": "input_text", "text": "a\ud800b"}))
    assert command.item.parts[0].text == "a?b"


def test_a_number_that_json_cannot_show_is_not_taken_to_be_shown() -> None:
    (command,) = dialect().read('{"type":"session.update","session":{"type":"realtime","tracing":{"a":1e999}}}')
    assert isinstance(command, Reject)
    assert command.param == "session.tracing"


def test_an_answer_keeps_the_format_with_which_it_began_and_says_so_at_its_end() -> None:
    wire, sound = dialect(), events.AudioDelta(events.Place("resp_1", "item_1", 0), np.zeros(2400, np.float32), 24_000)
    wire.write(events.ResponseCreated(events.Answer("resp_1")))
    update(wire, audio={"output": {"format": {"type": "audio/pcmu"}}})
    assert len(base64.b64decode(json.loads(wire.write(sound)[0])["delta"])) == 4800
    update(wire, audio={"output": {"voice": "cedar"}}, max_output_tokens=7)
    done = json.loads(wire.write(events.ResponseDone(events.Answer("resp_1", "completed"), None))[0])["response"]
    assert done["audio"]["output"] == {"format": {"type": "audio/pcm", "rate": 24000}, "voice": "marin"}
    assert done["max_output_tokens"] == "inf"
