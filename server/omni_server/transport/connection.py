"""One websocket. `websockets` speaks the protocol; whole, unfragmented messages, nearly all of them, go past it.

A frame of audio in and one out cost 76 µs through the library's parser and serialiser and 44 µs past them, 30 µs of
which are the kernel's. Whatever is not a whole masked text or binary frame of an allowed size goes to the library frame
by frame, and from the first frame that looks wrong on everything does, so that the library judges it.
"""

import asyncio
import re
import socket
from collections import deque
from collections.abc import Callable
from typing import Any, cast

from websockets.asyncio.server import ServerConnection
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import Event, State

try:
    from websockets.speedups import apply_mask
except ImportError:
    from websockets.utils import apply_mask

Message = str | bytes
Rest = list[Any]  # of a message that was read already
FINAL_TEXT, FINAL_BINARY = 0x81, 0x82
RSV, MASKED, LENGTH = 0x70, 0x80, 0x7F
CONTROL = 0x08  # set in the opcodes of control frames
KIND = 0x07  # of an opcode; above 2 there is none
LONGEST_CONTROL = 125  # bytes
SMALL = 64  # bytes that a message counts besides its own: empty ones would never fill an inbox
GET, POST = b"GET ", b"POST "
BODY_BYTES = re.compile(rb"\r\nContent-Length:[ \t]*(\d{1,9})[ \t]*(?=\r\n|$)", re.IGNORECASE)
LONGEST_HEAD, LONGEST_BODY = 16 << 10, 256 << 10  # bytes of a POST


class SlowReader(ConnectionError):
    """The client takes nothing of what is sent to it."""


class Connection(ServerConnection):
    """A websocket whose messages wait in a queue that is bounded in bytes; when it is full, the network waits.

    Nobody sees then that the other side has hung up, since that comes behind what is not read, and so do pongs: the
    library's pings end such a connection, a dead one and one that nothing was taken from for so long alike.
    """

    largest = 1 << 20  # bytes of a message
    inbox_bytes = 1 << 20
    send_bytes = 256 << 10  # that may wait in the socket
    slow_reader_s = 20.0

    def __init__(self, *about: Any, **options: Any) -> None:
        super().__init__(*about, **options)
        self.came = self.went = 0  # messages
        self.came_bytes = self.went_bytes = 0
        self.cut = False  # by us, without a closing handshake
        self.posts = False  # this is a POST
        self.posted: bytes | None = b""  # its body; None: it is too long
        self._begins = True  # the library has seen nothing of the request
        # Who takes a message at once, while nothing waits before it; what it leaves for later goes into the inbox.
        self.prompt: Callable[[Message], Message | Rest | None] | None = None
        self._inbox: deque[tuple[Message | Rest, int]] = deque()  # with their bytes
        self._waiting = 0  # bytes in it
        self._held = False  # reading is paused
        self._reader: asyncio.Future[None] | None = None
        self._over = False
        self._past = True  # whole messages go past the library
        self._parts: list[bytes] = []  # of a frame that has not come whole
        self._lacking = 0  # bytes without which it need not be looked at again
        self._pieces: bytearray | None = None  # of a fragmented message
        self._is_text = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A socket is there. Its own buffer is kept small: what waits there stays when the user interrupts."""
        super().connection_made(transport)
        bare = transport.get_extra_info("socket")
        if bare is not None:
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, self.send_bytes)

    @property
    def path(self) -> str:
        """What was asked for, without its query."""
        return "" if self.request is None else self.request.path.partition("?")[0]

    # What comes in

    def data_received(self, data: bytes) -> None:
        """Bytes from the network."""
        if self.protocol.state is not State.OPEN:
            if self.request is not None:
                self._past = False  # outside of the open state the library must see everything
                data = self._with_rest(data)
            elif self._begins:
                data = self._head_of(data)
                self._begins = not data
            if data:
                super().data_received(data)
        elif not self._past:
            super().data_received(data)
        else:
            if self._lacking > 0:
                self._lacking -= len(data)
                if self._lacking > 0:
                    self._parts.append(data)
                    return
                data = self._with_rest(data)
            self._split(data)

    def _head_of(self, data: bytes) -> bytes:
        """What the library is to see of a request: of a POST the head alone, when all has come, and as that of a GET.

        It wants no body, and versions before 17 know nothing but GET. Empty while something is lacking. What is no POST
        goes to the library as it is.
        """
        if self._lacking > 0:
            self._lacking -= len(data)
            if self._lacking > 0:
                self._parts.append(data)
                return b""
        data = self._with_rest(data)
        if not data.startswith(POST[: len(data)]):
            return data
        head, whole, body = data.partition(b"\r\n\r\n")
        if not whole:
            if len(head) <= LONGEST_HEAD:
                self._parts.append(data)
                return b""
            return data
        self.posts = True
        said = BODY_BYTES.search(head)
        size = int(said[1]) if said else 0
        if size > LONGEST_BODY:
            self.posted = None
        elif len(body) < size:
            self._parts.append(data)
            self._lacking = size - len(body)
            return b""
        else:
            self.posted = body[:size]
        return GET + BODY_BYTES.sub(b"", head, count=1).removeprefix(POST) + whole

    def _with_rest(self, data: bytes) -> bytes:
        if not self._parts:
            return data
        whole = b"".join((*self._parts, data))
        self._parts.clear()
        self._lacking = 0
        return whole

    def _split(self, data: bytes) -> None:
        at, size = 0, len(data)
        while size - at >= 2:
            head, second = data[at], data[at + 1]
            if not second & MASKED or (head & KIND) > 2:  # the library does not wait for more of such a frame either
                self._judged(data[at:])
                return
            length, body = second & LENGTH, at + 6
            if length > LONGEST_CONTROL:
                body = at + (8 if length == 126 else 14)
                end = body - 4
                if end > size:
                    break
                length = int.from_bytes(data[at + 2 : end], "big")
            if self._wrong(head, length):
                self._judged(data[at:])
                return
            end = body + length
            if end > size:
                break
            if head in (FINAL_BINARY, FINAL_TEXT) and self._pieces is None:
                payload = apply_mask(data[body:end], data[body - 4 : body])
                self._message(payload, head == FINAL_TEXT)
            else:
                super().data_received(data[at:end])
                self._past = self._past and self.protocol.state is State.OPEN
            at = end
            if not self._past:
                if at < size:
                    super().data_received(data[at:])
                return
        else:
            if at == size:
                return
            end = at + 2
        self._parts.append(data[at:])
        self._lacking = end - size

    def _judged(self, data: bytes) -> None:
        """The library must judge this frame, and all that follows."""
        self._past = False
        super().data_received(data)

    def _wrong(self, head: int, length: int) -> bool:
        """Whether the library refuses this frame, or has a way of its own with it."""
        return bool(head & RSV) or length > (LONGEST_CONTROL if head & CONTROL else self.largest)

    def process_event(self, event: Event) -> None:
        """What the library made of bytes that went through it."""
        if self.request is None:
            super().process_event(event)
            if self.protocol.reader.buffer:
                self._past = False
            return
        frame = cast(Frame, event)
        if frame.opcode in (Opcode.TEXT, Opcode.BINARY):
            if frame.fin:
                self._message(bytes(frame.data), frame.opcode is Opcode.TEXT)
            else:
                self._pieces, self._is_text = bytearray(frame.data), frame.opcode is Opcode.TEXT
        elif frame.opcode is Opcode.CONT and self._pieces is not None:
            self._pieces += frame.data
            if frame.fin:
                whole, self._pieces = bytes(self._pieces), None
                self._message(whole, self._is_text)
        else:
            super().process_event(event)

    def _message(self, payload: bytes, is_text: bool) -> None:
        self.came += 1
        self.came_bytes += len(payload)
        message: Message = payload
        if is_text:
            try:
                message = payload.decode()
            except UnicodeDecodeError as wrong:
                self.protocol.fail(CloseCode.INVALID_DATA, f"{wrong.reason} at position {wrong.start}")
                self.send_data()
                self._past = False
                return
        rest: Message | Rest = message
        if self.prompt is not None and self._reader is not None and not self._inbox:
            left = self.prompt(message)
            if left is None:
                return
            rest = left
        size = len(payload) + SMALL
        self._inbox.append((rest, size))
        self._waiting += size
        if self._waiting > self.inbox_bytes and not self._held:
            self._held = True
            self.transport.pause_reading()
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    async def next(self) -> Message | None:
        """The next message; None when no more come."""
        return cast(Message | None, await self.next_or_rest())

    async def next_or_rest(self) -> Message | Rest | None:
        """The next message, or what `prompt` left of it; None when no more come."""
        while not self._inbox:
            if self._over:
                return None
            self._reader = self.loop.create_future()
            try:
                await self._reader
            finally:
                self._reader = None
        message, size = self._inbox.popleft()
        self._waiting -= size
        if self._held and self._waiting <= self.inbox_bytes // 2:
            self._held = False
            if not self.transport.is_closing():
                self.transport.resume_reading()
        return message

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        super().connection_lost(exc)
        self._over = True
        if self._reader is not None and not self._reader.done():
            self._reader.set_result(None)

    # What goes out

    def put(self, message: Message) -> bool:
        """Send now, or queue in the socket; False when the connection is not open any more."""
        if self.protocol.state is not State.OPEN or self.transport.is_closing():
            return False
        if isinstance(message, str):
            # An engine may say half a surrogate pair: that costs a question mark, not the connection.
            payload, head = message.encode(errors="replace"), FINAL_TEXT
        else:
            payload, head = message, FINAL_BINARY
        size = len(payload)
        if size < 126:
            start = bytes((head, size))
        elif size < 1 << 16:
            start = bytes((head, 126, size >> 8, size & 0xFF))
        else:
            start = bytes((head, 127)) + size.to_bytes(8, "big")
        self.transport.write(start + payload)
        self.went += 1
        self.went_bytes += size
        return True

    @property
    def clogged(self) -> bool:
        """Whether so much waits in the socket that nothing more should be put."""
        return self.paused

    @property
    def overfull(self) -> bool:
        """Whether as much again waits as what makes it clogged."""
        return self.transport.get_write_buffer_size() > 2 * self.send_bytes

    async def unclog(self) -> None:
        """Wait until the client has taken enough of what it was sent; raises `SlowReader` when it takes nothing."""
        waiting = self.transport.get_write_buffer_size()
        while self.paused and not self.transport.is_closing():
            try:
                async with asyncio.timeout(self.slow_reader_s):
                    await self.drain()
            except TimeoutError:
                left = self.transport.get_write_buffer_size()
                if left >= waiting:
                    raise SlowReader(
                        f"{left:,} bytes wait and the client took none for {self.slow_reader_s:g} s"
                    ) from None
                waiting = left

    def cut_off(self) -> None:
        """End it without a closing handshake."""
        self.cut = True
        self.transport.abort()
