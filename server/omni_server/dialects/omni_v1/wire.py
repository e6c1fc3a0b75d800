"""The dialect omni.v1: frames to commands, events to frames."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni.engine.clock import Clock, SystemClock
from omni_server.dialects.dialect import NotServed, WireLimits
from omni_server.dialects.omni_v1 import control, telling
from omni_server.dialects.omni_v1.configure import Format, Wanted, configured
from omni_server.dialects.omni_v1.fields import BadField, Fields, repaired
from omni_server.dialects.omni_v1.frame import CODES, FIRST, HEADER, LAST, PCM16, BadFrame, Frame, unpack
from omni_server.dialects.omni_v1.hearing import ClientClock, Hearing
from omni_server.dialects.omni_v1.sound import Encoder, Pcm16, encoder, to_pcm16
from omni_server.session.commands import AppendAudio, Command, Configure, Reject
from omni_server.session.events import (
    AudioDelta,
    CodesDelta,
    Event,
    OutputAdded,
    PartDone,
    Place,
    ResponseCreated,
    ResponseDone,
    SessionChanged,
    SessionOpened,
)
from omni_server.session.items import Message
from omni_server.session.setup import Setup

STREAMS = 1 << 16


@dataclass
class Stream:
    """One spoken item on its way to the client."""

    number: int
    encoder: Encoder
    answer: str
    sequence: int = 0
    sample: int = 0
    codes: int = 0  # frames of codes so far


@dataclass
class OmniV1:
    """One connection."""

    limits: WireLimits
    wanted: Wanted
    clock: Clock
    hearing: Hearing = field(init=False)
    _client: ClientClock = field(default_factory=ClientClock)
    _answers: list[str | bytes] = field(default_factory=list)
    _streams: int = 0
    _live: dict[str, Stream] = field(default_factory=dict)  # by item: an answer may be spoken beside another
    _shown: Format = field(default_factory=Format)  # of sound, as the client was last told
    _formats: dict[str, Format] = field(default_factory=dict)  # of each answer: that of its beginning

    def __post_init__(self) -> None:
        self.hearing = Hearing(self.wanted.audio_in)

    @property
    def setup(self) -> Setup:
        """What the session is to be at the beginning."""
        return self._setup()

    # In

    def read(self, frame: str | bytes) -> list[Command]:
        """The commands of a frame."""
        if isinstance(frame, str):
            return self._control(frame)
        simple = self.hearing.simple(frame)
        if simple is not None:
            if len(simple) > self.hearing.format.rate:
                return _cut(simple, self.hearing.format.rate, None)
            return [AppendAudio(simple, self.hearing.format.rate)]
        try:
            came = unpack(frame)
            samples = self.hearing.frame(came)
        except BadFrame as bad:
            return [Reject("bad_frame", str(bad), bad.field)]
        sent_at = None if came.time is None else self._client.sent(came.time, self.clock.now())
        return _cut(samples, self.wanted.audio_in.rate, sent_at)

    def answers(self) -> list[str | bytes]:
        """What the wire itself answers, now."""
        answers, self._answers = self._answers, []
        return answers

    def _control(self, frame: str) -> list[Command]:
        try:
            values = json.loads(frame)
        except (ValueError, RecursionError) as wrong:
            return [Reject("bad_json", f"this is no JSON: {wrong}")]
        if not isinstance(values, dict):
            return [Reject("bad_json", "a message is a JSON object")]
        said = Fields(values)
        ref = values.get("ref")
        ref = repaired(ref[: control.ID]) if isinstance(ref, str) else None
        try:
            return self._commanded(said, ref)
        except BadField as bad:
            return [Reject("bad_field", str(bad), bad.path, ref=ref)]

    def _commanded(self, said: Fields, ref: str | None) -> list[Command]:
        kind = said.text("type", 128)
        if kind == "ping":
            now = self.clock.now()
            t = said.number("t", -1e12, 1e12)
            if "round_trip_ms" in said:
                self._client.took(said.number("round_trip_ms", 0, 60_000) / 1000)
            self._client.sent(t, now)
            self._answers.append(json.dumps({"type": "pong", "t": t, "server": round(now, 6)}))
            return []
        if kind == "configure":
            wanted = configured(self.wanted, said, self.limits)
            if wanted.audio_in != self.wanted.audio_in:
                self.hearing = Hearing(wanted.audio_in)
            self.wanted = wanted
            return [Configure(self._setup(), ref)]
        command = control.command(said, self.limits, self._client.ours)
        if command is None:
            return [
                Reject(
                    "unknown_type", f"there is no message {kind[:40]!r}: docs/protocol.md lists them", "type", ref=ref
                )
            ]
        return [command]

    def _setup(self) -> Setup:
        return replace(self.wanted.setup, wire=self.wanted.as_json())

    # Out

    def write(self, event: Event) -> list[str | bytes]:
        """The frames that say this."""
        if type(event) is AudioDelta:
            return self._sound(event)
        match event:
            case CodesDelta(place=place, codes=codes):
                stream = self._of(place)
                payload = bytes((codes.shape[1],)) + np.ascontiguousarray(codes, "<u2").tobytes()
                frame = Frame(
                    CODES, payload, 0 if stream.sequence else FIRST, stream.number, stream.sequence, stream.codes
                )
                stream.sequence += 1
                stream.codes += len(codes)
                return [frame.pack()]
            case SessionOpened(session=session, setup=setup):
                self._shown = Format(**setup.wire["audio_out"])
                return [_json({"type": "opened", "protocol": "omni.v1", "session": session, "model": setup.model,
                               "server": round(self.clock.now(), 6), "configuration": setup.wire})]  # fmt: skip
            case SessionChanged(setup=setup):
                self._shown = Format(**setup.wire["audio_out"])
                return [_json({"type": "configured", "configuration": setup.wire})]
            case OutputAdded(place=place, item=item):
                about: dict[str, Any] = {"type": "output_started", "answer": place.response, "item": place.item}
                if isinstance(item, Message):
                    stream = self._of(place)
                    about |= {"stream": stream.number, "audio": vars(self._format(place))}
                return [_json(about)]
            case PartDone(place=place, speech=True):
                return self._end(place)
            case _:
                if isinstance(event, ResponseCreated):
                    self._formats[event.answer.id] = self._shown
                elif isinstance(event, ResponseDone):
                    self._formats.pop(event.answer.id, None)
                    self._live = {item: s for item, s in self._live.items() if s.answer != event.answer.id}
                told = telling.told(event)
                return [] if told is None else [_json(told)]

    def _format(self, place: Place) -> Format:
        return self._formats.get(place.response, self._shown)

    def _of(self, place: Place) -> Stream:
        stream = self._live.get(place.item)
        if stream is None:
            number = self._streams = self._streams % (STREAMS - 1) + 1
            out = self._format(place)
            stream = self._live[place.item] = Stream(number, encoder(out.type, out.rate), place.response)
        return stream

    def _sound(self, event: AudioDelta) -> list[str | bytes]:
        stream = self._of(event.place)
        if stream.sequence and type(stream.encoder) is Pcm16:  # nearly all frames: half the time of the way below
            header = HEADER.pack(PCM16, 0, stream.number, stream.sequence & 0xFFFFFFFF, stream.sample)
            stream.sequence += 1
            stream.sample += len(event.samples)
            return [header + to_pcm16(event.samples).tobytes()]
        return [self._frame(stream, payload, count) for payload, count in stream.encoder.encode(event.samples)]

    def _frame(self, stream: Stream, payload: bytes, count: int, flags: int = 0) -> bytes:
        flags |= FIRST if not stream.sequence else 0
        frame = Frame(stream.encoder.type, payload, flags, stream.number, stream.sequence, stream.sample).pack()
        stream.sequence += 1
        stream.sample += count
        return frame

    def _end(self, place: Place) -> list[str | bytes]:
        stream = self._live.pop(place.item, None)
        if stream is None:
            return []
        frames: list[str | bytes] = [self._frame(stream, payload, count) for payload, count in stream.encoder.finish()]
        frames.append(self._frame(stream, b"", 0, LAST))
        return frames


def _cut(samples: NDArray[np.float32], rate: int, sent_at: float | None) -> list[Command]:
    """Sound a second at a time, so that nobody waits for a long piece; `sent_at` is when the last of it left."""
    starts = range(0, len(samples), rate)
    return [AppendAudio(samples[at : at + rate], rate, sent_at if at == starts[-1] else None) for at in starts]


def _json(about: Mapping[str, Any]) -> str:
    return json.dumps(about, ensure_ascii=False, default=dict)


class OmniV1Wire:
    """What the server offers."""

    name: str = "omni.v1"
    paths: Sequence[str] = ("/v1/omni",)
    subprotocols: Sequence[str] = ("omni.v1",)

    def __init__(self, clock: Callable[[], Clock] = SystemClock) -> None:
        self._clock = clock

    def open(self, query: Mapping[str, str], limits: WireLimits) -> OmniV1:
        """A connection begins."""
        wanted = Wanted()
        if model := query.get("model", "")[:128]:
            wanted = replace(wanted, setup=replace(wanted.setup, model=model))
        for name in query:
            if name not in ("model", "resume", "received"):
                raise NotServed(f"{name[:40]!r} is no part of this address: model, resume and received are")
        return OmniV1(limits, wanted, self._clock())
