"""`/v1/inspect`: one JSON question after the other, each answered from the library itself.

> {"id": 1, "ask": "tokens", "parts": [{"text": "A cat"}], "patch": 16}
< {"id": 1, "answer": {"tokens": 5, …}}
< {"id": 2, "error": {"code": "bad_field", "message": "…", "path": "patch"}}
"""

import asyncio
import json
import logging
from pathlib import Path
from typing import Any

from omni_server.dialects.omni_v1.fields import BadField, Fields
from omni_server.transport.connection import Connection, Message, SlowReader

PATH = "/v1/inspect"
MOST_WAITING = 16  # questions of all connections; one more is told to come again
log = logging.getLogger(__name__)


class Inspector:
    """Answers every connection; the work is done on a thread, one question at a time, so that talks go on."""

    def __init__(self, model: Path | None = None) -> None:
        self._model = model  # the folder of the omni model that is served, if one is
        self._turn = asyncio.Semaphore(1)
        self._waiting = 0

    async def __call__(self, connection: Connection) -> None:
        """Serve one connection until it is gone."""
        seen: dict[str, Any] = {}
        while (message := await connection.next()) is not None:
            connection.put(json.dumps(await self._answer(message, seen), ensure_ascii=False))
            if connection.clogged:
                try:
                    await connection.unclog()
                except (SlowReader, ConnectionError):
                    connection.cut_off()
                    return

    async def _answer(self, message: Message, seen: dict[str, Any]) -> dict[str, Any]:
        try:
            values = json.loads(message)
        except (ValueError, RecursionError) as wrong:
            return _error(None, "bad_json", f"this is no JSON: {wrong}")
        if not isinstance(values, dict):
            return _error(None, "bad_json", "a question is a JSON object")
        number = values.get("id") if isinstance(values.get("id"), int) else None
        if self._waiting >= MOST_WAITING:
            return _error(number, "busy", f"{MOST_WAITING} questions are waiting: ask again in a moment")
        self._waiting += 1
        try:
            async with self._turn:
                return {"id": number, "answer": await asyncio.to_thread(_answered, Fields(values), seen, self._model)}
        except BadField as bad:
            return _error(number, "bad_field", str(bad), bad.path)
        except Exception:
            log.exception("a question could not be answered")
            return _error(number, "internal_error", "something went wrong inside the server")
        finally:
            self._waiting -= 1


def _answered(said: Fields, seen: dict[str, Any], model: Path | None) -> dict[str, Any]:
    from omni_server.inspect.answers import answered  # torch and the models: only for a server that is asked

    return answered(said, seen) if model is None else answered(said, seen, model)


def _error(number: int | None, code: str, message: str, path: str | None = None) -> dict[str, Any]:
    return {"id": number, "error": {"code": code, "message": message, "path": path}}
