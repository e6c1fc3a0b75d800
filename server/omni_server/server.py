"""The server: an engine, wires and settings become a port that answers."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, cast

from websockets.asyncio.server import Server as Listener
from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from omni.engine.clock import Clock, SystemClock
from omni.engine.protocol import Engine
from omni_server.dialects.dialect import Dialect, Wire
from omni_server.limits.keys import Keyring
from omni_server.limits.pace import Pace
from omni_server.metrics import Metrics, Traffic
from omni_server.record.recorder import Recorder
from omni_server.session.events import Problem, ResponseDone
from omni_server.session.session import Session
from omni_server.session.word_times import WordTimes
from omni_server.settings import Settings
from omni_server.transport import pages
from omni_server.transport.connection import LONGEST_BODY, Connection
from omni_server.transport.encryption import encryption, renew
from omni_server.transport.gateway import Denied, Gateway, Pass, offered_subprotocols, too_full
from omni_server.transport.journal import Journal
from omni_server.transport.parking import Parking
from omni_server.transport.talk import Talk, control
from omni_server.turns.detector import Detector

Handler = Callable[[Connection], Awaitable[None]]  # of a websocket that is no session
LAG_EVERY = 1.0  # s between looks at how late the event loop is
log = logging.getLogger(__name__)


class Server:
    """One port. `start` it; `drain` it; `close` it.

    A client's model names the engine that answers it; the first one answers who names none of them. `also` are other
    websockets of the same port, by path: they pass the same door and have the same limits.
    """

    def __init__(
        self,
        settings: Settings,
        engines: Engine | Mapping[str, Engine],
        wires: Sequence[Wire],
        detector: Detector,
        *,
        also: Mapping[str, Handler] | None = None,
        keyring: Keyring | None = None,
        word_times: WordTimes | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.settings = settings
        self.engines = dict(engines) if isinstance(engines, Mapping) else {"omni": engines}
        if not self.engines:
            raise ValueError("a server without an engine has nobody who answers")
        self.metrics = Metrics()
        self.parking: Parking[Talk] = Parking(settings.resume.parked, settings.resume.grace_s)
        self.gateway = Gateway(settings, wires, keyring or Keyring(), self.parking, self._open_session, settings.wire)
        self.talks: set[Talk] = set()
        self._clock = clock or SystemClock()
        self._detector = detector
        self._word_times = word_times
        self._also = dict(also or {})
        self._born = int(time.time())
        self._files = pages.files(settings.web)
        self._recorder = Recorder.into(settings.record) if settings.record else None
        self._connections: set[Connection] = set()
        self._passes: dict[Connection, Pass] = {}
        self._listener: Listener | None = None
        self._watching: list[asyncio.Task[None]] = []
        self.metrics.watch(self._now, self._traffic)

    # Its life

    async def start(self) -> None:
        """Listen."""
        socket, context = self.settings.socket, encryption(self.settings.tls)
        self._listener = await serve(
            self._handle,
            self.settings.host,
            self.settings.port,
            create_connection=self._connection(),
            process_request=self._request,
            select_subprotocol=self._subprotocol,
            compression=None,
            server_header="omni",
            open_timeout=socket.open_s,
            ping_interval=socket.heartbeat_s or None,
            ping_timeout=socket.heartbeat_patience_s or None,
            close_timeout=socket.close_s,
            max_size=self.settings.limits.message_bytes,
            write_limit=socket.send_bytes,
            ssl=context,
            backlog=1024,
        )
        self._watching.append(asyncio.create_task(self._watch_lag(), name="lag"))
        if context is not None:
            self._watching.append(asyncio.create_task(renew(context, self.settings.tls), name="certificate"))

    @property
    def port(self) -> int:
        """The port that it listens on."""
        assert self._listener is not None
        return int(next(iter(self._listener.sockets)).getsockname()[1])

    @property
    def ready(self) -> bool:
        """Whether a session can be opened now, if there is room."""
        return all(engine.ready for engine in self.engines.values()) and not self.gateway.draining

    async def drain(self, seconds: float) -> None:
        """Let nobody in, let answers that are being given end, and end every session; at most so many seconds."""
        self.gateway.draining = True
        self.parking.give_up_all()
        for talk in list(self.talks):
            talk.draining = True
            if not talk.answering:
                talk.leave("restarting")
        waiting = [asyncio.ensure_future(talk.gone()) for talk in self.talks]
        if waiting:
            await asyncio.wait(waiting, timeout=seconds)
        for task in waiting:
            task.cancel()

    async def close(self) -> None:
        """End everything at once."""
        self.gateway.draining = True
        for task in self._watching:
            task.cancel()
        for talk in list(self.talks):
            talk.leave("restarting")
        for talk in list(self.talks):
            await talk.gone()
        if self._listener is not None:
            self._listener.close()
            await self._listener.wait_closed()
        if self._recorder is not None:
            await self._recorder.close()

    # The door

    def _connection(self) -> type[ServerConnection]:
        server = self

        class Here(Connection):
            largest = server.settings.limits.message_bytes
            inbox_bytes = server.settings.socket.receive_bytes
            send_bytes = server.settings.socket.send_bytes
            slow_reader_s = server.settings.socket.slow_reader_s

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                server._gone(self)

        return Here

    async def _request(self, connection: ServerConnection, request: Request) -> Response | None:
        path, here = request.path.partition("?")[0], cast(Connection, connection)
        if here.posts:
            return self._posted(path, request, here)
        if not self.gateway.serves(path) and path not in self._also:
            return self._page(path, request, connection)
        if "websocket" not in request.headers.get("Upgrade", "").lower():
            return pages.answer(426, b"This address speaks websocket.\n", extra={"Upgrade": "websocket"})
        try:
            passed = await self.gateway.admit(here, request)
        except Denied as denied:
            return self._denied(denied, connection)
        except Exception:  # the library's own log is off: it tells of every port scan
            log.exception("a connection could not be let in")
            raise
        if here.transport.is_closing():  # it hung up while the session was opened
            await passed.give_back()
        else:
            self._passes[here] = passed
        return None

    def _posted(self, path: str, request: Request, connection: Connection) -> Response:
        if not self.gateway.mints(path):
            return pages.answer(405, b"Nothing can be posted to this address.\n", extra={"Allow": "GET"})
        if connection.posted is None:
            return pages.refused(413, "too_long", f"the body is longer than {LONGEST_BODY:,} bytes")
        try:
            return self.gateway.mint(request, connection.posted)
        except Denied as denied:
            return self._denied(denied, connection)

    def _denied(self, denied: Denied, connection: ServerConnection) -> Response:
        self._refused(denied.reason, denied, connection, status=denied.status)
        return denied.response()

    def _refused(self, reason: str, why: Exception, connection: ServerConnection, **status: int) -> None:
        self.metrics.refused.labels(reason).inc()
        log.info("not let in: %s", why, extra={"address": connection.remote_address, **status})

    def _subprotocol(self, connection: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        assert connection.request is not None
        return self.gateway.select(offered, connection.request.path)

    def _gone(self, connection: Connection) -> None:
        passed = self._passes.pop(connection, None)
        if passed is not None:  # it never came to its handler
            asyncio.get_running_loop().create_task(passed.give_back())
        if connection in self._connections:
            self._connections.discard(connection)
            self.metrics.traffic.add(connection.came, connection.went, connection.came_bytes, connection.went_bytes)

    def _page(self, path: str, request: Request, connection: ServerConnection) -> Response:
        if path == "/healthz":
            return pages.said(200, {"status": "ok"})
        if path == "/readyz":
            why = "ready" if self.ready else "draining" if self.gateway.draining else "the engine is not ready"
            return pages.said(200 if self.ready else 503, {"status": why})
        if path in ("/metrics", "/v1/models"):
            try:
                self.gateway.known(request, offered_subprotocols(request))
            except Denied as denied:
                return self._denied(denied, connection)
            if path == "/metrics":
                return pages.answer(200, *self.metrics.page())
            return pages.models(tuple(self.engines), self._born)
        if path in self._files:
            return pages.page(self._files[path], request.headers.get("If-None-Match"))
        return pages.refused(404, "not_found", "there is nothing at this address")

    # Sessions

    async def _open_session(self, dialect: Dialect) -> Session:
        engine = self.engines.get(dialect.setup.model) or next(iter(self.engines.values()))
        return await Session.open(
            engine, dialect.setup, self.settings.session, self._clock, self._detector, self._word_times
        )

    async def _handle(self, connection: ServerConnection) -> None:
        here = cast(Connection, connection)
        passed = self._passes.pop(here, None)
        if passed is None:
            return
        self._connections.add(here)
        try:
            if passed.full is not None:
                self._refused("full", passed.full, here)
                assert passed.dialect is not None
                problem = Problem("full", str(passed.full), kind="server_error")
                for message in passed.dialect.write(problem):
                    here.put(message)
                await too_full(here, passed.full)
            elif passed.resumes is not None:
                self.metrics.resumed.inc()
                await passed.resumes.held.carry(here, passed.received, passed.token)
            elif passed.session is not None:
                await self._talk(passed, here)
            else:
                await self._also[here.path](here)
        except Exception:
            log.exception("a connection failed")
            raise
        finally:
            passed.ticket.give_back()

    async def _talk(self, passed: Pass, connection: Connection) -> None:
        assert passed.wire is not None
        assert passed.dialect is not None
        assert passed.session is not None
        dialect, limits = passed.wire.name, self.settings.limits
        witness = None
        if self._recorder is not None:
            witness = self._recorder.begin(
                passed.session.name, dialect=dialect, model=passed.dialect.setup.model, clock=self._clock
            )

        def ended(talk: Talk) -> None:
            limit.cancel()
            self.talks.discard(talk)
            seconds = self._clock.now() - talk.begun
            self.metrics.open.labels(dialect).dec()
            self.metrics.ended.labels(talk.why).inc()
            self.metrics.length.observe(seconds)
            if witness is not None:
                witness.close()
            log.info("session ended", extra={"session": talk.name, "why": talk.why, "seconds": round(seconds, 1)})

        def answered(done: ResponseDone) -> None:
            self.metrics.response(done.answer, done.waterfall)
            about: dict[str, Any] = {"session": talk.name, "response": done.answer.id, "status": done.answer.status}
            if done.waterfall is not None:
                about["latency"] = done.waterfall.as_json()
            log.info("response ended", extra=about)

        resume = self.settings.resume
        talk = Talk(
            passed.session, passed.dialect, self._clock, Pace(limits.audio_burst_s, limits.audio_speed),
            journal=Journal(resume.journal_bytes) if passed.resumable else None,
            witness=witness, ended=ended, answered=answered,
        )  # fmt: skip
        self.talks.add(talk)
        limit = asyncio.get_running_loop().call_later(limits.session_s, self._expired, talk)
        self.metrics.sessions.labels(dialect).inc()
        self.metrics.open.labels(dialect).inc()
        log.info("session began", extra={"session": talk.name, "dialect": dialect, "who": passed.who})
        if talk.journal is not None:
            talk.parking = self.parking
            talk.slip = self.parking.issue(talk.name, passed.who, talk)
            token = talk.slip.rotate()
            connection.put(control("transport.resumable", token=token, grace_s=resume.grace_s))
        try:
            await talk.carry(connection)
        finally:
            if talk.slip is None:
                talk.end()
                await talk.gone()

    def _expired(self, talk: Talk) -> None:
        minutes = self.settings.limits.session_s / 60
        talk.say(Problem("session_expired", f"Your session hit the maximum duration of {minutes:g} minutes."))
        talk.end("session_expired")

    # What there is to see

    def _now(self) -> dict[str, float]:
        return {
            "connections": self.gateway.admission.inside,
            "sessions_waiting_for_their_client": self.parking.waiting,
            "engines_ready": sum(engine.ready for engine in self.engines.values()),
            "engine_restarts": sum(getattr(engine, "restarts", 0) for engine in self.engines.values()),
            "ready": float(self.ready),
        }

    def _traffic(self) -> Traffic:
        gone = self.metrics.traffic
        now = Traffic(gone.messages.copy(), gone.bytes.copy())
        for open_one in self._connections:
            now.add(open_one.came, open_one.went, open_one.came_bytes, open_one.went_bytes)
        return now

    async def _watch_lag(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_EVERY
            await asyncio.sleep(LAG_EVERY)
            self.metrics.lag.observe(max(0.0, loop.time() - due))


def page(settings: Settings, port: int) -> str:
    """Where a browser finds the page.

    >>> page(Settings(host="::1"), 8000)
    'http://[::1]:8000/'
    """
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "http" if settings.tls.certificate is None else "https"
    return f"{scheme}://{host}:{port}/"
