"""The way in: an address becomes a conversation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Literal
from urllib.error import URLError

from omni_server.client.ear import BUFFER
from omni_server.client.link import Socket, address
from omni_server.client.models import model_of
from omni_server.client.refusals import Refusal, WrongKey, refusal
from omni_server.client.talk import FIRST_PATIENCE, Talk
from omni_server.client.wire import Wire
from omni_server.client.wire_omni import OmniV1
from omni_server.client.wire_realtime import Realtime
from omni_server.client.wishes import Wishes


@asynccontextmanager
async def connect(
    url: str,
    *,
    key: str | None = None,
    mode: Literal["native", "pipeline", "echo"] | None = None,
    model: str | None = None,
    wishes: Wishes | None = None,
    wire: Literal["omni.v1", "realtime", "openai"] | None = None,
    buffer: float = BUFFER,
    patience: float = FIRST_PATIENCE,
) -> AsyncIterator[Talk]:
    """Open a conversation; raises `Refusal` with one sentence when there is none to be had.

    `mode` chooses where a server of this project has several engines; `model` names one on any server. `wire`: omni.v1
    unless the address is one of OpenAI Realtime; `openai` is that wire without what only servers of this project know.
    """
    if key is not None and (not key.isascii() or not key.isprintable() or " " in key):
        raise WrongKey("the key has spaces or other than ASCII characters, which no header can carry: pass another key")
    if wire is None:
        wire = "realtime" if url.partition("?")[0].rstrip("/").endswith("/realtime") else "omni.v1"
    spoken: Wire = OmniV1() if wire == "omni.v1" else Realtime(plain=wire == "openai")
    link = Socket(address(url, spoken, model), spoken, key=key, resumable=wire == "omni.v1", patience=patience)
    if mode is not None:
        try:
            link.url = address(url, spoken, await model_of(link.url, mode, key))
        except OSError as error:
            raise error if isinstance(error, Refusal) else refusal(_cause(error), link.url) from None
    await link.open()
    talk = Talk(link, spoken, wishes or Wishes(), buffer=buffer)
    try:
        await talk.start()
        yield talk
    finally:
        await talk.close()


def _cause(error: OSError) -> BaseException:
    return error.reason if isinstance(error, URLError) and isinstance(error.reason, BaseException) else error
