"""Two towers learn which sentence belongs to which picture, and then name things they never saw together.

A picture tower and a text tower are trained on drawn pictures with their descriptions, with CLIP's loss and with
SigLIP's. Eight of the 64 combinations of colour and shape are kept out: no red circle is ever shown, nor its name.
Then a class is a few sentences and nothing else, and a picture gets the label whose sentences lie nearest. What is read
off is whether "red" and "circle" were learned as two things that can be put together. Shown is what SigLIP says to the
likeliest labels, a yes or no to each in percent; the right one is green.
"""

from collections.abc import Iterable, Sequence
from random import Random

import numpy as np
import torch
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from stage import open_stage, train
from torch import Tensor, nn
from tqdm import tqdm
from worlds.shapes import DIAGONAL, LABELS, show

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.losses.pairs import CLIP_LOG_SCALE, SIGLIP_BIAS, SIGLIP_LOG_SCALE, clip_loss, siglip_loss
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.patch_embed import PatchSpec
from omni.model.pool import Mean
from omni.model.stack import StackSpec
from omni.model.two_tower import TextSpec, TextTower, TwoTower
from omni.model.vision import VisionSpec, VisionTransformer
from omni.model.zero_shot import ZeroShot
from omni_tokenizers import Text
from omni_tokenizers.image import LongestSide, Patches

TEMPLATES = ("a {}", "the {}", "a picture of a {}", "a drawing of a {}", "this is a {}")
KNOWN = [label for label in LABELS if label not in DIAGONAL]
LENGTH, BATCH, WIDTH, RATE = 12, 48, 64, 3e-3  # tokens, pairs, –, –

text = Text.train([t.format(label) for t in TEMPLATES for label in LABELS], vocab_size=360, special=["<|end|>"])
patches = Patches(8, resize=LongestSide(32))


def tokenize(sentences: Sequence[str]) -> Tensor:
    """Ids [sentences, LENGTH]; the end is the largest id, and the place that the text tower reads."""
    end = text.special["<|end|>"]
    return torch.tensor([(text.encode(sentence) + [end] * LENGTH)[:LENGTH] for sentence in sentences])


def see(pictures: Iterable[NDArray[np.uint8]]) -> Tensor:
    """Pictures as patches [pictures, 16, 8·8·3]."""
    return torch.stack([torch.from_numpy(grid.values) for grid in patches.encode_batch(pictures)])


def towers(bias: float | None) -> TwoTower:
    stack = StackSpec(BlockSpec(WIDTH, AttentionSpec(4), MlpSpec(3 * WIDTH)), 3, final_norm=Norm())
    vision = VisionTransformer(VisionSpec(stack, PatchSpec(8), (4, 4)), pool=Mean(), head=nn.Linear(WIDTH, 48))
    words = TextTower(TextSpec(text.size, LENGTH, stack), nn.Linear(WIDTH, 48))
    return TwoTower(vision, words, log_scale=CLIP_LOG_SCALE if bias is None else SIGLIP_LOG_SCALE, bias=bias)


stage = open_stage(__doc__, "zero_shot")
steps, each = (5, 1) if stage.quick else (600, 30)  # optimiser steps; pictures of a label to learn from
random = Random(0)
library = {label: see(show(label, random) for _ in range(each)) for label in tqdm(KNOWN, desc="drawing", mininterval=1)}
held = {label: [show(label, random) for _ in range(2 if stage.quick else 12)] for label in DIAGONAL}
results = {}
for name, bias in (("CLIP", None), ("SigLIP", SIGLIP_BIAS)):
    torch.manual_seed(0)
    model = towers(bias)

    def pair(_: int, model: TwoTower = model) -> Tensor:
        labels = random.sample(KNOWN, BATCH)  # each at most once: no picture has two right sentences
        image = model.image_vectors(torch.stack([random.choice(library[label]) for label in labels]))
        words = model.text_vectors(tokenize([random.choice(TEMPLATES).format(label) for label in labels]))
        scale = model.log_scale.exp()
        return clip_loss(image, words, scale) if model.bias is None else siglip_loss(image, words, scale, model.bias)

    train(model, steps, RATE, name, pair)
    results[name] = ZeroShot.of(model.eval(), tokenize, LABELS, TEMPLATES)

findings = []
for name, classify in results.items():
    right = sum(said == label for label in DIAGONAL for said in classify(see(held[label])))
    total = sum(map(len, held.values()))
    findings.append(f"{name}: {right} of {total} pictures of unseen combinations among 64 labels (chance: 1 in 64)")
classify = results["SigLIP"]
figure = plt.figure(figsize=(11, 5.2), layout="constrained")
figure.suptitle("Zero-shot: named from sentences alone, in combinations that the training never showed")
for axis, label in zip(figure.subplots(2, 4).flat, DIAGONAL, strict=True):
    chances = classify.probabilities(see(held[label][:1]))[0]
    best = chances.topk(4)
    axis.barh(range(4), best.values * 100, color=["#08705a" if LABELS[i] == label else "0.75" for i in best.indices])
    axis.set(xlim=(0, 100), yticks=range(4), yticklabels=[LABELS[i] for i in best.indices], title=f"shown: {label}")
    axis.invert_yaxis()
    picture = axis.inset_axes((0.62, 0.02, 0.38, 0.5))
    picture.imshow(held[label][0])
    picture.set(xticks=[], yticks=[])
stage.close(figure, *findings)
