"""The server's clock beside this one, from pings."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ClockOffset:
    """How far the server's clock is ahead of this one, and how wrong that may be: half of the quickest round trip."""

    seconds: float
    error: float  # s

    @classmethod
    def of(cls, sent: float, server: float, now: float) -> "ClockOffset":
        """From one ping: when it was sent and came back here, and the server's moment in between.

        >>> ClockOffset.of(1.0, 101.5, 2.0)
        ClockOffset(seconds=100.0, error=0.5)
        """
        return cls(server - (sent + now) / 2, (now - sent) / 2)
