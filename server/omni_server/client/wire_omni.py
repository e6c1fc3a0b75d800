"""The wire omni.v1: sound in binary frames with their place and time, everything else in JSON."""

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omni_server.client import asks, events
from omni_server.client.asks import Ask
from omni_server.client.events import Event
from omni_server.client.wire import BadMessage, Message, latency_of, text_of
from omni_server.client.wire_realtime import from_pcm16, pcm16
from omni_server.client.wishes import Wishes

RATE = 16_000  # Hz
HEADER = struct.Struct("<BBHIQ")  # type, flags, stream, sequence, sample
TIME = struct.Struct("<d")  # s on the client's clock at which the last sample left
PCM16 = 1
FIRST, LAST, TIMED = 0x01, 0x02, 0x04  # flags


@dataclass
class Stream:
    """A spoken item that is coming in."""

    answer: str
    item: str
    rate: int


class OmniV1:
    """One connection."""

    name: str = "omni.v1"
    path: str = "/v1/omni"
    subprotocols: Sequence[str] = ("omni.v1",)
    rate: int = RATE
    stamps: bool = True

    def __init__(self) -> None:
        self._sequence = 0
        self._sample = 0
        self._streams: dict[int, Stream] = {}

    # Out

    def write(self, ask: Ask) -> list[Message]:
        """The messages that ask this."""
        match ask:
            case asks.Append(samples=samples, left_at=left_at):
                flags = TIMED | (0 if self._sequence else FIRST)
                header = HEADER.pack(PCM16, flags, 0, self._sequence & 0xFFFFFFFF, self._sample)
                self._sequence += 1
                self._sample += len(samples)
                return [header + TIME.pack(left_at) + pcm16(samples)]
            case asks.Configure(wishes=wishes):
                return [_said("configure", **_configuration(wishes))]
            case asks.Commit():
                return [_said("commit")]
            case asks.Message(text=text, images=images):
                about: dict[str, Any] = {"images": [{"url": url} for url in images]} if images else {}
                return [_said("say", **about, **({} if text is None else {"text": text}))]
            case asks.ToolResult(call=call, output=output):
                return [_said("tool_result", call=call, output=output)]
            case asks.Respond():
                return [_said("respond")]
            case asks.Cancel():
                return [_said("cancel")]
            case asks.Truncate(item=item, ms=ms):
                return [_said("truncate", item=item, ms=round(ms))]
            case asks.Played(item=item, ms=ms, received_at=received_at, first_at=first_at):
                moments = {"received_at": received_at, "first_at": first_at}
                known = {name: moment for name, moment in moments.items() if moment is not None}
                return [_said("played", item=item, ms=round(ms, 1), **known)]
            case asks.Ping(at=at, round_trip_ms=round_trip_ms):
                return [_said("ping", t=at, **({} if round_trip_ms is None else {"round_trip_ms": round_trip_ms}))]

    # In

    def read(self, message: Message) -> list[Event]:
        """The events of a message."""
        if isinstance(message, bytes):
            return self._frame(message)
        try:
            said = json.loads(message)
            if not isinstance(said, dict) or not isinstance(said.get("type"), str):
                raise BadMessage(f"the server sent JSON that is no message: {message[:60]!r}")
            return self._told(said["type"], said)
        except (KeyError, TypeError, AttributeError) as lacking:
            raise BadMessage(f"the server sent a message that lacks something ({lacking}): {message[:80]!r}") from None
        except BadMessage:
            raise
        except (ValueError, RecursionError):
            raise BadMessage(f"the server sent what is no JSON: {message[:60]!r}") from None
        except OverflowError:
            raise BadMessage(f"the server sent a number that is too large: {message[:60]!r}") from None

    def _frame(self, data: bytes) -> list[Event]:
        if len(data) < HEADER.size:
            raise BadMessage(f"the server sent a frame of {len(data)} bytes: its header alone has {HEADER.size}")
        kind, flags, number, _, _ = HEADER.unpack_from(data)
        stream = self._streams.get(number)
        if stream is None:
            raise BadMessage(f"the server sent sound of stream {number}, which it never started")
        if kind != PCM16:
            return [events.Other(f"frame of type {kind}")]
        start = HEADER.size + (TIME.size if flags & TIMED else 0)
        samples = from_pcm16(memoryview(data)[start:])
        found: list[Event] = []
        if len(samples):
            found.append(events.Sound(stream.answer, stream.item, samples, stream.rate))
        if flags & LAST:
            found.append(events.SoundEnded(stream.answer, stream.item))
            del self._streams[number]
        return found

    def _told(self, kind: str, said: Mapping[str, Any]) -> list[Event]:
        match kind:
            case "output_started":
                if "stream" in said:
                    rate = said["audio"]["rate"]
                    if not isinstance(rate, int) or rate < 1:
                        raise BadMessage(f"the server sent sound at {rate!r:.20} Hz: a rate is 1 or more")
                    self._streams[said["stream"]] = Stream(text_of(said, "answer"), text_of(said, "item"), rate)
                return [events.Other(kind, said)]
            case "text":
                return [events.Words(text_of(said, "answer"), text_of(said, "item"), text_of(said, "text"))]
            case "answer_started":
                return [events.AnswerStarted(text_of(said, "answer"))]
            case "answer_done":
                name = text_of(said, "answer")
                self._streams = {number: one for number, one in self._streams.items() if one.answer != name}
                error = (said.get("error") or {}).get("message")
                latency = latency_of(said, "latency")
                return [events.AnswerDone(name, said["status"], said.get("reason"), error, latency)]
            case "measured" | "latency":
                latency = latency_of(said, "latency")
                return [] if latency is None else [events.Measured(text_of(said, "answer"), latency)]
            case "heard":
                return [events.Heard(text_of(said, "item"), text_of(said, "text"), bool(said["final"]))]
            case "call":
                return [events.Called(*(text_of(said, name) for name in ("answer", "call", "name", "arguments")))]
            case "speech_started":
                return [events.SpeechStarted(text_of(said, "item"))]
            case "speech_stopped":
                return [events.SpeechStopped(text_of(said, "item"))]
            case "opened":
                return [events.Opened(text_of(said, "session"), str(said.get("model") or ""))]
            case "configured":
                return [events.Configured()]
            case "thinking":
                return [events.Thinking(bool(said["on"]))]
            case "duck":
                return [events.Ducked(bool(said["on"]))]
            case "pong":
                return [events.Pong(float(said["t"]), float(said["server"]))]
            case "error":
                return [events.Trouble(str(said["code"]), str(said["message"]))]
            case "ended":
                return [events.Ended(str(said["code"]), str(said["message"]))]
            case _:
                return [events.Other(kind, said)]


def _configuration(wishes: Wishes) -> dict[str, Any]:
    turns: dict[str, Any] = {"by": wishes.turns}
    if wishes.turns != "client":
        turns["interrupt_response"] = wishes.interrupts
    if wishes.turns == "meaning":
        turns["eagerness"] = wishes.eagerness
    elif wishes.turns == "silence" and wishes.silence_ms is not None:
        turns["silence_duration_ms"] = wishes.silence_ms
    return {
        "instructions": wishes.instructions,
        "speaks": wishes.speaks,
        "turns": turns,
        "transcribe": wishes.transcribe,
        "audio_in": {"type": "pcm16", "rate": RATE},
        "audio_out": {"type": "pcm16", "rate": RATE},
        "tools": [
            {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
            for tool in wishes.tools
        ],
    }


def _said(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False)
