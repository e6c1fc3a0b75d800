"""The dialect omni.v1: bytes as docs/protocol.md has them, sound in every format, and no input that breaks it."""

import json
import struct
import sys
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni.engine.echo import EchoEngine
from omni.engine.scripted import Call, Hang, Say, ScriptedEngine, Speak
from omni_server.dialects.dialect import NotServed, WireLimits
from omni_server.dialects.omni_v1.sound import G711, OpusDecoder, OpusEncoder, to_pcm16
from omni_server.dialects.omni_v1.wire import OmniV1, OmniV1Wire
from omni_server.session.commands import AddItem, AppendAudio, Configure, CreateResponse, Reject, TruncateItem
from omni_server.session.events import (
    Answer,
    AudioDelta,
    CodesDelta,
    ItemAdded,
    PartDone,
    Place,
    Problem,
    ResponseCreated,
    SessionChanged,
)
from tests.server.loopback import QUICK, client, serving

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    audioop = pytest.importorskip("audioop")  # an oracle that Python had up to 3.12


def wire(**query: str) -> OmniV1:
    return OmniV1Wire().open(query, WireLimits())


def binary(payload: bytes, *, kind: int = 1, flags: int = 0, sequence: int = 0, sample: int = 0) -> bytes:
    return struct.pack("<BBHIQ", kind, flags, 0, sequence, sample) + payload


def told(dialect: OmniV1, **message: Any) -> Any:
    (command,) = dialect.read(json.dumps(message))
    return command


def heard(dialect: OmniV1, frame: bytes) -> np.ndarray:
    commands = dialect.read(frame)
    assert all(isinstance(command, AppendAudio) for command in commands), commands
    return np.concatenate([command.samples for command in commands])  # type: ignore[union-attr]


# Sound


def test_pcm16_becomes_samples_and_samples_pcm16() -> None:
    every = np.arange(-32768, 32768, dtype=np.int16)
    samples = heard(wire(), binary(every.astype("<i2").tobytes()))
    assert np.array_equal(samples, every / 32768)
    assert np.array_equal(to_pcm16(samples), every)
    assert to_pcm16(np.array([2.0, -2.0, 1.0], np.float32)).tolist() == [32767, -32768, 32767]


@pytest.mark.parametrize(("kind", "law"), [(3, "ulaw"), (4, "alaw")])
def test_g711_is_what_the_standard_says(kind: int, law: str) -> None:
    codes = bytes(range(256))
    wave = np.frombuffer(getattr(audioop, f"{law}2lin")(codes, 2), "<i2")
    codec = G711(kind)
    assert np.array_equal(codec.decode(codes), wave / np.float32(32768))
    every = np.arange(-32768, 32768, dtype=np.int16)
    ((mine, count),) = codec.encode(every / np.float32(32768))
    theirs = np.frombuffer(getattr(audioop, f"lin2{law}")(every.tobytes(), 2), np.uint8)
    assert count == 65536
    error, other = (np.abs(wave[np.frombuffer(c, np.uint8)].astype(int) - every) for c in (mine, theirs))
    assert (error <= other).all()


def test_opus_gives_the_sound_back_whatever_the_pieces() -> None:
    pytest.importorskip("av")
    tone = (0.3 * np.sin(np.arange(24_000) * 2 * np.pi * 440 / 48_000)).astype(np.float32)
    encoder, decoder = OpusEncoder(), OpusDecoder()
    packets = [packet for at in range(0, 24_000, 1_700) for packet in encoder.encode(tone[at : at + 1_700])]
    packets += list(encoder.finish())
    sound = np.concatenate([decoder.decode(packet) for packet, _ in packets])
    assert len(sound) == 24_000
    assert sum(len(packet) for packet, _ in packets) < 48_000 / 8
    spectrum = np.abs(np.fft.rfft(sound[4_800:] * np.hanning(19_200)))
    assert abs(spectrum.argmax() * 48_000 / 19_200 - 440) < 3
    assert 0.25 < np.abs(sound[4_800:]).max() < 0.36


@pytest.mark.parametrize(
    ("wanted", "kind", "rate", "payload"),
    [({"type": "pcm16", "rate": 44_100}, 1, 44_100, bytes(882)), ({"type": "pcmu"}, 3, 8_000, b"\xff" * 80),
     ({"type": "pcma"}, 4, 8_000, b"\xd5" * 80)],
)  # fmt: skip
def test_each_format_is_read_at_its_rate(wanted: dict[str, Any], kind: int, rate: int, payload: bytes) -> None:
    dialect = wire()
    assert isinstance(told(dialect, type="configure", audio_in=wanted), Configure)
    (command,) = dialect.read(binary(payload, kind=kind))
    assert isinstance(command, AppendAudio)
    assert command.rate == rate
    assert np.abs(command.samples).max() < 0.001


def test_lost_frames_become_silence_and_doubled_ones_nothing() -> None:
    dialect, piece = wire(), np.full(320, 1000, "<i2").tobytes()
    assert len(heard(dialect, binary(piece))) == 320
    samples = heard(dialect, binary(piece, sample=960))
    assert len(samples) == 960
    assert not samples[:640].any()
    assert samples[640:].all()
    assert dialect.read(binary(piece, sample=640)) == []
    assert len(heard(dialect, binary(piece, sample=1120))) == 160
    assert (dialect.hearing.lost, dialect.hearing.doubled) == (640, 480)
    assert len(heard(dialect, binary(piece, sample=10**9))) == 320  # a pause takes no time
    assert len(heard(dialect, binary(piece, flags=1, sample=0))) == 320  # a new stream


def test_frames_of_an_answer_count_from_their_first_to_their_last() -> None:
    dialect, place = wire(), Place("resp_1", "item_1", 0)
    frames = [f for _ in range(3) for f in dialect.write(AudioDelta(place, np.zeros(640, np.float32), 16_000))]
    frames += dialect.write(PartDone(place, speech=True, text=""))
    headers = [struct.unpack_from("<BBHIQ", frame) for frame in frames]  # type: ignore[arg-type]
    assert headers == [(1, 1, 1, 0, 0), (1, 0, 1, 1, 640), (1, 0, 1, 2, 1280), (1, 2, 1, 3, 1920)]
    assert [len(frame) for frame in frames] == [1296, 1296, 1296, 16]
    other = dialect.write(AudioDelta(Place("resp_2", "item_2", 0), np.zeros(640, np.float32), 16_000))
    assert struct.unpack_from("<BBHIQ", other[0]) == (1, 1, 2, 0, 0)  # type: ignore[arg-type]


def test_two_answers_at_once_have_a_stream_each() -> None:
    dialect, a, b = wire(), Place("resp_1", "item_1", 0), Place("resp_2", "item_2", 0)
    sound = np.zeros(640, np.float32)
    frames = [frame for _ in range(2) for place in (a, b) for frame in dialect.write(AudioDelta(place, sound, 16_000))]
    frames += [frame for place in (a, b) for frame in dialect.write(PartDone(place, speech=True, text=""))]
    headers = [struct.unpack_from("<BBHIQ", frame)[1:4] for frame in frames]  # type: ignore[arg-type]
    assert headers == [(1, 1, 0), (1, 2, 0), (0, 1, 1), (0, 2, 1), (2, 1, 2), (2, 2, 2)]


def test_codes_in_front_of_their_sound_begin_the_stream() -> None:
    dialect, place = wire(), Place("resp_1", "item_1", 0)
    frames = dialect.write(CodesDelta(place, np.zeros((1, 4), np.int64)))
    frames += dialect.write(AudioDelta(place, np.zeros(640, np.float32), 16_000))
    assert [frame[1] for frame in frames] == [1, 0]


def test_an_answer_keeps_the_format_with_which_it_began() -> None:
    dialect, place = wire(), Place("resp_1", "item_1", 0)
    dialect.write(ResponseCreated(Answer("resp_1")))
    changed = told(dialect, type="configure", audio_out={"type": "pcmu", "rate": 8000})
    (frame,) = dialect.write(AudioDelta(place, np.zeros(640, np.float32), 16_000))
    assert frame[0] == 1  # the change was read and not answered yet
    dialect.write(SessionChanged("sess_1", changed.setup))
    (frame,) = dialect.write(AudioDelta(place, np.zeros(640, np.float32), 16_000))
    assert frame[0] == 1
    dialect.write(ResponseCreated(Answer("resp_2")))
    (frame,) = dialect.write(AudioDelta(Place("resp_2", "item_2", 0), np.zeros(640, np.float32), 8_000))
    assert frame[0] == 3


def test_a_long_frame_becomes_commands_that_others_can_run_between() -> None:
    for kind, form in ((1, "pcm16"), (3, "pcmu")):
        dialect = wire()
        rate = 16_000 if kind == 1 else 8_000
        told(dialect, type="configure", audio_in={"type": form, "rate": rate})
        commands = dialect.read(binary(bytes(5 * rate * (2 if kind == 1 else 1) + 2), kind=kind))
        assert [len(command.samples) for command in commands][:5] == [rate] * 5  # type: ignore[union-attr]
        assert len(commands) == 6


def test_codes_go_out_frame_by_frame_with_their_number_of_books() -> None:
    codes = np.arange(12, dtype=np.int64).reshape(3, 4)
    (frame,) = wire().write(CodesDelta(Place("resp_1", "item_1", 0), codes))
    assert isinstance(frame, bytes)
    assert frame[0] == 5
    assert frame[16] == 4
    assert np.array_equal(np.frombuffer(frame[17:], "<u2").reshape(3, 4), codes)


# What a client may get wrong


@pytest.mark.parametrize(
    ("frame", "path"),
    [(b"", "header"), (bytes(15), "header"), (binary(b"", kind=9), "type"), (binary(b"a"), "payload"),
     (binary(b"ab", kind=3), "type"), (binary(b"", flags=4)[:16], "time"),
     ("no json", None), ("[]", None), ("{}", "type"), ('{"type": 1}', "type"), ('{"type": "dance"}', "type"),
     ('{"type": "configure", "voice": "x"}', "voice"),
     ('{"type": "configure", "audio_in": {"rate": 1}}', "audio_in.rate"),
     ('{"type": "configure", "audio_in": {"rate": 1e99}}', "audio_in.rate"),
     ('{"type": "configure", "audio_in": {"rate": 8000.5}}', "audio_in.rate"),
     ('{"type": "configure", "audio_in": {"rate": NaN}}', "audio_in.rate"),
     ('{"type": "configure", "audio_in": {"rate": Infinity}}', "audio_in.rate"),
     ('{"type": "configure", "turns": {"by": "chance"}}', "turns.by"),
     ('{"type": "configure", "tools": [{"name": 3}]}', "tools.0.name"),
     ('{"type": "configure", "sampling": {"top_p": 0}}', "sampling"),
     ('{"type": "say"}', "text"), ('{"type": "say", "images": [{}]}', "images.0.url"),
     ('{"type": "played", "item": "a", "ms": "long"}', "ms"), ('{"type": "ping", "t": true}', "t"),
     ('{"type": "respond", "metadata": {"a": 1}}', "metadata"), ('{"type": "tool_result", "call": "a"}', "output")],
)  # fmt: skip
def test_one_clear_error_names_the_field(frame: str | bytes, path: str | None) -> None:
    (command,) = wire().read(frame)
    assert isinstance(command, Reject)
    assert command.param == path
    assert len(command.message) < 300


def test_a_number_may_be_written_as_a_clients_language_writes_it() -> None:
    dialect = wire()
    told(dialect, type="configure", audio_in={"rate": 8000.0}, longest=20.0)
    assert (dialect.wanted.audio_in.rate, dialect.setup.longest) == (8_000, 20)
    assert told(dialect, type="truncate", item="item_1", ms=1234.6) == TruncateItem("item_1", 0, 1235)


@pytest.mark.parametrize("way", ["audio_in", "audio_out"])
def test_opus_is_refused_where_its_package_is_missing(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    dialect = wire()
    problem = told(dialect, type="configure", **{way: {"type": "opus"}})
    assert isinstance(problem, Reject)
    assert problem.param == f"{way}.type"
    assert "av" in problem.message
    assert dialect.read(binary(bytes(2)))  # it goes on as it was


def test_an_error_brings_the_clients_reference_back() -> None:
    assert told(wire(), type="say", ref="r1").ref == "r1"


HALF = "\ud800"  # of a surrogate pair, which no text has and no UTF-8 can hold


@pytest.mark.parametrize(
    "message",
    [{"type": HALF, "ref": HALF}, {"type": "configure", HALF * 1_000: 1, "ref": HALF * 1_000},
     {"type": "configure", "instructions": HALF, "tools": [{"name": "f", "parameters": {HALF: [HALF]}}]},
     {"type": "say", "text": HALF, "id": HALF}, {"type": "respond", "metadata": {HALF: HALF}}],
)  # fmt: skip
def test_half_a_surrogate_pair_comes_back_as_a_question_mark(message: dict[str, Any]) -> None:
    dialect = wire()
    match told(dialect, **message):
        case Reject() as wrong:
            (frame,) = dialect.write(Problem(wrong.code, wrong.message, wrong.param, ref=wrong.ref))
            assert set(json.loads(frame)["ref"]) == {"?"}
        case Configure(setup=setup):
            (frame,) = dialect.write(SessionChanged("sess_1", setup))
            assert setup.instructions == "?"
        case AddItem(item=item):
            (frame,) = dialect.write(ItemAdded(item, None))
        case CreateResponse(wishes=wishes):
            (frame,) = dialect.write(ResponseCreated(Answer("resp_1", metadata=wishes.metadata)))
    assert isinstance(frame, str)
    assert "?" in frame.encode().decode()
    assert len(frame) < 2_000


@pytest.mark.parametrize("deep", ["[" * 400 + "]" * 400, "[NaN]"])
def test_a_schema_that_others_cannot_read_is_refused(deep: str) -> None:
    (command,) = wire().read('{"type": "configure", "tools": [{"name": "f", "parameters": {"a": ' + deep + "}}]}")
    assert isinstance(command, Reject)
    assert command.param == "tools.0.parameters"


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from(
    "ref text role images url item answer ms call output t round_trip_ms instructions speaks codes audio_in audio_out"
    " turns by type rate transcribe tools name parameters tool_choice longest sampling temperature metadata context"
    " aside".split()
)
kinds = st.sampled_from(
    "configure commit clear say tool_result respond cancel played truncate show forget ping nothing".split()
)
objects = st.dictionaries(names, values | st.dictionaries(names, values, max_size=4), max_size=5)
messages = st.one_of(
    st.builds(lambda kind, rest: json.dumps({**rest, "type": kind}), kinds, objects),
    st.builds(lambda kind, rest, at: json.dumps({**rest, "type": kind})[:at], kinds, objects, st.integers(0, 60)),
    st.text(max_size=30),
    st.binary(max_size=60),
    st.builds(binary, st.binary(max_size=60), kind=st.integers(0, 6), flags=st.integers(0, 7),
              sample=st.integers(0, 2**64 - 1)),
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.lists(messages, max_size=12))
def test_nothing_that_a_client_sends_raises(frames: list[str | bytes]) -> None:
    dialect = wire()
    for frame in frames:
        commands = dialect.read(frame)
        assert len(commands) <= 1
        for command in commands:
            assert not isinstance(command, AppendAudio) or command.samples.nbytes <= 4 * 2 * 192_000 + 4 * 5_760
    assert len(dialect.answers()) <= 12
    json.dumps(dialect.setup.wire)


def test_an_address_that_asks_for_more_is_not_served() -> None:
    with pytest.raises(NotServed):
        wire(key="secret")
    assert wire(model="nano").setup.model == "nano"


# The client's clock


class Still:
    """A clock that stands where a test puts it."""

    time = 0.0

    def now(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        raise NotImplementedError


def at_five_ms(later: float = 0.0) -> tuple[OmniV1, Still]:
    """A wire with 5 ms each way to a client whose clock is so much later, and that has pinged once."""
    clock = Still()
    dialect = OmniV1Wire(lambda: clock).open({}, WireLimits())
    clock.time = 0.005
    dialect.read(json.dumps({"type": "ping", "t": later, "round_trip_ms": 10}))
    return dialect, clock


def uplink(dialect: OmniV1, clock: Still, sent: float) -> float:
    """How long the server thinks that a frame took which took 5 ms; both clocks are the same."""
    clock.time = sent + 0.005
    (command,) = dialect.read(struct.pack("<BBHIQd", 1, 1 | 4, 0, 0, 0, sent) + bytes(640))
    assert isinstance(command, AppendAudio)
    assert command.sent_at is not None
    return clock.time - command.sent_at


def test_a_sound_that_will_be_audible_soon_is_so_then_and_moves_no_clock() -> None:
    dialect, clock = at_five_ms()
    clock.time = 2.005
    said = told(dialect, type="played", item="a", ms=0, received_at=1.98, first_at=2.1)
    assert (said.received_at, said.first_at) == (pytest.approx(1.98), pytest.approx(2.1))
    assert uplink(dialect, clock, 3.0) == pytest.approx(0.005)


def test_a_slow_ping_does_not_lengthen_the_way() -> None:
    dialect, clock = at_five_ms()
    clock.time = 1.2
    dialect.read('{"type": "ping", "t": 1.0, "round_trip_ms": 400}')
    assert uplink(dialect, clock, 3.0) == pytest.approx(0.005)


def test_moments_of_a_client_whose_clock_is_another_are_on_ours_once_it_has_shown_it() -> None:
    dialect, clock = at_five_ms(later=1000.0)
    clock.time = 2.0
    assert told(dialect, type="played", item="a", ms=0, first_at=1001.5).first_at == pytest.approx(1.5)
    assert told(wire(), type="played", item="a", ms=0, first_at=1001.5).first_at is None


# Whole conversations


async def test_a_turn_by_push_to_talk_comes_back_as_it_was_said() -> None:
    tone = (8_000 * np.sin(np.arange(16_000) * 0.1)).astype(np.int16)
    async with serving() as server, client(server) as one:
        await one.say("configure", turns={"by": "client"})
        for at in range(0, 16_000, 640):
            await one.sound(tone[at : at + 640])
        await one.say("commit")
        await one.say("respond")
        found = await one.until("answer_done")
        back = b"".join(m["payload"] for m in found if m["type"] == 1)
        assert np.array_equal(np.frombuffer(back, "<i2"), tone)
        assert found[-1]["latency"]["total_ms"] > 0


@pytest.mark.parametrize("form", ["pcm16", "opus", "pcmu", "pcma"])
async def test_an_answer_comes_in_the_format_that_was_asked_for(form: str) -> None:
    if form == "opus":
        pytest.importorskip("av")
    async with serving(ScriptedEngine([Speak(1.0)])) as server, client(server) as one:
        await one.say("configure", turns={"by": "client"}, audio_out={"type": form})
        await one.say("say", text="sing")
        await one.say("respond")
        found = await one.until("answer_done")
        frames = [m for m in found if isinstance(m["type"], int)]
        rate = {"pcm16": 16_000, "opus": 48_000}.get(form, 8_000)
        assert [f["sequence"] for f in frames] == list(range(len(frames)))
        assert frames[0]["flags"] == 1
        assert frames[-1]["flags"] == 2
        assert abs(frames[-1]["sample"] / rate - 1.0) <= 0.02


async def test_an_echo_that_lives_answers_every_frame() -> None:
    async with serving(EchoEngine(duplex=True)) as server, client(server) as one:
        await one.say("configure", turns={"by": "nobody"})
        await one.say("respond")
        await one.until("answer_started")
        for n in range(20):
            await one.sound(np.full(640, n + 1, np.int16))
            frame = (await one.until(1))[-1]
            assert set(np.frombuffer(frame["payload"], "<i2")) == {n + 1}
        await one.say("cancel")
        assert (await one.until("answer_done"))[-1]["status"] == "cancelled"


async def test_an_error_of_the_session_names_the_field_as_this_wire_has_it() -> None:
    broken = [{"url": "data:image/png;base64,AAAA"}]
    async with serving(ScriptedEngine([Hang()])) as server, client(server) as one:
        for kind, fields, path in (
            ("say", {"text": "again", "id": "a"}, "id"),
            ("say", {"text": "behind", "after": "nothing"}, "after"),
            ("say", {"images": broken}, "images"),
            ("truncate", {"item": "a", "ms": 3}, "item"),
            ("forget", {"item": "nothing"}, "item"),
            ("respond", {"context": [{"images": broken}]}, "context"),
            ("respond", {"context": [{"item": "a"}, {"item": "nothing"}]}, "context.1.item"),
            ("respond", {"aside": True}, "aside"),
            ("cancel", {"answer": "nothing"}, "answer"),
            ("cancel", {}, None),
            ("truncate", {}, "item"),
            ("configure", {"item_id": 1}, "item_id"),
        ):
            if path == "id":
                await one.say("say", text="first", id="a")
            elif path == "aside":
                for _ in range(QUICK.session.asides):
                    await one.say("respond", aside=True)
            await one.say(kind, ref=kind, **fields)
            error = (await one.until("error"))[-1]
            assert (error["path"], error["ref"]) == (path, kind)


def test_sound_that_nobody_commits_is_too_much_in_its_payload() -> None:
    (frame,) = wire().write(Problem("input_audio_buffer_full", "it is full", "audio"))
    assert json.loads(frame)["path"] == "payload"


async def test_a_session_goes_on_after_half_a_surrogate_pair() -> None:
    async with serving() as server, client(server) as one:
        await one.say("nope", ref="\ud800")
        assert (await one.until("error"))[-1]["ref"] == "?"
        await one.say("say", text="a\ud800b")
        assert (await one.until("item_done"))[-1]["item"]["parts"] == [{"type": "text", "text": "a?b"}]


async def test_a_tool_is_called_and_its_result_read() -> None:
    engine = ScriptedEngine([Call("light", '{"on": true}')], [Say("It is on.")])
    async with serving(engine) as server, client(server) as one:
        await one.say("configure", turns={"by": "client"}, speaks=False, tools=[{"name": "light"}])
        await one.say("say", text="light!")
        await one.say("respond")
        found = await one.until("answer_done")
        call = next(m for m in found if m["type"] == "call")
        assert (call["name"], json.loads(call["arguments"])) == ("light", {"on": True})
        await one.say("tool_result", call=call["call"], output="done")
        await one.say("respond")
        found = await one.until("answer_done")
        assert "".join(m["text"] for m in found if m["type"] == "text") == "It is on."
