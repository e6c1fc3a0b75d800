"""wav2vec 2.0's loss: pick the true quantized frame among others of the same utterance, and use the whole code book."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F


@dataclass(frozen=True)
class Contrastive:
    """The contrastive task over a batch's hidden frames."""

    loss: Tensor  # (), summed over the hidden frames, as published
    right: Tensor  # (), how many hidden frames were picked rightly
    count: Tensor  # (), hidden frames


def contrastive(
    context: Tensor,  # [batch, frames, size], what the stack made of the frames
    targets: Tensor,  # [batch, frames, size], the quantized frames
    codes: Tensor,  # [batch, frames, groups], which entries they are made of
    hide: Tensor,  # bool [batch, frames]
    negatives: Tensor,  # [batch, frames, count], indices into the batch's frames laid end to end
    temperature: float = 0.1,
) -> Contrastive:
    """Cross-entropy of cosines / temperature between the true frame and the negatives.

    A negative made of the same code entries as the true frame is no wrong answer and is struck out. All cosines of an
    utterance are one product [frames, frames]: gathering the vectors of 100 negatives a frame would be 100 times the
    memory of the targets.
    """
    batch, frames, _ = context.shape
    row = torch.arange(batch, device=context.device)[:, None, None] * frames
    own = torch.arange(frames, device=context.device)[None, :, None].expand(batch, -1, 1)
    choice = torch.cat([own, torch.where(hide[..., None], negatives - row, own)], dim=2)  # [batch, frames, 1 + count]
    if bool(((choice < 0) | (choice >= frames)).any()):
        raise ValueError("a negative lies in another utterance of the batch: draw them with batch_negatives")
    cosine = F.normalize(context.float(), dim=-1) @ F.normalize(targets.float(), dim=-1).transpose(1, 2)
    same = (codes[:, :, None] == codes[:, None]).all(-1)  # [batch, frames, frames]
    logits = (cosine / temperature).gather(2, choice)  # [batch, frames, 1 + count], the first is right
    struck = same.gather(2, choice)
    struck[..., 0] = False
    logits = logits.masked_fill(struck, float("-inf"))[hide]  # [hidden, 1 + count]
    goal = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
    # A frame with every negative struck out has no task: its loss is log 1 = 0, and it proves nothing.
    right = (logits.argmax(-1) == 0) & ~struck[hide][:, 1:].all(-1)
    return Contrastive(F.cross_entropy(logits, goal, reduction="sum"), right.sum(), hide.sum())


def diversity(perplexity: Tensor, entries: int, count: Tensor) -> Tensor:
    """How far the code books, of `entries` in all, are from being used evenly, times the hidden frames."""
    return (entries - perplexity) / entries * count
