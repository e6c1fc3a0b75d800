"""The strategy that a client asked for."""

from omni_server.session.setup import SemanticVad, ServerVad, TurnTaking
from omni_server.turns.push_to_talk import ByClient
from omni_server.turns.semantic import BySemantics
from omni_server.turns.server_vad import ByServerVad
from omni_server.turns.strategy import Strategy


def strategy(wanted: TurnTaking, speculate_ms: int) -> Strategy:
    """A new one, in silence."""
    match wanted:
        case ServerVad():
            return ByServerVad(wanted, speculate_ms)
        case SemanticVad():
            return BySemantics(wanted)
        case _:
            return ByClient()
