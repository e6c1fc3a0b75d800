"""ViT-B/16 forward and training step, beside transformers and timm with the same weights' shapes."""

from collections.abc import Callable, Iterable
from dataclasses import replace

import timm
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks
from transformers import ViTConfig, ViTForImageClassification

from omni.model.vision import VisionTransformer
from omni.model.vision_sizes import VIT
from tests.benchmarks.harness import Row, compare

CLASSES = 1000
BATCH = 1
QUICK_DEPTH = 3  # layers, of 12: bfloat16 without hardware for it takes seconds a step
BAR = 1.0


def models(dtype: torch.dtype, depth: int) -> dict[str, Callable[[Tensor], Tensor]]:
    """Ours under no name, and the peers; each maps pixels to logits."""
    torch.manual_seed(0)
    ours = VisionTransformer(replace(VIT["base"], depth=depth).spec(), head=nn.Linear(768, CLASSES))
    theirs = ViTForImageClassification(ViTConfig(num_labels=CLASSES, num_hidden_layers=depth))
    timms = timm.create_model("vit_base_patch16_224", num_classes=CLASSES, depth=depth)
    found: dict[str, nn.Module] = {"": ours, "transformers": theirs, "timm": timms}
    for model in found.values():
        model.to(dtype).eval()
    return {"": ours, "transformers": lambda x: theirs(x).logits, "timm": timms}


def step(model: Callable[[Tensor], Tensor], images: Tensor, labels: Tensor) -> None:
    """Forward, cross-entropy and backward; the optimiser is the same for all and left out."""
    nn.functional.cross_entropy(model(images).float(), labels).backward()


def kept(model: Callable[[Tensor], Tensor], images: Tensor) -> float:
    """Megabytes of activations that the backward pass holds on to."""
    storages: dict[int, int] = {}

    def note(t: Tensor) -> Tensor:
        if not t.is_leaf or not t.requires_grad:
            storages[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
        return t

    with saved_tensors_hooks(note, lambda t: t):
        model(images)
    return sum(storages.values()) / 1e6


def rows(quick: bool) -> Iterable[Row]:
    """Time and memory in float32 and bfloat16."""
    depth = QUICK_DEPTH if quick else VIT["base"].depth
    model_name = "ViT-B/16" + (f" with {depth} of 12 layers" if quick else "")
    for dtype in (torch.float32, torch.bfloat16):
        name = str(dtype).removeprefix("torch.")
        runs = 5 if quick or dtype == torch.bfloat16 else 11
        contestants = models(dtype, depth)
        images = torch.randn(BATCH, 3, 224, 224, dtype=dtype)
        labels = torch.randint(0, CLASSES, (BATCH,))
        ours, peers = contestants[""], {n: m for n, m in contestants.items() if n}

        def forward(model: Callable[[Tensor], Tensor], images: Tensor = images) -> Callable[[], object]:
            def call() -> object:
                with torch.inference_mode():
                    return model(images)

            return call

        def train(
            model: Callable[[Tensor], Tensor], images: Tensor = images, labels: Tensor = labels
        ) -> Callable[[], object]:
            return lambda: step(model, images, labels)

        for work, way in (("forward", forward), ("training step", train)):
            yield from compare(
                f"{model_name} {work}, {name}, batch {BATCH}",
                way(ours),
                {n: way(m) for n, m in peers.items()},
                bar=BAR,
                runs=runs,
                warmup=1,
            )
        mine = kept(ours, images)
        for peer, model in peers.items():
            other = kept(model, images)
            work = f"{model_name}, activations kept for backward, {name}, batch {BATCH}"
            yield Row(work, mine, other, peer, "MB", other / mine, BAR, other / mine >= BAR, 1)
