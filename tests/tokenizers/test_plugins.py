"""Another package adds a modality: by decorator, or by an entry point that is imported when it is asked for."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from omni_tokenizers.sequence import Encoded, Omni, PluginError, Tagged, join, register
from omni_tokenizers.sequence import registry as registered
from tests.tokenizers.small_modalities import Bytes, Depth, Heartbeat

FRAME = np.arange(8 * 12, dtype=np.float32).reshape(8, 12) / np.float32(1000)


@pytest.fixture(autouse=True)
def clean() -> Iterator[None]:
    before = dict(registered._registered)
    yield
    registered._registered.clear()
    registered._registered.update(before)


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Put a package with an entry point on the path, as an installer would."""

    def package(name: str, entry: str, code: str) -> None:
        folder = tmp_path / name
        about = folder / f"{name}-1.0.dist-info"
        about.mkdir(parents=True)
        (folder / f"{name}.py").write_text(code)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (about / "entry_points.txt").write_text(f"[omni_tokenizers.modalities]\n{entry}\n")
        monkeypatch.syspath_prepend(str(folder))
        monkeypatch.delitem(sys.modules, name, raising=False)

    return package


DEPTH_PACKAGE = """
from tests.tokenizers.small_modalities import Depth as Base
class Depth(Base):
    pass
"""


def test_a_modality_given_as_an_object_is_encoded_counted_decoded_and_streamed() -> None:
    omni = Omni(text=Bytes(), depth=Depth())
    part = Tagged("depth", FRAME)
    sequence = omni.encode(["how far? ", part])
    assert sequence.counts() == {"text": 9, "depth": 6}
    assert omni.count(part) == 6
    assert omni.decode(sequence) == ["how far? ", part]
    assert sequence.mask()[9:, 9:].all()  # a depth frame sees itself both ways
    stream = omni.stream()
    out = [
        stream.push("how far? "),
        *(stream.push(Tagged("depth", FRAME[row : row + 1])) for row in range(8)),
        stream.finish(),
    ]
    assert join(out) == sequence


def test_a_registered_modality_is_built_from_its_options() -> None:
    register("depth")(Depth)
    assert "depth" in registered.names()
    omni = Omni(depth={"block": 2})
    assert len(omni.encode(Tagged("depth", FRAME))) == 24


def test_an_installed_package_offers_its_modality_without_being_imported_before(install: Any) -> None:
    install("depth_camera", "depth = depth_camera:Depth", DEPTH_PACKAGE)
    assert "depth" in registered.names()
    assert "depth_camera" not in sys.modules
    omni = Omni(depth={})
    assert omni.decode(omni.encode(Tagged("depth", FRAME))) == [Tagged("depth", FRAME)]
    assert "depth_camera" in sys.modules


def test_a_name_that_is_taken_names_both_sides() -> None:
    register("depth")(Depth)
    register("depth")(Depth)  # the same class again, as a reloaded module does
    with pytest.raises(PluginError, match=r"small_modalities.Depth has it, .*small_modalities.Heartbeat asks for it"):
        register("depth")(Heartbeat)
    with pytest.raises(PluginError, match="'audio' is built in"):
        register("audio")
    with pytest.raises(PluginError, match="is not a plain word"):
        register("far-infrared")


def test_two_packages_with_one_name_are_named(install: Any) -> None:
    install("camera_a", "depth = camera_a:Depth", DEPTH_PACKAGE)
    install("camera_b", "depth = camera_b:Depth", DEPTH_PACKAGE)
    with pytest.raises(PluginError, match=r"camera_a:Depth of the package camera_a and camera_b:Depth"):
        Omni(depth={})


def test_a_plugin_that_does_not_load_says_whose_it_is_and_harms_no_other(install: Any) -> None:
    install("broken_camera", "thermal = broken_camera:Thermal", "raise RuntimeError('no driver')")
    assert "thermal" in registered.names()
    assert len(Omni(text=Bytes()).encode("fine")) == 4
    with pytest.raises(PluginError, match=r"'thermal' of the package broken_camera .* RuntimeError: no driver"):
        Omni(thermal={})


def test_a_plugin_that_lacks_a_method_is_refused() -> None:
    class Half:
        def encode(self, part: Any) -> Any: ...

        def count(self, part: Any) -> int: ...

    with pytest.raises(PluginError, match=r"Half is no modality: it has no decode, stream"):
        register("half")(Half)
    with pytest.raises(PluginError, match=r"half=Half is no modality: it has no decode, stream"):
        Omni(half=Half())
    with pytest.raises(PluginError, match="no plug-in is named 'smell'"):
        Omni(smell={})


def test_arrays_of_a_plugin_need_a_row_for_each_token() -> None:
    with pytest.raises(ValueError, match=r"different lengths: \{'values': 3, 'weights': 2\}"):
        Encoded({"values": np.zeros(3), "weights": np.zeros(2)})


def test_a_part_of_a_modality_that_is_not_there_says_what_is() -> None:
    with pytest.raises(ValueError, match="no tokenizer for depth, it has text: known plug-ins: none"):
        Omni(text=Bytes()).encode(Tagged("depth", FRAME))
    register("depth")(Depth)
    with pytest.raises(ValueError, match=r"make it with Omni\(depth=…\)"):
        Omni(text=Bytes()).encode(Tagged("depth", FRAME))
