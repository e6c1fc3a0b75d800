"""Images to patches against the published processors, one thread."""

import warnings
from collections.abc import Iterable

import numpy as np
import torch

from omni_tokenizers.image import NaFlex, Patches, SmartResize, Square
from tests.benchmarks.harness import Row, compare

BAR = 3.0  # times the speed of the fastest peer


def rows(quick: bool) -> Iterable[Row]:
    """A photograph-like 1024×768 image, as a Pillow image and as an array, to the tokens of three models."""
    from PIL import Image
    from timm.data import create_transform
    from transformers import Qwen2VLImageProcessor, Siglip2ImageProcessor, ViTImageProcessor

    warnings.filterwarnings("ignore", category=UserWarning)  # transformers: about the backend it chose
    coarse = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((1024, 768))
    array = np.array(picture)
    tensor = torch.from_numpy(array).permute(2, 0, 1)  # [3, h, w]
    runs = 15 if quick else 101

    ours = Patches(16, resize=Square(224))
    vit = ViTImageProcessor()
    transform = create_transform((3, 224, 224), crop_pct=1.0, crop_mode="squash", interpolation="bilinear")
    yield from compare(
        "1024×768 PIL image → 14×14 patches",
        lambda: ours.encode(picture),
        {
            "transformers ViT fast": lambda: vit(picture, return_tensors="pt"),
            "timm transform": lambda: transform(picture),
        },
        bar=BAR,
        runs=runs,
    )
    yield from compare(
        "1024×768 array → 14×14 patches",
        lambda: ours.encode(array),
        {
            "transformers ViT fast": lambda: vit(array, return_tensors="pt"),
            "transformers ViT fast, tensor": lambda: vit(tensor, return_tensors="pt"),
        },
        bar=BAR,
        runs=runs,
    )

    flexible, siglip2 = Patches(16, resize=NaFlex(256)), Siglip2ImageProcessor()
    yield from compare(
        "1024×768 array → NaFlex, 256 patches",
        lambda: flexible.encode(array),
        {"transformers SigLIP 2 fast": lambda: siglip2(array, return_tensors="pt")},
        runs=runs,
    )
    smart, qwen = Patches(14, resize=SmartResize(), order="qwen", normalize="clip"), Qwen2VLImageProcessor()
    yield from compare(
        "1024×768 array → Qwen2-VL, 3996 patches",
        lambda: smart.encode(array),
        {"transformers Qwen2-VL fast": lambda: qwen(array, return_tensors="pt")},
        runs=max(runs // 5, 3),
    )
    if torch.cuda.is_available():
        yield from _on_gpu(array, runs)


def _on_gpu(array: np.ndarray, runs: int) -> Iterable[Row]:
    """The same image on the GPU, the copy to it included."""
    from transformers import ViTImageProcessor

    ours, vit = Patches(16, resize=Square(224), device="cuda"), ViTImageProcessor()

    def encode() -> None:
        ours.encode(array)
        torch.cuda.synchronize()

    def process() -> None:
        vit(array, return_tensors="pt", device="cuda")
        torch.cuda.synchronize()

    yield from compare(
        "1024×768 array → 14×14 patches on the GPU", encode, {"transformers ViT fast": process}, runs=runs
    )
