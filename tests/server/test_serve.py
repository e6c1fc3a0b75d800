"""`omni serve` as a person runs it: what it checks, what it refuses, how it ends."""

import asyncio
import errno
import json
import os
import re
import signal
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from omni.engine.clock import SystemClock
from omni_server import cli, engines, logs
from omni_server.commands import serve
from omni_server.configuration import Read
from omni_server.limits.keys import Keyring
from omni_server.record.recorder import Lines, Recorder, Recording, replay
from omni_server.server import page
from omni_server.settings import Limits, Settings


def check(capsys: pytest.CaptureFixture[str], *flags: str) -> tuple[int, str, str]:
    code = cli.main(["serve", "--check", *flags])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_check_prints_the_settings_and_their_sources(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OMNI_LIMITS_PER_KEY", "3")
    monkeypatch.setenv("OMNI_API_KEYS", "a-key-nobody-should-see")
    code, out, _ = check(capsys, "--port", "9000")
    assert code == 0
    assert re.search(r"^port = 9000 +# flag --port$", out, re.MULTILINE)
    assert re.search(r"^per_key = 3 +# environment OMNI_LIMITS_PER_KEY$", out, re.MULTILINE)
    assert "1 keys: environment-1" in out
    assert "nobody-should-see" not in out


def test_it_does_not_listen_beyond_loopback_without_a_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = check(capsys, "--host", "0.0.0.0")
    assert code == 2
    assert "--keys-file" in err
    assert "--keys-none" in err
    assert check(capsys, "--host", "0.0.0.0", "--keys-none")[0] == 0
    monkeypatch.setenv("OMNI_API_KEYS", "a-key-nobody-should-see")
    assert check(capsys, "--host", "0.0.0.0")[0] == 0


def test_a_certificate_that_is_none_is_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "cert.pem"
    file.write_text("nothing")
    code, _, err = check(capsys, "--tls-certificate", str(file), "--tls-key", str(file))
    assert code == 2
    assert "no certificate and key" in err


def test_an_address_that_is_not_here_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["serve", "--keys-none", "--host", "203.0.113.7", "--port", "8123"]) == 2
    assert "--host 203.0.113.7 --port 8123 cannot be listened on: " in capsys.readouterr().err


def test_a_folder_that_takes_no_recording_is_refused_before_anything_starts(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serve, "_run", lambda *_: pytest.fail("it started"))
    for folder in ("/proc/kept", "/proc"):
        assert cli.main(["serve", "--port", "0", "--record", folder]) == 2
        assert f"record is {folder}: sessions cannot be kept there: " in capsys.readouterr().err


@pytest.mark.skipif(sys.platform == "win32", reason="Windows knows no such limit")
def test_there_are_files_for_all_connections_or_a_word_that_there_are_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import resource

    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "setrlimit", lambda _which, limits: asked.append(limits))
    for system in ((1024, 4096), (1024, resource.RLIM_INFINITY), (4096, 4096), (512, 1024)):
        monkeypatch.setattr(resource, "getrlimit", lambda _which, system=system: system)
        serve._allow_files(Settings(limits=Limits(connections=1024)))
    assert asked == [(1280, 4096), (1280, resource.RLIM_INFINITY), (1024, 1024)]
    assert [record.message.partition(":")[0] for record in caplog.records] == [
        "1024 connections need 1280 open files, and the system allows 1024"
    ]


def test_without_uvloop_it_serves_as_the_doctor_says(monkeypatch: pytest.MonkeyPatch) -> None:
    async def serving(*_: object) -> int:
        return 7

    for module, name, value in ((serve, "_serve", serving), (serve, "_allow_files", lambda _: None),
                                (logs, "set_up", lambda _: None)):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    monkeypatch.setitem(sys.modules, "uvloop", None)
    assert serve._run(Read(Settings(), {}), Keyring()) == 7


def test_the_help_has_examples_and_fits_a_page_of_ideas(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    out = capsys.readouterr().out
    assert "omni serve --engine pipeline" in out
    assert "SIGTERM" in out


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_the_page_has_an_address_that_a_browser_opens(host: str) -> None:
    parts = urlsplit(page(Settings(host=host), 8123))
    assert (parts.scheme, parts.hostname, parts.port) == ("http", host, 8123)


@asynccontextmanager
async def served(*flags: str) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A server in a process of its own, and its port."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "omni_server.cli", "serve", "--port", "0", "--log-format", "json", *flags,
        stderr=asyncio.subprocess.PIPE, env={**os.environ, "OMNI_SOCKET_DRAIN_S": "3"},
    )  # fmt: skip
    assert process.stderr is not None
    try:
        async with asyncio.timeout(60):
            while (line := json.loads(await process.stderr.readline()))["message"] != "listening":
                pass
        yield process, int(re.findall(r":(\d+)/", line["page"])[0])
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_sigterm_ends_sessions_in_good_order_and_the_worker_with_them(tmp_path: Path) -> None:
    async with served("--engine", "echo", "--record", str(tmp_path / "kept")) as (process, port):
        async with connect(f"ws://127.0.0.1:{port}/v1/omni") as socket:
            await socket.send('{"type": "say", "text": "hello"}')
            while json.loads(await asyncio.wait_for(socket.recv(), 10))["type"] != "item_done":
                pass
            process.send_signal(signal.SIGTERM)
            with pytest.raises(ConnectionClosed) as closed:
                await asyncio.wait_for(socket.recv(), 10)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1001
        assert process.stderr is not None
        rest, _ = await asyncio.wait_for(asyncio.gather(process.stderr.read(), process.wait()), 20)
        assert process.returncode == 0
        assert b"Traceback" not in rest
    (file,) = (tmp_path / "kept").iterdir()
    kept = list(replay(file))
    assert [m for _, side, m in kept if side == "client"] == ['{"type": "say", "text": "hello"}']
    assert [json.loads(m)["type"] for _, side, m in kept if side == "server"] == ["opened", "item_added", "item_done"]
    assert (tmp_path / "kept").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_before_the_engine_is_there_ends_the_start(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def slow(_settings: Settings) -> NoReturn:
        os.kill(os.getpid(), number)
        await asyncio.Event().wait()
        raise AssertionError

    monkeypatch.setattr(engines, "start", slow)
    async with asyncio.timeout(10):
        assert await serve._serve(Read(Settings(), {}), Keyring()) == 128 + number


async def test_a_second_signal_does_not_wait_for_answers() -> None:
    async with (
        served("--engine", "echo-live", "--no-worker", "--socket-drain-s", "60") as (process, port),
        connect(f"ws://127.0.0.1:{port}/v1/omni") as socket,
    ):
        for message in ('{"type": "configure", "turns": {"by": "nobody"}}', '{"type": "respond"}'):
            await socket.send(message)
        while json.loads(await asyncio.wait_for(socket.recv(), 10))["type"] != "answer_started":
            pass
        process.send_signal(signal.SIGINT)
        process.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(process.wait(), 20) == 0


def test_what_cannot_be_written_costs_its_own_line_and_nobody_elses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fussy(recording: Recording, line: str | None) -> None:
        if line is not None and "poison" in line:
            raise RuntimeError("not this")
        written(recording, line)

    written = Recording.write
    monkeypatch.setattr(Recording, "write", fussy)
    recorder = Recorder.into(str(tmp_path))
    one, other = (recorder.begin(name, dialect="d", model="m", clock=SystemClock()) for name in ("one", "other"))
    one.client("poison")
    one.client("half a pair: \ud800")
    other.server("fine")
    one.close()
    other.close()
    asyncio.run(recorder.close())
    kept = {file.stem.split("-")[-1]: [said for _, _, said in replay(file)] for file in tmp_path.iterdir()}
    assert kept == {"one": ["half a pair: ?"], "other": ["fine"]}


def test_what_is_lost_is_counted_in_the_last_line_and_the_rest_is_for_the_owner_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers, written = threading.Event(), Recording.write
    monkeypatch.setattr(Recording, "write", lambda recording, line: (answers.wait(), written(recording, line)))
    recorder = Recorder(tmp_path, waiting=1000)
    recording = recorder.begin("one", dialect="d", model="m", clock=SystemClock())
    for _ in range(5):
        recording.client("x" * 400)
    recording.close()
    answers.set()
    asyncio.run(recorder.close())
    (file,) = tmp_path.iterdir()
    last = json.loads(file.read_text().splitlines()[-1])
    assert last["end"] is True
    assert last["lost"] + len(list(replay(file))) == 5
    assert last["lost"] >= 2
    assert file.stat().st_mode & 0o077 == 0


def test_a_disk_that_is_full_for_a_while_costs_what_came_then_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    room = 400  # bytes

    class Scarce(FileIO):
        def write(self, data: Any) -> int:
            taken = min(len(data), room - os.fstat(self.fileno()).st_size)
            if not taken:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(data[:taken])

    monkeypatch.setattr(Path, "open", lambda path, mode="r", **_how: Scarce(path, mode.replace("b", "")))
    recording = Recording(tmp_path / "one.jsonl", '{"dialect": "d"}', 0.0, lambda: 1.0, Lines(1 << 20))
    for number in range(6):
        room = 400 if number < 4 else 1 << 20
        with suppress(OSError):
            recording.write(json.dumps({"t": number, "from": "client", "text": "x" * 150}))
    recording.write(None)
    monkeypatch.undo()
    assert [second for second, _, _ in replay(recording.path)] == [0, 1, 4, 5]
    assert json.loads(recording.path.read_text().splitlines()[0]) == {"dialect": "d"}


async def test_a_disk_that_hangs_does_not_hold_the_server_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = threading.Event()
    monkeypatch.setattr(Recording, "write", lambda _recording, _line: answers.wait())
    recorder = Recorder(tmp_path, waiting=200, patience_s=0.05)
    recording = recorder.begin("one", dialect="d", model="m", clock=SystemClock())
    for _ in range(6):
        recording.client("more than may wait")
    assert recording.lost >= 2
    await asyncio.wait_for(recorder.close(), 5)
    answers.set()
    await recorder.close()  # the thread is gone
