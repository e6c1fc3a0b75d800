r"""Autobahn's fuzzing client against the transport as configured, beside plain `websockets`: does only ours fail?

    python -m tests.server.autobahn --wstest \
        "docker run --rm --network host -v /tmp:/tmp crossbario/autobahn-testsuite wstest"

`wstest` is whatever runs Autobahn's command here; it is Python 2 (autobahntestsuite) and so no dependency of the tests.
Compression is off in this server, so the cases of permessage-deflate (12, 13) do not apply.
"""

import argparse
import asyncio
import json
import shlex
import sys
import tempfile
from pathlib import Path
from typing import cast

import uvloop
from websockets.asyncio.server import ServerConnection, serve

from omni_server.settings import Settings
from omni_server.transport.connection import Connection

GOOD = ("OK", "NON-STRICT", "INFORMATIONAL", "UNIMPLEMENTED")


class Ours(Connection):
    """As the server makes them."""

    largest = Settings().limits.message_bytes
    inbox_bytes = Settings().socket.receive_bytes


async def ours(connection: ServerConnection) -> None:
    """Say every message back, past the library."""
    here = cast(Connection, connection)
    while (message := await here.next()) is not None:
        here.put(message)
        if here.clogged:
            await here.unclog()


async def plain(connection: ServerConnection) -> None:
    """Say every message back, through the library."""
    async for message in connection:
        await connection.send(message)


async def run(wstest: list[str], cases: list[str]) -> dict[str, dict[str, dict[str, str]]]:
    """The reports of both."""
    settings = Settings()
    common = {"compression": None, "max_size": settings.limits.message_bytes, "write_limit": settings.socket.send_bytes}
    async with (
        serve(ours, "127.0.0.1", 0, create_connection=Ours, **common) as mine,  # type: ignore[arg-type]
        serve(plain, "127.0.0.1", 0, **common) as theirs,  # type: ignore[arg-type]
    ):
        ports = {name: next(iter(s.sockets)).getsockname()[1] for name, s in (("ours", mine), ("websockets", theirs))}
        with tempfile.TemporaryDirectory() as folder:
            spec = {
                "outdir": folder,
                "servers": [{"agent": name, "url": f"ws://127.0.0.1:{port}"} for name, port in ports.items()],
                "cases": cases,
                "exclude-cases": ["12.*", "13.*"],
                "exclude-agent-cases": {},
            }
            path = Path(folder) / "fuzzingclient.json"
            path.write_text(json.dumps(spec))  # nothing else runs yet
            command = await asyncio.create_subprocess_exec(*wstest, "-m", "fuzzingclient", "-s", str(path))
            if await command.wait():
                raise SystemExit(f"{shlex.join(wstest)} ended with {command.returncode}")
            found: dict[str, dict[str, dict[str, str]]] = json.loads((Path(folder) / "index.json").read_text())
            return found


def main() -> int:
    """Compare, and fail when a case fails here and not there."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wstest", default="wstest", help="the command that runs Autobahn's wstest")
    parser.add_argument("--cases", default="*", help="cases with commas between them")
    args = parser.parse_args()
    found = uvloop.run(run(shlex.split(args.wstest), args.cases.split(",")))
    worse = 0
    for case, mine in sorted(found["ours"].items(), key=lambda item: [int(n) for n in item[0].split(".")]):
        theirs = found["websockets"][case]
        for what in ("behavior", "behaviorClose"):
            if mine[what] not in GOOD and theirs[what] in GOOD:
                worse += 1
            if mine[what] not in GOOD or theirs[what] not in GOOD:
                print(f"{case} {what}: ours {mine[what]}, websockets {theirs[what]}")
    print(f"{len(found['ours'])} cases, {worse} of which only ours fails")
    return 1 if worse else 0


if __name__ == "__main__":
    sys.exit(main())
