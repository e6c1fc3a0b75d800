"""API keys: read from a file or the environment, compared in constant time, kept as hashes, never logged."""

import hashlib
import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

VARIABLE = "OMNI_API_KEYS"  # keys with commas between them
SUBPROTOCOLS = ("openai-insecure-api-key.", "omni-key.")  # what a browser, which cannot set headers, puts before a key
SHORTEST = 16  # characters
ANYBODY = "anybody"  # who comes in where there are no keys


@dataclass(frozen=True)
class Keyring:
    """The keys that open the door. Without any, everybody is let in as `ANYBODY`."""

    names: tuple[str, ...] = ()
    _hashes: tuple[bytes, ...] = field(default=(), repr=False)

    @classmethod
    def of(cls, keys: Iterable[tuple[str, str]]) -> "Keyring":
        """From names and keys.

        >>> ring = Keyring.of([("anna", "correct-horse-battery")])
        >>> ring.who("correct-horse-battery"), ring.who("wrong"), ring.who(None), Keyring().who(None)
        ('anna', None, None, 'anybody')
        """
        names, hashes = [], []
        for name, key in keys:
            if len(key) < SHORTEST:
                raise ValueError(f"the key {name!r} has {len(key)} characters: a key has {SHORTEST} or more")
            if not key.isascii() or any(character.isspace() for character in key):
                raise ValueError(f"the key {name!r} has spaces or other than ASCII characters: no header can carry it")
            if name in names:
                raise ValueError(f"there are two keys of the name {name!r}")
            if name == ANYBODY:
                raise ValueError(f"no key can have the name {name!r}: whoever needs none is called so")
            names.append(name)
            hashes.append(hashed(key))
        return cls(tuple(names), tuple(hashes))

    def who(self, key: str | None) -> str | None:
        """The name of a key; None when it opens nothing. Takes as long for a wrong one as for a right one."""
        if not self._hashes:
            return ANYBODY
        given, found = hashed(key or ""), None
        for name, known in zip(self.names, self._hashes, strict=True):
            if hmac.compare_digest(given, known):
                found = name
        return found

    def __bool__(self) -> bool:
        return bool(self._hashes)


def load(file: str | None, environment: Mapping[str, str]) -> Keyring:
    """All keys that the settings name."""
    found: list[tuple[str, str]] = []
    if file is not None:
        try:
            text = Path(file).read_text(encoding="utf-8-sig")  # editors put a mark before it that is no part of a name
        except UnicodeDecodeError:
            raise ValueError(f"{file} is no text in UTF-8: save it as that") from None
        for number, line in enumerate(text.splitlines(), 1):
            words = line.partition("#")[0].split()
            if len(words) > 2:
                raise ValueError(f"{file}, line {number}: a line is KEY, or NAME KEY; this has {len(words)} words")
            if words:
                found.append((words[0] if len(words) == 2 else f"line-{number}", words[-1]))
        if not found:
            raise ValueError(f"{file} holds no key: write one a line")
    listed = [key.strip() for key in environment.get(VARIABLE, "").split(",") if key.strip()]
    if VARIABLE in environment and not listed:  # whoever sets it does not want everybody in
        raise ValueError(f"{VARIABLE} is set and holds no key: write keys with commas between them, or unset it")
    return Keyring.of(found + [(f"environment-{number}", key) for number, key in enumerate(listed, 1)])


def presented(authorization: str | None, subprotocols: Sequence[str]) -> str | None:
    """The key that a request brings: in its header, or among the subprotocols.

    >>> presented("Bearer abc", []), presented(None, ["realtime", "openai-insecure-api-key.abc"]), presented(None, [])
    ('abc', 'abc', None)
    """
    scheme, _, key = (authorization or "").partition(" ")
    if scheme.lower() == "bearer" and key.strip():
        return key.strip()
    for offered in subprotocols:
        for prefix in SUBPROTOCOLS:
            if offered.startswith(prefix):
                return offered.removeprefix(prefix)
    return None


def hashed(key: str) -> bytes:
    """As keys are kept: who reads the memory of a server finds none."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
