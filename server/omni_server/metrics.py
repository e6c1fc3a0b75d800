"""What Prometheus reads at `/metrics`. What happens with every frame is counted where it happens, and read here."""

from collections import Counter as Tally
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.registry import Collector

from omni_server.latency.waterfall import Waterfall
from omni_server.session.events import Answer

# Seconds; people answer each other after about 0.2.
LATENCY = (0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.65, 0.8, 1, 1.5, 2, 3, 5, 10, 30)
LAG = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 5)


@dataclass
class Traffic:
    """Messages and bytes of connections that are gone; those that are open are asked."""

    messages: Tally[str] = field(default_factory=Tally)
    bytes: Tally[str] = field(default_factory=Tally)

    def add(self, came: int, went: int, came_bytes: int, went_bytes: int) -> None:
        """A connection ended, or is open and asked."""
        self.messages.update({"in": came, "out": went})
        self.bytes.update({"in": came_bytes, "out": went_bytes})


class Metrics:
    """One registry for one server, so that two in a process do not meet."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        to = self.registry
        self.sessions = Counter("omni_sessions", "Sessions that began.", ["dialect"], registry=to)
        self.ended = Counter("omni_sessions_ended", "Sessions that ended, and why.", ["reason"], registry=to)
        self.open = Gauge("omni_sessions_open", "Sessions that are open.", ["dialect"], registry=to)
        self.refused = Counter("omni_refused", "Connections that were not let in, and why.", ["reason"], registry=to)
        self.resumed = Counter("omni_resumed", "Connections that resumed a session.", registry=to)
        self.length = Histogram(
            "omni_session_seconds",
            "How long sessions lasted.",
            buckets=(1, 5, 15, 60, 180, 600, 1800, 3600),
            registry=to,
        )
        self.responses = Counter("omni_responses", "Responses by their end.", ["status", "reason"], registry=to)
        self.latency = Histogram(
            "omni_voice_to_voice_seconds", "From the end of the user's speech to the answer, by what was seen of it.",
            ["origin", "end"], buckets=LATENCY, registry=to,
        )  # fmt: skip
        self.stage = Histogram(
            "omni_stage_seconds", "Stages of voice-to-voice.", ["stage"], buckets=LATENCY, registry=to
        )
        self.residual = Histogram(
            "omni_residual_seconds", "Voice-to-voice that no stage explains.", buckets=LATENCY, registry=to
        )
        self.lag = Histogram("omni_event_loop_lag_seconds", "How late the event loop is.", buckets=LAG, registry=to)
        self.traffic = Traffic()

    def response(self, answer: Answer, waterfall: Waterfall | None) -> None:
        """A response ended. One that was cancelled, reopened or called a tool is not mixed into the latencies."""
        self.responses.labels(answer.status, answer.reason or answer.code or "").inc()
        if waterfall is None or waterfall.excluded:
            return
        self.latency.labels(waterfall.origin, waterfall.end).observe(waterfall.total_ms / 1000)
        self.residual.observe(max(0.0, waterfall.residual_ms / 1000))
        for stage in waterfall.stages:
            self.stage.labels(stage.name).observe(stage.ms / 1000)

    def watch(self, now: Callable[[], dict[str, float]], traffic: Callable[[], Traffic]) -> None:
        """Ask for these whenever somebody reads."""
        self.registry.register(_Asked(now, traffic))

    def page(self) -> tuple[bytes, str]:
        """The text, and its type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class _Asked(Collector):
    def __init__(self, now: Callable[[], dict[str, float]], traffic: Callable[[], Traffic]) -> None:
        self._now = now
        self._traffic = traffic

    def collect(self) -> Iterator[Metric]:
        """The values of this moment."""
        for name, value in self._now().items():
            yield GaugeMetricFamily(f"omni_{name}", name.replace("_", " ").capitalize() + ".", value=value)
        traffic = self._traffic()
        for name, tally in (("messages", traffic.messages), ("message_bytes", traffic.bytes)):
            family = CounterMetricFamily(f"omni_{name}", "Over the wire, without its framing.", labels=["direction"])
            for direction in ("in", "out"):
                family.add_metric([direction], tally[direction])
            yield family
