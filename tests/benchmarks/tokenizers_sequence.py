"""How fast sequences are put together, and their positions against the published function."""

from collections.abc import Iterable
from types import MethodType, SimpleNamespace
from typing import Any

import numpy as np

from omni_tokenizers.image import Patches
from omni_tokenizers.sequence import Image, Omni, mrope
from omni_tokenizers.text import Text
from tests.benchmarks.harness import Row, compare

IMAGES = 32  # in one sequence
SIDE = 20  # merged patches on each side of an image
WORDS = 50  # bytes of text between two images


def rows(quick: bool) -> Iterable[Row]:
    """Time against the function of Qwen2-VL, and ten small sequences beside one of ten times the size."""
    import torch

    runs = 5 if quick else 15
    omni = Omni(text=Text.of_bytes(), image=Patches(1))
    picture = np.zeros((SIDE, SIDE, 3), np.uint8)
    parts = ["x" * WORDS, Image(picture)] * IMAGES
    sequence = omni.encode(parts)
    published = _published()
    types = torch.tensor([[0 if span.modality == "text" else 1 for span in sequence.spans for _ in range(span.length)]])
    grids = torch.full((IMAGES, 3), SIDE)
    grids[:, 0] = 1
    ids = torch.zeros_like(types)
    yield from compare(
        f"M-RoPE positions of {IMAGES} images, {len(sequence):,} tokens",
        lambda: mrope(sequence.spans),
        {"transformers": lambda: published.get_rope_index(ids, types, image_grid_thw=grids)},
        runs=runs,
        bar=1.0,
    )
    # Encoding is linear: ten times the parts at once cost what ten sequences cost.
    ten = parts * 10
    yield from compare(
        f"encode {len(ten)} parts at once",
        lambda: omni.encode(ten),
        {"ten times a tenth of them": lambda: [omni.encode(parts) for _ in range(10)]},
        runs=runs,
        bar=0.8,
    )


def _published() -> Any:
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel

    model = SimpleNamespace(config=SimpleNamespace(vision_config=SimpleNamespace(spatial_merge_size=1)))
    model.get_vision_position_ids = MethodType(Qwen2VLModel.get_vision_position_ids, model)
    model.get_rope_index = MethodType(Qwen2VLModel.get_rope_index, model)
    return model
