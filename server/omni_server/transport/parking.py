"""Sessions whose connection is lost wait here for their client, for a while and not too many of them.

A token names a session and proves that it is the client's. It changes with every connection; the one that the client
came with stays good until it has said something on the new connection, since the new token may have been lost with it.
"""

import asyncio
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

Parked = TypeVar("Parked")


class NoSuchSession(ValueError):
    """The token opens nothing: wrong, used up, or too late."""


@dataclass
class Slip(Generic[Parked]):
    """What a session needs to be found again."""

    name: str
    who: str  # the name of the key that it was opened with
    held: Parked
    _secret: str = field(default="", repr=False)
    _before: str = field(default="", repr=False)  # good until `confirm`
    _timer: asyncio.TimerHandle | None = None

    def rotate(self, used: str = "") -> str:
        """A new token, for a client that came with this one."""
        self._before, self._secret = used.partition(".")[2], secrets.token_urlsafe(24)
        return f"{self.name}.{self._secret}"

    def confirm(self) -> None:
        """The client has the newest token."""
        self._before = ""

    def opens(self, secret: str) -> bool:
        """Whether this is its secret."""
        newest = hmac.compare_digest(self._secret.encode(), secret.encode())
        before = hmac.compare_digest(self._before.encode(), secret.encode())
        return newest or (before and bool(self._before))


@dataclass
class Parking(Generic[Parked]):
    """All sessions that can be resumed, and those of them that wait."""

    places: int
    grace: float  # s
    _slips: dict[str, Slip[Parked]] = field(default_factory=dict)
    _waiting: dict[str, Callable[[], None]] = field(default_factory=dict)

    @property
    def waiting(self) -> int:
        """Sessions without a connection."""
        return len(self._waiting)

    def issue(self, name: str, who: str, held: Parked) -> Slip[Parked]:
        """This session may be resumed."""
        slip = self._slips[name] = Slip(name, who, held)
        return slip

    def find(self, token: str, who: str) -> Slip[Parked]:
        """The session of a token; raises `NoSuchSession`."""
        slip = self.named(token)
        if slip is None or slip.who != who:
            raise NoSuchSession("this token resumes nothing: its session is over, or the token was used")
        return slip

    def named(self, token: str) -> Slip[Parked] | None:
        """The session of a token, whoever brings it."""
        name, _, secret = token.partition(".")
        slip = self._slips.get(name)
        return slip if slip is not None and slip.opens(secret) else None

    def park(self, slip: Slip[Parked], give_up: Callable[[], None]) -> bool:
        """Its connection is lost: call `give_up` after the grace period. False when there is no place to wait."""
        if len(self._waiting) >= self.places or slip.name not in self._slips:
            return False

        def too_late() -> None:
            self.forget(slip)
            give_up()

        self._waiting[slip.name] = give_up
        slip._timer = asyncio.get_running_loop().call_later(self.grace, too_late)
        return True

    def unpark(self, slip: Slip[Parked]) -> None:
        """It has a connection again."""
        self._waiting.pop(slip.name, None)
        if slip._timer is not None:
            slip._timer.cancel()
            slip._timer = None

    def forget(self, slip: Slip[Parked]) -> None:
        """The session is over."""
        self.unpark(slip)
        self._slips.pop(slip.name, None)

    def give_up_all(self) -> None:
        """Nobody can come back any more."""
        for name, give_up in list(self._waiting.items()):
            self.forget(self._slips[name])
            give_up()
