"""What a wire is: frames in, typed commands out; typed events in, frames out. No logic of a session is here.

`wire.open(query, limits)` gives a dialect for one connection. Every command of `dialect.read(frame)` goes to
`session.handle`, in order; every frame of `dialect.write(event)` goes out, for each event of `session.events()`.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from omni_server.session.commands import Command
from omni_server.session.events import Event
from omni_server.session.setup import Setup


class NotServed(ValueError):
    """This request cannot become a session of this dialect; the connection is answered with the status instead."""

    def __init__(self, message: str, status: int = 400, *, code: str = "not_served", param: str | None = None) -> None:
        super().__init__(message)
        self.status = status  # of HTTP
        self.code = code
        self.param = param  # the field that is wrong


@dataclass(frozen=True)
class WireLimits:
    """How much of each thing a frame may bring; settings of the server fill this in."""

    text: int = 100_000  # characters of one text, of instructions, of one tool's result
    tools: int = 128
    tool: int = 32_768  # characters of one tool's JSON schema
    images: int = 16  # of one item
    image_bytes: int = 10 << 20  # of one picture as it came, base64 taken off
    audio_rate: int = 192_000  # Hz


class Dialect(Protocol):
    """One connection's wire."""

    @property
    def setup(self) -> Setup:
        """What the session is to be at the beginning."""
        ...

    def read(self, frame: str | bytes) -> list[Command]:
        """The commands of a frame. One that cannot be read is a `Reject`; nothing is raised."""
        ...

    def write(self, event: Event) -> list[str | bytes]:
        """The frames that say this, in order; none where the wire has no word for it."""
        ...


class Wire(Protocol):
    """What a server offers: `paths` it answers on, and `subprotocols` it knows, the first that a client offers wins."""

    @property
    def name(self) -> str:
        """For logs and metrics."""
        ...

    @property
    def paths(self) -> Sequence[str]:
        """Addresses of its websockets."""
        ...

    @property
    def subprotocols(self) -> Sequence[str]:
        """Its names in the handshake."""
        ...

    def open(self, query: Mapping[str, str], limits: WireLimits) -> Dialect:
        """A connection begins; raises `NotServed`."""
        ...


@dataclass(frozen=True)
class Wish:
    """What a client secret is wanted for."""

    seconds: float  # that it is good
    open: Callable[[Mapping[str, str], WireLimits], Dialect]  # a connection that brings it
    shown: Mapping[str, Any]  # the session, as whoever asks for the secret is told


@runtime_checkable
class Minting(Protocol):
    """A wire for which client secrets can be asked for with a POST at these addresses."""

    @property
    def name(self) -> str:
        """For logs and metrics."""
        ...

    @property
    def mints(self) -> Sequence[str]:
        """The addresses."""
        ...

    def wish(self, body: bytes, limits: WireLimits) -> Wish:
        """What the body of the request asks for; raises `NotServed`."""
        ...
