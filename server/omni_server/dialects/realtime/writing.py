"""What a session says as the events of this wire: every one a client knows, and no field it stumbles over."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from omni.engine.protocol import Tokens, Usage
from omni_server.dialects.realtime.items import item_json
from omni_server.dialects.realtime.session_object import shown
from omni_server.dialects.realtime.sound import Format
from omni_server.latency.waterfall import Waterfall
from omni_server.session import events
from omni_server.session.events import Answer, AudioDelta, Event, Place

Frame = tuple[str, dict[str, Any]]  # type, and all but the type and the event's id
PIECE = 4.0  # s of sound in one event: far below the 1 MiB that some clients take
MOST_METADATA = 16
LONGEST_METADATA = 512  # characters


def place_json(place: Place) -> dict[str, Any]:
    """Where a delta belongs; every delta carries all of it."""
    return {
        "response_id": place.response,
        "item_id": place.item,
        "output_index": place.output,
        "content_index": place.part,
    }


def _without_part(place: Place) -> dict[str, Any]:
    return {"response_id": place.response, "item_id": place.item, "output_index": place.output}


def _behind(previous: str | None) -> dict[str, Any]:
    return {} if previous is None else {"previous_item_id": previous}


def answer_json(
    answer: Answer, session: Mapping[str, Any], conversation: str, fall: Waterfall | None
) -> dict[str, Any]:
    """A response object."""
    output = session["audio"]["output"]
    sound: Format = answer.wire.get("format") or Format(output["format"]["type"])
    metadata = dict(answer.metadata) if answer.metadata is not None else None
    if fall is not None and len(metadata or ()) < MOST_METADATA:
        line = json.dumps(fall.as_json(), separators=(",", ":"))
        if len(line) <= LONGEST_METADATA:
            metadata = {**(metadata or {}), "waterfall": line}
    details: dict[str, Any] | None = None
    if answer.status in ("cancelled", "incomplete", "failed"):
        details = {"type": answer.status}
        if answer.reason is not None:
            details["reason"] = answer.reason
        if answer.status == "failed":
            details["error"] = {"type": "server_error", "code": answer.code, "message": answer.message}
    return {
        "object": "realtime.response",
        "id": answer.id,
        "status": answer.status,
        "status_details": details,
        "output": [item_json(item) for item in answer.output],
        "conversation_id": None if answer.aside else conversation,
        "output_modalities": ["audio"] if answer.speaks else ["text"],
        "max_output_tokens": answer.wire.get("longest") or session["max_output_tokens"],
        "audio": {"output": {"format": sound.as_json(), "voice": answer.wire.get("voice") or output["voice"]}},
        "usage": None if answer.usage is None else usage_json(answer.usage),
        "metadata": metadata,
    }


def usage_json(usage: Usage) -> dict[str, Any]:
    """What a response took, in tokens."""
    return {
        "total_tokens": usage.read.total + usage.said.total,
        "input_tokens": usage.read.total,
        "output_tokens": usage.said.total,
        "input_token_details": {
            **_tokens(usage.read), "cached_tokens": usage.cached.total, "cached_tokens_details": _tokens(usage.cached),
        },
        "output_token_details": {"text_tokens": usage.said.text, "audio_tokens": usage.said.audio},
    }  # fmt: skip


def _tokens(tokens: Tokens) -> dict[str, int]:
    return {"text_tokens": tokens.text, "audio_tokens": tokens.audio, "image_tokens": tokens.image}


def pieces(event: AudioDelta) -> Iterator[Any]:
    """The samples of a delta, in events of a size that every client takes."""
    step = int(PIECE * event.rate)
    for at in range(0, len(event.samples), step):
        yield event.samples[at : at + step]


def frames(event: Event, session: Mapping[str, Any], conversation: str) -> list[Frame]:
    """All but sound, which `dialect` writes itself."""
    match event:
        case events.SessionOpened(session=name, setup=setup):
            return [("session.created", {"session": shown(setup.wire, name)})]
        case events.SessionChanged(session=name, setup=setup):
            return [("session.updated", {"session": shown(setup.wire, name)})]
        case events.SpeechStarted(item=item, at_ms=at):
            return [("input_audio_buffer.speech_started", {"audio_start_ms": at, "item_id": item})]
        case events.SpeechStopped(item=item, at_ms=at):
            return [("input_audio_buffer.speech_stopped", {"audio_end_ms": at, "item_id": item})]
        case events.TimedOut(item=item, start_ms=start, end_ms=end):
            body = {"audio_start_ms": start, "audio_end_ms": end, "item_id": item}
            return [("input_audio_buffer.timeout_triggered", body)]
        case events.Committed(item=item, previous=previous):
            return [("input_audio_buffer.committed", {"item_id": item, **_behind(previous)})]
        case events.Cleared():
            return [("input_audio_buffer.cleared", {})]
        case events.ItemAdded(item=item, previous=previous):
            return [("conversation.item.added", {"item": item_json(item), **_behind(previous)})]
        case events.ItemDone(item=item, previous=previous):
            return [("conversation.item.done", {"item": item_json(item), **_behind(previous)})]
        case events.ItemRetrieved(item=item):
            return [("conversation.item.retrieved", {"item": item_json(item)})]
        case events.ItemTruncated(item=item, part=part, audio_end_ms=end):
            body = {"item_id": item, "content_index": part, "audio_end_ms": end}
            return [("conversation.item.truncated", body)]
        case events.ItemDeleted(item=item):
            return [("conversation.item.deleted", {"item_id": item})]
        case events.Transcribed() | events.TranscriptionFailed():
            return [_transcription(event)]
        case events.Problem(code=code, message=message, param=param, kind=kind, ref=ref):
            return [("error", {"error": error_json(kind, code, message, param, ref)})]
        case events.Ended(code=code, message=message):
            return [("error", {"error": error_json("server_error", code, message, None, None)})]
        case events.Thinking(response=response, on=on):
            return [("omni.thinking", {"response_id": response, "on": on})] if _wants(session, "thinking") else []
        case events.Ducked(on=on):
            return [("omni.ducking", {"on": on})] if _wants(session, "ducking") else []
        case events.Measured(response=response, waterfall=fall):
            if fall is None or not _wants(session, "waterfall"):
                return []
            return [("omni.waterfall", {"response_id": response, "waterfall": fall.as_json()})]
        case _:
            return _response(event, session, conversation)


def _response(event: Event, session: Mapping[str, Any], conversation: str) -> list[Frame]:
    match event:
        case events.ResponseCreated(answer=answer):
            return [("response.created", {"response": answer_json(answer, session, conversation, None)})]
        case events.ResponseDone(answer=answer, waterfall=fall):
            body: dict[str, Any] = {"response": answer_json(answer, session, conversation, fall)}
            if fall is not None:
                body["waterfall"] = fall.as_json()
            return [("response.done", body)]
        case events.OutputAdded(place=place, item=item):
            body = {"response_id": place.response, "output_index": place.output, "item": item_json(item)}
            return [("response.output_item.added", body)]
        case events.OutputDone(place=place, item=item):
            body = {"response_id": place.response, "output_index": place.output, "item": item_json(item)}
            return [("response.output_item.done", body)]
        case events.PartAdded(place=place, speech=speech):
            return [("response.content_part.added", {**place_json(place), "part": _part(speech, "")})]
        case events.PartDone(place=place, speech=speech, text=text):
            at, end = (
                place_json(place),
                ("response.content_part.done", {**place_json(place), "part": _part(speech, text)}),
            )
            if not speech:
                return [("response.output_text.done", {**at, "text": text}), end]
            words = ("response.output_audio_transcript.done", {**at, "transcript": text})
            return [("response.output_audio.done", at), words, end]
        case events.TextDelta(place=place, text=text, speech=speech):
            kind = "response.output_audio_transcript.delta" if speech else "response.output_text.delta"
            return [(kind, {**place_json(place), "delta": text})]
        case events.CallDelta(place=place, call=call, arguments=arguments):
            body = {**_without_part(place), "call_id": call, "delta": arguments}
            return [("response.function_call_arguments.delta", body)]
        case events.CallDone(place=place, call=call, name=name, arguments=arguments):
            body = {**_without_part(place), "call_id": call, "name": name, "arguments": arguments}
            return [("response.function_call_arguments.done", body)]
        case _:
            return []  # acoustic codes have no place on this wire


def _part(speech: bool, text: str) -> dict[str, Any]:
    return {"type": "audio", "transcript": text} if speech else {"type": "text", "text": text}


def _transcription(event: events.Transcribed | events.TranscriptionFailed) -> Frame:
    kind = "conversation.item.input_audio_transcription."
    at = {"item_id": event.item, "content_index": 0}
    if isinstance(event, events.TranscriptionFailed):
        error = {"type": "server_error", "code": event.code, "message": event.message}
        return kind + "failed", {**at, "error": error}
    if not event.final:
        return kind + "delta", {**at, "delta": event.text}
    body = {**at, "transcript": event.text, "usage": {"type": "duration", "seconds": round(event.seconds, 3)}}
    if event.words is not None:
        words = [{"word": word.text, "start": round(word.start, 3), "end": round(word.end, 3)} for word in event.words]
        body["words"] = words
    return kind + "completed", body


def error_json(kind: str, code: str, message: str, param: str | None, ref: str | None) -> dict[str, Any]:
    """An error; what is not known is left out."""
    found = {"type": kind, "code": code, "message": message, "param": param, "event_id": ref}
    return {key: value for key, value in found.items() if value is not None}


def _wants(session: Mapping[str, Any], what: str) -> bool:
    return f"omni.{what}" in (session["include"] or ())
