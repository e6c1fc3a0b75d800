"""OpenAI Realtime (GA): JSON text frames both ways."""

import json
import secrets
from collections.abc import Mapping
from functools import partial
from itertools import count
from typing import Any

from omni_server.dialects.dialect import NotServed, WireLimits, Wish
from omni_server.dialects.realtime.fields import Wrong, choice, compact, missing, record, text, whole
from omni_server.dialects.realtime.reading import READERS
from omni_server.dialects.realtime.session_object import changed, first_session, setup_of, shown
from omni_server.dialects.realtime.sound import Format
from omni_server.dialects.realtime.writing import frames, pieces
from omni_server.session.commands import Command, Configure, Reject
from omni_server.session.events import AudioDelta, Event, ResponseCreated, ResponseDone, SessionChanged, SessionOpened
from omni_server.session.setup import Setup

LONGEST_REF = 512  # characters of a client's event_id
SECRET_S = (10, 600, 7200)  # s that a client secret is good: at least, where nothing is said, at most


def _no_constant(name: str) -> float:
    raise ValueError(f"{name} is no JSON")


STRICT = json.JSONDecoder(parse_constant=_no_constant)  # made once: json.loads with an option makes one each time


class RealtimeDialect:
    """One connection. Holds the session as the client sees it, and how it was when each answer began."""

    def __init__(self, session: dict[str, Any], limits: WireLimits) -> None:
        self._limits = limits
        self._wanted: Mapping[str, Any] = session  # with every update that was read
        self._shown: Mapping[str, Any] = session  # with every update that was answered
        self._setup = setup_of(session)
        self._sound_in = Format(session["audio"]["input"]["format"]["type"])
        self._formats: dict[str, Format] = {}  # of each answer: that of its beginning
        self._began: dict[str, Mapping[str, Any]] = {}  # the session of each answer's beginning
        self._conversation = f"conv_{secrets.token_hex(8)}"
        self._events = f"event_{secrets.token_hex(8)}_"
        self._numbers = count(1)

    @property
    def setup(self) -> Setup:
        """What the session is to be at the beginning."""
        return self._setup

    def read(self, frame: str | bytes) -> list[Command]:
        """The commands of a frame; a `Reject` for one that cannot be read."""
        if not isinstance(frame, str):
            return [Reject("invalid_value", "a frame of bytes came: on this wire every frame is JSON text")]
        try:
            event = STRICT.decode(frame)
        except (ValueError, RecursionError) as wrong:
            return [Reject("invalid_json", f"the frame is not JSON: {str(wrong)[:200]}")]
        if not isinstance(event, dict):
            return [Reject("invalid_value", "the frame is JSON but no object: every event is one")]
        ref = event.get("event_id")
        ref = ref.encode("utf-8", "replace").decode()[:LONGEST_REF] if isinstance(ref, str) else None
        try:
            return self._command(event, ref)
        except Wrong as wrong:
            return [Reject(wrong.code, str(wrong), wrong.param, ref=ref)]

    def write(self, event: Event) -> list[str | bytes]:
        """The frames that say this."""
        if type(event) is AudioDelta:
            return self._sound(event)
        if isinstance(event, SessionChanged | SessionOpened):
            self._shown = event.setup.wire
        session = self._shown
        if isinstance(event, ResponseCreated):
            self._formats[event.answer.id] = event.answer.wire.get("format") or self._usual
            self._began[event.answer.id] = session
        elif isinstance(event, ResponseDone):
            self._formats.pop(event.answer.id, None)
            session = self._began.pop(event.answer.id, session)
        return [
            compact({"type": kind, "event_id": self._event_id(), **body})
            for kind, body in frames(event, session, self._conversation)
        ]

    def _command(self, event: dict[str, Any], ref: str | None) -> list[Command]:
        kind = event.get("type")
        if kind is None:
            raise missing("type")
        if kind == "session.update":
            if event.get("session") is None:
                raise missing("session")
            self._wanted = changed(self._wanted, event["session"], self._limits)
            self._sound_in = Format(self._wanted["audio"]["input"]["format"]["type"])
            return [Configure(setup_of(self._wanted), ref)]
        read = READERS.get(kind) if isinstance(kind, str) else None
        if read is None:
            names = ", ".join(f"'{name}'" for name in ("session.update", *READERS))
            raise Wrong("type", f"Invalid value: {str(kind)[:80]!r}. Supported values are: {names}.")
        return read(event, ref, self._sound_in, self._limits)

    def _sound(self, event: AudioDelta) -> list[str | bytes]:
        # The most frequent frame by far: a template takes a third of the time of json.dumps, and no part needs escapes.
        place = event.place
        sound = self._formats.get(place.response) or self._usual
        return [
            f'{{"type":"response.output_audio.delta","event_id":"{self._event_id()}",'
            f'"response_id":"{place.response}","item_id":"{place.item}","output_index":{place.output},'
            f'"content_index":{place.part},"delta":"{sound.encode(samples)}"}}'
            for samples in pieces(event)
        ]

    @property
    def _usual(self) -> Format:
        return Format(self._shown["audio"]["output"]["format"]["type"])

    def _event_id(self) -> str:
        return f"{self._events}{next(self._numbers)}"


class RealtimeWire:
    """`GET /v1/realtime?model=NAME`, or `?intent=transcription`; `POST /v1/realtime/client_secrets`."""

    name = "realtime"
    paths = ("/v1/realtime", "/realtime")
    mints = ("/v1/realtime/client_secrets", "/realtime/client_secrets")
    subprotocols = ("realtime",)

    def __init__(self, longest_session_s: float = 3_600) -> None:
        self._longest = longest_session_s

    def open(
        self, query: Mapping[str, str], limits: WireLimits, begins: Mapping[str, Any] | None = None
    ) -> RealtimeDialect:
        """A connection begins, with the session as it was left or as `begins` changes it."""
        if query.get("call_id"):
            raise NotServed("there are no calls to attach to: connect without call_id")
        intent = query.get("intent", "")
        if intent not in ("", "transcription", "conversation"):
            raise NotServed(f"intent is {intent[:40]!r}: it is transcription, or left out")
        kind = "transcription" if intent == "transcription" else "realtime"
        model = (begins or {}).get("model") or query.get("model", "")[:256] or "omni"
        session = first_session(model, kind, self._longest)
        return RealtimeDialect(session if begins is None else changed(session, begins, limits), limits)

    def wish(self, body: bytes, limits: WireLimits) -> Wish:
        """A client secret's life, and the session that it opens."""
        try:
            asked = record(STRICT.decode(body.decode()) if body.strip() else {}, "body")
            least, usual, most = SECRET_S
            expires = record(asked.get("expires_after") or {}, "expires_after")
            choice(expires.get("anchor") or "created_at", "expires_after.anchor", ("created_at",))
            seconds = expires.get("seconds")
            seconds = usual if seconds is None else whole(seconds, "expires_after.seconds", least, most)
            begins = {"type": "realtime"} if asked.get("session") is None else record(asked["session"], "session")
            if begins.get("model") is not None:
                text(begins["model"], "session.model", 256)
            dialect = self.open({}, limits, begins)
        except Wrong as wrong:
            raise NotServed(str(wrong), code=wrong.code, param=wrong.param) from None
        except (ValueError, RecursionError) as wrong:
            raise NotServed(f"the body is not JSON: {str(wrong)[:200]}", code="invalid_json") from None
        session = shown(dialect.setup.wire, f"sess_{secrets.token_hex(8)}")
        return Wish(seconds, partial(self.open, begins=begins), session)
