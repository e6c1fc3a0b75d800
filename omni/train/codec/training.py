"""Train nano's codec: `python -m omni.train.codec.training OUT`. Resumable at any step, with the same weights.

Three stages in one run. First the decoder's controls are compared with what the analysis found, which needs no sound
and is quick. Then the sound itself is compared as well, in spectra of three lengths. At `frozen` the encoder is left as
it is, so codes mean the same from then on, and the decoder goes on alone. There is no discriminator.
"""

import argparse
import json
import time
from dataclasses import dataclass
from pathlib import Path
from random import Random

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from omni.nano.codec.codec import NanoCodec
from omni.nano.codec.network import CodecNet, CodecSpec, Memory
from omni.nano.codec.source_filter import (
    FRAME,
    NOISE_SAMPLES,
    RATE,
    Controls,
    amplitudes,
    mix,
    noise_table,
    signals,
)
from omni.train.codec.data import SEEDS, UTTERANCES, Speech, speech, utterance
from omni.train.codec.scores import likeness, sentences
from omni.train.keeping import replacing
from omni_tokenizers.optional import need

RESOLUTIONS = ((1024, 256), (512, 128), (256, 64))  # window and hop, samples
AUDIBLE = 1e-3  # amplitude below which differences of the controls stop to count, −60 dB
FLOOR = 3e-3  # the same for a bin of a spectrum
EVERY = 250  # steps between checkpoints
JUDGED = 500  # steps between scores


@dataclass(frozen=True)
class TrainSpec:
    """How the codec is trained."""

    frames: int = 32  # of 40 ms in a crop
    batch: int = 8
    sounded: int = 2500  # the step from which the sound is compared
    heard: int = 2  # crops of a batch whose sound is compared; it costs four times as much as the controls
    frozen: int = 2500  # the step from which the encoder is left as it is
    steps: int = 4000
    rate: float = 2e-3
    seed: int = 0


def batch_of(pool: list[Speech], spec: TrainSpec, step: int, ahead: int) -> dict[str, Tensor]:
    """The crops of one step, by name, [batch, …]; features have `ahead` frames more."""
    random = Random(spec.seed * 1_000_003 + step)
    rows = []
    for _ in range(spec.batch):
        part = random.choices(pool, [piece.frames for piece in pool])[0]
        at = random.randrange(part.frames - spec.frames - ahead)
        row = part.cut(at, spec.frames)
        row["features"] = part.features[at : at + spec.frames + ahead].float()
        rows.append(row)
    return {name: torch.stack([row[name] for row in rows]) for name in rows[0]}


def control_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """L1 of log amplitudes, and of how they move from step to step, where they can be heard."""
    a, b = ((x.exp() + AUDIBLE).log() for x in (ours, theirs))
    moved = (a[:, 1:] - a[:, :-1]) - (b[:, 1:] - b[:, :-1])
    return (a - b).abs().mean() + 0.5 * moved.abs().mean()


def spectral_distance(ours: Tensor, theirs: Tensor) -> Tensor:
    """Mean over resolutions of the L1 distance of log magnitudes plus the relative distance of magnitudes."""
    total = ours.new_zeros(())
    for size, hop in RESOLUTIONS:
        window = torch.hann_window(size)
        window = window / window.square().sum().sqrt()
        a, b = (torch.stft(x, size, hop, window=window, return_complex=True) for x in (ours, theirs))
        a, b = ((x.real.square() + x.imag.square() + 1e-10).sqrt() for x in (a, b))
        top = int(size * 8500 / RATE)  # what is above is faint in this voice
        log = ((a + FLOOR).log() - (b + FLOOR).log())[:, :top].abs().mean()
        total = total + log + (a - b).norm() / b.norm().clamp(min=0.1)
    return total / len(RESOLUTIONS)


def losses(net: CodecNet, batch: dict[str, Tensor], noise: Tensor | None) -> dict[str, Tensor]:
    """What is minimised, by name; the sound of as many crops as there is `noise` [crops, NOISE_BANDS, samples] for."""
    z = net.encoder(batch["features"], Memory())[:, net.spec.ahead :]
    said = net.decoder(net.fsq.quantize(z), batch["octaves"], Memory())
    voiced = batch["voiced"]
    off = (said.pitch / batch["pitch"]).log2().abs()  # octaves
    found = {
        "tone": control_distance(said.tone, batch["tone"]),
        "noise": control_distance(said.noise, batch["noise"]),
        "pitch": 20 * (voiced * off.clamp(max=0.2)).sum() / voiced.sum().clamp(min=1),
    }
    if noise is not None:
        # On the original's own pitch cycle, so that the filter is not taught to be vague by a pitch that is off.
        heard = slice(len(noise))
        loud = amplitudes(Controls(batch["pitch"][heard], said.tone[heard], said.noise[heard]))
        sound = mix(torch.zeros_like(loud[:, :1]), loud, signals(batch["turns"][heard], noise))
        found["sound"] = 2 * spectral_distance(sound[:, FRAME:], batch["sound"][heard, FRAME:])
    return found


def noise_of(table: Tensor, spec: TrainSpec, step: int) -> Tensor:
    """A piece of the noise for every crop that is heard, each from another place."""
    random = Random(step)
    starts = [random.randrange(NOISE_SAMPLES) for _ in range(spec.heard)]
    length = spec.frames * FRAME
    return torch.stack([table.roll(-start, 1)[:, :length] for start in starts])


def half_cosine(step: float, end: float) -> float:
    """From 1 to 0 in half a wave."""
    return 0.5 * (1 + float(np.cos(np.pi * min(step / end, 1))))


class Training:
    """The network, its optimiser and the step they are at."""

    def __init__(self, spec: TrainSpec, codec: CodecSpec) -> None:
        torch.manual_seed(spec.seed)
        self.spec = spec
        self.net = CodecNet(codec)
        self.step = 0
        self.table = noise_table()
        self._parameters = [*self.net.encoder.parameters(), *self.net.decoder.parameters()]
        groups = [{"params": list(part.parameters())} for part in (self.net.encoder, self.net.decoder)]
        self._optimizer = torch.optim.AdamW(groups, lr=spec.rate, betas=(0.9, 0.98), weight_decay=0.01)

    def advance(self, pool: list[Speech]) -> dict[str, Tensor]:
        """One step; returns the losses by name."""
        spec, step = self.spec, self.step
        warm = min(1.0, (step + 1) / 200)
        encoder, decoder = self._optimizer.param_groups
        encoder["lr"] = spec.rate * warm * half_cosine(step, 1.2 * spec.frozen)
        decoder["lr"] = spec.rate * warm * (0.02 + 0.98 * half_cosine(step, spec.steps))
        self.net.encoder.requires_grad_(step < spec.frozen)
        noise = noise_of(self.table, spec, step) if step >= spec.sounded else None
        found = losses(self.net, batch_of(pool, spec, step, self.net.spec.ahead), noise)
        self._optimizer.zero_grad(set_to_none=True)
        torch.stack(list(found.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_([p for p in self._parameters if p.grad is not None], 1.0)
        self._optimizer.step()
        self.step += 1
        return found

    def save(self, file: Path) -> None:
        """Write everything that the next step depends on."""
        tensors = {f"net.{name}": tensor.contiguous() for name, tensor in self.net.state_dict().items()}
        for place, parameter in enumerate(self._parameters):
            state = self._optimizer.state[parameter]
            tensors |= {f"{name}.{place}": state[name] for name in ("step", "exp_avg", "exp_avg_sq")}
        tensors["at"] = torch.tensor(self.step)
        with replacing(file) as beside:
            save_file(tensors, beside)

    def load(self, file: Path) -> None:
        """Go on where `save` left off."""
        tensors = load_file(file)
        self.step = int(tensors["at"])
        self.net.load_state_dict({k[4:]: v for k, v in tensors.items() if k.startswith("net.")})
        for place, parameter in enumerate(self._parameters):
            self._optimizer.state[parameter] = {
                name: tensors[f"{name}.{place}"] for name in ("step", "exp_avg", "exp_avg_sq")
            }


def main() -> int:
    """Train until the steps are done."""
    parser = argparse.ArgumentParser(description="Train nano's codec.")
    parser.add_argument("out", type=Path, help="the checkpoint, the log, the data and the finished codec are kept here")
    parser.add_argument("--steps", type=int, default=TrainSpec.steps)
    args = parser.parse_args()
    spec = TrainSpec(steps=args.steps)
    torch.set_num_threads(1)
    for package in ("pystoi", "pesq"):
        need(package, extra="scores", use="scoring the codec on the way")
    args.out.mkdir(parents=True, exist_ok=True)
    pool = [speech(UTTERANCES, seed, "train", args.out / f"train{part}.safetensors") for part, seed in enumerate(SEEDS)]
    judged = [utterance(text) for text in sentences(10, 5, "dev")]
    training, state = Training(spec, CodecSpec()), args.out / "state.safetensors"
    if state.exists():
        training.load(state)
    minutes = sum(piece.frames for piece in pool) * FRAME / RATE / 60
    print(f"{minutes:.0f} minutes of speech, from step {training.step} to {spec.steps}", flush=True)
    begun = time.monotonic()
    with (args.out / "log.jsonl").open("a") as log:
        while training.step < spec.steps:
            found = training.advance(pool)
            if training.step % 50 == 0:
                line = {"step": training.step} | {name: round(value.item(), 4) for name, value in found.items()}
                line["seconds"] = round(time.monotonic() - begun, 1)
                print(json.dumps(line), file=log, flush=True)
            if training.step % EVERY == 0 or training.step == spec.steps:
                training.save(state)
            if training.step % JUDGED == 0 or training.step == spec.steps:
                codec = NanoCodec(CodecNet(training.net.spec))
                codec.net.load_state_dict(training.net.state_dict())
                codec.save(args.out / ("frozen" if training.step >= spec.frozen else "early"))
                scores = {name: round(float(np.mean(x)), 3) for name, x in likeness(codec, judged).items()}
                print(json.dumps({"step": training.step} | scores), file=log, flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
