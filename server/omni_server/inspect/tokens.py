"""Parts as one sequence, with its content for the eye and its cost at every patch size."""

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from omni import nano
from omni_server.inspect.asks import PATCHES, TokensAsk
from omni_tokenizers import LogMel, Omni, Patches, Sequence, Text
from omni_tokenizers.image import Pad
from omni_tokenizers.sequence import AudioTokens
from omni_tokenizers.sequence.describe import facts
from omni_tokenizers.sequence.masks import NO_BLOCK, mask_arrays
from omni_tokenizers.sequence.raster import data_uri, heat

MEL_PER_TOKEN = 4  # frames, 40 ms
MOST_PIECES = 2_000  # text tokens that are written out


@cache
def vocabulary(model: Path = nano.WEIGHTS) -> tuple[Text, str]:
    """The text tokenizer of a model in a folder, or bytes where there is none; and what it is called."""
    file = model / "tokenizer.json"
    if file.is_file():
        return Text.load(file), "nano" if model == nano.WEIGHTS else model.name
    return Text.of_bytes(), "bytes: every byte is a token"


@cache
def omni(patch: int, model: Path = nano.WEIGHTS) -> Omni:
    """The tokenizer of the view, with pictures in their own size."""
    return Omni(
        text=vocabulary(model)[0],
        image=Patches(patch, resize=Pad()),
        audio=AudioTokens(LogMel(bins=80), frames_per_token=MEL_PER_TOKEN),
    )


def pairs(sequence: Sequence) -> int:
    """How many (token, token) pairs attention computes: the past, and inside of a two-way span the future too.

    >>> from omni_tokenizers import Text
    >>> pairs(Omni(text=Text.of_bytes()).encode(["abc"]))
    6
    """
    tokens = len(sequence)
    _, block = mask_arrays(sequence.spans)
    _, lengths = np.unique(block[block != NO_BLOCK], return_counts=True)
    return tokens * (tokens + 1) // 2 + int((lengths * (lengths - 1) // 2).sum())


def tokens(ask: TokensAsk, model: Path = nano.WEIGHTS) -> dict[str, Any]:
    """What the view shows."""
    costs = []
    shown = None
    for patch in PATCHES:
        sequence = omni(patch, model).encode(ask.parts)
        costs.append({"patch": patch, "tokens": len(sequence), "pairs": pairs(sequence)})
        if patch == ask.patch:
            shown = sequence
    assert shown is not None
    return {
        "tokens": len(shown),
        "counts": shown.counts(),
        "pairs": pairs(shown),
        "vocabulary": vocabulary(model)[1],
        "patch": ask.patch,
        "costs": costs,
        "spans": [_span(shown, index) for index in range(len(shown.spans))],
    }


def _span(sequence: Sequence, index: int) -> dict[str, Any]:
    span, arrays = sequence.spans[index], sequence.payloads[index]
    about = facts(sequence, index)
    found = {name: about[name] for name in ("modality", "start", "tokens", "attention", "seconds", "about")}
    reader = sequence.reader
    assert reader is not None
    if span.modality == "text":
        found["pieces"] = reader.pieces(sequence.ids[span.start : min(span.stop, span.start + MOST_PIECES)].tolist())
    elif span.modality == "image" and span.length:
        shown = reader.picture(span, arrays)
        _, rows, columns = span.grids[0]
        found |= {"picture": data_uri(np.asarray(shown)), "rows": rows, "columns": columns}
    elif span.modality == "audio" and span.length:
        values = arrays["values"].reshape(-1, 80)[: span.units]  # [Mel frames, 80]
        found |= {"picture": data_uri(heat(values.T[::-1])), "frames": len(values), "group": span.group}
    return found
