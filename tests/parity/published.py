"""What every parity test does: a published model with random weights, loaded here, gives equal numbers and gradients.

Gradients are compared through the same names as weights: a second checkpoint holds, in the place of each of their
weights, its gradient; loaded here, it must equal the gradients of ours.
"""

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from omni.model.load import Checkpoint, load

TOLERANCE = 1e-5  # largest difference, relative to the largest value


def randomise(model: nn.Module, seed: int = 0, skip: Iterable[str] = ()) -> nn.Module:
    """Draw every weight anew, norms, biases and position tables too, so that none can hide by being 0 or 1.

    `skip` names parameters that stay as they are, by a part of their name.
    """
    generator = torch.Generator().manual_seed(seed)
    skip = tuple(skip)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if any(part in name for part in skip):
                continue
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim < 2:  # norms, biases, layer scale: around what they are
                parameter.add_(0.2 * noise)
            else:
                fan = math.prod(parameter.shape[1:]) if parameter.shape[0] > 1 else 4
                parameter.copy_(noise / max(fan, 4) ** 0.5)
    return model


def write(model: nn.Module, folder: Path) -> None:
    """The model as its own library writes it, or as one safetensors file where it has no way to."""
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(model, "save_pretrained"):
        model.save_pretrained(folder)
    else:
        save_file(
            {n: t.detach().clone().contiguous() for n, t in model.state_dict().items()}, folder / "model.safetensors"
        )


def save_random(
    model: nn.Module,
    folder: Path,
    *,
    seed: int = 0,
    skip: Iterable[str] = (),
    write: Callable[[nn.Module, Path], None] = write,
) -> nn.Module:
    """Give a published model random weights, in evaluation mode, and save it; `write` is how, where it is special."""
    randomise(model, seed, skip)
    model.eval()
    write(model, folder)
    return model


def distance(ours: Tensor, theirs: Tensor) -> float:
    """Largest difference, relative to the largest of their values."""
    assert ours.shape == theirs.shape, f"ours has shape {tuple(ours.shape)}, theirs {tuple(theirs.shape)}"
    ours, theirs = ours.detach().double(), theirs.detach().double()
    return float((ours - theirs).abs().max() / theirs.abs().max().clamp_min(1e-30))


def assert_same_numbers(ours: Tensor, theirs: Tensor, tolerance: float = TOLERANCE) -> None:
    """Two tensors are equal to `tolerance`, relative to the largest value, and neither is trivial."""
    assert torch.isfinite(theirs).all()
    assert theirs.detach().abs().max() > 0, "theirs is all zeros: the comparison would prove nothing"
    found = distance(ours, theirs)
    assert found <= tolerance, (
        f"ours differs from theirs by {found:.2e} of the largest value; {tolerance:.0e} is allowed"
    )


def assert_same_gradients(
    ours: nn.Module,
    theirs: nn.Module,
    folder: Path,
    *,
    tolerance: float = TOLERANCE,
    write: Callable[[nn.Module, Path], None] = write,
    pick: Callable[[Checkpoint], nn.Module] = lambda checkpoint: checkpoint.model,
) -> None:
    """After both ran backward from the same loss: the gradients of all of our weights are theirs.

    Turns the weights of `theirs` into its gradients and saves them to `folder`, so it comes last in a test. The
    largest gradient of the whole model sets the scale for those that are zero by symmetry, such as a key's bias.
    """
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.copy_(torch.zeros_like(parameter) if parameter.grad is None else parameter.grad)
    write(theirs, folder)
    expected = dict(pick(load(folder)).named_parameters())
    largest = max(float(p.detach().abs().max()) for p in expected.values())
    assert largest > 0, "their gradients are all zero: the comparison would prove nothing"
    for name, parameter in ours.named_parameters():
        want = expected[name].detach()
        grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
        scale = max(float(want.abs().max()), 1e-2 * largest)
        found = float((grad.double() - want.double()).abs().max()) / scale
        assert found <= tolerance, f"the gradient of {name} differs by {found:.2e}; {tolerance:.0e} is allowed"
