"""Reading the settings: a flag beats the environment, the environment the TOML file, the file the default."""

import argparse
import difflib
import json
import tomllib
import types
import typing
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal

from omni_server.limits import origins
from omni_server.settings import ABOUT, ENGINES, LOOPBACK, Settings

PREFIX = "OMNI_"
NOT_SETTINGS = ("OMNI_CONFIG", "OMNI_API_KEYS", "OMNI_VENV")


@dataclass(frozen=True)
class Leaf:
    """One setting."""

    path: tuple[str, ...]
    kind: Any  # its type
    default: Any

    @property
    def name(self) -> str:
        """In a TOML file: `limits.message_bytes`."""
        return ".".join(self.path)

    @property
    def flag(self) -> str:
        """On the command line: `--limits-message-bytes`."""
        return "--" + "-".join(self.path).replace("_", "-")

    @property
    def variable(self) -> str:
        """In the environment: `OMNI_LIMITS_MESSAGE_BYTES`."""
        return PREFIX + "_".join(self.path).upper()


@dataclass(frozen=True)
class Read:
    """The settings, and where each came from."""

    settings: Settings
    sources: Mapping[str, str]

    def show(self) -> str:
        """A TOML file that says the same, each line with its source."""
        lines: list[str] = []
        table: tuple[str, ...] = ()
        for leaf in leaves():
            if leaf.path[:-1] != table:
                table = leaf.path[:-1]
                lines.append(f"\n[{'.'.join(table)}]")
            value = _at(self.settings, leaf.path)
            said = "# " if value is None else ""
            lines.append(f"{said}{leaf.path[-1]} = {_toml(value)}  # {self.sources.get(leaf.name, 'default')}")
        return "\n".join(lines)


def leaves(tree: Any = None, above: tuple[str, ...] = ()) -> Iterator[Leaf]:
    """Every setting, those of the top first, then table by table."""
    tree = Settings() if tree is None else tree
    hints = typing.get_type_hints(type(tree))
    inner = []
    for spot in fields(tree):
        value = getattr(tree, spot.name)
        if is_dataclass(value):
            inner.append((value, (*above, spot.name)))
        else:
            yield Leaf((*above, spot.name), hints[spot.name], value)
    for value, path in inner:
        yield from leaves(value, path)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """A flag for each setting."""
    parser.add_argument("--config", metavar="FILE", help="TOML file with settings (environment: OMNI_CONFIG)")
    groups: dict[str, Any] = {"": parser}
    for leaf in leaves():
        group = ".".join(leaf.path[:-1])
        if group not in groups:
            groups[group] = parser.add_argument_group(group)
        told = ABOUT.get(leaf.name, "")
        default = "" if leaf.default in (None, ()) else f" (default: {_shown(leaf.default)})"
        line = (told + default).replace("%", "%%")
        if leaf.kind is bool:
            groups[group].add_argument(
                leaf.flag, action=argparse.BooleanOptionalAction, default=None, dest=leaf.name, help=line
            )
        else:
            groups[group].add_argument(leaf.flag, metavar=_metavar(leaf.kind), dest=leaf.name, help=line)


def read(arguments: argparse.Namespace, environment: Mapping[str, str]) -> Read:
    """Put everything together; raises ValueError with the name of what is wrong."""
    given = vars(arguments)
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    config = given.get("config") or environment.get("OMNI_CONFIG")
    in_file = _flat(_load(config), config) if config else {}
    for leaf in leaves():
        for source, place in (
            (f"flag {leaf.flag}", given.get(leaf.name)),
            (f"environment {leaf.variable}", environment.get(leaf.variable)),
            (f"file {config}", in_file.get(leaf.name)),
        ):
            if place is not None:
                values[leaf.name] = _convert(leaf, place, source)
                sources[leaf.name] = source
                break
    return Read(check(_build(Settings(), values)), sources)


def strangers(environment: Mapping[str, str]) -> list[str]:
    """Variables that look like settings and are none, each with what may have been meant."""
    known = {leaf.variable for leaf in leaves()} | set(NOT_SETTINGS)
    return [
        f"{name} is no setting{_meant(name, known)}"
        for name in sorted(environment)
        if name.startswith(PREFIX) and name not in known
    ]


def check(settings: Settings) -> Settings:
    """What no single setting can tell."""
    for leaf in leaves():
        value = _at(settings, leaf.path)
        if isinstance(value, int | float) and not isinstance(value, bool) and not 0 <= value < float("inf"):
            raise ValueError(f"{leaf.name} is {value}: it is a number from 0 on")
        if value == "":  # as a folder it would be the one that the server runs in
            raise ValueError(f"{leaf.name} is empty: say what it is, or leave it out")
    for name, value, largest in (
        ("port", settings.port, 65_535), ("socket.send_bytes", settings.socket.send_bytes, (1 << 31) - 1),
    ):  # fmt: skip
        if value > largest:
            raise ValueError(f"{name} is {value}: the largest is {largest}")
    for name, value in (("sessions", settings.sessions), ("limits.connections", settings.limits.connections)):
        if value < 1:
            raise ValueError(f"{name} is {value}: nobody could come in")
    for name in AT_LEAST_ONE:
        if _at(settings, tuple(name.split("."))) < 1:
            raise ValueError(f"{name} is {_at(settings, tuple(name.split('.')))}: no session works with less than 1")
    for name, seconds in (("limits.session_s", settings.limits.session_s), ("socket.open_s", settings.socket.open_s)):
        if not seconds:
            raise ValueError(f"{name} is 0: every session would be over before it began")
    if bool(settings.tls.certificate) != bool(settings.tls.key):
        raise ValueError("TLS needs both --tls-certificate and --tls-key")
    if not settings.engine or len(set(settings.engine)) < len(settings.engine):
        raise ValueError(f"engine is {', '.join(settings.engine) or 'empty'}: name each engine once")
    for engine in settings.engine:
        if engine not in ENGINES:
            raise ValueError(f"engine is {engine!r}: there are {', '.join(ENGINES)}")
    if "pipeline" in settings.engine and not (settings.stt and settings.llm and settings.tts):
        missing = [f"--{name}" for name in ("stt", "llm", "tts") if not getattr(settings, name)]
        raise ValueError(f"--engine pipeline needs {', '.join(missing)} as well: docs/engine.md lists the plug-ins")
    for file in (settings.tls.certificate, settings.tls.key, settings.keys.file):
        if file is not None and not Path(file).is_file():
            raise ValueError(f"there is no file {file}")
    origins.check(settings.limits.origins)
    if settings.web is not None and not Path(settings.web).is_dir():
        raise ValueError(f"web is {settings.web}: there is no such folder")
    if settings.record is not None and Path(settings.record).exists() and not Path(settings.record).is_dir():
        raise ValueError(f"record is {settings.record}: that is no folder")
    return settings


def beyond_loopback(settings: Settings) -> bool:
    """Whether others than this machine can connect."""
    return settings.host not in LOOPBACK


def _load(config: str) -> dict[str, Any]:
    try:
        with Path(config).open("rb") as file:
            return tomllib.load(file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as wrong:
        raise ValueError(f"{config} is no TOML: {wrong}") from None
    except FileNotFoundError:
        raise ValueError(f"there is no file {config}") from None


def _flat(table: Mapping[str, Any], config: str, above: tuple[str, ...] = ()) -> dict[str, Any]:
    known = {leaf.name for leaf in leaves()}
    tables = {".".join(leaf.path[:at]) for leaf in leaves() for at in range(1, len(leaf.path))}
    found: dict[str, Any] = {}
    for key, value in table.items():
        path = (*above, key.replace("-", "_"))
        name = ".".join(path)
        if isinstance(value, dict) and name in tables:
            found |= _flat(value, config, path)
        elif name in known and not isinstance(value, dict):
            found[name] = value
        elif name in tables:
            raise ValueError(f"{config}: {name} is a table: write [{name}], and its settings below")
        else:
            raise ValueError(f"{config}: {name} is no setting{_meant(name, known | tables)}")
    return found


AT_LEAST_ONE = ("session.outbox_events", "session.outbox_bytes", "session.items", "limits.message_bytes",
                "limits.per_key", "limits.per_address")  # fmt: skip
NUMBERS = {int: "a whole number", float: "a number"}


def _convert(leaf: Leaf, value: Any, source: str) -> Any:
    kind = leaf.kind
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    try:
        if typing.get_origin(kind) is Literal:
            if value not in typing.get_args(kind):
                raise ValueError(f"one of {', '.join(typing.get_args(kind))}")
            return value
        if typing.get_origin(kind) is tuple:
            listed = [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value
            if not isinstance(listed, list) or not all(isinstance(part, str) for part in listed):
                raise ValueError("a list of strings")
            return tuple(listed)
        if kind is bool:
            if isinstance(value, bool):
                return value
            if str(value).lower() not in ("1", "0", "true", "false", "yes", "no", "on", "off"):
                raise ValueError("true or false")
            return str(value).lower() in ("1", "true", "yes", "on")
        if kind is int:
            if isinstance(value, str):
                return int(value.replace("_", ""))
            if isinstance(value, bool) or not isinstance(value, int):
                raise ValueError("a whole number")
            return value
        if kind is float:
            if isinstance(value, bool) or not isinstance(value, int | float | str):
                raise ValueError("a number")
            return float(value)
        if not isinstance(value, str):
            raise ValueError("a string")
        return value
    except ValueError as wrong:
        expected = str(wrong) if "literal" not in str(wrong) and "convert" not in str(wrong) else NUMBERS[kind]
        raise ValueError(f"{leaf.name} is {value!r} ({source}): it has to be {expected}") from None


def _build(tree: Any, values: Mapping[str, Any], above: str = "") -> Any:
    made = {}
    for spot in fields(tree):
        value = getattr(tree, spot.name)
        name = above + spot.name
        made[spot.name] = _build(value, values, name + ".") if is_dataclass(value) else values.get(name, value)
    return type(tree)(**made)


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    for name in path:
        tree = getattr(tree, name)
    return tree


def _meant(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f": did you mean {close[0]}?" if close else ""


def _metavar(kind: Any) -> str:
    if isinstance(kind, types.UnionType):
        kind = next(part for part in typing.get_args(kind) if part is not type(None))
    if typing.get_origin(kind) is Literal:
        return "|".join(typing.get_args(kind))
    if typing.get_origin(kind) is tuple:
        return "A,B,…"
    return {int: "N", float: "NUMBER", str: "TEXT"}.get(kind, "VALUE")


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _toml(value: Any) -> str:
    if value is None:
        return '""'
    if isinstance(value, tuple):
        value = list(value)
    return json.dumps(value, ensure_ascii=False)
