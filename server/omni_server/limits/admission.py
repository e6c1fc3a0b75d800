"""How many may be in at once: altogether, with one key, from one address."""

import ipaddress
from collections import Counter
from dataclasses import dataclass, field

from omni_server.limits.keys import ANYBODY
from omni_server.settings import Limits

RETRY_S = 5.0  # when to come again; nobody knows when a conversation ends


class TooMany(RuntimeError):
    """No more now; `reason` is for metrics, `status` is HTTP's."""

    def __init__(self, message: str, reason: str, status: int) -> None:
        super().__init__(message)
        self.reason = reason
        self.status = status
        self.retry_after = RETRY_S


@dataclass
class Ticket:
    """A place that somebody has until it is given back. Giving it back twice is giving it back once."""

    who: str
    address: str
    admission: "Admission"
    held: bool = True

    def give_back(self) -> None:
        """Leave."""
        if self.held:
            self.held = False
            self.admission.left(self)


@dataclass
class Admission:
    """Counts who is in."""

    limits: Limits
    inside: int = 0
    _keys: Counter[str] = field(default_factory=Counter)
    _addresses: Counter[str] = field(default_factory=Counter)

    def enter(self, who: str, address: str) -> Ticket:
        """Take a place; raises `TooMany`."""
        place = block(address)
        if self.inside >= self.limits.connections:
            raise TooMany(f"all {self.inside} connections are taken", "connections", 503)
        if self._keys[who] >= self.limits.per_key and who != ANYBODY:
            raise TooMany(f"this key has {self._keys[who]} connections already, and no more are let in", "key", 429)
        if self._addresses[place] >= self.limits.per_address:
            raise TooMany(f"this address has {self._addresses[place]} connections already", "address", 429)
        self.inside += 1
        self._keys[who] += 1
        self._addresses[place] += 1
        return Ticket(who, place, self)

    def left(self, ticket: Ticket) -> None:
        """A place is free again."""
        self.inside -= 1
        for counted, name in ((self._keys, ticket.who), (self._addresses, ticket.address)):
            counted[name] -= 1
            if not counted[name]:
                del counted[name]


def block(address: str) -> str:
    """What counts as one address: with IPv6 everybody has 2⁶⁴ of them.

    >>> block("192.0.2.7"), block("2001:db8::1") == block("2001:db8::2"), block("unix")
    ('192.0.2.7', True, 'unix')
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    return str(ipaddress.ip_network((parsed, 64), strict=False))
