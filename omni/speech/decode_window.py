"""One window of Whisper, from what the encoder made of 30 s to ids, with the numbers that the guards read."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from omni.model.whisper import Whisper
from omni.speech.task_tokens import TaskTokens

Rule = Callable[[Tensor, Sequence[Sequence[int]]], None]


@dataclass(frozen=True)
class Decoded:
    """What the decoder said about one window."""

    ids: tuple[int, ...]  # without the prompt and without the end
    log_probability: float  # mean over what was said, the end included
    no_speech: float  # probability that nobody speaks
    temperature: float


@torch.inference_mode()
def decode_windows(
    model: Whisper,
    memory: Tensor,  # [batch, positions, width], of the encoder
    prompt: Sequence[Sequence[int]],  # one a row, all of one length
    tokens: TaskTokens,
    rules: Sequence[Rule] = (),
    *,
    temperature: float = 0.0,
    longest: int | None = None,
    generator: torch.Generator | None = None,
) -> list[Decoded]:
    """Decode a batch of windows; temperature 0 takes the likeliest token, above it one is drawn."""
    if len({len(row) for row in prompt}) != 1 or len(prompt) != len(memory):
        raise ValueError(
            f"{len(memory)} windows and prompts of {[len(row) for row in prompt]} ids: one a window, equally long"
        )
    given = len(prompt[0])
    room = model.spec.tokens - given + 1
    if room < 1:
        raise ValueError(f"the prompt has {given} ids and the decoder has positions for {model.spec.tokens}")
    steps = min(longest or model.spec.tokens // 2, room)
    rows = list(range(len(prompt)))
    device = memory.device
    cache, seen = model.cache(len(rows)), model.decoder.stack.remember(memory)
    said: list[list[int]] = [[] for _ in rows]
    total = torch.zeros(len(rows), device=device)
    over = torch.zeros(len(rows), dtype=torch.bool, device=device)
    new = torch.tensor([list(row) for row in prompt], device=device)  # [batch, given], then [batch, 1]
    at = prompt[0].index(tokens.start)
    no_speech: list[float] = []
    for _ in range(steps):
        step = cache.step(rows, [new.shape[1]] * len(rows))
        logits = model.decoder(new, seen, step=step, at=(-1,) if no_speech else (at, -1)).float()
        if not no_speech:
            no_speech = logits[:, 0].softmax(-1)[:, tokens.no_speech].tolist()
        logits = logits[:, -1]  # [batch, vocabulary]
        for rule in rules:
            rule(logits, said)
        if temperature == 0:
            chosen = logits.argmax(-1)  # [batch]
        else:
            chosen = torch.multinomial((logits / temperature).softmax(-1), 1, generator=generator)[:, 0]
        chosen = chosen.masked_fill(over, tokens.end)
        gained = F.log_softmax(logits, dim=-1).gather(1, chosen[:, None])[:, 0]
        total = total + gained.masked_fill(over, 0.0)
        over = over | (chosen == tokens.end)
        for ids, token in zip(said, chosen.tolist(), strict=True):
            ids.append(token)
        if all(ids[-1] == tokens.end for ids in said):
            break
        new = chosen[:, None]
    done = [ids[: ids.index(tokens.end)] if tokens.end in ids else ids for ids in said]
    return [
        Decoded(tuple(ids), gained / (len(ids) + 1), silent, temperature)
        for ids, gained, silent in zip(done, total.tolist(), no_speech, strict=True)
    ]


@torch.inference_mode()
def detect_language(model: Whisper, memory: Tensor, tokens: TaskTokens) -> list[dict[str, float]]:
    """The probability of each language, for each window of the batch, likeliest first."""
    if not tokens.languages:
        return [{"en": 1.0} for _ in memory]
    ids = torch.full((len(memory), 1), tokens.start, device=memory.device)
    logits = model.decoder(ids, memory)[:, -1].float()  # [batch, vocabulary]
    chances = logits[:, list(tokens.languages.values())].softmax(-1)
    found = [dict(zip(tokens.languages, row, strict=True)) for row in chances.tolist()]
    return [dict(sorted(row.items(), key=lambda item: -item[1])) for row in found]
