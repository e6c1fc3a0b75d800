"""What no server of websockets on this loop can be below: bytes are read and written back, and nobody looks at them.

It shakes hands, says that an answer has begun, and from then on copies what comes behind the head of its own frame.
"""

import asyncio
import base64
import hashlib
import re
import sys
from typing import Any

import uvloop

WEBSOCKET = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
STARTED = b'{"type": "answer_started"}'
MASKED_HEAD = 8  # bytes before the payload of a client's frame of up to 64 kB
SETTING_UP = 1000  # bytes: messages of JSON are shorter, frames of sound longer


class Copier(asyncio.Protocol):
    """One connection."""

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.asked = b""

    def data_received(self, data: bytes) -> None:
        if len(data) > SETTING_UP:
            size = len(data) - MASKED_HEAD
            self.transport.write(bytes((0x82, 126, size >> 8, size & 0xFF)) + data[MASKED_HEAD:])
        elif not self.asked.endswith(b"\r\n\r\n"):
            self.asked += data
            key = re.search(rb"Sec-WebSocket-Key: (\S+)", self.asked)
            if key is not None and self.asked.endswith(b"\r\n\r\n"):
                accept = base64.b64encode(hashlib.sha1(key[1] + WEBSOCKET, usedforsecurity=False).digest())
                head = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                protocol = b"\r\nSec-WebSocket-Protocol: omni.v1\r\n\r\n"
                started = bytes((0x81, len(STARTED))) + STARTED
                self.transport.write(head + b"Sec-WebSocket-Accept: " + accept + protocol + started)


async def serve(port: int) -> None:
    """Until it is killed."""
    server = await asyncio.get_running_loop().create_server(Copier, "127.0.0.1", port)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
