"""What an omni model says after a sequence, one id or frame at a time: the model as a plain text or speech model."""

from collections.abc import Callable, Iterator
from collections.abc import Sequence as ListLike
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
from omni.script import CALL, END, MORE, OPENS, USER, Answering, Calls, How
from omni_tokenizers.sequence import Codes, Ids
from omni_tokenizers.sequence.parts import Part

FRAMES_A_LETTER = 6  # of speech at most: a quarter of a second to a letter is very slow
MORE_FRAMES = 25


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
    given: ListLike[int] = (),
    stopped: Callable[[], bool] = lambda: False,
) -> Iterator[Word | Spoken]:
    """What the model says to these parts, until it ends or `longest` ids or frames were said.

    To `read` is to speak with a given text: its ids are said in their turn, and not chosen.
    """
    model, special = bundle.model, bundle.special
    read = bundle.tokens.encode([*parts, Ids((special[OPENS[how]],))])
    if len(read) + longest > model.spec.longest:
        raise StageFailed(
            "too_long",
            f"the conversation is {len(read)} tokens long and {longest} are kept for the answer, but the model reads "
            f"{model.spec.longest}: say less, or ask for a shorter answer",
        )
    live = Live(model, capacity=len(read) + longest, walker=bundle.walker)
    answering, sampler = Answering(how), Sampler(sampling)
    hidden = live.push({0: read})[0][-1]
    for number in range(longest):
        if answering.next == "over" or stopped():
            return
        with torch.no_grad():
            scores = model.text(hidden)
        words = legal(scores, special, calls if not number else "no", given, answering)
        if answering.next == "frame":
            speaks = bool(scores[special[MORE]] >= scores[special[END]])
        else:
            speaks = answering.next == "either" and bool(scores[special[MORE]] > words.max())
        if speaks:
            assert model.codes is not None
            with torch.no_grad():
                codes = model.codes.say(hidden[None], lambda _book, scores: scores.argmax(-1)).numpy()  # [1, books]
            answering.frame()
            said: Part = Codes(codes)
            yield Spoken(codes)
        elif answering.next == "frame":
            answering.stop()
            said = Ids((special[END],))
        else:
            chosen = sampler.choose(words)
            answering.say("end" if chosen == special[END] else "call" if chosen == special[CALL] else "word")
            said = Ids((chosen,))
            if chosen != special[END]:
                yield Word(chosen)
        hidden = live.push({0: bundle.tokens.encode([said])})[0][-1]


def read_out(bundle: Bundle, text: str, stopped: Callable[[], bool] = lambda: False) -> Iterator[Spoken]:
    """The frames of a text in the model's voice."""
    ids = bundle.text.encode(text, special="text")
    longest = FRAMES_A_LETTER * len(text) + MORE_FRAMES + 2 * len(ids)
    parts: list[Part] = [Ids((bundle.special[USER], *ids))]
    for said in say(bundle, parts, "read", longest=longest, given=ids, stopped=stopped):
        if isinstance(said, Spoken):
            yield said


def legal(scores: Tensor, special: dict[str, int], calls: Calls, given: ListLike[int], answering: Answering) -> Tensor:
    """Scores of text, with all that may not be said now at −∞."""
    if answering.how == "read" or calls == "must":
        only = special[CALL] if calls == "must" else special[END]
        if answering.how == "read" and answering.ids < len(given):
            only = given[answering.ids]
        banned = [number for number in range(len(scores)) if number != only]
    else:
        allowed = (special[END], special[CALL]) if calls == "may" else (special[END],)
        banned = [number for number in special.values() if number not in allowed]
    return scores.index_fill(0, torch.tensor(banned, device=scores.device), float("-inf"))
