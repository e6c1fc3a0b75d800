"""Connections without a network: bytes in, bytes out, and the same bytes through `websockets` alone as the oracle."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

from websockets.datastructures import Headers
from websockets.frames import DATA_OPCODES, CloseCode, Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Protocol, Side, State

from omni_server.transport.connection import Connection


class Pipe(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.reading = True
        self.closed = False

    def write(self, data: Any) -> None:
        self.written += bytes(data)

    def write_eof(self) -> None:
        self.closed = True

    def can_write_eof(self) -> bool:
        return True

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        pass

    def get_write_buffer_size(self) -> int:
        return 0


class Small(Connection):
    """With limits that a test reaches."""

    largest = 70_000
    inbox_bytes = 10_000


def opened(kind: type[Connection] = Small) -> tuple[Connection, Pipe]:
    """A connection after its handshake."""
    protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=kind.largest)
    connection = kind(protocol, None, ping_interval=None)
    pipe = Pipe()
    connection.transport = pipe
    connection.request = Request("/", Headers())
    return connection, pipe


@dataclass
class Seen:
    """What came of the same bytes."""

    messages: list[str | bytes] = field(default_factory=list)
    written: bytes = b""
    state: State = State.OPEN
    close_code: int | None = None


def through_ours(chunks: list[bytes]) -> Seen:
    """Through our connection."""
    connection, pipe = opened()
    for chunk in chunks:
        if not pipe.closed:
            connection.data_received(chunk)
    code = connection.protocol.close_sent
    return Seen(
        [cast(str | bytes, message) for message, _ in connection._inbox],
        pipe.written,
        connection.protocol.state,
        None if code is None else code.code,
    )


def through_websockets(data: bytes) -> Seen:
    """Through the library's protocol alone, byte by byte; messages are put together as its own connection does."""
    protocol = Protocol(Side.SERVER, state=State.OPEN, max_size=Small.largest)
    seen = Seen()
    pieces, is_text = bytearray(), False
    for at in range(len(data)):
        protocol.receive_data(data[at : at + 1])
        for event in protocol.events_received():
            frame = cast(Frame, event)
            if frame.opcode not in DATA_OPCODES:
                continue
            if frame.opcode is not Opcode.CONT:
                pieces, is_text = bytearray(), frame.opcode is Opcode.TEXT
            pieces += frame.data
            if not frame.fin:
                continue
            try:
                seen.messages.append(pieces.decode() if is_text else bytes(pieces))
            except UnicodeDecodeError as wrong:
                protocol.fail(CloseCode.INVALID_DATA, f"{wrong.reason} at position {wrong.start}")
        sent = protocol.data_to_send()
        seen.written += b"".join(sent)
        if b"" in sent:  # the end of the stream
            break
    code = protocol.close_sent
    seen.state, seen.close_code = protocol.state, None if code is None else code.code
    return seen


def masked(
    opcode: int, payload: bytes = b"", *, fin: bool = True, mask: bytes = b"\x11\x22\x33\x44", rsv: int = 0
) -> bytes:
    """A client's frame."""
    size = len(payload)
    head = bytes(((0x80 if fin else 0) | rsv | opcode,))
    if size < 126:
        head += bytes((0x80 | size,))
    elif size < 1 << 16:
        head += bytes((0x80 | 126,)) + size.to_bytes(2, "big")
    else:
        head += bytes((0x80 | 127,)) + size.to_bytes(8, "big")
    return head + mask + bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
