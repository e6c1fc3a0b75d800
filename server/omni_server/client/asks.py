"""What a client asks of its session, the same for both wires."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from omni_server.client.wishes import Wishes


@dataclass(frozen=True)
class Configure:
    """Be like this."""

    wishes: Wishes


@dataclass(frozen=True)
class Append:
    """The next samples of the user, mono float32 at the wire's rate; the last of them left at `left_at`."""

    samples: NDArray[np.float32]
    left_at: float  # s on the client's clock


@dataclass(frozen=True)
class Commit:
    """The turn is over."""


@dataclass(frozen=True)
class Message:
    """Typed text, pictures as data URLs, or both."""

    text: str | None = None
    images: tuple[str, ...] = ()


@dataclass(frozen=True)
class ToolResult:
    """What a function gave."""

    call: str
    output: str


@dataclass(frozen=True)
class Respond:
    """Answer now."""


@dataclass(frozen=True)
class Cancel:
    """Stop answering."""


@dataclass(frozen=True)
class Played:
    """So much of an answer came out of the loudspeaker by now; moments are on the client's clock."""

    item: str
    ms: float
    received_at: float | None = None  # s
    first_at: float | None = None  # s


@dataclass(frozen=True)
class Truncate:
    """Of this answer only so much was heard, and no more will be."""

    item: str
    ms: float


@dataclass(frozen=True)
class Ping:
    """What is your clock? `round_trip_ms` is the one measured before, where there was one."""

    at: float  # s on the client's clock
    round_trip_ms: float | None = None


Ask = Configure | Append | Commit | Message | ToolResult | Respond | Cancel | Played | Truncate | Ping
