"""Special tokens in a text: an explicit policy, never a surprise."""

import re
from collections.abc import Collection, Iterable, Iterator
from typing import Any, Literal

Policy = Literal["error", "text", "allow"] | Collection[str]


class SpecialTokenInText(ValueError):
    """A text holds the name of a special token and the policy does not say what that means."""

    def __init__(self, name: str, at: int) -> None:
        self.name, self.at = name, at
        super().__init__(
            f'the text holds the special token {name!r} at character {at}: pass special="text" to encode it as plain '
            f'text (right for anything a user wrote), special="allow" to make it the token, or special={{{name!r}}} '
            "to allow this one"
        )

    def __reduce__(self) -> tuple[Any, ...]:
        return SpecialTokenInText, (self.name, self.at)  # not the message: a worker process hands back the error itself


def any_of(names: Iterable[str]) -> re.Pattern[str] | None:
    """Compile a search for any of the names, leftmost first and then longest; None where there are none."""
    longest_first = sorted(set(names), key=lambda name: (-len(name), name))
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None


def split(text: str, search: re.Pattern[str] | None) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a text in order, each with whether it is one of the names searched for.

    >>> list(split("a<s>b", any_of(["<s>"])))
    [('a', False), ('<s>', True), ('b', False)]
    """
    begin = 0
    if search is not None:
        for found in search.finditer(text):
            if found.start() > begin:
                yield text[begin : found.start()], False
            yield found.group(), True
            begin = found.end()
    if begin < len(text):
        yield text[begin:], False


def check_names(names: Collection[str]) -> None:
    """Refuse names for special tokens that are not different strings; one str would pass for its characters."""
    if isinstance(names, str) or len(set(names)) != len(names) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"special tokens must be a list of different names, not {names!r}")


class Policies:
    """Reads a policy for one vocabulary: which names are tokens in this text, and which are an error."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = frozenset(names)
        self._alarms: dict[frozenset[str], re.Pattern[str] | None] = {}
        self._error = self._alarm(frozenset())

    def _alarm(self, allowed: frozenset[str]) -> re.Pattern[str] | None:
        if allowed not in self._alarms:
            self._alarms[allowed] = any_of(self.names - allowed)
        return self._alarms[allowed]

    def allowed(self, policy: Policy) -> frozenset[str]:
        """Return the names that this policy turns into tokens; refuses policies and names it does not know."""
        if isinstance(policy, str):
            if policy == "allow":
                return self.names
            if policy in ("error", "text"):
                return frozenset()
            raise ValueError(f'special={policy!r} is not a policy: "error", "text", "allow" or a set of names')
        if not isinstance(policy, Collection) or not all(isinstance(name, str) for name in policy):
            raise TypeError(f'special= takes "error", "text", "allow" or a set of names, not {policy!r}')
        allowed = frozenset(policy)
        if unknown := sorted(allowed - self.names):
            known = ", ".join(map(repr, sorted(self.names)[:8])) or "none"
            raise ValueError(f"{unknown[0]!r} is not a special token of this vocabulary; it has {known}")
        return allowed

    def check(self, text: str, policy: Policy) -> frozenset[str]:
        """Return the allowed names; raises `SpecialTokenInText` for a name in the text that is not."""
        if policy == "error":
            allowed, alarm = frozenset[str](), self._error
        else:
            allowed = self.allowed(policy)
            alarm = None if isinstance(policy, str) else self._alarm(allowed)
        if alarm is not None and (found := alarm.search(text)):
            raise SpecialTokenInText(found.group(), found.start())
        return allowed
