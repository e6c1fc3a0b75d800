"""Whether nano's stems learn more when they first learn without labels: `make bench-warm-up`, half an hour on one core.

Two stems that are equal at first take the same number of steps. One learns from labels in all of them. The other
learns from sounds and pictures alone in the first half of them: sounds by wav2vec 2.0's masked prediction, a second
voice laid over some as WavLM does; pictures by a masked autoencoder and then SigLIP against captions. What both tell of
development data is compared; the recipe has such a stage only if it helps.
"""

import tempfile
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from pathlib import Path
from random import Random

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omni.bundle import text_of
from omni.model.embed import PictureEmbedder
from omni.model.losses.contrastive import contrastive, diversity
from omni.model.losses.pairs import SIGLIP_BIAS, SIGLIP_LOG_SCALE, siglip_loss
from omni.model.omni import Omni
from omni.model.stem import CausalStem
from omni.train.drills import described
from omni.train.loss import Loss, Probes, counted, senses
from omni.train.mixing import TOKEN, Take, added, decades, fitted, level, scaled
from omni.train.mixture import Mixture
from omni.train.pool import make_noises, make_shard, read_noises, read_shard
from omni.train.recipe import BOOKS, Recipe, model, tokenizers, vocabulary
from omni.train.training import optimisers
from omni_tokenizers.audio.negatives import batch_negatives
from omni_tokenizers.audio.quantizer import GumbelQuantizer
from omni_tokenizers.audio.spans import span_masks
from tests.benchmarks import harness
from tests.benchmarks.harness import Row

STEPS = 400
BATCH = 32  # sounds, or pictures
UP = 40  # steps up to the full rate
HIDDEN = 5  # tokens of a span that is hidden: 0.2 s
SHARE = 0.5  # of tokens, and of patches, that are hidden
LAID_OVER = 0.5  # of sounds, those that are heard under another voice
NEGATIVES = 50
GENTLE = 0.1  # weight of an even use of the code book


class Blind(nn.Module):
    """What learns without labels, beside a stem."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        self.hidden = nn.Parameter(torch.zeros(recipe.stem))
        self.quantizer = GumbelQuantizer(recipe.stem, groups=2, entries=64, size=64)
        self.context = nn.Linear(recipe.stem, 64)
        self.targets = nn.Linear(64, 64)
        self.pixels = nn.Linear(recipe.width, 3 * 16**2)
        self.image = nn.Linear(recipe.width, 64)
        self.caption = nn.Linear(recipe.width, 64)
        self.scale = nn.Parameter(torch.tensor(SIGLIP_LOG_SCALE))
        self.bias = nn.Parameter(torch.tensor(SIGLIP_BIAS))


@cache
def data() -> dict[str, Mixture]:
    """Sentences of espeak-ng, some thousand for training and some hundred for development."""
    tokens = tokenizers(vocabulary(Recipe()))
    with tempfile.TemporaryDirectory() as folder:
        shards = {
            "train": [read_shard(make_shard(Path(folder), "train", n, 1000, "espeak")) for n in range(4)],
            "dev": [read_shard(make_shard(Path(folder), "dev", 0, 150, "espeak"))],
        }
        noises = read_noises(make_noises(Path(folder), "train", 40).parent, "train")
    return {
        split: Mixture(tokens, len(BOOKS), min(BOOKS), split, read, noises)  # type: ignore[arg-type]
        for split, read in shards.items()
    }


def takes(mixture: Mixture, step: int) -> Iterator[Take]:
    """The sounds of a step."""
    for row in range(BATCH):
        random = Random(f"blind {step} {row}")
        numbers = np.random.default_rng(random.getrandbits(64))
        yield mixture.taken(mixture.somebody(random), random, numbers, hard=0)


def laid_over(mine: Take, other: Take, random: np.random.Generator) -> Take:
    """A sound under another voice, which is no louder."""
    log, voice = decades(mine.frames), decades(other.frames)
    near = fitted(voice, len(log), random) + np.float32(level(log) - level(voice) - random.uniform(0, 1.5))
    return Take(scaled(added(log, near)), mine.begin, mine.end)


def listened(stem: CausalStem, table: Tensor, sounds: list[Take], hide: Tensor | None, vector: Tensor) -> list[Tensor]:
    """What convolutions and what blocks make of sounds, the hidden tokens replaced: [sounds, tokens, hidden] each."""
    seen: list[Tensor] = []

    def enter(_block: nn.Module, given: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        seen.append(given[0])
        return (given[0] if hide is None else torch.where(hide[..., None], vector, given[0])), given[1]

    hooks = [
        stem.blocks[0].register_forward_pre_hook(enter),
        stem.blocks[-1].register_forward_hook(lambda _block, _given, made: seen.append(made[0])),
    ]
    stem([torch.from_numpy(sound.frames).unflatten(0, (-1, TOKEN)) for sound in sounds], table=table)
    for hook in hooks:
        hook.remove()
    return seen


def masked_speech(made: Omni, blind: Blind, mixture: Mixture, step: int) -> Tensor:
    """wav2vec 2.0's loss over the stem, a second voice over some of what it hears."""
    stem = made.inputs["audio"].stem
    assert isinstance(stem, CausalStem)
    clean = list(takes(mixture, step))
    random = np.random.default_rng(step)
    heard = [
        laid_over(mine, clean[n - 1], random) if random.random() < LAID_OVER else mine for n, mine in enumerate(clean)
    ]
    seeds = [step * BATCH + n for n in range(BATCH)]
    masks = span_masks([len(take.frames) // TOKEN for take in clean], seeds, share=SHARE, length=HIDDEN, least=1)
    hide, others = torch.from_numpy(masks), torch.from_numpy(batch_negatives(masks, seeds, NEGATIVES))
    table = made.embed.weight.detach()
    features, _ = listened(stem, table, clean, None, blind.hidden)
    _, context = listened(stem, table, heard, hide, blind.hidden)
    quantized = blind.quantizer(features, hide)
    task = contrastive(blind.context(context), blind.targets(quantized.vectors), quantized.codes, hide, others)
    entries = blind.quantizer.groups * blind.quantizer.entries
    return (task.loss + GENTLE * diversity(quantized.perplexity, entries, task.count)) / task.count


def shown(mixture: Mixture, step: int) -> tuple[Tensor, Tensor, list[str]]:
    """The pictures of a step, [pictures · patches, numbers], the places of the patches, and captions."""
    examples = [mixture.seen(f"{step} picture {row}") for row in range(BATCH)]
    arrays = [next(filter(None, example.sequence.payloads)) for example in examples]
    values, places = (
        torch.from_numpy(np.concatenate([a[name] for a in arrays])).flatten(1) for name in ("values", "places")
    )
    scenes = [example.seen[0].scene for example in examples]
    return values, places.long(), [scene.text.capitalize() or described(scene) for scene in scenes]


def picture_loss(made: Omni, blind: Blind, mixture: Mixture, step: int, steps: int) -> Tensor:
    """A masked autoencoder's loss in the first half of the steps, SigLIP's in the second."""
    eye = made.inputs["image"]
    assert isinstance(eye, PictureEmbedder)
    values, places, captions = shown(mixture, step)
    side = int(places.max()) + 1
    if step < steps // 2:
        hide = torch.rand(len(values), generator=torch.Generator().manual_seed(step)) < SHARE
        tokens = eye.see(torch.where(hide[:, None], values.mean(), values), places, (side, side))
        target = F.layer_norm(values, values.shape[1:])[hide]
        return F.mse_loss(blind.pixels(tokens[hide]), target)
    tokens = eye.see(values, places, (side, side)).unflatten(0, (BATCH, -1)).mean(1)
    table = made.embed.weight.detach()
    said = torch.stack([table[torch.tensor(text_of(mixture.tokens).encode(text))].mean(0) for text in captions])
    pair = (F.normalize(blind.image(tokens), dim=1), F.normalize(blind.caption(said), dim=1))
    return siglip_loss(*pair, blind.scale.exp(), blind.bias)


def labelled(made: Omni, probes: Probes, recipe: Recipe, mixture: Mixture, kind: str, seeds: Iterable[str]) -> Loss:
    """How far the stems are from telling what was said, or what is to be seen."""
    draw = partial(mixture.heard, hard=0.0) if kind == "sound" else mixture.seen
    return senses(made, probes, recipe, [draw(seed) for seed in seeds])


def told(made: Omni, probes: Probes, recipe: Recipe, kind: str) -> float:
    """The loss on development data: of a letter that was heard, or of a picture."""
    total = counted([])
    with torch.no_grad():
        for part in range(6):
            found = labelled(made, probes, recipe, data()["dev"], kind, [f"dev {part} {n}" for n in range(BATCH)])
            total = total.plus(found.detached())
    return total.means()["spelled" if kind == "sound" else "seen"]


def learned(kind: str, steps: int, blindly: int, seed: int) -> float:
    """What a new stem tells after so many steps, the first of them without labels."""
    recipe = Recipe(seed=seed)
    mixture = data()["train"]
    made = model(recipe, mixture.tokens)
    probes, blind = Probes(recipe.stem, recipe.width), Blind(recipe)
    kinds = {**optimisers(recipe, made, probes), "blind": torch.optim.AdamW(blind.parameters(), lr=recipe.rate)}
    for step in range(steps):
        if step < blindly and kind == "sound":
            blind.quantizer.temperature = max(0.5, 2 * 0.997**step)
            loss = masked_speech(made, blind, mixture, step)
        elif step < blindly:
            loss = picture_loss(made, blind, mixture, step, blindly)
        else:
            found = labelled(made, probes, recipe, mixture, kind, [f"{seed} {step} {n}" for n in range(BATCH)])
            loss = found.total(recipe, found)
        loss.backward()
        nn.utils.clip_grad_norm_([p for part in (made, probes, blind) for p in part.parameters()], recipe.clip)
        since = step if step < blindly else step - blindly
        pace = min(1, (since + 1) / UP, 2 * (steps - step) / steps)
        for name, optimiser in kinds.items():
            for group in optimiser.param_groups:
                group["lr"] = pace * (recipe.muon if name == "muon" else recipe.rate)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
    return told(made.eval(), probes, recipe, kind)


def rows(kind: str, about: str) -> Callable[[bool], Iterable[Row]]:
    """Half of the steps without labels, beside all of them with."""

    def compared(quick: bool) -> Iterator[Row]:
        steps = 20 if quick else STEPS
        with_it, without = (learned(kind, steps, blindly, seed=1) for blindly in (steps // 2, 0))
        yield Row(about, with_it, without, "labels from the first step on", "nats", without / with_it, None, None, 1)

    return compared


if __name__ == "__main__":
    raise SystemExit(
        harness.main(
            "warm-up",
            {
                "pictures": rows("picture", f"{STEPS // 2} of {STEPS} steps without labels: loss of a picture"),
                "sound": rows("sound", f"{STEPS // 2} of {STEPS} steps without labels: loss of a letter heard"),
            },
            "What a warm-up without labels does for nano's stems, on development data.",
        )
    )
