"""The client says when a turn is over, so sound decides nothing."""

from omni_server.turns.strategy import Verdict


class ByClient:
    """Never has a verdict."""

    threshold = 1.0  # nobody listens for a voice

    def window(self, _start: int, _probability: float, _level: float, /) -> list[Verdict]:
        """Nothing follows from it."""
        return []

    def prediction(self, _probability: float, /) -> list[Verdict]:
        """Nor from this."""
        return []

    def starve(self, _at: int, /) -> list[Verdict]:
        """Nor from silence."""
        return []
