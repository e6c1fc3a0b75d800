"""A small masked autoencoder that comes along, so that a reconstruction can be shown on any machine at once.

`python -m omni_server.inspect.painter` trains it again, in a quarter of an hour on half a core, and writes `painter/`.
Its pictures are drawn shapes, and smooth fields of colour so that it has some idea of a photograph's light.
"""

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.nn import functional as F

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.masked_autoencoder import MaeSpec, MaskedAutoencoder
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.patch_embed import PatchSpec
from omni.model.stack import StackSpec
from omni.model.vision import VisionSpec

SIDE, PATCH = 64, 8  # pixels
RATIO = 0.75  # of the patches, hidden
FOLDER = Path(__file__).parent / "painter"
STEPS, BATCH, RATE = 3000, 32, 2e-3
SMOOTH = 0.3  # of the pictures: fields of colour instead of shapes
HELD = 64  # pictures that are never trained on


@dataclass(frozen=True)
class Painting:
    """A picture, what was seen of it, and what was made of that: each uint8 [SIDE, SIDE, 3]."""

    drawn: NDArray[np.uint8]
    painted: NDArray[np.uint8]
    hidden: NDArray[np.bool_]  # [patches]
    error: float  # mean square on hidden patches, of pixels in −1 … 1
    plain: float  # the same when the mean of what is seen is painted everywhere


def untrained() -> MaskedAutoencoder:
    """The model before any training."""
    encoder = StackSpec(BlockSpec(96, AttentionSpec(4), MlpSpec(288)), 4, final_norm=Norm())
    decoder = StackSpec(BlockSpec(64, AttentionSpec(4), MlpSpec(192)), 1, final_norm=Norm())
    vision = VisionSpec(encoder, PatchSpec(PATCH), (SIDE // PATCH, SIDE // PATCH), positions="fixed")
    return MaskedAutoencoder(MaeSpec(vision, decoder, ratio=RATIO, normalised=False))


@cache
def painter() -> tuple[MaskedAutoencoder, str]:
    """The trained one, and what it was trained on."""
    model = untrained()
    model.load_state_dict({name: tensor.float() for name, tensor in load_file(FOLDER / "model.safetensors").items()})
    about = json.loads((FOLDER / "about.json").read_text(encoding="utf-8"))
    return model.eval(), str(about["trained_on"])


def paint(pixels: NDArray[np.uint8], seed: int) -> Painting:
    """Hide three quarters of a picture [SIDE, SIDE, 3] by the seed, and paint them again."""
    model, _ = painter()
    x = torch.from_numpy(pixels.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1  # [1, 3, SIDE, SIDE]
    with torch.inference_mode():
        painted = model(x, seeds=[seed])
        picture = model.picture(painted, x)[0]
    hidden = painted.hidden[0]
    return Painting(pixels, _as_pixels(picture), hidden.numpy(), float(painted.loss), _plain(painted.target[0], hidden))


def _plain(target: Tensor, hidden: Tensor) -> float:
    mean = target[~hidden].unflatten(-1, (-1, 3)).mean((0, 1)).repeat(PATCH * PATCH)  # [dim]: the colour that is seen
    return float(((target[hidden] - mean) ** 2).mean())


def _as_pixels(x: Tensor) -> NDArray[np.uint8]:
    scaled: NDArray[np.uint8] = ((x.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    return scaled


def _pictures(count: int, seed: int) -> Tensor:
    from omni.train.pictures import draw, random_scene

    random = Random(seed)
    drawn = np.stack([draw(random_scene(random, "figures")) for _ in range(count)])
    shapes = F.adaptive_avg_pool2d(torch.from_numpy(drawn).permute(0, 3, 1, 2).float(), SIDE) / 127.5 - 1
    generator = torch.Generator().manual_seed(seed)
    fields = torch.randn(count, 3, 4, 4, generator=generator) * 0.5
    fields = fields.mean(1, keepdim=True) * 0.8 + fields * 0.6 + torch.randn(count, 3, 1, 1, generator=generator) * 0.3
    smooth = F.interpolate(fields, size=(SIDE, SIDE), mode="bicubic").clamp(-1, 1)
    chosen = torch.rand(count, 1, 1, 1, generator=generator) < SMOOTH
    return torch.where(chosen, smooth, shapes)


def _train() -> None:
    torch.manual_seed(0)
    torch.set_num_threads(1)
    model = untrained()
    known, held = _pictures(4000, seed=1), _pictures(HELD, seed=2)
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, total_steps=STEPS)
    for step in range(STEPS):
        seeds = range(step * BATCH, (step + 1) * BATCH)
        loss = model(known[torch.randint(len(known), (BATCH,))], seeds=seeds).loss
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if step % 100 == 99:
            print(f"step {step + 1}: error on hidden patches {loss.item():.4f}", flush=True)
    with torch.inference_mode():
        error = float(model.eval()(held, seeds=range(HELD)).loss)
    FOLDER.mkdir(exist_ok=True)
    save_file(
        {name: tensor.half().contiguous() for name, tensor in model.state_dict().items()}, FOLDER / "model.safetensors"
    )
    about = {
        "trained_on": "drawn shapes and smooth fields of colour",
        "steps": STEPS,
        "batch": BATCH,
        "error_on_new_pictures": round(error, 5),
    }
    (FOLDER / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    print(f"error on hidden patches of {HELD} new pictures: {error:.4f}")


if __name__ == "__main__":
    _train()
