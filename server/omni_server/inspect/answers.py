"""One question to the library, one answer."""

from pathlib import Path
from typing import Any

from omni import nano
from omni_server.dialects.omni_v1.fields import Fields
from omni_server.inspect.asks import AttentionAsk, MaskedAsk, TokensAsk, ask
from omni_server.inspect.masks import masked, spans
from omni_server.inspect.minds import Look, attention
from omni_server.inspect.tokens import tokens


def answered(said: Fields, seen: dict[str, Any], model: Path = nano.WEIGHTS) -> dict[str, Any]:
    """The answer; `seen` is what the connection keeps between its questions, `model` the folder of an omni model.

    Raises `BadField`.
    """
    asked = ask(said)
    if isinstance(asked, TokensAsk):
        return tokens(asked, model)
    if isinstance(asked, AttentionAsk):
        look: Look = seen.setdefault("look", Look())
        return attention(asked, look, model)
    if isinstance(asked, MaskedAsk):
        return masked(asked)
    return spans(asked)
