"""`make` on a machine where something is missing: one sentence each, with what to do."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "scripts" / "environment.py"

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def project(folder: Path) -> Path:
    """The files that decide what is installed, in a folder of their own."""
    (folder / "scripts").mkdir(parents=True)
    for name in ("pyproject.toml", "constraints.txt", "scripts/environment.py"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def key(folder: Path) -> str:
    done = run([sys.executable, str(folder / "scripts" / "environment.py"), "--key"])
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_an_old_python_is_told_that_it_is_old_and_what_to_do() -> None:
    pretend = f"import sys, runpy; sys.version_info = (3, 9, 1); runpy.run_path({str(SCRIPT)!r}, run_name='__main__')"
    done = run([sys.executable, "-c", pretend])
    assert done.returncode != 0
    assert "needs Python 3.11 or newer" in done.stderr
    assert "make PYTHON=" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_script_has_no_syntax_that_an_old_python_cannot_read() -> None:
    compile(SCRIPT.read_text(), str(SCRIPT), "exec")
    import ast

    ast.parse(SCRIPT.read_text(), feature_version=(3, 7))


@needs_make
def test_a_python_that_is_not_there_is_named() -> None:
    done = run(["make", "environment", "PYTHON=python-of-nowhere"])
    assert done.returncode != 0
    assert "python-of-nowhere is not on the PATH" in done.stderr


def fake_python(folder: Path, script: str) -> Path:
    """A virtual environment whose python is a shell script."""
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return folder


@pytest.mark.parametrize(
    ("script", "says"),
    [
        # There is no pip and none comes; every install fails; every install works and the import of the trio fails.
        ("exit 1", "has no pip, and none could be put there: remove it and run make again"),
        ('case "$*" in *"-m pip"*) exit 1;; esac; exit 0', "installing the dependencies failed"),
        (
            'case "$*" in *"import torch"*) exit 1;; esac; exit 0',
            "do not import together: remove that folder and run make again",
        ),
    ],
)
def test_a_failed_installation_is_one_sentence_and_is_tried_again_next_time(
    script: str, says: str, tmp_path: Path
) -> None:
    venv = fake_python(tmp_path / "venv", script)
    path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "uv").exists())
    for _ in range(2):
        done = run([sys.executable, str(SCRIPT)], OMNI_VENV=str(venv), PATH=path)
        assert done.returncode != 0
        assert says in done.stderr
        assert "Traceback" not in done.stderr


def test_an_environment_that_is_right_is_left_alone_and_one_for_another_checkout_only_repoints(
    tmp_path: Path,
) -> None:
    log = tmp_path / "log"
    venv = fake_python(tmp_path / "venv", f'echo "$*" >> {log}; exit 0')
    path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "uv").exists())
    first, second = project(tmp_path / "first"), project(tmp_path / "second")
    calls = []
    for checkout in (first, first, second):
        done = run([sys.executable, str(checkout / "scripts" / "environment.py")], OMNI_VENV=str(venv), PATH=path)
        assert done.returncode == 0, done.stderr
        calls.append(log.read_text().splitlines())
        log.write_text("")
    assert len(calls[0]) == 3  # is there a pip, install, import check
    assert calls[1] == []
    assert len(calls[2]) == 2
    assert "--no-deps" in calls[2][1]
    assert str(second) in calls[2][1]


def test_pip_comes_into_an_environment_that_was_made_without_it(tmp_path: Path) -> None:
    log = tmp_path / "log"
    venv = fake_python(
        tmp_path / "venv", f'echo "$*" >> {log}; case "$*" in *"import pip"*) test -e {log}.pip; exit $?;; esac\n'
        f'case "$*" in *ensurepip*) touch {log}.pip;; esac; exit 0',
    )  # fmt: skip
    path = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if not (Path(p) / "uv").exists())
    done = run([sys.executable, str(SCRIPT)], OMNI_VENV=str(venv), PATH=path)
    assert done.returncode == 0, done.stderr
    assert [line.split()[:2] for line in log.read_text().splitlines()][:3] == [
        ["-c", "import"], ["-m", "ensurepip"], ["-m", "pip"]
    ]  # fmt: skip


def test_the_key_changes_with_the_dependencies_and_with_nothing_else(tmp_path: Path) -> None:
    folder = project(tmp_path / "project")
    before = key(folder)
    pyproject = folder / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("line-length = 120", "line-length = 121"))
    assert key(folder) == before
    pyproject.write_text(pyproject.read_text().replace('"soxr>=0.5"', '"soxr>=0.6"'))
    changed = key(folder)
    assert changed != before
    (folder / "constraints.txt").write_text("torch==2.11.0\n")
    assert key(folder) not in {before, changed}
