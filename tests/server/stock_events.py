"""Every event of the server has to be one that the published client package knows, with the fields it says."""

import json
from typing import Annotated, Any, get_args, get_origin

from openai.types.realtime import RealtimeServerEvent
from pydantic import BaseModel, TypeAdapter


def _kinds() -> dict[str, TypeAdapter[Any]]:
    union = get_args(RealtimeServerEvent)[0] if get_origin(RealtimeServerEvent) is Annotated else RealtimeServerEvent
    models: tuple[type[BaseModel], ...] = get_args(union)
    return {get_args(model.model_fields["type"].annotation)[0]: TypeAdapter(model) for model in models}


KINDS = _kinds()


def check(frame: str | bytes) -> dict[str, Any]:
    """Parse a frame and validate it, which the client's own parser does not do: that lets wrong types pass."""
    assert isinstance(frame, str)
    event: dict[str, Any] = json.loads(frame)
    KINDS[event["type"]].validate_python(event)
    assert event["event_id"]
    return event
