"""Many live clients in one cheap loop: each sends a frame every 40 ms and takes the time until its echo is back.

A client here costs a fraction of the server's work on the same frame, so that 200 of them fit beside the server.
"""

import asyncio
import base64
import json
import os
import socket
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop

from omni_server.dialects.omni_v1.frame import HEADER, PCM16

FRAME = 0.04  # s of sound in a frame
WARM = 1.0  # s at the beginning that are not counted
TEXT, BINARY = 0x81, 0x82


def masked(payload: bytes, opcode: int = BINARY) -> bytes:
    """A client's frame; the mask is zero, which is as good as any other."""
    size = len(payload)
    if size < 126:
        head = bytes((opcode, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((opcode, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((opcode, 0x80 | 127)) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


@dataclass
class Plan:
    """What each client does."""

    port: int
    path: str
    opening: Sequence[str]  # sent after the handshake
    ready: bytes  # in the message after which the sound may begin; b"" for none
    frame: Callable[[int], bytes]  # the n-th, ready for the wire
    echo: bytes  # in the beginning of a message that is an echo
    subprotocol: str = ""


@dataclass
class Client(asyncio.Protocol):
    """One of them."""

    plan: Plan
    up: "asyncio.Future[None]"
    took: list[float] = field(default_factory=list)  # s from each frame to its echo
    sent: deque[float] = field(default_factory=deque)
    counts: bool = False
    frames: int = 0
    echoes: int = 0
    _rest: bytes = b""
    _shook: bool = False
    transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        offered = f"Sec-WebSocket-Protocol: {self.plan.subprotocol}\r\n" if self.plan.subprotocol else ""
        key = base64.b64encode(os.urandom(16)).decode()
        transport.write(
            f"GET {self.plan.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n{offered}\r\n".encode()
        )

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        if not self._shook:
            head, found, data = data.partition(b"\r\n\r\n")
            if not found:
                self._rest = head
                return
            if b" 101 " not in head[:20]:
                self.up.set_exception(ConnectionError(head[:200].decode(errors="replace")))
                return
            self._shook = True
            for message in self.plan.opening:
                self.transport.write(masked(message.encode(), TEXT))
            if not self.plan.ready:
                self.up.set_result(None)
        at, size = 0, len(data)
        while size - at >= 2:
            length, body = data[at + 1], at + 2
            if length == 126:
                if size - at < 4:
                    break
                length, body = data[at + 2] << 8 | data[at + 3], at + 4
            elif length == 127:
                if size - at < 10:
                    break
                length, body = int.from_bytes(data[at + 2 : at + 10], "big"), at + 10
            if body + length > size:
                break
            if (
                data.startswith(self.plan.echo, body)
                if data[at] == BINARY
                else self.plan.echo in data[body : body + 60]
            ):
                self.echoes += 1
                if self.sent:
                    begun = self.sent.popleft()
                    if self.counts:
                        self.took.append(time.perf_counter() - begun)
            elif not self.up.done() and self.plan.ready in data[body : body + length]:
                self.up.set_result(None)
            at = body + length
        self._rest = data[at:]

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.up.done():
            self.up.set_exception(exc or ConnectionError("the server hung up"))

    def tick(self) -> None:
        self.sent.append(time.perf_counter())
        self.transport.write(self.plan.frame(self.frames))
        self.frames += 1


@dataclass(frozen=True)
class Measured:
    """What a load showed."""

    latencies: list[float]  # s
    frames: int
    echoes: int
    cpu: float  # s of the server


async def load(plan: Plan, clients: int, seconds: float, pid: int) -> Measured:
    """So many clients, their frames evenly spread over time."""
    loop = asyncio.get_running_loop()
    found: list[Client] = []
    for _ in range(clients):
        client = Client(plan, loop.create_future())
        await loop.create_connection(lambda client=client: client, "127.0.0.1", plan.port)  # type: ignore[misc]
        found.append(client)
        await asyncio.wait_for(client.up, 30)
    begin = loop.time() + 0.1
    counting, cpu, frames = False, 0.0, 0
    for number in range(round((seconds + WARM) / FRAME)):
        for place, client in enumerate(found):
            wait = begin + (number + place / clients) * FRAME - loop.time()
            if wait > 0.0005:
                await asyncio.sleep(wait)
            client.tick()
        if not counting and number * FRAME >= WARM:
            counting, cpu = True, spent(pid)
            frames = -sum(client.echoes for client in found)
            for client in found:
                client.counts = True
    cpu = spent(pid) - cpu
    frames += sum(client.echoes for client in found)
    await asyncio.sleep(0.5)
    for client in found:
        client.transport.abort()
    took = [second for client in found for second in client.took]
    return Measured(took, frames, sum(client.echoes for client in found), cpu)


def spent(pid: int) -> float:
    """CPU seconds of a process so far, all its threads, to the nanosecond."""
    total = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        total += int((task / "schedstat").read_text().split()[0])
    return total / 1e9


def resident(pid: int) -> int:
    """Bytes of memory that a process has to itself now."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))


class Serving:
    """A server in a process of its own, on a free port."""

    def __init__(self, *command: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._command = [part.replace("PORT", str(self.port)) for part in command]

    def __enter__(self) -> "Serving":
        self._process = subprocess.Popen([sys.executable, *self._command], stderr=subprocess.DEVNULL)
        self.pid = self._process.pid
        for _ in range(600):
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return self
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.1)
        self.__exit__()
        raise RuntimeError(f"{' '.join(self._command)} did not start")

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def run(plan: Plan, clients: int, seconds: float, pid: int) -> Measured:
    """The load, in a loop of its own."""
    return uvloop.run(load(plan, clients, seconds, pid))


def binary_echo(port: int, rate: int = 16_000) -> Plan:
    """omni.v1: sound in binary frames, no turns."""
    sound = {"type": "pcm16", "rate": rate}
    configure = {"type": "configure", "turns": {"by": "nobody"}, "audio_in": sound, "audio_out": sound}
    samples = round(FRAME * rate)
    start, payload = masked(bytes(HEADER.size + 2 * samples))[: -HEADER.size - 2 * samples], os.urandom(2 * samples)

    def frame(number: int) -> bytes:
        return start + HEADER.pack(PCM16, 0, 0, number, number * samples) + payload

    opening = [json.dumps(configure), '{"type": "respond"}']
    return Plan(port, "/v1/omni", opening, b'"answer_started"', frame, bytes((PCM16,)), "omni.v1")
