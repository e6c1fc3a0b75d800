"""Who may look at whom, from the spans alone.

Two small arrays say all of it: `document` [tokens], and `block` [tokens], the run of tokens that see each
other in both directions (an image, or a document's prefix; −1 where there is none). Then

    allowed(q, k) = document[q] == document[k]  and  (k ≤ q  or  block[q] == block[k] ≥ 0)

Kernels that take a rule (flex attention, paged attention) read the arrays; the others take the boolean matrix.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from omni_tokenizers.sequence.span import NO_DOCUMENT, PAD, Span

NO_BLOCK = -1


def mask_arrays(spans: Sequence[Span]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The document and the two-way block of every token: two arrays [tokens]."""
    lengths = [span.length for span in spans]
    documents = [NO_DOCUMENT if span.modality == PAD else span.document for span in spans]
    blocks = []
    prefixes: dict[int, int] = {}
    for index, span in enumerate(spans):
        if span.modality == PAD or span.attention == "causal":
            blocks.append(NO_BLOCK)
        elif span.attention == "bidirectional":
            blocks.append(index)
        else:  # all prefix spans of a document are one block, wherever they stand
            blocks.append(prefixes.setdefault(span.document, index))
    return np.repeat(np.array(documents, np.int64), lengths), np.repeat(np.array(blocks, np.int64), lengths)


def attention_mask(
    spans: Sequence[Span], *, queries: slice | None = None, window: int | None = None
) -> NDArray[np.bool_]:
    """True where the row's token may look at the column's: [queries, tokens].

    `queries` keeps only those rows (a step of decoding), `window` limits how far back a token looks (blocks stay
    whole). Padding sees itself and nothing else, so that a softmax over its row is finite.
    """
    document, block = mask_arrays(spans)
    key = np.arange(len(document))
    query = key[queries or slice(None)]
    back = query[:, None] - key[None, :]  # [queries, tokens]
    seen = back >= 0
    if window is not None:
        if window < 1:
            raise ValueError(f"window={window} leaves a token without even itself: use 1 or more")
        seen &= back < window
    seen |= (block[query][:, None] == block[None, :]) & (block[query] != NO_BLOCK)[:, None]
    seen &= (document[query][:, None] == document[None, :]) & (document[query] != NO_DOCUMENT)[:, None]
    return seen | (back == 0)


def torch_attention_mask(spans: Sequence[Span], *, device: Any = None, additive: Any = None) -> Any:
    """The same matrix as a torch tensor [tokens, tokens]; `additive=dtype` gives 0 and −inf instead of booleans."""
    import torch

    document, block = (torch.from_numpy(array).to(device) for array in mask_arrays(spans))
    key = torch.arange(len(document), device=device)
    back = key[:, None] - key[None, :]
    seen = back >= 0
    seen = seen | ((block[:, None] == block[None, :]) & (block >= 0)[:, None])
    seen = seen & (document[:, None] == document[None, :]) & (document >= 0)[:, None]
    seen = seen | (back == 0)
    if additive is None:
        return seen
    return torch.zeros(seen.shape, dtype=additive, device=device).masked_fill_(~seen, float("-inf"))


def document_bounds(spans: Sequence[Span]) -> NDArray[np.int32]:
    """Where each run of one document begins, and the end: [documents + 1], as variable-length kernels take it.

    A run of padding counts as a document of its own.
    """
    bounds = [0]
    previous: int | None = None
    for span in spans:
        document = NO_DOCUMENT if span.modality == PAD else span.document
        if span.length and document != previous:
            if previous is not None:
                bounds.append(span.start)
            previous = document
    end = spans[-1].stop if spans else 0
    return np.array([*bounds, end] if end else bounds, np.int32)
