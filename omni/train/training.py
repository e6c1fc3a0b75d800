"""Training nano: steps over the mixture, a line in the log for each few, a checkpoint every few minutes."""

import hashlib
import json
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from omni.model.load import read_json
from omni.model.omni import Omni
from omni.model.stem import CausalStem
from omni.nano.codec.codec import NanoCodec
from omni.train.checkpoint import RECIPE, STATE, Standing, read, write
from omni.train.crew import Crew, hire, leave_gradients
from omni.train.fitting import require_fit
from omni.train.loss import Loss, Probes, counted, loss, senses
from omni.train.mixture import Mixture
from omni.train.muon import Muon
from omni.train.pool import lines_of, read_noises, read_shard, shards
from omni.train.recipe import BOOKS, Recipe, load_or_train, model, tokenizers
from omni.train.sayings import read_sayings
from omni.train.writing import Example
from omni_tokenizers import Text
from omni_tokenizers.sequence import Omni as Tokens

EVERY = 10  # steps between two lines of the log
KEEP = 240.0  # s between two checkpoints


@dataclass
class Training:
    """A training in its folder; made anew or found as it was left."""

    recipe: Recipe
    folder: Path
    pool: Path
    device: str = "cpu"
    codec: Path | None = None  # the folder of the codec whose codes the pool's sayings are in
    helpers: int = 0  # more processes that read conversations
    start: Path | None = None  # a bundle to begin with, where nothing was trained in the folder yet
    stopping: bool = False  # set it from a signal handler: the step under way is finished and written
    tokens: Tokens = field(init=False)
    model: Omni = field(init=False)
    probes: Probes = field(init=False)
    optimisers: dict[str, torch.optim.Optimizer] = field(init=False)
    standing: Standing = field(init=False)
    mixture: Mixture = field(init=False)
    crew: Crew = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.tokens = tokenizers(text_at(self.recipe, self.folder, self.start), codec_at(self.codec))
        self.model = model(self.recipe, self.tokens).to(self.device)
        require_fit(self.model, self.recipe, self.folder, self.start)
        self.probes = Probes(self.recipe.stem, self.recipe.width).to(self.device)
        self.optimisers = optimisers(self.recipe, self.model, self.probes)
        found = read(self.folder, self.modules, self.optimisers)
        self.standing = found or Standing()
        if self.start is not None:
            origin = hashlib.sha256((self.start / "model.safetensors").read_bytes()).hexdigest()[:16]
            if found is not None and found.origin != origin:
                raise ValueError(
                    f"{self.folder} holds a training that did not begin with {self.start}: name another folder, "
                    "or leave out the start to go on with what is there"
                )
            if found is None:
                shutil.copy(self.start / "tokenizer.json", self.folder)
                self.model.load_state_dict(load_file(self.start / "model.safetensors"))
                step = int(read_json(self.start / "config.json").get("step", 0))
                self.standing = Standing(step, began=step, origin=origin)
        (self.folder / RECIPE).write_text(json.dumps(self.recipe.config(), indent=1) + "\n")
        self.crew = hire(self.helpers, help_read, self.modules, self.recipe, self.folder, self.pool, self.codec)
        self.crew.tell(self.crew.size)
        self.read_pool(self.standing.shards)

    @property
    def modules(self) -> dict[str, nn.Module]:
        """What is trained, by the name it has in a checkpoint."""
        return {"model": self.model, "probes": self.probes}

    def read_pool(self, names: tuple[str, ...] = ()) -> None:
        """Read the shards of these names, or all that there are by now."""
        if lost := [name for name in names if not lines_of(self.pool, name).exists()]:
            raise ValueError(
                f"the training in {self.folder} reads {', '.join(lost)}, and {self.pool} has no such shard: "
                "name the pool that it began with, or another folder"
            )
        self.standing.shards = names or tuple(file.stem for file in shards(self.pool, "train"))
        self.mixture = mixture(self.tokens, self.pool, self.standing.shards)
        self.crew.tell(self.standing.shards)

    def step(self) -> Loss:
        """One step of all optimisers."""
        recipe = self.recipe
        self.crew.tell(self.standing.step)
        step = self.standing.step
        share = Reading(recipe, self.model, self.probes, step, examples(recipe, self.mixture, step, 0, self.crew.size))
        whole = share.counts
        for other in self.crew.hear():
            whole = whole.plus(other)
        self.crew.tell(whole)
        share.read(whole)
        found = share.found
        for other in self.crew.hear():
            found = found.plus(other)
        self.crew.add_gradients()
        self.rest()
        nn.utils.clip_grad_norm_([p for m in self.modules.values() for p in m.parameters()], recipe.clip)
        pace_now = pace(recipe, step, self.standing.began)
        threads = torch.get_num_threads()
        torch.set_num_threads(max(threads, self.crew.size))  # the helpers wait meanwhile
        for name, optimiser in self.optimisers.items():
            for group in optimiser.param_groups:
                group["lr"] = pace_now * (recipe.muon if name == "muon" else recipe.rate)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        torch.set_num_threads(threads)
        self.standing.step += 1
        return found

    def rest(self) -> None:
        """Leave as it is what has nothing to learn in this step: no momentum, no decay.

        That is all but the stems where they learn alone; and what a bundle brought, until the probes that it did not
        bring can tell something.
        """
        step = self.standing.step
        stems = ("inputs.audio.", "inputs.image.") if alone(self.recipe, step) else ("",)
        for name, p in self.model.named_parameters():
            if step < probed(self.recipe, self.standing.began) or not name.startswith(stems):
                p.grad = None

    def save(self) -> None:
        """Write a checkpoint."""
        write(self.folder, self.modules, self.optimisers, self.standing)

    def run(
        self,
        until: int,
        *,
        seconds: float = float("inf"),
        grow: bool = True,
        tell: Callable[[dict[str, float]], None] = lambda _means: None,
    ) -> None:
        """Train up to a step, or for so long; with `grow`, shards that came meanwhile are read at checkpoints.

        `tell` hears the losses of every step.
        """
        began = saved = now = time.monotonic()
        before = self.standing.seconds
        sums: list[Loss] = []
        while self.standing.step < until and now - began < seconds and not self.stopping:
            sums.append(self.step())
            tell(sums[-1].means())
            now = time.monotonic()
            self.standing.seconds = before + now - began
            if self.standing.step % EVERY == 0:
                self.log(sums)
                sums = []
            if now - saved > KEEP:
                if grow and len(list(shards(self.pool, "train"))) > len(self.standing.shards):
                    self.read_pool()
                self.save()
                saved = now
        if sums:
            self.log(sums)
        self.save()

    def log(self, losses: list[Loss]) -> None:
        """The means of some steps as a JSON line in the folder's log."""
        means = {name: round(mean, 4) for name, mean in reduce(Loss.plus, losses).means().items()}
        line = {"step": self.standing.step, **means, "seconds": round(self.standing.seconds, 1)}
        with (self.folder / "log.jsonl").open("a+b") as file:
            end = file.seek(0, 2)
            file.seek(max(0, end - 1))
            torn = end > 0 and file.read() != b"\n"  # a power cut left half a line
            file.write((("\n" if torn else "") + json.dumps(line) + "\n").encode())


@dataclass
class Reading:
    """The share of a step that one process has."""

    recipe: Recipe
    model: Omni
    probes: Probes
    step: int
    examples: list[Example]
    found: Loss = field(init=False)

    @property
    def counts(self) -> Loss:
        """How much there is to say in it."""
        return counted(self.examples)

    def read(self, whole: Loss) -> None:
        """Gradients of this share of the whole step's loss, piece by piece."""
        self.found = counted([])
        wrong = senses if alone(self.recipe, self.step) else loss
        size = max(1, -(-len(self.examples) // self.recipe.pieces))
        for at in range(0, len(self.examples), size):
            part = wrong(self.model, self.probes, self.recipe, self.examples[at : at + size])
            part.total(self.recipe, whole).backward()
            self.found = self.found.plus(part.detached())


def mixture(tokens: Tokens, pool: Path, names: tuple[str, ...]) -> Mixture:
    """The mixture over the shards of these names."""
    read_shards = [read_shard(lines_of(pool, name)) for name in names]
    sayings = read_sayings(pool) if "codec" in tokens.modalities else None
    noises = read_noises(pool, "train")
    return Mixture(tokens, len(BOOKS), min(BOOKS), "train", read_shards, noises, sayings)


def text_at(recipe: Recipe, folder: Path, start: Path | None = None) -> Text:
    """The vocabulary that a training in a folder goes on with, or begins with: that of the bundle, if there is one."""
    if start is not None and not (folder / STATE).exists():
        return Text.load(start / "tokenizer.json")
    return load_or_train(recipe, folder)


def codec_at(folder: Path | None) -> NanoCodec | None:
    """The codec in a folder."""
    return None if folder is None else NanoCodec.load(folder)


def examples(recipe: Recipe, mixture: Mixture, step: int, member: int, members: int) -> list[Example]:
    """What one of several processes reads in a step, short ones first: at the beginning what the stems tell of alone.

    Noise and bending come in over the first half of that: what is clear is learned first.
    """

    def mine(count: int, kind: str) -> Iterator[str]:
        return (f"{recipe.seed} {step} {kind}{row}" for row in range(member, count, members))

    if alone(recipe, step):
        hard = min(1.0, 2 * step / max(1, recipe.senses))
        drawn = [mixture.heard(seed, hard) for seed in mine(recipe.sounds, "")]
        drawn += [mixture.seen(seed) for seed in mine(recipe.pictures, "picture ")]
    else:
        drawn = [mixture.example(seed) for seed in mine(recipe.batch, "")]
    return sorted(drawn, key=lambda example: len(example.sequence))


def help_read(
    pipe: Connection,
    member: int,
    modules: dict[str, nn.Module],
    gradients: Tensor,
    recipe: Recipe,
    folder: Path,
    pool: Path,
    codec: Path | None,
) -> None:
    """What a helper does until it is told None: read its share of each step, leave the gradients in shared memory."""
    for name in (signal.SIGINT, signal.SIGTERM):  # Ctrl-C comes to all of them; who leads finishes the step
        signal.signal(name, signal.SIG_IGN)
    torch.set_num_threads(1)
    tokens = tokenizers(load_or_train(recipe, folder), codec_at(codec))
    members, names = told_by(pipe), told_by(pipe)
    if not isinstance(members, int) or not isinstance(names, tuple):  # the training ended before it began
        return
    reads = mixture(tokens, pool, names)
    while (told := told_by(pipe)) is not None:
        if isinstance(told, tuple):
            reads = mixture(tokens, pool, told)
            continue
        if not isinstance(told, int):
            raise TypeError(f"a helper is told a step, shards or None, not {type(told).__name__}")
        model, probes = modules["model"], modules["probes"]
        assert isinstance(model, Omni)
        assert isinstance(probes, Probes)
        share = Reading(recipe, model.train(), probes, told, examples(recipe, reads, told, member, members))
        pipe.send(share.counts)
        if not isinstance(whole := told_by(pipe), Loss):
            return
        share.read(whole)
        leave_gradients(modules, gradients)
        pipe.send(share.found)


def told_by(pipe: Connection) -> object:
    """What the training says next; None also when it is gone."""
    try:
        return pipe.recv()
    except (EOFError, ConnectionError):
        return None


def alone(recipe: Recipe, step: int) -> bool:
    """Whether the stems alone learn in this step: at the beginning, and now and then for ever.

    An utterance costs them a quarter of what it costs in a conversation, and most of what is answered wrongly was not
    heard rightly.
    """
    return step < recipe.senses or (recipe.again > 0 and step % recipe.again == 0)


def probed(recipe: Recipe, began: int) -> int:
    """The step from which on the model learns, where a training began with the bundle of step `began`."""
    return began + recipe.probing if began else 0


def pace(recipe: Recipe, step: int, began: int = 0) -> float:
    """The share of the full learning rate at a step: up, level, and down over the last `cooling` steps.

    Probes that learn before the model does learn at the full rate.
    """
    since, left = step - probed(recipe, began), recipe.steps - step
    up = (since + 1) / recipe.warm if since >= 0 else 1.0
    return min(1.0, up, left / recipe.cooling if recipe.cooling else 1.0)


def optimisers(recipe: Recipe, model: Omni, probes: Probes) -> dict[str, torch.optim.Optimizer]:
    """Muon for the matrices of the stack and the stem's blocks, AdamW for the rest, which is not made smaller."""
    stem = cast(CausalStem, model.inputs["audio"].stem)
    matrices = [p for part in (model.stack, stem.blocks) for p in part.parameters() if p.ndim == 2]
    chosen = {id(p) for p in matrices}
    rest = [p for p in [*model.parameters(), *probes.parameters()] if id(p) not in chosen]
    return {
        "muon": Muon(matrices, lr=recipe.muon, weight_decay=recipe.decay),
        "adam": torch.optim.AdamW(rest, lr=recipe.rate, betas=(0.9, 0.98), weight_decay=0.0, fused=True),
    }
