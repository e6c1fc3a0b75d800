"""Which frames wav2vec 2.0 and WavLM hide: spans drawn from a seed that belongs to the example.

The published codes draw for a whole batch at once, so an utterance is masked differently in another batch or
with other padding. Here a mask is a function of (frames, seed) alone.
"""

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]
Seed: TypeAlias = int | Sequence[int]  # (epoch, example) is a good seed

SHARE = 0.65  # of the frames, if no two spans overlapped; about 49 % with overlaps
LENGTH = 10  # frames, 200 ms


def span_mask(frames: int, seed: Seed, *, share: float = SHARE, length: int = LENGTH, least: int = 0) -> BoolArray:
    """Return which of the frames are hidden, bool [frames].

    int(share · frames / length + ε) spans, ε in [0, 1), start at different places of [0, frames − length] and may
    overlap; `least` asks for more where there is room. An utterance shorter than one span keeps all its frames.

    >>> span_mask(12, seed=0, length=3, share=0.5).astype(int)
    array([0, 0, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0])
    >>> span_mask(9, seed=0).any()
    np.False_
    """
    if frames < 0:
        raise ValueError(f"frames is {frames}; an utterance has 0 or more")
    if length < 1:
        raise ValueError(f"length is {length}; a span has at least one frame")
    if not 0 <= share <= 1:
        raise ValueError(f"share is {share}; it is a part of the frames, from 0 to 1")
    if least < 0:
        raise ValueError(f"least is {least}; ask for 0 or more spans")
    draw = np.random.default_rng(seed)
    number = max(int(share * frames / length + draw.random()), least)
    number = min(number, frames // length, max(frames - length + 1, 0))
    mask = np.zeros(frames, np.bool_)
    if number:
        starts = draw.choice(frames - length + 1, number, replace=False)
        mask[starts[:, None] + np.arange(length)] = True
    return mask


def span_masks(
    frames: Sequence[int], seeds: Sequence[Seed], *, share: float = SHARE, length: int = LENGTH, least: int = 0
) -> BoolArray:
    """The masks of a padded batch, bool [batch, longest]; padding is never hidden.

    >>> span_masks([12, 30], [0, 1], length=3).shape
    (2, 30)
    """
    if len(frames) != len(seeds):
        raise ValueError(f"{len(frames)} utterances and {len(seeds)} seeds: give each utterance its own")
    masks = np.zeros((len(frames), max(frames, default=0)), np.bool_)
    for row, number, seed in zip(masks, frames, seeds, strict=True):
        row[:number] = span_mask(number, seed, share=share, length=length, least=least)
    return masks
