"""A wire as a client sees it: asks become messages, messages become events. No I/O, no clock."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from omni_server.client.asks import Ask
from omni_server.client.events import Event

Message = str | bytes


class BadMessage(ValueError):
    """The server sent something that is no message of this wire."""


class Wire(Protocol):
    """One connection's wire."""

    name: str
    path: str  # below the server's address
    subprotocols: Sequence[str]
    rate: int  # Hz, of the user's sound
    stamps: bool  # whether it carries moments of the client and answers pings with the server's clock

    def write(self, ask: Ask) -> list[Message]:
        """The messages that ask this; none where the wire has no word for it."""
        ...

    def read(self, message: Message) -> list[Event]:
        """The events of a message; raises `BadMessage`."""
        ...


def text_of(said: Mapping[str, Any], name: str) -> str:
    """A field that holds text; raises `BadMessage`."""
    found = said[name]
    if not isinstance(found, str):
        raise BadMessage(f"the server sent {name} as {found!r:.60}: it has to be text")
    return found


def latency_of(said: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """A waterfall, where there is one; raises `BadMessage`."""
    found = said.get(name)
    if not isinstance(found, Mapping | None):
        raise BadMessage(f"the server sent {name} as {found!r:.60}: it has to be an object")
    return found
