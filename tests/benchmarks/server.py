"""The server on this machine: `make bench-server`. One process each for the server and for its clients, on loopback."""

from tests.benchmarks import harness, server_echo, server_idle, server_interruption, server_live

if __name__ == "__main__":
    raise SystemExit(
        harness.main(
            "server",
            {
                "echo": server_echo.rows,
                "live": server_live.rows,
                "idle": server_idle.rows,
                "interruption": server_interruption.rows,
            },
            "What a session costs, how late 200 of them are, and how fast an interrupted answer is silent.",
        )
    )
