"""Reading JSON of a client: each field by its path, with one clear error for what is wrong."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

NESTED = 32  # levels of JSON that nobody reads but that is handed on or back


class BadField(ValueError):
    """A field is missing or wrong; `path` names it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path} {message}")
        self.path = path


def repaired(text: str) -> str:
    """Text that UTF-8 can hold: half a surrogate pair, which no text has, becomes a question mark."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode("utf-8")


def plain(value: Any, path: str, depth: int = NESTED) -> Any:
    """Any JSON of a client's that is handed on or back as it is; raises `BadField` for what others could not read."""
    if depth == 0:
        raise BadField(path, f"is nested more than {NESTED} levels deep")
    if isinstance(value, dict):
        return {repaired(key): plain(inner, path, depth - 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [plain(inner, path, depth - 1) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        raise BadField(path, f"holds {value}, which is no JSON")
    return repaired(value) if isinstance(value, str) else value


def json_length(value: Any) -> float:
    """Characters of it as JSON."""
    try:
        return len(json.dumps(value, ensure_ascii=False))
    except RecursionError:
        return math.inf


@dataclass(frozen=True)
class Fields:
    """An object of the client. A field that is null counts as absent.

    >>> Fields({"rate": 8000}, "audio_in.").whole("rate", 1, 192_000)
    8000
    """

    values: Mapping[str, Any]
    at: str = ""  # path in front of the names

    def __contains__(self, name: str) -> bool:
        return self.values.get(name) is not None

    def text(self, name: str, most: int, default: str | None = None) -> str:
        """A string of at most so many characters; half surrogate pairs are `repaired`."""
        value = self._get(name, str, "a string", default)
        if len(value) > most:
            raise BadField(self.at + name, f"has {len(value):,} characters: at most {most:,} are taken")
        return repaired(value)

    def choice(self, name: str, among: Sequence[str], default: str | None = None) -> str:
        """One of these strings."""
        value = self._get(name, str, "a string", default)
        if value not in among:
            raise BadField(self.at + name, f"is {value[:40]!r}: it has to be one of {', '.join(among)}")
        return str(value)

    def flag(self, name: str, default: bool | None = None) -> bool:
        """True or false."""
        return bool(self._get(name, bool, "true or false", default))

    def whole(self, name: str, least: int, most: int, default: int | None = None) -> int:
        """A whole number; 500.0 is one."""
        value = self._get(name, (int, float), "a whole number", default)
        if isinstance(value, bool) or value % 1 or not least <= value <= most:
            raise BadField(self.at + name, f"is {str(value)[:40]}: it has to be a whole number from {least} to {most}")
        return int(value)

    def number(self, name: str, least: float, most: float, default: float | None = None) -> float:
        """A number."""
        value = self._get(name, (int, float), "a number", default)
        if isinstance(value, bool) or not least <= value <= most or not math.isfinite(value):
            raise BadField(self.at + name, f"is {str(value)[:40]}: it has to be a number from {least:g} to {most:g}")
        return float(value)

    def object(self, name: str, default: Mapping[str, Any] | None = None) -> "Fields":
        """An object inside."""
        return Fields(self._get(name, dict, "an object", default), f"{self.at}{name}.")

    def objects(self, name: str, most: int) -> list["Fields"]:
        """A list of objects."""
        listed = self._get(name, list, "a list", [])
        if len(listed) > most:
            raise BadField(self.at + name, f"has {len(listed)} entries: at most {most} are taken")
        for number, value in enumerate(listed):
            if not isinstance(value, dict):
                raise BadField(f"{self.at}{name}.{number}", "has to be an object")
        return [Fields(value, f"{self.at}{name}.{number}.") for number, value in enumerate(listed)]

    def _get(self, name: str, kind: Any, called: str, default: Any) -> Any:
        value = self.values.get(name)
        if value is None:
            if default is None:
                raise BadField(self.at + name, f"is missing: it has to be {called}")
            return default
        if not isinstance(value, kind):
            raise BadField(self.at + name, f"has to be {called}")
        return value
