"""Losses for pairs of a picture and a text: CLIP's softmax over the batch, SigLIP's sigmoid over every combination.

Both take vectors of length 1 [n, width] where row i of one belongs to row i of the other, and the scale itself, not
its logarithm.
"""

from math import log

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

CLIP_LOG_SCALE = log(1 / 0.07)  # where CLIP's training begins
SIGLIP_LOG_SCALE, SIGLIP_BIAS = log(10), -10.0


def clip_loss(image: Tensor, text: Tensor, scale: Tensor | float) -> Tensor:
    """Each picture must find its text among all and each text its picture: the mean of the two cross-entropies."""
    _check(image, text)
    logits = scale * image @ text.T  # [n, n]
    right = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, right) + F.cross_entropy(logits.T, right)) / 2


def siglip_loss(
    image: Tensor, text: Tensor, scale: Tensor | float, bias: Tensor | float, *, chunk: int | None = None
) -> Tensor:
    """Every combination is a yes or no of its own: −Σ log σ(z·(scale·similarity + bias)) / n, z = 1 for pairs, else −1.

    With `chunk` the matrix [n, n] is never held: texts come `chunk` at a time, and backward computes their part of
    the matrix again. Memory falls from n² to n·chunk for about a third more time.
    """
    _check(image, text)
    if chunk is None:
        return _part(image, text, _tensor(scale, image), _tensor(bias, image), 0) / len(image)
    if chunk < 1:
        raise ValueError(f"chunk={chunk} must be at least 1 text")
    total = image.new_zeros((), dtype=torch.float32)
    for first in range(0, len(text), chunk):
        some = text[first : first + chunk]
        total = total + checkpoint(
            _part, image, some, _tensor(scale, image), _tensor(bias, image), first, use_reentrant=False
        )
    return total / len(image)


def _part(image: Tensor, text: Tensor, scale: Tensor, bias: Tensor, first: int) -> Tensor:
    """The sum over the texts that begin at row `first`."""
    logits = (scale * image @ text.T + bias).float()  # [n, chunk]
    # log σ(−x) = log σ(x) − x: one matrix, and the pairs on the diagonal are put right afterwards
    pairs = logits.diagonal(-first)
    return F.softplus(logits).sum() - pairs.sum()


def _tensor(value: Tensor | float, like: Tensor) -> Tensor:
    return torch.as_tensor(value, device=like.device, dtype=None if isinstance(value, Tensor) else like.dtype)


def _check(image: Tensor, text: Tensor) -> None:
    if image.shape != text.shape or image.ndim != 2:
        raise ValueError(
            f"pictures are {tuple(image.shape)} and texts {tuple(text.shape)}: both must be [n, width], in pairs"
        )
