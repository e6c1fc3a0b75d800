"""A missing or broken optional package is one sentence with the remedy, not a traceback from its insides."""

from pathlib import Path

import pytest

from omni_tokenizers.optional import MissingPackage, need


def test_a_missing_package_names_the_extra_to_install() -> None:
    with pytest.raises(
        MissingPackage, match=r'reading mp4 needs the package no_such.*pip install -c constraints.txt -e "\.\[model\]"'
    ):
        need("no_such_package_anywhere", extra="model", use="reading mp4")


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (
            "raise RuntimeError('Detected that PyTorch and TorchAudio were compiled with different CUDA versions.')",
            "different CUDA",
        ),
        ("raise OSError('libcudart.so.13: cannot open shared object file')", "libcudart"),
        ("import a_dependency_that_is_gone", "a_dependency_that_is_gone"),
    ],
)
def test_a_package_that_does_not_import_is_named_with_its_reason(
    body: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_package.py").write_text(body)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(MissingPackage, match=f"the GPU path needs the package broken_package.*{says}"):
        need("broken_package", extra="model", use="the GPU path")
