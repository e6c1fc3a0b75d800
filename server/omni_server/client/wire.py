"""A wire as a client sees it: asks become messages, messages become events. No I/O, no clock."""

from collections.abc import Sequence
from typing import Protocol

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
