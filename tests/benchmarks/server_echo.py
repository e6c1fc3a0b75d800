"""Processor time of a live session, 40 ms of sound in and out, against a minimal FastAPI echo of the same JSON events.

The peer decodes and encodes JSON and nothing else. Ours reads the sound, hands it to an engine through a whole session,
and, in JSON, resamples it from 24 to 16 kHz and back. Beside both, what the loop and the kernel take for copying bytes.
"""

import base64
import json
import os
from collections.abc import Iterable
from statistics import median

from tests.benchmarks.harness import Row
from tests.benchmarks.server_load import FRAME, TEXT, Plan, Serving, binary_echo, masked, run

CLIENTS = 50
OURS = (
    "-m", "omni_server.cli", "serve", "--engine", "echo-live", "--no-worker", "--port", "PORT", "--log-level", "error",
    "--sessions", "2000", "--limits-connections", "4000", "--limits-per-address", "4000",
    "--limits-audio-burst-s", "1e9",
)  # fmt: skip
PEER = ("-m", "tests.benchmarks.server_peer", "PORT")
FLOOR = ("-m", "tests.benchmarks.server_floor", "PORT")
SOUND = os.urandom(round(FRAME * 24_000) * 2)  # pcm16
EVENT = {"type": "input_audio_buffer.append", "audio": base64.b64encode(SOUND).decode()}
PUSH_TO_TALK = {
    "type": "session.update",
    "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}},
}


def peer_plan(port: int) -> Plan:
    """OpenAI's events to the peer."""
    frame = masked(json.dumps(EVENT).encode(), TEXT)
    return Plan(port, "/v1/realtime", [], b"", lambda _number: frame, b"output_audio.delta")


def json_echo(port: int) -> Plan:
    """OpenAI's events to ours: a response is open, and an engine that says every sound back at once."""
    frame = masked(json.dumps(EVENT).encode(), TEXT)
    opening = [json.dumps(PUSH_TO_TALK), '{"type": "response.create"}']
    return Plan(
        port, "/v1/realtime?model=x", opening, b'"response.created"', lambda _number: frame, b"output_audio.delta"
    )


def rows(quick: bool) -> Iterable[Row]:
    """In turn: the peer, ours in JSON, ours in binary frames, a loop that only copies them."""
    runs, seconds = (1, 3.0) if quick else (5, 5.0)
    spent: dict[str, list[float]] = {"peer": [], "json": [], "binary": [], "floor": []}
    for _ in range(runs):
        for name, command, plan in (
            ("peer", PEER, peer_plan), ("json", OURS, json_echo), ("binary", OURS, binary_echo),
            ("floor", FLOOR, binary_echo),
        ):  # fmt: skip
            with Serving(*command) as server:
                measured = run(plan(server.port), CLIENTS, seconds, server.pid)
                spent[name].append(measured.cpu / measured.frames * 1e6)
    peer = median(spent["peer"])
    for name, work, bar in (
        ("json", "40 ms in and out, JSON events, CPU", 1.5),
        ("binary", "40 ms in and out, binary frames, CPU", 4.0),
    ):
        ratio = median(theirs / own for theirs, own in zip(spent["peer"], spent[name], strict=True))
        yield Row(work, median(spent[name]), peer, "FastAPI/uvicorn, JSON", "µs", ratio, bar, ratio >= bar, runs)
    ratio = median(theirs / own for theirs, own in zip(spent["peer"], spent["floor"], strict=True))
    work = "the same binary frames copied by a bare loop, CPU"
    yield Row(work, median(spent["floor"]), peer, "FastAPI/uvicorn, JSON", "µs", ratio, None, None, runs)
