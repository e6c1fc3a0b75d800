"""The connection: messages there and back, and the same session again when the network was away.

A session that can be resumed says so with a token. Both sides count messages; a client that comes back says how many
it has, gets those it lacks, and sends those again that the server lacks.
"""

import asyncio
import json
from collections import deque
from typing import Protocol
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import websockets.asyncio.client as sockets
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from omni_server.client.refusals import Lost, NoServer, Refusal, closed, refusal
from omni_server.client.wire import Message, Wire

KEPT = 4 << 20  # bytes of sent messages that are kept to be sent again
LARGEST = 32 << 20  # bytes of one message of the server, which takes 21 MiB and sends an item back with its pictures
FIRST_PAUSE, LONGEST_PAUSE = 0.1, 2.0  # s between attempts to come back
NORMAL = 1000  # close code
GONE = 410  # status of a token that resumes nothing


class Again:
    """In place of a message: the connection was lost for so long, and is there again."""

    def __init__(self, lost_s: float) -> None:
        self.lost_s = lost_s


class Link(Protocol):
    """A way to a server."""

    async def send(self, message: Message) -> None:
        """Hand a message over; raises `Refusal`."""
        ...

    async def receive(self) -> Message | Again | None:
        """The next message; None when the server ended the session in good order; raises `Refusal`."""
        ...

    async def close(self) -> None:
        """Leave for good."""
        ...


def address(url: str, wire: Wire, model: str | None = None) -> str:
    """The websocket of a server: `http://host:8000`, `host:8000`, an OpenAI base, or the whole address as it is.

    >>> from omni_server.client.wire_omni import OmniV1
    >>> address("http://127.0.0.1:8000", OmniV1(), "nano")
    'ws://127.0.0.1:8000/v1/omni?model=nano'
    >>> address("wss://host/v1/realtime?model=a", OmniV1())
    'wss://host/v1/realtime?model=a'
    """
    try:
        parts = urlsplit(url if "://" in url else f"ws://{url}")
        named = bool(parts.hostname and parts.hostname.encode("idna")) and parts.port != 0
    except ValueError:  # a bracket without its other one, a port that is no number, a name that no network has
        named = False
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme) if named else ""
    if scheme not in ("ws", "wss"):
        raise NoServer(f"{url} is no address of a server: write http://HOST:PORT or wss://HOST/PATH")
    path = parts.path.rstrip("/")
    if path in ("", "/v1"):
        path = wire.path
    query = dict(parse_qsl(parts.query))
    if model is not None:
        query["model"] = model
    return urlunsplit((scheme, parts.netloc, path, urlencode(query), ""))


class Socket:
    """A websocket; `resumable`: ask for a session that survives the connection."""

    def __init__(self, url: str, wire: Wire, *, key: str | None = None, resumable: bool, patience: float) -> None:
        self.url = url
        self._wire = wire
        self._key = key
        self._resumable = resumable
        self._patience = patience  # s for a handshake
        self._socket: sockets.ClientConnection | None = None
        self._order = asyncio.Lock()
        self._linked = asyncio.Event()
        self._over = False
        self._token: str | None = None
        self._grace = 0.0  # s
        self._received = 0
        self._sent = 0
        self._kept: deque[Message] = deque()
        self._kept_bytes = 0

    async def open(self) -> None:
        """Connect; raises `Refusal`."""
        try:
            self._socket = await self._connect("new" if self._resumable else None)
        except (OSError, WebSocketException, EOFError, TimeoutError) as error:
            raise refusal(error, self.url) from None
        self._linked.set()

    async def send(self, message: Message) -> None:
        """Hand a message over. Without a connection it waits to be sent again, unless too much waits already."""
        async with self._order:
            while not self._linked.is_set() and not self._over and self._kept_bytes > KEPT // 2:
                await self._linked.wait()
            if self._over:
                raise Lost("the conversation is over: connect again")
            self._keep(message)
            if self._socket is None or not self._linked.is_set():
                return
            try:
                await self._socket.send(message)
            except ConnectionClosed as error:
                if self._token is None:
                    raise closed(error) from None
            except AttributeError:
                pass  # asyncio, asked to abort a transport that is gone already: whoever receives is told why

    async def receive(self) -> Message | Again | None:
        """The next message of the session."""
        while True:
            assert self._socket is not None
            try:
                message = await self._socket.recv()
            except ConnectionClosed as error:
                if self._over or (error.rcvd is not None and error.rcvd.code == NORMAL):
                    return None
                if self._token is None or error.rcvd is not None:
                    raise closed(error) from None
                return await self._come_back()
            if self._resumable and isinstance(message, str) and self._transport(message):
                continue
            self._received += 1
            return message

    async def close(self) -> None:
        """Leave for good."""
        self._over = True
        self._linked.set()
        if self._socket is not None:
            await self._socket.close()

    async def break_off(self) -> None:
        """Lose the connection as a bad network would, without a goodbye."""
        if self._socket is not None:
            self._socket.transport.abort()

    # Inside

    async def _connect(self, resume: str | None) -> sockets.ClientConnection:
        parts = urlsplit(self.url)
        query = dict(parse_qsl(parts.query))
        if resume is not None:
            query["resume"] = resume
            if resume != "new":
                query["received"] = str(self._received)
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else None
        return await sockets.connect(
            urlunsplit(parts._replace(query=urlencode(query))),
            subprotocols=[Subprotocol(name) for name in self._wire.subprotocols],
            additional_headers=headers,
            compression=None,
            max_size=LARGEST,
            open_timeout=self._patience,
            close_timeout=1.0,
        )

    def _keep(self, message: Message) -> None:
        self._sent += 1
        if not self._resumable:
            return
        self._kept.append(message)
        self._kept_bytes += len(message)
        while self._kept_bytes > KEPT and len(self._kept) > 1:
            self._kept_bytes -= len(self._kept.popleft())

    def _transport(self, message: str) -> bool:
        """Take note of a message of the transport itself; False for one of the session."""
        if '"transport.' not in message[:64]:
            return False
        try:
            said = json.loads(message)
            if said.get("type") not in ("transport.resumable", "transport.resumed"):
                return False
            self._token, self._grace = str(said["token"]), float(said.get("grace_s", self._grace))
        except (ValueError, KeyError, TypeError, AttributeError, OverflowError):
            return False  # the wire says what is wrong with it
        return True

    async def _come_back(self) -> Again:
        loop = asyncio.get_running_loop()
        lost_at, pause = loop.time(), FIRST_PAUSE
        self._linked.clear()
        while True:
            try:
                socket = await self._connect(self._token)
                try:
                    await self._catch_up(socket, await self._welcome(socket))
                except BaseException:
                    socket.transport.abort()
                    raise
                break
            except (OSError, WebSocketException, EOFError, TimeoutError) as error:
                gone = isinstance(error, InvalidStatus) and error.response.status_code == GONE
                if self._over or gone or loop.time() - lost_at + pause > self._grace:
                    self._over = True
                    self._linked.set()
                    if isinstance(error, Refusal):
                        raise
                    why = str(refusal(error, self.url))
                    raise Lost(f"the connection broke and the session is gone ({why}): connect again") from None
                await asyncio.sleep(pause)
                pause = min(2 * pause, LONGEST_PAUSE)
        if self._over:
            socket.transport.abort()
            raise Lost("the conversation is over: connect again")
        self._socket = socket  # what is said from here on goes there: nothing was awaited since all was sent
        self._linked.set()
        return Again(loop.time() - lost_at)

    async def _catch_up(self, socket: sockets.ClientConnection, received: int) -> None:
        """Send what the server lacks, and with it what is said meanwhile."""
        while (lacking := self._sent - received) != 0:
            if not 0 < lacking <= len(self._kept):
                self._over = True
                raise Lost(f"the connection broke, and {lacking} messages to the server were lost: connect again")
            await socket.send(self._kept[-lacking])
            received += 1

    async def _welcome(self, socket: sockets.ClientConnection) -> int:
        async with asyncio.timeout(self._patience):
            message = await socket.recv()
        try:
            said = json.loads(message)
            if said["type"] != "transport.resumed":
                raise ValueError(said["type"])
            token, received = str(said["token"]), int(said["received"])
        except (ValueError, KeyError, TypeError):
            raise Lost("the server took the connection, but not the session: connect again") from None
        self._token = token
        return received
