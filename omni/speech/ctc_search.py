"""From CTC's letter for every frame to what was most likely said, and when.

The likeliest path is not the likeliest text: many paths spell one text. The prefix search adds them up.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from math import inf

import numpy as np
import numpy.typing as npt
from torch import Tensor

Scores = npt.NDArray[np.float32]
Prefix = tuple[int, ...]


def greedy(logits: Tensor, lengths: Sequence[int] | None = None, *, blank: int = 0) -> list[list[int]]:
    """The ids of the likeliest path of each row of logits [batch, frames, vocabulary], repeats and blanks taken out.

    >>> import torch
    >>> logits = torch.eye(3)[torch.tensor([[1, 1, 0, 1, 2]])]
    >>> greedy(logits)
    [[1, 1, 2]]
    """
    paths = logits.argmax(-1).tolist()
    ends = [len(path) for path in paths] if lengths is None else [int(n) for n in lengths]
    return [[k for k, _ in groupby(path[:end]) if k != blank] for path, end in zip(paths, ends, strict=True)]


@dataclass(frozen=True)
class Found:
    """A text as ids, and the log of its probability, plus what `favour` gave it."""

    ids: Prefix
    score: float


def prefix_search(
    log_probability: Tensor,  # [frames, vocabulary], log-softmax
    *,
    beams: int = 16,
    blank: int = 0,
    least: float = -12.0,
    favour: Callable[[Prefix], float] | None = None,
) -> list[Found]:
    """The likeliest texts, all their paths added up, best first.

    Letters below `least` in a frame are not tried. `favour(prefix)` is added when a prefix gets its last letter: a
    language model's log-probability of that letter, or a bonus for words of a list.
    """
    scores: Scores = log_probability.detach().float().cpu().numpy()
    # For each prefix: log-probability of the paths that end in a blank, and of those that end in its last letter.
    held: dict[Prefix, tuple[float, float]] = {(): (0.0, -inf)}
    gifts: dict[Prefix, float] = {(): 0.0}
    for frame in scores:
        letters = [int(k) for k in np.flatnonzero(frame > least) if k != blank] or [int(frame.argmax())]
        grown: dict[Prefix, list[float]] = defaultdict(lambda: [-inf, -inf])
        for prefix, (silent, spoken) in held.items():
            whole = np.logaddexp(silent, spoken)
            own = grown[prefix]
            own[0] = np.logaddexp(own[0], whole + frame[blank])
            if prefix:
                own[1] = np.logaddexp(own[1], spoken + frame[prefix[-1]])
            for letter in letters:
                if letter == blank:
                    continue
                # The same letter again is a new one only behind a blank.
                before = silent if prefix and prefix[-1] == letter else whole
                if before == -inf:
                    continue
                longer = (*prefix, letter)
                if longer not in gifts:
                    gifts[longer] = gifts[prefix] + (favour(longer) if favour else 0.0)
                new = grown[longer]
                new[1] = np.logaddexp(new[1], before + frame[letter])
        ranked = sorted(grown.items(), key=lambda item: -(float(np.logaddexp(item[1][0], item[1][1])) + gifts[item[0]]))
        held = {prefix: (float(a), float(b)) for prefix, (a, b) in ranked[:beams]}
        gifts = {prefix: gifts[prefix] for prefix in held}
    return [Found(prefix, float(np.logaddexp(a, b)) + gifts[prefix]) for prefix, (a, b) in held.items()]


@dataclass(frozen=True)
class Spoken:
    """Where one id of a known text was spoken."""

    id: int
    start: int  # frame
    end: int  # frame behind the last
    score: float  # mean log-probability over its frames


def align(log_probability: Tensor, ids: Sequence[int], *, blank: int = 0) -> list[Spoken]:
    """When each id of a known text was spoken: the likeliest path among those that spell it.

    log_probability is [frames, vocabulary]. All states of a frame are worked at once, so a minute takes milliseconds.
    """
    scores: Scores = log_probability.detach().float().cpu().numpy()
    states = np.full(2 * len(ids) + 1, blank)
    states[1::2] = ids
    frames, count = len(scores), len(states)
    needed = len(ids) + sum(a == b for a, b in pairwise(ids))
    if needed > frames:
        raise ValueError(f"{len(ids)} ids need {needed} frames to be spoken in and there are {frames}")
    # A blank may be left out between two different ids.
    leaps = np.zeros(count, np.bool_)
    leaps[3::2] = states[3::2] != states[1:-2:2]
    best = np.full(count, -inf)
    best[:2] = scores[0, states[:2]]
    moved = np.zeros((frames, count), np.int8)  # states gone on by, 0 to 2
    for t in range(1, frames):
        options = np.full((3, count), -inf)
        options[0] = best
        options[1, 1:] = best[:-1]
        options[2, 2:] = np.where(leaps[2:], best[:-2], -inf)
        moved[t] = options.argmax(0)
        best = options[moved[t], np.arange(count)] + scores[t, states]
    state = count - 1 if count == 1 or best[-1] >= best[-2] else count - 2
    path = np.empty(frames, np.int64)
    for t in range(frames - 1, -1, -1):
        path[t] = state
        state -= moved[t, state]
    spans = []
    for number, token in enumerate(ids):
        at = np.flatnonzero(path == 2 * number + 1)
        spans.append(Spoken(int(token), int(at[0]), int(at[-1]) + 1, float(scores[at, token].mean())))
    return spans
