"""The rooms and the arrows between them: tokenizers ← omni ← server ← demos."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ROOMS = {
    "omni_tokenizers": ROOT / "tokenizers" / "omni_tokenizers",
    "omni": ROOT / "omni",
    "omni_server": ROOT / "server" / "omni_server",
    "demos": ROOT / "demos",
}
MAY_IMPORT = {
    "omni_tokenizers": {"omni_tokenizers"},
    "omni": {"omni_tokenizers", "omni"},
    "omni_server": {"omni_tokenizers", "omni", "omni_server"},
    "demos": {"omni_tokenizers", "omni", "omni_server", "demos"},
}
OURS = {*ROOMS, "tests", "scripts"}


def imported_by(source: str) -> set[str]:
    """The top-level names a file imports, wherever in the file it does so, `import_module("…")` included."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module.partition(".")[0])
        elif isinstance(node, ast.Call) and node.args and isinstance(node.args[0], ast.Constant):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in {"import_module", "__import__", "need"} and isinstance(node.args[0].value, str):
                found.add(node.args[0].value.partition(".")[0])
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_imports_between_the_packages_go_only_one_way(room: str) -> None:
    files = sorted(ROOMS[room].rglob("*.py"))
    assert files, f"{ROOMS[room]} holds no Python file"
    wrong = {
        str(file.relative_to(ROOT)): sorted(against)
        for file in files
        if (against := (imported_by(file.read_text()) & OURS) - MAY_IMPORT[room])
    }
    assert wrong == {}


def test_the_reader_of_imports_sees_every_form() -> None:
    source = "import omni.a\ndef f():\n    from demos.b import c\n    import_module('omni_server.d')\n    need('tests')"
    assert imported_by(source) == {"omni", "demos", "omni_server", "tests"}


@pytest.mark.parametrize("folder", ["tokenizers", "server"])
def test_a_folder_that_only_holds_a_package_is_not_a_package(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_no_file_of_the_three_packages_uses_pickle() -> None:
    for room in ("omni_tokenizers", "omni", "omni_server"):
        for file in ROOMS[room].rglob("*.py"):
            assert not imported_by(file.read_text()) & {"pickle", "cPickle", "dill", "shelve", "marshal"}, file
