"""The losses of two-tower models against their formulae, and the memory that the chunked form saves."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks
from torch.nn import functional as F

from omni.model.losses.pairs import clip_loss, siglip_loss


def pairs(n: int, width: int = 8) -> tuple[Tensor, Tensor]:
    """Vectors of length 1 that ask for gradients."""
    generator = torch.Generator().manual_seed(0)
    made = [F.normalize(torch.randn(n, width, generator=generator), dim=-1).requires_grad_() for _ in range(2)]
    return made[0], made[1]


def test_clip_is_the_mean_of_two_cross_entropies() -> None:
    image, text = (t.detach() for t in pairs(5))
    total = 0.0
    for one, other in ((image, text), (text, image)):
        for i in range(5):
            scores = [math.exp(3.0 * float(one[i] @ other[j])) for j in range(5)]
            total -= math.log(scores[i] / sum(scores))
    assert float(clip_loss(image, text, 3.0)) == pytest.approx(total / 10, rel=1e-5)


def test_siglip_asks_a_yes_or_no_of_every_combination() -> None:
    image, text = (t.detach() for t in pairs(5))
    total = 0.0
    for i in range(5):
        for j in range(5):
            z = 1 if i == j else -1
            total += math.log(1 + math.exp(-z * (3.0 * float(image[i] @ text[j]) - 2.0)))
    assert float(siglip_loss(image, text, 3.0, -2.0)) == pytest.approx(total / 5, rel=1e-5)


@pytest.mark.parametrize("chunk", [1, 3, 7, 100])
def test_the_chunked_form_has_the_same_value_and_gradients(chunk: int) -> None:
    results = []
    for size in (None, chunk):
        image, text = pairs(7)
        scale, bias = torch.tensor(4.0, requires_grad=True), torch.tensor(-3.0, requires_grad=True)
        loss = siglip_loss(image, text, scale, bias, chunk=size)
        loss.backward()
        results.append([loss, image.grad, text.grad, scale.grad, bias.grad])
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def largest_kept(chunk: int | None, n: int = 256) -> int:
    """Numbers in the largest tensor that is kept for the backward pass."""
    sizes = [0]

    def note(t: Tensor) -> Tensor:
        sizes.append(t.numel())
        return t

    image, text = pairs(n)
    scale = torch.tensor(4.0, requires_grad=True)
    with saved_tensors_hooks(note, lambda t: t):
        siglip_loss(image, text, scale, -3.0, chunk=chunk)
    return max(sizes)


def test_the_chunked_form_keeps_no_matrix_of_all_combinations() -> None:
    assert largest_kept(None) >= 256 * 256
    assert largest_kept(16) <= 256 * 16


def test_vectors_that_are_no_pairs_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(3, 8\).*\(4, 8\)"):
        clip_loss(torch.randn(3, 8), torch.randn(4, 8), 1.0)
