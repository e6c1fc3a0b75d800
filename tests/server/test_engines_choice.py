"""The engine that the settings name, in this process or in one of its own."""

import json
from pathlib import Path

import pytest

from omni.engine.echo import EchoEngine
from omni.engine.handle import WorkerEngine
from omni.engine.pipeline.pipeline import PipelineEngine
from omni_server import engines
from omni_server.settings import Log, Settings

SCRIPTED = Settings(
    engine=("pipeline",), stt="scripted:hello", llm="scripted:Good morning.", tts="scripted:", sessions=3
)


async def test_in_this_process() -> None:
    found = await engines.start(Settings(engine=("echo-live", "echo"), worker=False, sessions=2))
    live, plain = found["echo-live"], found["echo"]
    assert list(found) == ["echo-live", "echo"]
    assert isinstance(live, EchoEngine)
    assert isinstance(plain, EchoEngine)
    assert not plain.duplex
    assert live.duplex
    assert live.sessions == 2
    await live.close()
    await plain.close()


async def test_a_pipeline_of_named_stages() -> None:
    (engine,) = (await engines.start(Settings(**{**vars(SCRIPTED), "worker": False}))).values()
    assert isinstance(engine, PipelineEngine)
    assert engine.sessions == 3
    await engine.close()


async def test_in_a_process_of_its_own() -> None:
    (engine,) = (await engines.start(SCRIPTED)).values()
    assert isinstance(engine, WorkerEngine)
    assert engine.ready
    assert engine.rate_out == 16_000
    await engine.close()


async def test_its_log_is_written_as_the_servers(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(engines, "factory", lambda *_: ("tests.omni.engine_factories:telling", {}))
    (engine,) = (await engines.start(Settings(engine=("echo",), log=Log("info", "json")))).values()
    await engine.close()
    (line,) = (json.loads(line) for line in capfd.readouterr().err.splitlines() if "fast" in line)
    assert {name: line[name] for name in ("level", "logger", "message", "threads")} == {
        "level": "info", "logger": "omni.engine", "message": "a step is fast", "threads": 2,
    }  # fmt: skip
    (engine,) = (await engines.start(Settings(engine=("echo",), log=Log("warning")))).values()
    await engine.close()
    assert "fast" not in capfd.readouterr().err


async def test_an_engine_that_does_not_start_is_a_sentence() -> None:
    with pytest.raises(ValueError, match=r"did not start: .*no:such"):
        await engines.start(Settings(engine=("pipeline",), stt="no:such", llm="scripted:", tts="scripted:"))


def test_what_models_are_called(tmp_path: Path) -> None:
    assert engines.name("native", Settings(model=str(tmp_path))) == tmp_path.name
    assert engines.name("echo", Settings()) == "echo"
    with pytest.raises(ValueError, match="holds no model"):
        engines.folder(str(tmp_path))
    (tmp_path / "config.json").touch()
    assert engines.folder(str(tmp_path)) == tmp_path


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (Settings(engine=("pipeline",), stt="foo:x", llm="nano", tts="nano"), "--stt foo:x: there is no 'foo'"),
        (Settings(engine=("echo", "native"), model="nowhere"), "--model nowhere: there is no such folder"),
    ],
)
def test_what_there_is_not_is_said_before_anything_is_loaded(wrong: Settings, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        engines.verify(wrong)


@pytest.mark.parametrize("model", ["nothing", "../server", "/nowhere", ""])
def test_a_model_that_is_not_there_is_named(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="there is no such folder"):
        engines.folder(model or "-")


async def test_an_engine_that_does_not_start_takes_the_others_with_it() -> None:
    broken = Settings(engine=("echo", "pipeline"), stt="no:such", llm="scripted:", tts="scripted:", worker=False)
    with pytest.raises(ValueError, match="no:such"):
        await engines.start(broken)
