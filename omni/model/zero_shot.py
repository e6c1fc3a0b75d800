"""Classifying pictures by describing the classes: no training, only a two-tower model and a few sentences."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from omni.model.two_tower import TwoTower

TEMPLATES = (
    "a photo of a {}.",
    "a bad photo of a {}.",
    "a photo of the large {}.",
    "a photo of the small {}.",
    "a drawing of a {}.",
    "a close-up photo of a {}.",
    "itap of a {}.",
)  # in the manner of CLIP's own: several descriptions of a class, averaged, beat one


@dataclass(frozen=True)
class ZeroShot:
    """A classifier whose weights are sentences."""

    model: TwoTower
    labels: tuple[str, ...]
    weights: Tensor  # [classes, shared width], each of length 1

    @classmethod
    def of(
        cls,
        model: TwoTower,
        tokenize: Callable[[Sequence[str]], Tensor],
        labels: Iterable[str],
        templates: Sequence[str] = TEMPLATES,
    ) -> "ZeroShot":
        """`tokenize` turns sentences into ids [sentences, tokens], padded as the text tower was trained."""
        labels = tuple(labels)
        wrong = [template for template in templates if "{}" not in template]
        if not labels or not templates or wrong:
            raise ValueError(
                f"labels and templates must not be empty, and {wrong or 'each template'} must contain {{}}"
            )
        device = model.log_scale.device
        rows = []
        with torch.no_grad():
            for label in labels:
                ids = tokenize([template.format(label) for template in templates]).to(device)
                rows.append(F.normalize(model.text_vectors(ids).mean(0), dim=0))
        return cls(model, labels, torch.stack(rows))

    def logits(self, images: Tensor, grids: Sequence[tuple[int, int]] | None = None) -> Tensor:
        """Pictures → [batch, classes]."""
        with torch.no_grad():
            return self.model.logits(self.model.image_vectors(images, grids), self.weights)

    def probabilities(self, images: Tensor, grids: Sequence[tuple[int, int]] | None = None) -> Tensor:
        """[batch, classes]: shares of one for CLIP, a yes or no for each class for SigLIP, which has a bias."""
        logits = self.logits(images, grids)
        return logits.softmax(-1) if self.model.bias is None else logits.sigmoid()

    def __call__(self, images: Tensor, grids: Sequence[tuple[int, int]] | None = None) -> list[str]:
        """The best label of each picture."""
        return [self.labels[i] for i in self.logits(images, grids).argmax(-1).tolist()]
