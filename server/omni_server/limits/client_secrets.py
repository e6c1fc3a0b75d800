"""Keys for web pages: made by whoever holds a key of the server's, good for some minutes and one kind of session."""

import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from omni_server.dialects.dialect import Dialect, WireLimits
from omni_server.limits.keys import hashed

PREFIX = "ek_"  # what a client secret begins with, by which a log or a scanner knows it
MOST = 1_000  # that are good at a time, of one key: each keeps the session that it was asked for
Opens = Callable[[Mapping[str, str], WireLimits], Dialect]


@dataclass(frozen=True)
class ClientSecret:
    """One of them; its value is known to its holder alone."""

    who: str  # the name of the key that made it
    wire: str  # that it opens, by name
    expires_at: float  # s since the epoch
    opens: Opens


class TooManySecrets(RuntimeError):
    """One key has as many as it may."""


class ClientSecrets:
    """All that are good, kept as hashes."""

    def __init__(self, most: int = MOST, now: Callable[[], float] = time.time) -> None:
        self._most = most
        self._now = now
        self._held: dict[bytes, ClientSecret] = {}

    def make(self, who: str, wire: str, seconds: float, opens: Opens) -> tuple[str, ClientSecret]:
        """A new one, and its value; raises `TooManySecrets`."""
        now = self._now()
        self._held = {digest: made for digest, made in self._held.items() if made.expires_at > now}
        if sum(made.who == who for made in self._held.values()) >= self._most:
            raise TooManySecrets(f"{self._most:,} client secrets of this key are good still: use one, or wait")
        value = PREFIX + secrets.token_urlsafe(32)
        made = self._held[hashed(value)] = ClientSecret(who, wire, now + seconds, opens)
        return value, made

    def find(self, value: str | None) -> ClientSecret | None:
        """What a key is, if it is a client secret that is still good."""
        if value is None or not value.startswith(PREFIX):
            return None
        found = self._held.get(hashed(value))
        return found if found is not None and found.expires_at > self._now() else None
