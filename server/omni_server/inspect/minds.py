"""Where the tokens of a text and a picture look, in the model that is here: nano, or its shape with random weights."""

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from omni import nano
from omni.bundle import Bundle
from omni.model.attention_map import record
from omni.model.embed import Picture
from omni.model.omni import Omni, OmniSpec
from omni_server.dialects.omni_v1.fields import BadField
from omni_server.inspect.asks import AttentionAsk, Pixels, base64_of
from omni_tokenizers import Image, Patches, Text
from omni_tokenizers import Omni as Tokens
from omni_tokenizers.image import Square
from omni_tokenizers.sequence.raster import data_uri

PATCH, SIDE = 16, 128  # pixels, as nano sees
MOST_TOKENS = 400  # of which every pair is sent
FULL = 65_535  # an attention of 1


@dataclass(frozen=True)
class Mind:
    """A model and its tokenizer."""

    model: Omni
    tokens: Tokens
    name: str
    trained: bool


@dataclass
class Look:
    """What one connection looked at last: another head of the same costs nothing."""

    text: str | None = None
    image: Pixels | None = None
    about: dict[str, Any] = field(default_factory=dict)
    layers: list[Tensor] = field(default_factory=list)  # each [heads, tokens, tokens]


@cache
def mind(folder: Path = nano.WEIGHTS) -> Mind:
    """The omni model in a folder; where there is none, a small one with random weights."""
    if (folder / "model.safetensors").is_file():
        bundle = Bundle.load(folder)
        name = "nano" if folder == nano.WEIGHTS else folder.name
        return Mind(bundle.model.eval(), bundle.tokens, str(bundle.about.get("name", name)), trained=True)
    tokens = Tokens(text=Text.of_bytes(), image=Patches(PATCH, resize=Square(SIDE)))
    inputs = {"image": Picture(PATCH, side=SIDE // PATCH)}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Omni(OmniSpec(tokens.size, tokens.text_size, 128, 4, 4, hidden=352, inputs=inputs))
    return Mind(model.eval(), tokens, "random weights", trained=False)


def attention(ask: AttentionAsk, look: Look, folder: Path = nano.WEIGHTS) -> dict[str, Any]:
    """The tokens, and of one layer and head who looks how much at whom."""
    if look.text != ask.text or not _same(look.image, ask.image):
        _look(ask, look, mind(folder))
    layers, heads = len(look.layers), look.layers[0].shape[0]
    if ask.layer >= layers:
        raise BadField("layer", f"is {ask.layer}: this model has the layers 0 to {layers - 1}")
    if ask.head >= heads:
        raise BadField("head", f"is {ask.head}: this model has the heads 0 to {heads - 1}, and -1 for their mean")
    weights = look.layers[ask.layer]
    chosen = weights.mean(0) if ask.head < 0 else weights[ask.head]  # [tokens, tokens]
    scaled = (chosen.clamp(0, 1) * FULL).round().to(torch.int32).numpy().astype("<u2")
    return look.about | {"layer": ask.layer, "head": ask.head, "weights": base64_of(scaled), "full": FULL}


def _look(ask: AttentionAsk, look: Look, here: Mind) -> None:
    parts: list[Any] = [Image(ask.image)] if ask.image is not None else []
    parts += [ask.text] if ask.text else []
    sequence = here.tokens.encode(parts)
    if not 0 < len(sequence) <= MOST_TOKENS:
        raise BadField("text", f"makes {len(sequence)} tokens with the picture: write 1 to {MOST_TOKENS}")
    found = record(here.model, sequence)
    look.layers = [weights[0].float() for weights in found.values()]
    look.text, look.image = ask.text, ask.image
    spans = []
    for span, arrays in zip(sequence.spans, sequence.payloads, strict=True):
        about: dict[str, Any] = {"modality": span.modality, "start": span.start, "tokens": span.length}
        if span.modality == "text":
            about["pieces"] = here.tokens.pieces(sequence.ids[span.start : span.stop].tolist())
        else:
            _, rows, columns = span.grids[0]
            seen = np.asarray(here.tokens.picture(span, arrays))
            about |= {"rows": rows, "columns": columns, "picture": data_uri(seen)}
        spans.append(about)
    look.about = {
        "model": here.name,
        "trained": here.trained,
        "layers": len(look.layers),
        "heads": look.layers[0].shape[0],
        "tokens": len(sequence),
        "spans": spans,
    }


def _same(a: Pixels | None, b: Pixels | None) -> bool:
    return a is b or (a is not None and b is not None and np.array_equal(a, b))
