"""The loss of connectionist temporal classification, in float32 whatever the model runs in."""

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

IGNORE = -100  # fills up the shorter rows of padded labels


def needed_frames(labels: Tensor) -> Tensor:
    """The fewest frames that can spell each row: one a label, and a blank between two equal ones."""
    real = labels >= 0
    doubled = (labels[:, 1:] == labels[:, :-1]) & real[:, 1:]
    return real.sum(1) + doubled.sum(1)


def ctc_loss(
    logits: Tensor,  # [batch, frames, vocabulary]
    lengths: Tensor,  # [batch], real frames
    labels: Tensor,  # [batch, labels], rows filled up with −100
    *,
    blank: int = 0,
    reduction: Literal["none", "sum", "mean"] = "sum",
    skip_impossible: bool = False,
) -> Tensor:
    """−log of the probability of the labels; an utterance too short to spell its labels is an error, or skipped."""
    real = labels >= 0
    if bool(((labels == blank) | (labels >= logits.shape[2])).any()):
        raise ValueError(
            f"labels go up to {int(labels.max())} and blank is {blank}: "
            f"they have to be below {logits.shape[2]} and never blank"
        )
    needed = needed_frames(labels)
    if not skip_impossible and bool((needed > lengths).any()):
        row = int((needed > lengths).nonzero()[0])
        raise ValueError(
            f"utterance {row} has {int(lengths[row])} frames and its labels need {int(needed[row])}: "
            f"drop it, or pass skip_impossible=True to give it no weight"
        )
    log_probability = F.log_softmax(logits, dim=-1, dtype=torch.float32).transpose(0, 1)  # [frames, batch, vocabulary]
    with torch.backends.cudnn.flags(enabled=False):  # its kernel wants labels on the host and is not deterministic
        return F.ctc_loss(
            log_probability,
            labels[real],
            lengths,
            real.sum(1),
            blank=blank,
            reduction=reduction,
            zero_infinity=skip_impossible,
        )
