"""What an omni model says after a sequence, one id or frame at a time: the model as a plain text or speech model."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from omni import nano
from omni.bundle import Bundle
from omni.engine.answering import StageFailed
from omni.model.live import Live
from omni.model.sampling import Sampler
from omni.sampling import GREEDY, Sampling
from omni.script import CALL, END, MORE, OPENS, Answering, Calls, How
from omni_tokenizers.sequence import Codes, Ids
from omni_tokenizers.sequence.parts import Part

FRAMES_A_LETTER = 6  # of speech at most: a quarter of a second to a letter is very slow


@dataclass(frozen=True)
class Word:
    """An id of text that was said."""

    id: int


@dataclass(frozen=True)
class Spoken:
    """A frame of speech that was said."""

    codes: NDArray[np.int64]  # [1, books]


@cache
def bundle_at(folder: str) -> Bundle:
    """The bundle in a folder, or the shipped nano; loaded once for all that use it."""
    return Bundle.load(folder) if folder else nano.load()


def say(
    bundle: Bundle,
    parts: list[Part],
    how: How,
    *,
    longest: int,
    sampling: Sampling = GREEDY,
    calls: Calls = "no",
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Word | Spoken]:
    """What the model says to these parts, until it ends or `longest` ids or frames were said."""
    model, special = bundle.model, bundle.special
    read = bundle.tokens.encode([*parts, Ids((special[OPENS[how]],))])
    if len(read) + longest > model.spec.longest:
        raise StageFailed(
            "too_long",
            f"the conversation is {len(read)} tokens long and {longest} are kept for the answer, but the model reads "
            f"{model.spec.longest}: say less, or ask for a shorter answer",
        )
    live = Live(model, capacity=len(read) + longest)
    answering, sampler = Answering(bundle.script, how), Sampler(sampling)
    hidden = live.push({0: read})[0][-1]
    for number in range(longest):
        if answering.next == "over" or stopped():
            return
        with torch.no_grad():
            scores = model.text(hidden)
        if answering.next == "text":
            allowed = (special[END], special[CALL]) if calls == "may" and not number else (special[END],)
            must = calls == "must" and not number
            chosen = special[CALL] if must else sampler.choose(without(scores, special, allowed))
            answering.say("end" if chosen == special[END] else "call" if chosen == special[CALL] else "word")
            said: Part = Ids((chosen,))
            if chosen != special[END]:
                yield Word(chosen)
        elif scores[special[END]] > scores[special[MORE]]:
            answering.stop()
            said = Ids((special[END],))
        else:
            assert model.codes is not None
            with torch.no_grad():
                codes = model.codes.say(hidden[None], lambda _book, scores: scores.argmax(-1)).numpy()  # [1, books]
            answering.frame()
            said = Codes(codes)
            yield Spoken(codes)
        hidden = live.push({0: bundle.tokens.encode([said])})[0][-1]


def without(scores: Tensor, special: dict[str, int], allowed: tuple[int, ...]) -> Tensor:
    """Scores with the special tokens that may not come now at −∞."""
    banned = [number for number in special.values() if number not in allowed]
    return scores.index_fill(0, torch.tensor(banned, device=scores.device), float("-inf"))
