"""Two towers learn to find each other, and classify pictures from sentences alone."""

from collections.abc import Sequence

import pytest
import torch

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

COLORS = {"red": (1, 0, 0), "green": (0, 1, 0), "blue": (0, 0, 1), "white": (1, 1, 1)}
PLACES = ("left", "top")
WORDS = ["<end>", "a", "bar", "at", "the", *COLORS, *PLACES]  # the end is the id that is read
LABELS = [f"{color} bar at the {place}" for color in COLORS for place in PLACES]


def tokenize(sentences: Sequence[str]) -> torch.Tensor:
    """Words as ids, each text ended and padded by the largest id."""
    end = len(WORDS)
    rows = [[WORDS.index(word) for word in sentence.split()] + [end] for sentence in sentences]
    return torch.tensor([row + [end] * (8 - len(row)) for row in rows])


def draw(generator: torch.Generator) -> torch.Tensor:
    """One noisy picture [3, 16, 16] of each label."""
    pictures = 0.3 * torch.rand(len(LABELS), 3, 16, 16, generator=generator)
    for picture, label in zip(pictures, LABELS, strict=True):
        color, place = torch.tensor(COLORS[label.split()[0]], dtype=torch.float32), label.split()[-1]
        at = int(torch.randint(0, 5, (1,), generator=generator))
        part = slice(at, at + 3) if place in ("left", "top") else slice(13 - at, 16 - at)
        where = (slice(None), slice(None), part) if place in ("left", "right") else (slice(None), part, slice(None))
        picture[where] += color[:, None, None]
    return pictures


def towers(bias: float | None) -> TwoTower:
    """A small model of both kinds."""
    torch.manual_seed(0)
    block = BlockSpec(32, AttentionSpec(4), MlpSpec(64))
    stack = StackSpec(block, 2, final_norm=Norm())
    vision = VisionTransformer(VisionSpec(stack, PatchSpec(4), (4, 4)), pool=Mean(), head=torch.nn.Linear(32, 16))
    text = TextTower(TextSpec(len(WORDS) + 1, 8, stack), torch.nn.Linear(32, 16))
    return TwoTower(vision, text, log_scale=CLIP_LOG_SCALE if bias is None else SIGLIP_LOG_SCALE, bias=bias)


@pytest.mark.parametrize("kind", ["clip", "siglip"])
def test_pictures_find_their_sentences_far_above_chance_and_classify_without_training(kind: str) -> None:
    model = towers(None if kind == "clip" else SIGLIP_BIAS)
    optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3)
    generator = torch.Generator().manual_seed(0)
    for step in range(100 if kind == "clip" else 200):
        ids = tokenize([f"{('a', 'the')[step % 2]} {label}" for label in LABELS])
        image, text = model.image_vectors(draw(generator)), model.text_vectors(ids)
        scale = model.log_scale.exp()
        if kind == "clip":
            loss = clip_loss(image, text, scale)
        else:
            assert model.bias is not None
            loss = siglip_loss(image, text, scale, model.bias)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    held_out = torch.Generator().manual_seed(1)
    classify = ZeroShot.of(model.eval(), tokenize, LABELS, templates=["a {}", "the {}"])
    right = sum(
        given == label for _ in range(10) for given, label in zip(classify(draw(held_out)), LABELS, strict=True)
    )
    share = right / (10 * len(LABELS))
    assert share > 0.75, f"{share:.0%} of pictures find their sentence; chance is {1 / len(LABELS):.0%}"
    probabilities = classify.probabilities(draw(held_out))
    assert ((probabilities >= 0) & (probabilities <= 1)).all()
    if kind == "clip":
        torch.testing.assert_close(probabilities.sum(1), torch.ones(len(LABELS)))


def test_a_class_is_the_mean_of_its_descriptions_brought_to_length_1() -> None:
    model = towers(None).eval()
    weights = ZeroShot.of(model, tokenize, ["red", "blue"], templates=["a {}", "the {} bar"]).weights
    with torch.no_grad():
        mean = model.text_vectors(tokenize(["a blue", "the blue bar"])).mean(0)
    torch.testing.assert_close(weights[1], mean / mean.norm())


def test_templates_without_a_place_for_the_label_are_named() -> None:
    with pytest.raises(ValueError, match="a photo"):
        ZeroShot.of(towers(None), tokenize, ["red"], templates=["a photo"])
