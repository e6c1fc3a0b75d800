"""What was sent to a client that may lose its connection: the newest of it, and how much there was.

A websocket keeps its order, so both sides only count. A client that comes back says how many messages it has; the rest
is sent again. No message carries a number for this.
"""

from collections import deque
from dataclasses import dataclass, field

SMALL = 64  # bytes that a message counts besides its own


class Lost(ValueError):
    """What the client asks for is not kept any more, or was never sent."""


@dataclass
class Journal:
    """Messages to one client.

    >>> journal = Journal(limit=1000)
    >>> for word in ("a", "b", "c"):
    ...     journal.add(word)
    >>> journal.after(1), journal.sent
    (['b', 'c'], 3)
    """

    limit: int  # bytes
    sent: int = 0  # messages so far
    _kept: deque[str | bytes] = field(default_factory=deque)
    _bytes: int = 0
    _since_parked: int = 0  # bytes

    def add(self, message: str | bytes) -> None:
        """One more was sent, or would have been."""
        self.sent += 1
        self._kept.append(message)
        size = _size(message)
        self._bytes += size
        self._since_parked += size
        while self._bytes > self.limit and len(self._kept) > 1:
            self._bytes -= _size(self._kept.popleft())

    def after(self, received: int) -> list[str | bytes]:
        """What a client that has so many messages lacks; raises `Lost`."""
        if not 0 <= received <= self.sent:
            raise Lost(f"received is {received}: {self.sent} messages were sent")
        lacking = self.sent - received
        if lacking > len(self._kept):
            raise Lost(
                f"{lacking} messages were sent after message {received}, and the last {len(self._kept)} are still there"
            )
        return list(self._kept)[len(self._kept) - lacking :]

    def park(self) -> None:
        """Nobody reads now: from here on count what is added."""
        self._since_parked = 0

    @property
    def full(self) -> bool:
        """Whether so much was added since nobody reads that what was on its way then would be pushed out."""
        return self._since_parked >= self.limit // 2


def _size(message: str | bytes) -> int:
    if isinstance(message, str) and not message.isascii():
        message = message.encode(errors="replace")
    return SMALL + len(message)
