"""The sound of a recorded session, in whatever format its messages carry it."""

import json
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from omni_server.client.wire import Message
from omni_server.dialects.dialect import Dialect, WireLimits
from omni_server.dialects.omni_v1.frame import unpack
from omni_server.dialects.omni_v1.sound import Decoder, decoder
from omni_server.dialects.omni_v1.wire import OmniV1Wire
from omni_server.dialects.realtime.sound import Format
from omni_server.dialects.realtime.wire import RealtimeWire
from omni_server.session.commands import AppendAudio

Piece = tuple[NDArray[np.float32], int]  # samples, and their rate in Hz
NOTHING: Piece = np.empty(0, np.float32), 0


class Heard:
    """What the user said, as the server's own dialect heard it."""

    def __init__(self, dialect: str) -> None:
        wire = OmniV1Wire() if dialect == "omni.v1" else RealtimeWire()
        self._dialect: Dialect = wire.open({}, WireLimits())

    def pieces(self, message: Message) -> list[Piece]:
        """The sound of a message of the client."""
        commands = self._dialect.read(message)
        return [(one.samples, one.rate) for one in commands if isinstance(one, AppendAudio)]


@dataclass
class Spoken:
    """What the assistant said."""

    _streams: dict[int, Decoder] = field(default_factory=dict)  # of omni.v1
    _formats: dict[str, Format] = field(default_factory=dict)  # of Realtime, by response

    def piece(self, message: Message) -> Piece:
        """The sound of a message of the server, nothing where there is none that can be read."""
        try:
            return self._frame(message) if isinstance(message, bytes) else self._event(message)
        except (ValueError, KeyError, TypeError, ImportError):  # a package for a format may be missing here
            return NOTHING

    def _frame(self, message: bytes) -> Piece:
        frame = unpack(message)
        stream = self._streams[frame.stream]
        if frame.type != stream.type or not frame.payload:
            return NOTHING
        return stream.decode(frame.payload), stream.rate

    def _event(self, message: str) -> Piece:
        said = json.loads(message)
        match said["type"]:
            case "output_started" if "stream" in said:
                self._streams[said["stream"]] = decoder(said["audio"]["type"], said["audio"]["rate"])
            case "response.created":
                response = said["response"]
                self._formats[response["id"]] = Format(response["audio"]["output"]["format"]["type"])
            case "response.output_audio.delta":
                sound = self._formats.get(said["response_id"], Format())
                return sound.decode(said["delta"], "delta"), sound.rate
            case _:
                pass
        return NOTHING
