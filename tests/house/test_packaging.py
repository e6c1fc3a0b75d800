"""The wheel, and what each extra promises to bring."""

import shutil
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)],
        check=True, capture_output=True, timeout=100,
    )  # fmt: skip
    (file,) = out.glob("omni_stream-*.whl")
    return file


def test_the_wheel_holds_the_three_packages_and_no_tests(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.partition("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "omni_tokenizers",
        "omni",
        "omni_server",
    }
    assert {"omni_tokenizers/py.typed", "omni/py.typed", "omni_server/py.typed"} <= set(names)
    assert not [name for name in names if "test" in name.lower().split("/")[-1] or name.startswith("demos")]


def test_the_wheel_names_the_command_and_the_licence(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    (entry,) = [name for name in archive.namelist() if name.endswith("entry_points.txt")]
    assert "omni = omni_server.cli:main" in archive.read(entry).decode()
    assert [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]


IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
    importlib.import_module(found.name)
print(len(list(pkgutil.walk_packages(package.__path__, package.__name__ + "."))))
"""


@pytest.mark.extras
@pytest.mark.timeout(1800)
def test_every_package_imports_with_only_the_extras_it_claims(wheel: Path, tmp_path: Path) -> None:
    """One throw-away environment that grows from the base install to [server]: each room after its own step."""
    folder = tmp_path / "throw-away"
    uv = shutil.which("uv")
    if uv:
        subprocess.run([uv, "venv", "-q", "--python", sys.executable, str(folder)], check=True)
    else:
        venv.create(folder, with_pip=True)
    python = str(folder / "bin" / "python")
    install = [uv, "pip", "install", "-q", "--python", python] if uv else [python, "-m", "pip", "install", "-q"]
    for extra, package in (("", "omni_tokenizers"), ("[model]", "omni"), ("[server]", "omni_server")):
        subprocess.run([*install, "-c", str(ROOT / "constraints.txt"), f"{wheel}{extra}"], check=True, timeout=900)
        done = subprocess.run(
            [python, "-c", IMPORT_ALL, package],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, f"{package} with omni-stream{extra}: {done.stderr}"
