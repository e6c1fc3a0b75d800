"""The strategy that a client asked for, and what becomes of it when the client asks for another."""

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


def changed(current: Strategy, wanted: TurnTaking) -> bool:
    """Let a strategy go on as a client now wants it; False if that is another kind of strategy."""
    match current, wanted:
        case ByServerVad(), ServerVad():
            current.change(wanted)
        case BySemantics(), SemanticVad():
            current.change(wanted)
        case _:
            return False
    return True
