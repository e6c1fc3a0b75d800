"""Patches on a GPU: the CPU's values, within two levels where the image is scaled."""

import numpy as np
import pytest
import torch

from omni_tokenizers.image import Exact, NaFlex, Patches, Resize, SmartResize, Square, Tiles, pad_patches

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
]


@pytest.mark.parametrize(
    "policy", [Exact(), Square(112), NaFlex(64), SmartResize(max_pixels=200_000), Tiles(112)], ids=repr
)
@pytest.mark.parametrize("order", ["hwc", "chw", "qwen"])
def test_the_gpu_gives_the_values_of_the_cpu(policy: Resize, order: str) -> None:
    image = np.random.default_rng(0).integers(0, 256, (224, 448, 3), dtype=np.uint8)
    cpu = Patches(14, resize=policy, order=order, normalize="none").encode(image)
    on_gpu = Patches(14, resize=policy, order=order, normalize="none", device="cuda")
    for source in (image, torch.from_numpy(image).permute(2, 0, 1).cuda()):
        gpu = on_gpu.encode(source)
        assert isinstance(gpu.values, torch.Tensor)
        assert gpu.values.is_cuda
        assert gpu.grids == cpu.grids
        levels = np.abs(gpu.values.cpu().numpy() - np.asarray(cpu.values)) * 255
        assert levels.max() < (0.01 if policy == Exact() else 2.01)
        assert levels.mean() < 0.02
    assert pad_patches([gpu, gpu]).values.is_cuda
