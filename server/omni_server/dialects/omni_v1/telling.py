"""What a session says, as JSON. Sound and codes go in binary frames and are not here."""

import re
from dataclasses import asdict
from typing import Any

from omni_server.session import events as said
from omni_server.session.items import FunctionCall, ImagePart, Item, Message, SpeechPart, TextPart

PATHS = {  # fields as sessions name them, and here
    "audio": "payload",
    "content_index": "item",
    "item": None,  # the whole message
    "item.content": "images",
    "item.id": "id",
    "item_id": "item",
    "previous_item_id": "after",
    "response.conversation": "aside",
    "response.input": "context",
    "response_id": "answer",
}
REFERENCE = re.compile(r"response\.input\[(\d+)\]\.id")


def told(event: said.Event) -> dict[str, Any] | None:
    """The JSON of an event; None for one that this wire has no word for."""
    match event:
        case said.SpeechStarted(item=item, at_ms=at):
            return {"type": "speech_started", "item": item, "at_ms": at}
        case said.SpeechStopped(item=item, at_ms=at):
            return {"type": "speech_stopped", "item": item, "at_ms": at}
        case said.TimedOut(item=item, start_ms=start, end_ms=end):
            return {"type": "timed_out", "item": item, "start_ms": start, "end_ms": end}
        case said.Committed(item=item, previous=previous):
            return {"type": "committed", "item": item, "previous": previous}
        case said.Cleared():
            return {"type": "cleared"}
        case said.ItemAdded(item=item, previous=previous):
            return {"type": "item_added", "item": item_as_json(item), "previous": previous}
        case said.ItemDone(item=item, previous=previous):
            return {"type": "item_done", "item": item_as_json(item), "previous": previous}
        case said.ItemRetrieved(item=item):
            return {"type": "item", "item": item_as_json(item)}
        case said.ItemTruncated(item=item, audio_end_ms=end):
            return {"type": "truncated", "item": item, "ms": end}
        case said.ItemDeleted(item=item):
            return {"type": "forgotten", "item": item}
        case said.Transcribed():
            about: dict[str, Any] = {"type": "heard", "item": event.item, "text": event.text, "final": event.final}
            if event.words is not None:
                about["words"] = [vars(word) for word in event.words]
            return about
        case said.TranscriptionFailed():
            return {"type": "not_heard", "item": event.item, "code": event.code, "message": event.message}
        case said.ResponseCreated(answer=answer):
            return {"type": "answer_started", "answer": answer.id, "aside": answer.aside, **_metadata(answer)}
        case said.TextDelta(place=place, text=text):
            return {"type": "text", "answer": place.response, "item": place.item, "text": text}
        case said.CallDone(place=place):
            return {
                "type": "call", "answer": place.response, "item": place.item, "call": event.call, "name": event.name,
                "arguments": event.arguments,
            }  # fmt: skip
        case said.ResponseDone(answer=answer, waterfall=waterfall):
            return {
                "type": "answer_done",
                "answer": answer.id,
                "status": answer.status,
                "reason": answer.reason,
                "error": None if answer.code is None else {"code": answer.code, "message": answer.message},
                "output": [item_as_json(item) for item in answer.output],
                "latency": None if waterfall is None else waterfall.as_json(),
                "tokens": None if answer.usage is None else asdict(answer.usage),
                **_metadata(answer),
            }
        case said.Measured(response=response, waterfall=waterfall) if waterfall is not None:
            return {"type": "measured", "answer": response, "latency": waterfall.as_json()}
        case said.Thinking(response=response, on=on):
            return {"type": "thinking", "answer": response, "on": on}
        case said.Ducked(on=on):
            return {"type": "duck", "on": on}
        case said.Problem():
            path = event.param if event.code == "bad_field" else path_of(event.param)
            return error(event.code, event.message, path, event.ref)
        case said.Ended(code=code, message=message):
            return {"type": "ended", "code": code, "message": message}
        case _:
            return None


def path_of(param: str | None) -> str | None:
    """A field that a session names, by its name here.

    >>> path_of("previous_item_id"), path_of("response.input[2].id")
    ('after', 'context.2.item')
    """
    if param is None:
        return None
    reference = REFERENCE.fullmatch(param)
    return PATHS.get(param, param) if reference is None else f"context.{reference[1]}.item"


def error(code: str, message: str, path: str | None = None, ref: str | None = None) -> dict[str, Any]:
    """Something could not be done."""
    return {"type": "error", "code": code, "message": message, "path": path, "ref": ref}


def item_as_json(item: Item) -> dict[str, Any]:
    """An item of the conversation."""
    match item:
        case Message():
            return {
                "id": item.id,
                "type": "message",
                "role": item.role,
                "status": item.status,
                "parts": [_part(part) for part in item.parts],
            }
        case FunctionCall():
            return {"type": "call", **vars(item)}
        case _:
            return {"type": "tool_result", **vars(item)}


def _part(part: TextPart | SpeechPart | ImagePart) -> dict[str, Any]:
    match part:
        case TextPart(text=text):
            return {"type": "text", "text": text}
        case SpeechPart(transcript=transcript, seconds=seconds):
            return {"type": "speech", "transcript": transcript, "seconds": round(seconds, 3)}
        case ImagePart(url=url):
            return {"type": "image", "url": url}


def _metadata(answer: said.Answer) -> dict[str, Any]:
    return {} if answer.metadata is None else {"metadata": dict(answer.metadata)}
