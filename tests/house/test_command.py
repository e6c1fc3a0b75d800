"""The `omni` command, before any subcommand does its work."""

import re
from pathlib import Path

import pytest

import omni_server.commands
from omni_server import cli
from omni_tokenizers.version import __version__


def test_every_subcommand_has_a_module_and_every_module_a_subcommand() -> None:
    folder = Path(omni_server.commands.__file__).parent
    modules = {file.stem.replace("_", "-") for file in folder.glob("*.py")} - {"--init--"}
    assert modules == set(cli.COMMANDS)


@pytest.mark.parametrize("name", cli.COMMANDS)
def test_every_subcommand_explains_itself(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main([name, "--help"])
    assert stop.value.code == 0
    assert f"omni {name}" in capsys.readouterr().out


def test_the_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"omni {__version__}\n"


def test_no_subcommand_prints_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "tokenize" in capsys.readouterr().out


def test_an_unknown_subcommand_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["tokenise"])
    assert stop.value.code == 2
    assert re.search(r"invalid choice: 'tokenise'.*tokenize", capsys.readouterr().err, re.DOTALL)
