"""Which engines answer, by the settings; each in a process of its own unless told otherwise."""

import asyncio
import logging
from pathlib import Path
from typing import Any

from omni.engine.handle import EngineDied, WorkerEngine
from omni.engine.pipeline.registry import known
from omni.engine.protocol import Engine
from omni.engine.worker import build
from omni_server import logs
from omni_server.settings import Log, Settings

LONGEST_START = 900.0  # s to load a large model in
log = logging.getLogger(__name__)


def factory(kind: str, settings: Settings) -> tuple[str, dict[str, Any]]:
    """`module:function` of an engine, and its options as JSON can carry them.

    >>> factory("echo-live", Settings(sessions=3))
    ('omni.engine.echo:EchoEngine', {'duplex': True, 'sessions': 3})
    """
    match kind:
        case "echo" | "echo-live":
            return "omni.engine.echo:EchoEngine", {"duplex": kind == "echo-live", "sessions": settings.sessions}
        case "pipeline":
            stages = {"stt": settings.stt, "llm": settings.llm, "tts": settings.tts}
            return "omni.engine.pipeline.pipeline:pipeline", {**stages, "sessions": settings.sessions}
        case _:
            options = {"folder": str(folder(settings.model)), "sessions": settings.sessions}
            return "omni.engine.native.engine:native", options


def folder(model: str) -> Path:
    """Where a native model lies: the folder of this name, or the one that comes along."""
    if Path(model).is_dir():
        if not Path(model, "config.json").is_file():
            raise ValueError(f"--model {model}: this folder holds no model (no config.json)")
        return Path(model)
    import omni

    along = Path(omni.__file__).parent / model / "weights"
    if Path(model).name == model and (along / "config.json").is_file():
        return along
    raise ValueError(f"--model {model}: there is no such folder, and no model of this name comes along")


def name(kind: str, settings: Settings) -> str:
    """What `/v1/models` calls an engine, and a client asks for."""
    return Path(settings.model).name if kind == "native" else kind


def verify(settings: Settings) -> None:
    """Raise ValueError for a model or a plug-in that there is not: before anything is loaded for others."""
    for kind in settings.engine:
        factory(kind, settings)
        if kind == "pipeline":
            known("stt", settings.stt or "")
            known("llm", settings.llm or "")
            known("tts", settings.tts or "")


async def start(settings: Settings) -> dict[str, Engine]:
    """All of them by name, ready to open sessions; the first is for whoever asks for none of them."""
    found: dict[str, Engine] = {}
    try:
        for kind in settings.engine:
            log.info("starting", extra={"engine": kind})
            found[name(kind, settings)] = await _start(*factory(kind, settings), settings)
    except BaseException:
        await asyncio.gather(*(engine.close() for engine in found.values()))
        raise
    return found


async def _start(where: str, options: dict[str, Any], settings: Settings) -> Engine:
    if settings.worker:
        given = {"log": vars(settings.log), "where": where, "options": options}
        try:
            return await WorkerEngine.start(f"{__name__}:logged", given, name=where, longest_start=LONGEST_START)
        except EngineDied as died:
            raise ValueError(str(died)) from None
    engine = build(where, options)
    if hasattr(engine, "start"):
        await engine.start()
    built: Engine = engine
    return built


def logged(log: dict[str, Any], where: str, options: dict[str, Any]) -> Any:
    """An engine in a process of its own, which writes its log as the server does."""
    logs.set_up(Log(**log))
    return build(where, options)
