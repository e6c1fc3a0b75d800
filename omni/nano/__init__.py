"""The small omni model that this repository trains, measures and ships, and the codec that it speaks with."""

from pathlib import Path

import torch

from omni.bundle import Bundle

WEIGHTS = Path(__file__).parent / "weights"


def load(*, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32) -> Bundle:
    """The shipped nano: model, tokenizers, script, and the codec it speaks with if it has learned to."""
    return Bundle.load(WEIGHTS, device=device, dtype=dtype)
