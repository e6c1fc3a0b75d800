"""Ids of everything a client sees: unique, and not to be guessed from one session to the next."""

import secrets
from dataclasses import dataclass, field
from itertools import count


@dataclass
class Names:
    """Ids of one session: `resp_3f9a…_7`."""

    session: str = field(default_factory=lambda: secrets.token_hex(8))
    _numbers: "count[int]" = field(default_factory=lambda: count(1))

    def new(self, kind: str) -> str:
        """The next id."""
        return f"{kind}_{self.session}_{next(self._numbers)}"
