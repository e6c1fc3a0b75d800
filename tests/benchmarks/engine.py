"""The native engine against its bars: `make bench-engine`."""

from tests.benchmarks import engine_live, engine_memory, engine_step, harness

if __name__ == "__main__":
    raise SystemExit(
        harness.main(
            "engine",
            {
                "step": engine_step.rows,
                "overhead": engine_step.overhead,
                "live": engine_live.rows,
                "memory": engine_memory.rows,
                "soak": engine_memory.soak,
            },
            "Steps of one and of sixteen sessions, real-time sessions on this machine, memory, and half an hour of it.",
        )
    )
