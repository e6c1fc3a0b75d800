"""Functions that the model called, and whether all of their results are there: only then does an answer go on."""

from dataclasses import dataclass, field

MOST = 16  # answers whose calls are remembered


@dataclass
class Waiting:
    """One answer that called functions."""

    calls: set[str] = field(default_factory=set)  # without a result
    over: bool = False


@dataclass
class Calls:
    """The calls of one conversation.

    >>> calls = Calls()
    >>> calls.made("answer", "one"), calls.made("answer", "two"), calls.over("answer")
    (None, None, False)
    >>> calls.brought("one"), calls.brought("two")
    (False, True)
    """

    _waiting: dict[str, Waiting] = field(default_factory=dict)  # by answer

    def made(self, answer: str, call: str) -> None:
        """An answer called a function."""
        self._waiting.setdefault(answer, Waiting()).calls.add(call)
        if len(self._waiting) > MOST:
            del self._waiting[next(iter(self._waiting))]

    def over(self, answer: str) -> bool:
        """An answer is complete; whether the next one can be asked for, since its results were there before."""
        if answer not in self._waiting:
            return False
        self._waiting[answer].over = True
        return self._ready(answer)

    def forget(self, answer: str) -> None:
        """An answer that does not go on: it was cancelled, or failed."""
        self._waiting.pop(answer, None)

    def brought(self, call: str) -> bool:
        """A result is there; whether the next answer can be asked for. Of a call that nobody knows it can."""
        for answer, waiting in self._waiting.items():
            if call in waiting.calls:
                waiting.calls.remove(call)
                return self._ready(answer)
        return True

    def _ready(self, answer: str) -> bool:
        waiting = self._waiting[answer]
        if waiting.calls or not waiting.over:
            return False
        del self._waiting[answer]
        return True
