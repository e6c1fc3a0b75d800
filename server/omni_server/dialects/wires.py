"""The wires that the server offers."""

from collections.abc import Sequence

from omni_server.dialects.dialect import Wire
from omni_server.dialects.omni_v1.wire import OmniV1Wire
from omni_server.dialects.realtime.wire import RealtimeWire


def wires(longest_session_s: float) -> Sequence[Wire]:
    """Each of them once; a client may be told when its session has to end."""
    return (RealtimeWire(longest_session_s), OmniV1Wire())
