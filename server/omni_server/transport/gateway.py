"""The door: what is asked for, by whom, from where, and whether there is room. Everything is decided before the
handshake is answered, so that a refusal is a status of HTTP, with a time to come again where that helps.
"""

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit
from weakref import WeakKeyDictionary

from websockets.http11 import Request, Response
from websockets.typing import Subprotocol

from omni.engine.protocol import Closed, Full, Refused
from omni_server.dialects.dialect import Dialect, Minting, NotServed, Wire, WireLimits
from omni_server.limits import keys, origins
from omni_server.limits.admission import RETRY_S, Admission, Ticket, TooMany
from omni_server.limits.client_secrets import ClientSecret, ClientSecrets, Opens, TooManySecrets
from omni_server.limits.keys import Keyring
from omni_server.session.session import Session
from omni_server.settings import Settings
from omni_server.transport.connection import Connection
from omni_server.transport.journal import Lost
from omni_server.transport.pages import refused, said
from omni_server.transport.parking import NoSuchSession, Parking, Slip
from omni_server.transport.talk import TRY_AGAIN, Talk

NOT_A_TALK = (Subprotocol("omni.inspect"),)  # on the other addresses: a browser that brings a key needs an answer
log = logging.getLogger(__name__)


@dataclass
class Pass:
    """What the door decided about a connection, until its handler takes over."""

    ticket: Ticket
    who: str
    wire: Wire | None = None
    dialect: Dialect | None = None
    session: Session | None = None
    resumable: bool = False
    resumes: "Slip[Talk] | None" = None
    token: str = ""  # that it resumes with
    received: int = 0
    full: Full | None = None  # a browser is told on the open connection: it cannot see a status

    async def give_back(self) -> None:
        """The connection ended before its handler took over."""
        self.ticket.give_back()
        session, self.session = self.session, None
        if session is not None:
            await session.close()


class Denied(Exception):
    """The answer is no."""

    def __init__(
        self, status: int, reason: str, message: str, retry_after: float | None = None, param: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after
        self.param = param

    def response(self) -> Response:
        """As HTTP."""
        return refused(self.status, self.reason, str(self), self.retry_after, self.param)


class Gateway:
    """Lets connections in, or says why not."""

    def __init__(
        self,
        settings: Settings,
        wires: Sequence[Wire],
        keyring: Keyring,
        parking: "Parking[Talk]",
        open_session: Callable[[Dialect], Awaitable[Session]],
        limits: WireLimits,
    ) -> None:
        self.draining = False
        self.admission = Admission(settings.limits)
        self.keyring = keyring
        self.secrets = ClientSecrets()
        self._settings = settings
        self._wires = {path: wire for wire in wires for path in wire.paths}
        self._mints = {path: wire for wire in wires if isinstance(wire, Minting) for path in wire.mints}
        self._parking = parking
        self._open_session = open_session
        self._limits = limits
        self._opened_with: WeakKeyDictionary[Session, bytes] = WeakKeyDictionary()  # the client secret, hashed

    def serves(self, path: str) -> bool:
        """Whether a websocket is offered there."""
        return path in self._wires

    def mints(self, path: str) -> bool:
        """Whether client secrets are made there."""
        return path in self._mints

    def mint(self, request: Request, body: bytes) -> Response:
        """A client secret for whoever brings a key; raises `Denied`."""
        self._check_origin(request)
        who = self.known(request, ())
        wire = self._mints[urlsplit(request.path).path]
        try:
            wish = wire.wish(body, self._limits)
            value, made = self.secrets.make(who, wire.name, wish.seconds, wish.open)
        except NotServed as no:
            raise Denied(no.status, no.code, str(no), param=no.param) from None
        except TooManySecrets as many:
            raise Denied(429, "client_secrets", str(many), RETRY_S) from None
        return said(200, {"value": value, "expires_at": int(made.expires_at), "session": wish.shown})

    def known(self, request: Request, offered: Sequence[str]) -> str:
        """The name of the key that a request brings; raises `Denied`."""
        who = self.keyring.who(keys.presented(request.headers.get("Authorization"), offered))
        if who is None:
            raise Denied(401, "invalid_api_key", "Incorrect API key provided: this key opens nothing here")
        return who

    async def admit(self, connection: Connection, request: Request) -> Pass:
        """Check everything, take a place, and open the session; raises `Denied`."""
        url = urlsplit(request.path)
        wire = self._wires.get(url.path)
        offered = offered_subprotocols(request)
        self._check_origin(request)
        query = {name: values[-1] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        key = keys.presented(request.headers.get("Authorization"), offered)
        secret = self._secret(key, wire)
        who = secret.who if secret is not None else self._returning(key, query, wire) or self.known(request, offered)
        if self.draining:
            raise Denied(503, "restarting", "the server is about to stop", retry_after=self._settings.socket.drain_s)
        address = connection.remote_address
        try:
            ticket = self.admission.enter(who, address[0] if isinstance(address, tuple) else "local")
        except TooMany as many:
            raise Denied(many.status, many.reason, str(many), many.retry_after) from None
        passed = Pass(ticket, who)
        try:
            if wire is not None:
                open_dialect = wire.open if secret is None else secret.opens
                await self._inside(passed, wire, open_dialect, query, browser="Origin" in request.headers)
            if secret is not None and key is not None and passed.session is not None:
                self._opened_with[passed.session] = keys.hashed(key)
        except BaseException:
            await asyncio.shield(passed.give_back())
            raise
        return passed

    def _check_origin(self, request: Request) -> None:
        origin, settings = request.headers.get("Origin"), self._settings
        if not origins.allowed(
            origin, request.headers.get("Host"), settings.limits.origins,
            secret=bool(self.keyring), encrypted=settings.tls.certificate is not None,
        ):  # fmt: skip
            page = (origin or "")[:100]  # it goes into the log
            raise Denied(403, "origin", f"pages from {page!r} may not connect: --limits-origins names those that may")

    def _secret(self, key: str | None, wire: Wire | None) -> ClientSecret | None:
        """The client secret that a key is, if it is one and good here."""
        secret = self.secrets.find(key)
        return secret if secret is not None and wire is not None and secret.wire == wire.name else None

    def _returning(self, key: str | None, query: Mapping[str, str], wire: Wire | None) -> str | None:
        """Who comes back to the session that this client secret opened: it may be too old by now to open another."""
        slip = self._parking.named(query.get("resume", ""))
        if slip is None or key is None or wire is None:
            return None
        opened_with = self._opened_with.get(slip.held.session)
        return slip.who if opened_with is not None and hmac.compare_digest(opened_with, keys.hashed(key)) else None

    async def _inside(
        self, passed: Pass, wire: Wire, open_dialect: Opens, query: Mapping[str, str], *, browser: bool
    ) -> None:
        resume = query.get("resume")
        if resume is not None and self._settings.resume.grace_s == 0:
            raise Denied(400, "resume", "this server does not resume sessions")
        if resume not in (None, "", "new"):
            assert resume is not None
            try:
                passed.resumes, passed.token = self._parking.find(resume, passed.who), resume
                passed.received = int(query.get("received", "0"))
                journal = passed.resumes.held.journal
                assert journal is not None
                journal.after(passed.received)
            except NoSuchSession as none:
                raise Denied(410, "resume", str(none)) from None
            except Lost as lost:
                raise Denied(410, "resume", str(lost)) from None
            except ValueError:
                raise Denied(400, "resume", f"received is {query.get('received')!r}: it has to be a number") from None
            return
        passed.wire = wire
        passed.resumable = resume is not None
        try:
            passed.dialect = open_dialect(query, self._limits)
            passed.session = await self._open_session(passed.dialect)
        except NotServed as no:
            raise Denied(no.status, no.code, str(no)) from None
        except Refused as no:
            raise Denied(400, "refused", str(no)) from None
        except Full as full:
            if not browser or passed.dialect is None:
                raise Denied(503, "full", str(full), full.retry_after) from None
            passed.full = full
        except Closed:
            raise Denied(503, "restarting", "the engine is closed", retry_after=5.0) from None

    def select(self, offered: Sequence[Subprotocol], path: str) -> Subprotocol | None:
        """The subprotocol to answer with: one that the wire knows, never the one that carries a key."""
        wire = self._wires.get(urlsplit(path).path)
        known = NOT_A_TALK if wire is None else wire.subprotocols
        return next((name for name in offered if name in known), None)


def offered_subprotocols(request: Request) -> list[str]:
    """What the client offers, in order."""
    lines = request.headers.get_all("Sec-WebSocket-Protocol")
    return [name.strip() for line in lines for name in line.split(",") if name.strip()]


def too_full(connection: Connection, full: Full) -> Awaitable[None]:
    """Tell a browser."""
    return connection.close(TRY_AGAIN, f"full: try again in {full.retry_after:g} s")
