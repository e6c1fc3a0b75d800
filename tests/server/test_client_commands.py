"""What a person gets who types `omni talk`, `compare`, `replay`, `doctor` or `completion`."""

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
import soundfile

from omni.engine.scripted import Say, ScriptedEngine, Speak
from omni_server import cli
from omni_server.client import connect
from omni_server.compare import checks
from omni_tokenizers import optional
from tests.server.close_to_server import question
from tests.server.threaded_server import threaded_server

Captured = pytest.CaptureFixture[str]


@pytest.fixture
def recording(tmp_path: Path) -> str:
    path = tmp_path / "question.wav"
    soundfile.write(path, question(lead=0.1, speech=0.4).samples, 16_000)
    return str(path)


def answering(text: str = "Four.") -> ScriptedEngine:
    return ScriptedEngine([Say(text), Speak(0.3)], sessions=16)


def test_talk_says_the_answer_its_time_and_keeps_its_sound(recording: str, tmp_path: Path, capsys: Captured) -> None:
    out = tmp_path / "deep" / "answer.wav"
    with threaded_server(answering()) as url:
        assert cli.main(["talk", recording, "--text", "and now?", "--url", url, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.count("omni:  Four.") == 2
    assert "you:   and now?" in said
    assert "after the last sample of speech" in said
    assert "endpoint" in said
    assert "together" in said
    sound, rate = soundfile.read(out)
    assert len(sound) / rate == pytest.approx(0.6, abs=0.02)


def test_talk_shows_a_picture_and_says_when_the_engine_is_blind(tmp_path: Path, capsys: Captured) -> None:
    from PIL import Image

    picture = tmp_path / "x.png"
    Image.new("RGB", (8, 8), "red").save(picture)
    with threaded_server(ScriptedEngine([Say("A red square.")])) as url:
        assert cli.main(["talk", "--text", "what is it?", "--image", str(picture), "--url", url]) == 0
    assert "A red square." in capsys.readouterr().out
    with threaded_server(ScriptedEngine([Say("?")], sees=False)) as url:
        assert cli.main(["talk", "--text", "what is it?", "--image", str(picture), "--url", url]) == 2
    assert "no eyes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "nothing to ask"),
        (["missing.wav"], "missing.wav"),
        (["--text", "hi", "--llm", "nano"], "--llm: only a pipeline"),
        (["--text", "hi", "--mic"], "exclude each other"),
        (["--text", " "], "--text is empty"),
        (["--text", "hi", "--image", "missing.png"], "missing.png"),
        (["--text", "hi", "--out", "answer.txt", "--url", "http://127.0.0.1:1"], "answer.txt"),
        (["--text", "hi", "--out", "/dev/null/answer.wav", "--url", "http://127.0.0.1:1"], "/dev/null"),
        (["--text", "hi", "--url", "http://127.0.0.1:1"], "omni serve"),
    ],
)
def test_what_cannot_be_asked_is_one_sentence_and_not_zero(words: list[str], says: str, capsys: Captured) -> None:
    assert cli.main(["talk", *words]) == 2
    error = capsys.readouterr().err
    assert says in error
    assert len(error.strip().splitlines()) == 1


def test_a_refused_microphone_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    class Refusing:
        class PortAudioError(Exception):
            pass

        def check_input_settings(self, **_about: object) -> None:
            raise self.PortAudioError("Error querying device -1")

    monkeypatch.setitem(sys.modules, "sounddevice", Refusing())
    assert cli.main(["talk", "--mic"]) == 2
    assert "microphone cannot be used (Error querying device -1)" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    assert cli.main(["talk", "--mic"]) == 2
    assert "the microphone needs the package sounddevice" in capsys.readouterr().err


def test_compare_of_two_servers_writes_table_json_and_page(recording: str, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "questions.jsonl").write_text(
        json.dumps({"file": "question.wav", "ask": "two and two", "right": ["four"], "speech": [0.1, 0.5]})
    )
    numbers, page = tmp_path / "out" / "c.json", tmp_path / "c.html"
    with threaded_server(answering()) as one, threaded_server(answering("Five.")) as other:
        status = cli.main(
            ["compare", str(tmp_path), "--modes", "", "--against", one, "--against", other, "--rounds", "1",
             "--users", "",
             "--interruptions", "1", "--json", str(numbers), "--html", str(page)]
        )  # fmt: skip
        without = ["compare", recording, "--modes", "", "--against", one, "--rounds", "1", "--users", ""]
        assert cli.main([*without, "--interruptions", "0", "--html", ""]) in (0, 3)
    shown = capsys.readouterr()
    assert status in (0, 3)
    written = json.loads(numbers.read_text())
    rows = {row["measure"]: row for row in written["rows"]}
    first, second = (url.removeprefix("http://") for url in (one, other))
    assert (rows[f"{first} answers right"]["value"], rows[f"{second} answers right"]["value"]) == (1.0, 0.0)
    late = rows.get(f"{first} turns not counted: late", {"value": 0})["value"]  # by a machine that does other things
    assert rows[f"{first} voice-to-voice p50"]["n"] + late == 1
    assert all(set(row) >= {"measure", "value", "n", "interval", "bar", "holds"} for row in written["rows"])
    assert page.read_text().startswith("<!doctype html>")
    assert "barge-in stop" in shown.out
    assert "wrong" in shown.err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nothing-here"], "nothing-here"),
        (["--modes", "quantum"], "quantum"),
        (["--modes", ""], "1 to 4"),
        (["--users", "two"], "--users two"),
        (["--rounds", "0"], "--rounds"),
        (["--modes", "native,native"], "native twice"),
        (["--against", "a:1", "--against", "a:1"], "a:1 twice"),
        (["--modes", "native", "--stt", "nano", "--tts", "nano"], "--stt, --tts: only a pipeline"),
    ],
)
def test_a_comparison_that_cannot_run_says_why_at_once(words: list[str], says: str, capsys: Captured) -> None:
    assert cli.main(["compare", *words]) == 2
    assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    "line",
    [
        "{",
        '{"ask": "no file"}',
        '{"file": "gone.wav"}',
        '"text"',
        '{"file":"q.wav","speech":[1]}',
        '{"file":"q.wav","right":"twelve"}',
    ],
)
def test_a_wrong_line_among_the_questions_is_named(line: str, tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "questions.jsonl").write_text(line)
    soundfile.write(tmp_path / "q.wav", np.ones(1600), 16_000)
    assert cli.main(["compare", str(tmp_path)]) == 2
    assert "line 1" in capsys.readouterr().err


@pytest.mark.parametrize("wire", ["/v1/omni", "/v1/realtime"])
def test_a_recorded_session_is_shown_heard_and_said_again(
    wire: str, recording: str, tmp_path: Path, capsys: Captured
) -> None:
    folder = tmp_path / "sessions"
    with threaded_server(answering(), record=str(folder)) as url:
        at = url.replace("http", "ws") + wire
        assert cli.main(["talk", recording, "--url", at, "--out", str(tmp_path / "a.wav")]) == 0
    capsys.readouterr()
    with threaded_server(answering()) as url:
        assert cli.main(["replay", str(folder), "--url", url, "--wav", str(tmp_path / "heard")]) == 0
    said = capsys.readouterr().out
    assert "omni:  Four." in said
    assert "again: the same" in said
    (heard,) = (tmp_path / "heard").glob("*.wav")
    sound, rate = soundfile.read(heard)
    loud = np.abs(sound) > 0.05
    assert loud[:, 0].sum() / rate == pytest.approx(0.4 * 0.9, abs=0.1)
    assert loud[:, 1].sum() / rate == pytest.approx(0.3 * 0.66, abs=0.1)
    assert np.flatnonzero(loud[:, 1])[0] > np.flatnonzero(loud[:, 0])[-1]  # the answer came behind the question
    with threaded_server(answering("Five.")) as url:
        assert cli.main(["replay", str(folder), "--url", url]) == 1
    assert "now: Five." in capsys.readouterr().out


def test_sessions_that_are_still_being_written_are_shown_as_far_as_they_are(tmp_path: Path, capsys: Captured) -> None:
    folder = tmp_path / "sessions"

    async def while_they_talk(url: str) -> None:
        async with connect(url) as talk:
            await talk.say("hello")
            await talk.answer()
            await asyncio.sleep(0.2)
            assert await asyncio.to_thread(cli.main, ["replay", str(folder)]) == 0

    with threaded_server(answering(), record=str(folder)) as url:
        asyncio.run(while_they_talk(url))
    assert "omni:  Four." in capsys.readouterr().out
    (file,) = folder.glob("*.jsonl")
    file.write_text("\n".join(file.read_text().splitlines()[:-2]) + '\n{"t": 3, "fr')
    assert cli.main(["replay", str(folder)]) == 0
    assert "omni:  Four." in capsys.readouterr().out
    (folder / "0.jsonl").touch()  # as a power cut leaves one
    assert cli.main(["replay", str(folder)]) == 1
    said = capsys.readouterr()
    assert "omni:  Four." in said.out
    assert "0.jsonl is no recorded session" in said.err


def test_what_a_replay_writes_is_no_part_of_its_json_and_said_where_it_cannot(
    recording: str, tmp_path: Path, capsys: Captured
) -> None:
    folder, heard = tmp_path / "sessions", tmp_path / "heard"
    with threaded_server(answering(), record=str(folder)) as url:
        assert cli.main(["talk", recording, "--url", url, "--out", str(tmp_path / "a.wav")]) == 0
    capsys.readouterr()
    assert cli.main(["replay", str(folder), "--json", "--wav", str(heard)]) == 0
    shown = capsys.readouterr()
    assert len(json.loads(shown.out)) == 1
    (file,) = heard.glob("*.wav")
    assert str(file) in shown.err
    file.unlink()
    file.mkdir()
    assert cli.main(["replay", str(folder), "--wav", str(heard)]) == 2
    assert file.name in capsys.readouterr().err


def test_a_reader_who_has_enough_ends_a_command_without_a_word(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_text("hello " * 50_000)
    words = [sys.executable, "-m", "omni_server.cli", "tokenize", str(tmp_path / "long.txt"), "--json", "--ids"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as command:
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdout.read(10)
        command.stdout.close()
        assert (command.stderr.read(), command.wait(60)) == (b"", 141)


def test_a_terminal_without_a_character_gets_another_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "omni_server.cli", "tokenize", "--text", "é"],
        capture_output=True, timeout=60, check=False, env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"?" in done.stdout


def test_where_marks_cannot_be_drawn_is_said_before_anything_is_asked(tmp_path: Path, capsys: Captured) -> None:
    assert cli.main(["eval", "nano", "--weights", str(tmp_path / "none"), "--plot", str(tmp_path)]) == 2
    assert f"{tmp_path} cannot be written" in capsys.readouterr().err
    assert cli.main(["eval", "nano", "--split", "dev", "--card", str(tmp_path / "CARD.md")]) == 2
    assert "--card goes with --split test" in capsys.readouterr().err
    (tmp_path / "file").write_text("")
    assert cli.main(["eval", "nano", "--failures", str(tmp_path / "file")]) == 2
    assert "file" in capsys.readouterr().err


def test_what_is_no_recorded_session_is_named(tmp_path: Path, capsys: Captured) -> None:
    (tmp_path / "other.jsonl").write_text('{"a": 1}\n')
    for path in (tmp_path / "gone", tmp_path):
        assert cli.main(["replay", str(path)]) == 2
        assert "omni serve --record" in capsys.readouterr().err


def test_doctor_tests_a_server_and_says_that_it_works(capsys: Captured) -> None:
    with threaded_server(ScriptedEngine([Speak(0.5)])) as url:
        assert cli.main(["doctor", "--url", url]) == 0
    said = capsys.readouterr().out
    for name in ("Python", "torch", "av", "device", "a conversation", "an answer"):
        assert f" {name} " in said
    assert "Everything that was tested works." in said


def test_doctor_says_that_websockets_is_missing() -> None:
    code = "import sys; sys.modules['websockets'] = None; from omni_server import cli; cli.main(['doctor', '--json'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    bad = [check["name"] for check in json.loads(done.stdout)["checks"] if check["verdict"] == "bad"]
    assert bad == ["websockets", "a conversation"]


def test_doctor_says_that_numba_is_missing_and_goes_on() -> None:
    code = "import sys; sys.modules['numba'] = None; from omni_server.compare.checks import look; print(look())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "name='numba', verdict='bad'" in done.stdout
    assert "name=\"nano's weights\", verdict='good'" in done.stdout


def test_a_useful_package_without_its_library_is_not_called_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    def without_library(_name: str) -> None:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr(checks, "import_module", without_library)
    monkeypatch.setattr(checks, "version", lambda _name: "0.5")
    found = next(check for check in checks.look() if check.name == "sounddevice")
    assert (found.verdict, "PortAudio library not found" in found.found) == ("absent", True)
    assert "libportaudio2" in found.remedy


def test_a_package_that_is_not_there_is_named_with_its_remedy() -> None:
    code = "import sys; sys.modules['prometheus_client'] = None; from omni_server import cli; cli.main(['serve'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert "needs the package prometheus_client" in done.stderr
    assert '".[server]"' in done.stderr


def test_a_port_that_is_taken_is_refused_before_a_model_is_loaded(capsys: Captured) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert cli.main(["serve", "--engine", "echo", "--port", str(port)]) == 2
    assert f"something listens on port {port} of 127.0.0.1 already: name another with --port" in capsys.readouterr().err


def test_ctrl_c_while_a_command_is_imported_ends_it_quietly(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "import_module", interrupted)
    assert cli.main(["tokenize", "question.wav"]) == 130


def test_a_microphone_without_its_library_says_which(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    def without_library(name: str) -> None:
        raise OSError("PortAudio library not found")

    monkeypatch.setattr(optional, "import_module", without_library)
    assert cli.main(["talk", "--mic"]) == 2
    assert "PortAudio library not found): apt install libportaudio2" in capsys.readouterr().err


def test_doctor_names_what_is_wrong_and_what_to_do(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr(checks, "NEEDED", (("no-such-package", "server"),))
    assert cli.main(["doctor", "--url", "http://127.0.0.1:1", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["works"] is False
    bad = {check["name"]: check for check in found["checks"] if check["verdict"] == "bad"}
    assert set(bad) == {"no-such-package", "a conversation"}
    assert ".[server]" in bad["no-such-package"]["remedy"]


def test_doctor_hears_a_server_that_answers_with_silence(monkeypatch: pytest.MonkeyPatch, capsys: Captured) -> None:
    monkeypatch.setattr(checks, "NEEDED", ())
    with threaded_server(ScriptedEngine([Say("I cannot speak.")])) as url:
        assert cli.main(["doctor", "--url", url]) == 1
    assert "This does not work: an answer." in capsys.readouterr().out


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_knows_every_command_and_is_read_by_the_shell(shell: str, capsys: Captured) -> None:
    assert cli.main(["completion", shell]) == 0
    script = capsys.readouterr().out
    assert all(name in script for name in cli.COMMANDS)
    program = shutil.which(shell)
    if program is None:
        pytest.skip(f"{shell} is not installed: its script is only looked at")
    done = subprocess.run([program, "-n"], input=script, capture_output=True, text=True, timeout=20, check=False)
    assert done.returncode == 0, done.stderr


def test_bash_completes_commands_and_their_flags() -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    script = subprocess.run(
        [sys.executable, "-m", "omni_server.cli", "completion", "bash"],
        capture_output=True, text=True, timeout=60, check=True,
    ).stdout  # fmt: skip

    def completed(*words: str) -> list[str]:
        quoted = " ".join(f"'{word}'" for word in words)
        ask = f"COMP_WORDS=(omni {quoted}); COMP_CWORD={len(words)}; _omni; echo ${{COMPREPLY[@]}}"
        done = subprocess.run([bash, "-c", f"{script}\n{ask}"], capture_output=True, text=True, timeout=20, check=True)
        return done.stdout.split()

    assert completed("com") == ["compare", "completion"]
    assert completed("talk", "--mo") == ["--mode", "--model"]


def test_a_command_that_is_terminated_takes_its_server_along(recording: str, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "omni_server.cli", "talk", *[recording] * 20, "--mode", "echo"]
    with subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as talk:
        servers: list[psutil.Process] = []
        deadline = time.monotonic() + 60
        while not servers and talk.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
            servers = psutil.Process(talk.pid).children(recursive=True)
        time.sleep(0.5)
        talk.terminate()
        assert talk.wait(30) == 143
    assert servers
    left = psutil.wait_procs(servers, timeout=20)[1]
    for server in left:
        server.kill()
    assert left == []


def test_the_client_needs_no_torch() -> None:
    code = (
        "import sys, omni_server.client as c; c.connect, c.Recording\n"
        "import omni_server.client.blocking, omni_server.client.own_server\n"
        "print(sorted({'torch', 'scipy', 'librosa', 'PIL', 'onnxruntime'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_the_names_of_the_client_are_what_they_say_whatever_was_imported_before() -> None:
    code = (
        "import pkgutil, omni_server.client as c\n"
        "for found in pkgutil.iter_modules(c.__path__): __import__(f'omni_server.client.{found.name}')\n"
        "print([name for name in c.__all__ if not callable(getattr(c, name))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
