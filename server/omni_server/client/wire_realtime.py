"""The wire of OpenAI Realtime (GA): JSON text both ways, sound as base64 of 16 bit at 24 kHz."""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from omni_server.client import asks, events
from omni_server.client.asks import Ask
from omni_server.client.events import Event
from omni_server.client.wire import BadMessage, Message, latency_of, text_of
from omni_server.client.wishes import Wishes

RATE = 24_000  # Hz, the only one that every server of this wire takes
FULL_SCALE = 32_768
OMNI = ["omni.waterfall", "omni.ducking", "omni.thinking"]  # events that a server of this project adds when asked


class Realtime:
    """One connection. `plain` keeps to what every server of this wire knows."""

    name: str = "realtime"
    path: str = "/v1/realtime"
    subprotocols: Sequence[str] = ("realtime",)
    rate: int = RATE
    stamps: bool = False

    def __init__(self, *, plain: bool = False) -> None:
        self._plain = plain
        self._before = Wishes(transcribe=False)  # as it is now: an update changes only what it names

    # Out

    def write(self, ask: Ask) -> list[Message]:
        """The messages that ask this."""
        match ask:
            case asks.Append(samples=samples):
                audio = base64.b64encode(pcm16(samples)).decode("ascii")
                return [f'{{"type":"input_audio_buffer.append","audio":"{audio}"}}']
            case asks.Configure(wishes=wishes):
                session, self._before = self._session(wishes), wishes
                return [_event("session.update", session=session)]
            case asks.Commit():
                return [_event("input_audio_buffer.commit")]
            case asks.Message(text=text, images=images):
                parts: list[dict[str, Any]] = [{"type": "input_image", "image_url": url} for url in images]
                parts += [] if text is None else [{"type": "input_text", "text": text}]
                item = {"type": "message", "role": "user", "content": parts}
                return [_event("conversation.item.create", item=item)]
            case asks.ToolResult(call=call, output=output):
                item = {"type": "function_call_output", "call_id": call, "output": output}
                return [_event("conversation.item.create", item=item)]
            case asks.Respond():
                return [_event("response.create")]
            case asks.Cancel():
                return [_event("response.cancel")]
            case asks.Truncate(item=name, ms=ms):
                return [_event("conversation.item.truncate", item_id=name, content_index=0, audio_end_ms=round(ms))]
            case _:  # nothing is told of play-out or of clocks here
                return []

    def _session(self, wishes: Wishes) -> dict[str, Any]:
        sound = {"type": "audio/pcm", "rate": RATE}
        turns: dict[str, Any] | None = None
        if wishes.turns != "client":
            turns = {"type": "server_vad" if wishes.turns == "silence" else "semantic_vad"}
            turns |= {"create_response": True, "interrupt_response": wishes.interrupts}
            if wishes.turns == "meaning":
                turns["eagerness"] = wishes.eagerness
            elif wishes.silence_ms is not None or self._before.silence_ms is not None:
                turns["silence_duration_ms"] = wishes.silence_ms
        output: dict[str, Any] = {"format": sound}
        if wishes.voice is not None:
            output["voice"] = wishes.voice
        heard: dict[str, Any] = {"format": sound, "turn_detection": turns}
        if wishes.transcribe:
            heard["transcription"] = {"model": "whisper-1"}
        elif self._before.transcribe:
            heard["transcription"] = None
        session: dict[str, Any] = {
            "type": "realtime",
            "output_modalities": ["audio"] if wishes.speaks else ["text"],
            "audio": {"input": heard, "output": output},
        }
        if wishes.instructions != self._before.instructions:
            session["instructions"] = wishes.instructions
        if wishes.tools != self._before.tools:
            session["tools"] = [
                {
                    "type": "function",
                    "name": tool.name,
                    "description": tool.description,
                    "parameters": dict(tool.parameters),
                }
                for tool in wishes.tools
            ]
        if not self._plain:
            session["include"] = OMNI
        return session

    # In

    def read(self, message: Message) -> list[Event]:
        """The events of a message."""
        if not isinstance(message, str):
            raise BadMessage("the server sent bytes; on this wire every message is JSON text")
        try:
            said = json.loads(message)
            if not isinstance(said, dict) or not isinstance(said.get("type"), str):
                raise BadMessage(f"the server sent JSON that is no event: {message[:60]!r}")
            return self._said(said["type"], said)
        except (KeyError, TypeError, AttributeError) as lacking:
            raise BadMessage(f"the server sent an event that lacks something ({lacking}): {message[:80]!r}") from None
        except BadMessage:
            raise
        except (ValueError, RecursionError, binascii.Error):
            raise BadMessage(f"the server sent what is no JSON event: {message[:60]!r}") from None

    def _said(self, kind: str, said: Mapping[str, Any]) -> list[Event]:
        match kind:
            case "response.output_audio.delta":
                samples = from_pcm16(base64.b64decode(text_of(said, "delta"), validate=True))
                return [events.Sound(text_of(said, "response_id"), text_of(said, "item_id"), samples, RATE)]
            case "response.output_audio.done":
                return [events.SoundEnded(text_of(said, "response_id"), text_of(said, "item_id"))]
            case "response.output_audio_transcript.delta" | "response.output_text.delta":
                return [events.Words(text_of(said, "response_id"), text_of(said, "item_id"), text_of(said, "delta"))]
            case "response.created":
                return [events.AnswerStarted(text_of(said["response"], "id"))]
            case "response.done":
                return [_done(said["response"], latency_of(said, "waterfall"))]
            case "response.function_call_arguments.done":
                answer, call, arguments = (text_of(said, name) for name in ("response_id", "call_id", "arguments"))
                return [events.Called(answer, call, str(said.get("name", "")), arguments)]
            case "input_audio_buffer.speech_started":
                return [events.SpeechStarted(text_of(said, "item_id"))]
            case "input_audio_buffer.speech_stopped":
                return [events.SpeechStopped(text_of(said, "item_id"))]
            case "conversation.item.input_audio_transcription.delta":
                return [events.Heard(text_of(said, "item_id"), text_of(said, "delta"), final=False)]
            case "conversation.item.input_audio_transcription.completed":
                return [events.Heard(text_of(said, "item_id"), text_of(said, "transcript"), final=True)]
            case "session.created":
                return [events.Opened(text_of(said["session"], "id"), str(said["session"].get("model") or ""))]
            case "session.updated":
                return [events.Configured()]
            case "omni.waterfall":
                return [events.Measured(text_of(said, "response_id"), latency_of(said, "waterfall") or {})]
            case "omni.thinking":
                return [events.Thinking(bool(said["on"]))]
            case "omni.ducking":
                return [events.Ducked(bool(said["on"]))]
            case "error":
                error = said["error"]
                return [events.Trouble(str(error.get("code") or error.get("type")), str(error["message"]))]
            case _:
                return [events.Other(kind, said)]


def _done(response: Mapping[str, Any], measured: Mapping[str, Any] | None) -> events.AnswerDone:
    details = response.get("status_details") or {}
    error = (details.get("error") or {}).get("message")
    return events.AnswerDone(text_of(response, "id"), response["status"], details.get("reason"), error, measured)


def _event(kind: str, **fields: Any) -> str:
    return json.dumps({"type": kind, **fields}, ensure_ascii=False)


def pcm16(samples: events.Wave) -> bytes:
    """Sound as 16 bit, little-endian.

    >>> pcm16(np.array([0.0, 1.0, -1.0], np.float32)).hex()
    '0000ff7f0080'
    """
    return np.clip(np.rint(samples * FULL_SCALE), -FULL_SCALE, FULL_SCALE - 1).astype("<i2").tobytes()


def from_pcm16(data: bytes | memoryview) -> events.Wave:
    """The other way; raises `BadMessage` for half a sample."""
    if len(data) % 2:
        raise BadMessage(f"the server sent {len(data)} bytes of 16 bit sound: half a sample too much")
    samples: events.Wave = np.frombuffer(data, "<i2").astype(np.float32) / np.float32(FULL_SCALE)
    return samples
