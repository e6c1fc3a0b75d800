"""What stands behind a pool: small heads of published picture models."""

from torch import Tensor, nn


def tanh_head(width: int, out: int) -> nn.Module:
    """A linear layer and tanh: the pooler that ViT inherited from BERT."""
    return nn.Sequential(nn.Linear(width, out), nn.Tanh())


class TwoHeads(nn.Module):
    """DeiT: one classifier on the class token, one on the distillation token; together, their mean."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.label = nn.Linear(width, classes)
        self.teacher = nn.Linear(width, classes)

    def both(self, pooled: Tensor) -> tuple[Tensor, Tensor]:
        """Logits [batch, classes] to compare with the labels, and logits to compare with a teacher."""
        return self.label(pooled[:, 0]), self.teacher(pooled[:, 1])

    def forward(self, pooled: Tensor) -> Tensor:
        """[batch, 2, width] → logits [batch, classes]."""
        label, teacher = self.both(pooled)
        return (label + teacher) / 2
