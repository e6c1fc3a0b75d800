"""Reading a client's JSON: every value is checked where it is used, and what is wrong is named by its path."""

import json
import math
from collections.abc import Sequence
from typing import Any

NESTED = 32  # levels of JSON that nobody reads but that are sent back


class Wrong(ValueError):
    """A field cannot be taken."""

    def __init__(self, param: str, message: str, code: str = "invalid_value") -> None:
        super().__init__(message)
        self.param = param
        self.code = code


def compact(value: Any) -> str:
    """As it goes over the wire: what is not ASCII as it is, since an escape takes 6 bytes where UTF-8 takes 2 or 3."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def missing(path: str) -> Wrong:
    """A field that has to be there is not."""
    return Wrong(path, f"Missing required parameter: '{path}'.", "missing_required_parameter")


def _wrong(path: str, value: Any, expected: str) -> Wrong:
    kind = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    found = kind.get(type(value), "a number")
    return Wrong(path, f"Invalid type for '{path}': expected {expected}, but got {found} instead.", "invalid_type")


def record(value: Any, path: str) -> dict[str, Any]:
    """An object."""
    if not isinstance(value, dict):
        raise _wrong(path, value, "an object")
    return value


def listed(value: Any, path: str, most: int) -> list[Any]:
    """An array."""
    if not isinstance(value, list):
        raise _wrong(path, value, "an array")
    if len(value) > most:
        raise Wrong(path, f"'{path}' has {len(value):,} entries: at most {most:,} are taken.")
    return value


def text(value: Any, path: str, most: int) -> str:
    """A string of at most so many characters. Half a surrogate pair, which no text has, becomes a question mark."""
    if not isinstance(value, str):
        raise _wrong(path, value, "a string")
    if len(value) > most:
        raise Wrong(
            path, f"'{path}' has {len(value):,} characters: at most {most:,} are taken.", "string_above_max_length"
        )
    return value if value.isascii() else value.encode("utf-8", "replace").decode("utf-8")


def choice(value: Any, path: str, options: Sequence[str]) -> str:
    """One of these strings."""
    if not isinstance(value, str):
        raise _wrong(path, value, "a string")
    if value not in options:
        names = ", ".join(f"'{option}'" for option in options)
        raise Wrong(path, f"Invalid value: '{value[:80]}'. Supported values are: {names}.")
    return value


def flag(value: Any, path: str) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise _wrong(path, value, "a boolean")
    return value


def number(value: Any, path: str, least: float, most: float) -> float:
    """A number between these."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _wrong(path, value, "a number")
    if not least <= value <= most or (isinstance(value, float) and not math.isfinite(value)):
        raise Wrong(path, f"Invalid '{path}': {str(value)[:40]} is not between {least:g} and {most:g}.")
    return float(value)


def whole(value: Any, path: str, least: int, most: int) -> int:
    """A whole number between these; 500.0 is one."""
    found = number(value, path, least, most)
    if found != int(found):
        raise Wrong(path, f"Invalid '{path}': {value} is not a whole number.")
    return int(found)


def bounded(value: Any, path: str, most: int) -> Any:
    """Anything that can be sent back as it is, of at most so many characters as JSON."""
    try:
        length = len(json.dumps(value, ensure_ascii=False, allow_nan=False))
    except RecursionError:
        raise _too_deep(path) from None
    except ValueError:
        raise Wrong(path, f"'{path}' holds a number that is too large.") from None
    if length > most:
        raise Wrong(path, f"'{path}' is longer than {most:,} characters as JSON.")
    return _shallow(value, path, NESTED)


def _too_deep(path: str) -> Wrong:
    return Wrong(path, f"'{path}' is nested more than {NESTED} levels deep.")


def _shallow(value: Any, path: str, depth: int) -> Any:
    if depth == 0:
        raise _too_deep(path)
    if isinstance(value, dict):
        return {text(key, path, 1_000): _shallow(inner, path, depth - 1) for key, inner in value.items()}
    if isinstance(value, list):
        return [_shallow(inner, path, depth - 1) for inner in value]
    return text(value, path, 100_000) if isinstance(value, str) else value
