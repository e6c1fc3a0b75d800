"""The wrong answers of wav2vec 2.0's contrastive task: other hidden frames of the same utterance."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from omni_tokenizers.audio.spans import BoolArray, Seed

IntArray = npt.NDArray[np.int64]

COUNT = 100  # for each hidden frame


def negatives(mask: BoolArray, seed: Seed, count: int = COUNT) -> IntArray:
    """For each hidden frame, `count` other hidden frames, as indices [hidden, count]; uniform, with repeats.

    A frame is never its own negative, except where it is the only one: then there is no other, and the loss, which
    strikes out negatives equal to the positive, makes nothing of it. Padding is never hidden, so never drawn.

    >>> negatives(np.array([False, True, True, False]), seed=0, count=2)
    array([[2, 2],
           [1, 1]])
    """
    mask = np.asarray(mask)
    if mask.ndim != 1 or mask.dtype != np.bool_:
        raise ValueError(f"mask is {mask.dtype} {mask.shape}; the bool (frames,) of one utterance is needed")
    if count < 1:
        raise ValueError(f"count is {count}; ask for at least one negative")
    hidden = np.flatnonzero(mask)
    if len(hidden) < 2:
        return np.repeat(hidden[:, None], count, axis=1)
    own = np.arange(len(hidden))[:, None]
    drawn = np.random.default_rng(seed).integers(0, len(hidden) - 1, (len(hidden), count))
    return hidden[drawn + (drawn >= own)]  # one place further on from its own: uniform over the others


def batch_negatives(masks: BoolArray, seeds: Sequence[Seed], count: int = COUNT) -> IntArray:
    """Negatives of a padded batch as indices [batch, frames, count] into its frames laid end to end.

    This is the form that transformers' pretraining model takes; rows of frames that are not hidden hold the
    utterance's first index and mean nothing.
    """
    masks = np.asarray(masks)
    if masks.ndim != 2 or len(masks) != len(seeds):
        raise ValueError(f"masks have shape {masks.shape} and there are {len(seeds)} seeds: (batch, frames), one each")
    batch, frames = masks.shape
    out = np.zeros((batch, frames, count), np.int64)
    for row, (mask, seed) in enumerate(zip(masks, seeds, strict=True)):
        out[row, mask] = negatives(mask, seed, count)
        out[row] += row * frames
    return out
