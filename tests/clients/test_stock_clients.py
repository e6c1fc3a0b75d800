"""Published clients, unmodified, each in an environment of its own: `make test-clients`.

The environments are kept in build/clients, so that only the first run installs.
"""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

HERE = Path(__file__).parent
KEPT = HERE.parents[1] / "build" / "clients"
INSTALLING = 900  # s
TALKING = 120  # s


@dataclass(frozen=True)
class Client:
    """What is installed, what is run, and whether it only speaks wss."""

    script: str
    packages: tuple[str, ...]
    encrypted: bool = False


CLIENTS = {
    "openai-agents": Client("openai_agents_client.py", ("openai-agents", "websockets")),
    "pipecat": Client("pipecat_client.py", ("pipecat-ai[openai]>=1.14",)),
    "livekit": Client("livekit_client.py", ("livekit-agents", "livekit-plugins-openai")),
    "npm openai": Client("openai_npm_client.mjs", ("openai", "ws"), encrypted=True),
    "npm agents-realtime": Client("agents_realtime_client.mjs", ("@openai/agents-realtime", "zod")),
}


def command(client: Client, name: str) -> list[str]:
    """Install what the client needs, once; how to run it."""
    folder = KEPT / name.replace(" ", "-")
    ready = folder / "ready"
    if client.script.endswith(".py"):
        python = folder / "bin" / "python"
        if not ready.exists():
            subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=INSTALLING)
            install = [python, "-m", "pip", "install", "-q", *client.packages]
            subprocess.run(install, check=True, timeout=INSTALLING)
        found = [str(python), str(HERE / client.script)]
    else:
        node, npm = shutil.which("node"), shutil.which("npm")
        if node is None or npm is None:
            pytest.skip("node is not installed")
        folder.mkdir(parents=True, exist_ok=True)
        if not ready.exists():
            install = [npm, "install", "--silent", "--prefix", str(folder), *client.packages]
            subprocess.run(install, check=True, timeout=INSTALLING)
        script = folder / client.script  # node looks for packages beside the script
        shutil.copy(HERE / client.script, script)
        found = [node, str(script)]
    ready.touch()
    return found


def certificate(folder: Path) -> list[str]:
    """A certificate of this machine, signed by itself."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("openssl is not installed")
    certificate, key = str(folder / "certificate.pem"), str(folder / "key.pem")
    about = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    make = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-out", certificate, "-keyout", key]
    subprocess.run([*make, *about], check=True, capture_output=True, timeout=60)
    return [certificate, key]


@contextmanager
def serving(tls: list[str]) -> Iterator[str]:
    """A server in a process of its own; its address."""
    script = str(HERE / "answering_server.py")
    server = subprocess.Popen([sys.executable, script, *tls], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        port = int(server.stdout.readline())
        yield f"{'wss' if tls else 'ws'}://127.0.0.1:{port}/v1/realtime?model=omni"
    finally:
        server.communicate(timeout=30)  # closes its input, which ends it


@pytest.mark.clients
@pytest.mark.timeout(INSTALLING + TALKING + 60)
@pytest.mark.parametrize("name", CLIENTS)
def test_a_stock_client_talks_without_a_change(name: str, tmp_path: Path) -> None:
    client = CLIENTS[name]
    run = command(client, name)
    with serving(certificate(tmp_path) if client.encrypted else []) as url:
        done = subprocess.run([*run, url], capture_output=True, text=True, timeout=TALKING, check=False)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
