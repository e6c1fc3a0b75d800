"""What Whisper's decoder may say next. Each rule takes logits away, in place of the caller's copy."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from omni.speech.task_tokens import TaskTokens

NEVER = float("-inf")


@dataclass(frozen=True)
class Suppress:
    """These ids are never said."""

    ids: tuple[int, ...]

    def __call__(self, logits: Tensor, said: Sequence[Sequence[int]]) -> None:  # noqa: ARG002  # rules look alike
        """Strike the ids out of logits [batch, vocabulary]."""
        logits[:, list(self.ids)] = NEVER


@dataclass(frozen=True)
class NoBlankStart:
    """The first token is no blank and no end: there is something to say, or the guards find out that there is not."""

    ids: tuple[int, ...]  # a space, and the end

    def __call__(self, logits: Tensor, said: Sequence[Sequence[int]]) -> None:
        """Strike the ids out of the first step's logits [batch, vocabulary]."""
        if not said[0]:
            logits[:, list(self.ids)] = NEVER


@dataclass(frozen=True)
class TimestampRules:
    """Times come in pairs, never go back, and the first one is near the window's start."""

    tokens: TaskTokens
    latest_start: int | None = 50  # timestamp steps, 1 s

    def __call__(self, logits: Tensor, said: Sequence[Sequence[int]]) -> None:
        """Strike out of logits [batch, vocabulary] what may not follow what was `said`."""
        first = self.tokens.first_timestamp
        logits[:, self.tokens.no_timestamps] = NEVER
        for row, ids in enumerate(said):
            after_time = bool(ids) and ids[-1] >= first
            after_two = len(ids) < 2 or ids[-2] >= first
            if after_time and after_two:  # a pair is complete: text follows
                logits[row, first:] = NEVER
            elif after_time:  # the time that ends a text: its pair follows, or the end
                logits[row, : self.tokens.end] = NEVER
            times = [token for token in ids if token >= first]
            if times:
                # A text takes time: only the second of a pair may repeat the first. This also ends endless loops.
                least = times[-1] if after_time and not after_two else times[-1] + 1
                logits[row, first:least] = NEVER
            if not ids:
                logits[row, :first] = NEVER
                if self.latest_start is not None:
                    logits[row, first + self.latest_start + 1 :] = NEVER
        # Where all times together are likelier than any one word, it is time for a time.
        chances = torch.log_softmax(logits.float(), dim=-1)
        timely = chances[:, first:].logsumexp(-1) > chances[:, :first].amax(-1)
        logits[:, :first] = logits[:, :first].masked_fill(timely[:, None], NEVER)
