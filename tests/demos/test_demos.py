"""Every demo runs, says what it found, and leaves a picture that somebody could look at."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image

import omni.nano

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "demos"
NOT_A_PICTURE = {"first_look", "stage"}  # prints a sequence while a recording is spoken; what the others share
DEMOS = sorted(file.stem for file in FOLDER.glob("*.py") if file.stem not in NOT_A_PICTURE)
# What needs nano's weights runs as soon as they are there, and says so before.
NEEDS_NANO = set() if (omni.nano.WEIGHTS / "config.json").is_file() else {"pipeline_against_native"}
READY = [demo for demo in DEMOS if demo not in NEEDS_NANO]
LINES, BYTES = 100, 60_000  # of a demo, of its picture in the documents

# One after the other in one process that is thrown away: importing torch eight times would take longer than they do.
RUNNER = """
import contextlib, io, json, runpy, sys, traceback
folder, out, *demos = sys.argv[1:]
sys.path.insert(0, folder)
for demo in demos:
    sys.argv = [demo, "--quick", "--out", f"{out}/{demo}/picture.png"]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        try:
            runpy.run_path(f"{folder}/{demo}.py", run_name="__main__")
            error = ""
        except Exception:
            error = traceback.format_exc()
    print(json.dumps({"demo": demo, "said": said.getvalue(), "error": error}), flush=True)
"""


def python(*arguments: str, timeout: float) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**os.environ, "HF_HUB_OFFLINE": "1"},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


def something_to_see(file: Path) -> None:
    with Image.open(file) as picture:
        pixels = np.asarray(picture.convert("RGB"))
    height, width, _ = pixels.shape
    assert min(height, width) > 300
    inked = (pixels != 255).any(-1)
    assert 0.02 < inked.mean() < 0.9
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 20  # colours of several things, not an empty frame
    edges = {"top": inked[0], "bottom": inked[-1], "left": inked[:, 0], "right": inked[:, -1]}
    assert not [side for side, pixel in edges.items() if pixel.any()], "something is cut off at this edge"


@pytest.mark.timeout(400)
def test_every_demo_makes_its_picture_and_says_what_it_found(tmp_path: Path) -> None:
    done = python("-c", RUNNER, str(FOLDER), str(tmp_path), *READY, timeout=390)
    ran = [json.loads(line) for line in done.stdout.splitlines()]
    assert [run["demo"] for run in ran] == READY, done.stderr[-2000:]
    for run in ran:
        assert not run["error"], run["error"]
        out = tmp_path / run["demo"] / "picture.png"
        findings, after = run["said"].split(str(out))
        assert re.search(r"\d", findings), run["demo"]
        assert "This was --quick" in after
        something_to_see(out)


def test_a_picture_of_an_unknown_kind_is_refused_by_the_command_before_anything_is_trained(tmp_path: Path) -> None:
    done = python(str(FOLDER / "new_modality.py"), "--out", str(tmp_path / "picture.docx"), timeout=110)
    assert done.returncode == 2
    assert ".docx" in done.stderr
    assert ".png" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("demo", DEMOS)
def test_a_demo_is_short_and_begins_with_what_it_shows(demo: str) -> None:
    source = (FOLDER / f"{demo}.py").read_text()
    assert len(source.splitlines()) < LINES
    assert len(source.split('"""')[1].split()) > 40


@pytest.mark.parametrize("demo", DEMOS)
def test_the_page_names_every_demo_with_its_command(demo: str) -> None:
    assert f"`python demos/{demo}.py`" in (FOLDER / "README.md").read_text()


def test_the_pictures_on_the_page_are_there_and_small() -> None:
    shown = re.findall(r"\]\(\.\./(docs/pictures/[^)]+)\)", (FOLDER / "README.md").read_text())
    assert shown
    for name in shown:
        assert (ROOT / name).stat().st_size <= BYTES, name
        something_to_see(ROOT / name)


def test_where_a_picture_cannot_be_written_is_said_before_anything_is_trained(tmp_path: Path) -> None:
    (tmp_path / "picture.png").mkdir()
    done = python(str(FOLDER / "new_modality.py"), "--out", str(tmp_path / "picture.png"), timeout=110)
    assert done.returncode == 2
    assert "cannot be written" in done.stderr


def test_a_recording_that_is_too_short_is_refused_in_one_sentence(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", np.zeros(100), 16_000)
    done = python(str(FOLDER / "first_look.py"), str(tmp_path / "short.wav"), timeout=110)
    assert done.returncode == 2
    assert done.stderr.startswith("demo: audio is 100 samples")
    assert len(done.stderr.splitlines()) == 1
