"""wav2vec 2.0's pretraining: hide spans of an utterance, and let the stack pick what was there.

Spans and negatives come from the tokenizer library, drawn from a seed that belongs to the example:
`span_masks(frames, seeds)` and `batch_negatives(masks, seeds)`. WavLM's variant lets the stack hear the utterance
under noise or under a second voice (`mix`) and asks for what the clean one says: give both.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from omni.model.losses.contrastive import contrastive, diversity
from omni.model.speech_encoder import SpeechEncoder
from omni_tokenizers.audio.quantizer import GumbelQuantizer


@dataclass(frozen=True)
class Pretrained:
    """One pretraining step. Losses are summed over the hidden frames: divide by `count` for a mean."""

    loss: Tensor  # ()
    contrastive: Tensor  # ()
    diversity: Tensor  # ()
    right: Tensor  # (), hidden frames picked rightly
    count: Tensor  # (), hidden frames
    perplexity: Tensor  # (), code entries in use
    context: Tensor  # [batch, frames, shared]
    targets: Tensor  # [batch, frames, shared]


class MaskedSpeech(nn.Module):
    """A speech encoder, a quantizer, and the space in which what was heard and what was hidden are compared."""

    def __init__(
        self,
        encoder: SpeechEncoder,
        *,
        groups: int = 2,
        entries: int = 320,
        size: int = 256,
        shared: int = 256,
        temperature: float = 0.1,
        diversity: float = 0.1,
    ) -> None:
        super().__init__()
        if encoder.hidden is None:
            raise ValueError("the encoder has no vector for hidden frames: build it with hides=True")
        self.encoder = encoder
        self.quantizer = GumbelQuantizer(encoder.spec.features.channels[-1], groups=groups, entries=entries, size=size)
        self.project_quantized = nn.Linear(size, shared)
        self.project_context = nn.Linear(encoder.spec.stack.block.width, shared)
        self.temperature = temperature
        self.diversity_weight = diversity

    def forward(
        self,
        samples: Tensor,  # [batch, samples]
        hide: Tensor,  # bool [batch, frames]
        negatives: Tensor,  # [batch, frames, count], indices into the batch's frames laid end to end
        lengths: Tensor | None = None,  # [batch], real samples
        *,
        clean: Tensor
        | None = None,  # [batch, samples], the utterance alone, where `samples` has something laid over it
        generator: torch.Generator | None = None,  # draws the quantizer's noise
    ) -> Pretrained:
        """Hear with the hidden frames blotted out, quantize what they were, and compare."""
        heard = self.encoder(samples, lengths, hide=hide)
        features = heard.features
        if clean is not None:
            features = self.encoder.feature_norm(self.encoder.features(clean, lengths))
        quantized = self.quantizer(features, hide, generator)
        context = self.project_context(heard.frames)
        targets = self.project_quantized(quantized.vectors)
        task = contrastive(context, targets, quantized.codes, hide, negatives, self.temperature)
        entries = self.quantizer.groups * self.quantizer.entries
        spread = diversity(quantized.perplexity, entries, task.count)
        return Pretrained(
            task.loss + self.diversity_weight * spread,
            task.loss,
            spread,
            task.right,
            task.count,
            quantized.perplexity,
            context,
            targets,
        )
