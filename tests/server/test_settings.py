"""One name for a setting everywhere, who beats whom, and clear words for what is wrong."""

import argparse
import tomllib
from pathlib import Path
from typing import Any

import pytest

from omni_server import configuration
from omni_server.settings import ABOUT, Settings


def read(*flags: str, **environment: str) -> configuration.Read:
    parser = argparse.ArgumentParser()
    configuration.add_arguments(parser)
    return configuration.read(parser.parse_args(flags), environment)


OTHERS: dict[Any, str] = {int: "7", float: "7.5", bool: "true", str: "x", str | None: "x"}


def other(leaf: configuration.Leaf) -> str:
    if leaf.name in ("tls.certificate", "tls.key", "keys.file"):
        return __file__
    if leaf.name == "limits.origins":
        return "https://a.example,http://b.example:8080"
    if leaf.name == "engine":
        return "native,echo"
    if leaf.name == "web":
        return str(Path(__file__).parent)
    if leaf.name.startswith("log."):
        return {"log.level": "debug", "log.format": "json"}[leaf.name]
    return OTHERS.get(leaf.kind, "a,b")


def with_companions(leaf: configuration.Leaf) -> list[str]:
    """Half a certificate is refused."""
    return {"tls.certificate": ["--tls-key", __file__], "tls.key": ["--tls-certificate", __file__]}.get(leaf.name, [])


@pytest.mark.parametrize("leaf", list(configuration.leaves()), ids=lambda leaf: leaf.name)
def test_every_setting_is_the_same_by_flag_environment_and_file(leaf: configuration.Leaf, tmp_path: Path) -> None:
    value, more = other(leaf), with_companions(leaf)
    if leaf.default is True:
        value = "false"
    switch = leaf.flag if value == "true" else leaf.flag.replace("--", "--no-", 1)
    flags = [switch] if leaf.kind is bool else [leaf.flag, value]
    by_flag = read(*flags, *more)
    by_environment = read(*more, **{leaf.variable: value})
    file = tmp_path / "omni.toml"
    raw = value if leaf.kind in (int, float, bool) else repr(value.split(",") if "," in value else value)
    file.write_text(
        "\n".join((*(f"[{table}]" for table in [".".join(leaf.path[:-1])] if table), f"{leaf.path[-1]} = {raw}"))
    )
    by_file = read("--config", str(file), *more)
    assert by_flag.settings == by_environment.settings == by_file.settings != Settings()
    assert by_flag.sources[leaf.name] == f"flag {leaf.flag}"
    assert by_environment.sources[leaf.name] == f"environment {leaf.variable}"
    assert by_file.sources[leaf.name] == f"file {file}"


def test_a_flag_beats_the_environment_and_the_environment_the_file(tmp_path: Path) -> None:
    file = tmp_path / "omni.toml"
    file.write_text("port = 1\nsessions = 1\nhost = 'localhost'\n")
    found = read("--port", "3", OMNI_PORT="2", OMNI_SESSIONS="2", OMNI_CONFIG=str(file)).settings
    assert (found.port, found.sessions, found.host) == (3, 2, "localhost")


def test_what_is_shown_is_a_file_that_says_the_same(tmp_path: Path) -> None:
    first = read("--limits-origins", "https://a.example, https://b.example", "--port", "0", "--no-worker")
    file = tmp_path / "again.toml"
    file.write_text(first.show())
    tomllib.loads(first.show())
    assert read("--config", str(file)).settings == first.settings


def test_every_setting_of_the_server_has_a_line_that_explains_it() -> None:
    assert [leaf.name for leaf in configuration.leaves() if not ABOUT.get(leaf.name)] == []
    assert set(ABOUT) == {leaf.name for leaf in configuration.leaves()}


@pytest.mark.parametrize(
    ("flags", "says"),
    [(["--port", "70000"], "largest is 65535"), (["--port", "http"], "port is 'http'"), (["--sessions", "0"], "nobody"),
     (["--limits-session-s", "-1"], "limits.session_s is -1.0"), (["--limits-session-s", "nan"], "from 0 on"),
     (["--engine", "magic"], "there are echo, echo-live"), (["--engine", "pipeline", "--stt", "a"], "--llm, --tts"),
     (["--tls-key", __file__], "needs both"), (["--keys-file", "/nowhere"], "no file /nowhere"),
     (["--web", "/nowhere"], "no such folder"), (["--record", __file__], "no folder"),
     (["--config", "/nowhere"], "no file /nowhere"), (["--port", "abc"], "a whole number"),
     (["--config", "/nowhere.toml"], "nowhere.toml"),
     (["--socket-send-bytes", "2147483648"], "largest is 2147483647"),
     (["--web", ""], "web is empty"), (["--host", ""], "host is empty"), (["--record", ""], "record is empty"),
     *((["--limits-origins", f"https://a.example,{wrong}"], f"limits.origins has '{wrong}'")
       for wrong in ("https://b.example/", "b.example", "https://B.example", "https://b.example:443"))],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_name_and_value(flags: list[str], says: str) -> None:
    with pytest.raises((ValueError, OSError), match=says):
        read(*flags)


@pytest.mark.parametrize(
    ("text", "says"),
    [("prot = 1", "did you mean port"), ("[limits]\nper_kee = 1", "did you mean limits.per_key"),
     ("port = [1]", "port is"),
     ("port = true", "port is True"), ("port = ", "no TOML"), ("[port]\na = 1", "port is no setting"),
     ("host = 1", "a string")],
)  # fmt: skip
def test_a_wrong_file_is_refused_with_what_may_have_been_meant(text: str, says: str, tmp_path: Path) -> None:
    file = tmp_path / "omni.toml"
    file.write_text(text)
    with pytest.raises(ValueError, match=says):
        read("--config", str(file))


def test_variables_that_only_look_like_settings_are_named() -> None:
    assert configuration.strangers({"OMNI_PROT": "1", "OMNI_PORT": "1", "OMNI_VENV": ".venv", "PATH": ""}) == [
        "OMNI_PROT is no setting: did you mean OMNI_PORT?"
    ]
