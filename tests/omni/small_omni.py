"""A small omni model and sequences for it, without any tokenizer: spans and payloads drawn at random."""

import numpy as np
import torch

from omni.model.bridge import Bridge
from omni.model.embed import Books, Features, Mel, Values
from omni.model.heads import CodeHead
from omni.model.omni import Omni, OmniSpec
from omni.model.stem import Stem
from omni_tokenizers.sequence import Sequence, Span

TEXT = 50  # ids; the placeholders of pad, image, audio, speech and codec follow
PLACEHOLDER = {"pad": 50, "image": 51, "audio": 52, "speech": 53, "codec": 54}
BOOKS = (7, 5)

SPEC = OmniSpec(
    ids=55,
    text=TEXT,
    width=32,
    depth=2,
    heads=4,
    kv_heads=2,
    hidden=48,
    longest=256,
    inputs={
        "image": Values(12),
        "audio": Mel(Stem(bins=6, strides=(1, 2, 2), hidden=16, blocks=2, kernel=3, spread=24, words=TEXT)),
        "speech": Features(Bridge(source=10, how="mlp", group=2)),
        "codec": Books(BOOKS),
    },
    codes=CodeHead(BOOKS),
    extra={"turn": 1},
)


def model(seed: int = 0, **changes: object) -> Omni:
    """The small model in evaluation mode."""
    torch.manual_seed(seed)
    return Omni(OmniSpec(**{**vars(SPEC), **changes})).eval()


def span_of(kind: str, size: int, seed: int) -> tuple[np.ndarray, Span, dict[str, np.ndarray]]:
    """Ids, span and payload of one modality; `size` grows its tokens."""
    draw = np.random.default_rng(seed)
    if kind == "text":
        return draw.integers(0, TEXT, size), Span("text", 0, size), {}
    if kind == "image":
        rows, columns = 2, 1 + size % 3
        n = rows * columns
        span = Span("image", 0, n, attention="bidirectional", whole=True, grids=((1, rows, columns),))
        payload = {"values": draw.standard_normal((n, 12)).astype(np.float32)}
    elif kind == "audio":
        n = size
        span = Span("audio", 0, n, group=4, units=4 * n - 1, step=0.04)
        payload = {"values": draw.standard_normal((n, 4, 6)).astype(np.float32)}
    elif kind == "speech":
        n = size
        span = Span("speech", 0, n, group=2, units=2 * n - 1, step=0.04)
        payload = {"values": draw.standard_normal((n, 2, 10)).astype(np.float32)}
    else:
        n = size
        span = Span("codec", 0, n, step=0.08)
        payload = {"codes": np.stack([draw.integers(0, book, n) for book in BOOKS], axis=1)}
    return np.full(n, PLACEHOLDER[kind]), span, payload


def sequence(*parts: tuple[str, int], seed: int = 0, scheme: str = "linear") -> Sequence:
    """A sequence of (modality, size) parts."""
    from dataclasses import replace

    ids, spans, payloads, at = [np.zeros(0, np.int64)], [], [], 0
    for number, (kind, size) in enumerate(parts):
        i, span, payload = span_of(kind, size, seed * 1000 + number)
        ids.append(i)
        spans.append(replace(span, start=at, part=number))
        payloads.append(payload)
        at += len(i)
    return Sequence(
        np.concatenate(ids), tuple(spans), tuple(payloads), pad_id=PLACEHOLDER["pad"], scheme=scheme,
    )  # type: ignore[arg-type]  # fmt: skip
