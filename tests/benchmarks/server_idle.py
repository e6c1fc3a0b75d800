"""Memory of sessions that only are there."""

import asyncio
from collections.abc import Iterable

import uvloop

from tests.benchmarks.harness import Row
from tests.benchmarks.server_echo import OURS
from tests.benchmarks.server_load import Client, Plan, Serving, resident

MOST_KIB = 100.0


def rows(quick: bool) -> Iterable[Row]:
    """On both wires; a ratio above 1 is below the limit."""
    for name, path in (("omni.v1", "/v1/omni"), ("OpenAI Realtime", "/v1/realtime?model=x")):
        sessions = 200 if quick else 1_000
        with Serving(*OURS) as server:
            each = uvloop.run(
                _opened(Plan(server.port, path, [], b"", lambda _n: b"", b"nothing"), sessions, server.pid)
            )
        yield Row(
            f"{sessions} idle sessions, {name}, memory of each", each / 1024, MOST_KIB, "the limit", "KiB",
            MOST_KIB * 1024 / each, 1.0, each <= MOST_KIB * 1024, 1,
        )  # fmt: skip


async def _opened(plan: Plan, sessions: int, pid: int) -> float:
    loop = asyncio.get_running_loop()

    async def more(count: int) -> list[Client]:
        found = []
        for _ in range(count):
            client = Client(plan, loop.create_future())
            await loop.create_connection(lambda client=client: client, "127.0.0.1", plan.port)  # type: ignore[misc]
            await asyncio.wait_for(client.up, 30)
            found.append(client)
        await asyncio.sleep(1)
        return found

    some = await more(20)  # what the first ones cost is not theirs
    before = resident(pid)
    many = await more(sessions)
    each = (resident(pid) - before) / sessions
    for client in some + many:
        client.transport.abort()
    return each
