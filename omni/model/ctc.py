"""A speech encoder with a linear head that spells: a letter or a blank for every frame."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from omni.model.losses.ctc import IGNORE, ctc_loss
from omni.model.speech_encoder import SpeechEncoder


class CtcModel(nn.Module):
    """Samples to logits over characters; fine-tunes a pretrained encoder."""

    def __init__(self, encoder: SpeechEncoder, vocabulary: int, *, blank: int = 0) -> None:
        super().__init__()
        if not 0 <= blank < vocabulary:
            raise ValueError(f"blank is {blank}; it is one of the {vocabulary} characters, from 0 to {vocabulary - 1}")
        self.encoder = encoder
        self.blank = blank
        self.head = nn.Linear(encoder.spec.stack.block.width, vocabulary)

    def forward(
        self, samples: Tensor, lengths: Tensor | None = None, hide: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Samples [batch, samples] → logits [batch, frames, vocabulary] and the real frames [batch] of each row."""
        heard = self.encoder(samples, lengths, hide=hide)
        logits = self.head(heard.frames)
        if heard.lengths is not None:
            return logits, heard.lengths
        return logits, torch.full((len(samples),), logits.shape[1], device=samples.device)

    def loss(
        self,
        samples: Tensor,
        labels: Tensor | Sequence[Sequence[int]],
        lengths: Tensor | None = None,
        *,
        hide: Tensor | None = None,
        reduction: Literal["none", "sum", "mean"] = "mean",
        skip_impossible: bool = False,
    ) -> Tensor:
        """The CTC loss of the labels, given as lists or as a tensor whose rows are filled up with −100."""
        if not isinstance(labels, Tensor):
            longest = max(map(len, labels), default=0)
            labels = torch.tensor([[*row, *[IGNORE] * (longest - len(row))] for row in labels], device=samples.device)
        logits, count = self(samples, lengths, hide)
        return ctc_loss(logits, count, labels, blank=self.blank, reduction=reduction, skip_impossible=skip_impossible)

    def freeze_features(self) -> None:
        """Train the stack and the head alone, as the published fine-tuning does: few labels cannot teach sound."""
        self.encoder.features.requires_grad_(False)
