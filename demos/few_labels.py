"""wav2vec 2.0 in small: pretraining without labels, then CTC from few, beside the same network from scratch.

A small language is spoken in eight tones of wandering phase, loudness and length, in noise. First the encoder hears
utterances without labels, with spans of frames blotted out, and learns to pick what was there among other frames. Then
a linear head on top spells with CTC from a handful of labelled utterances, and so does the same network from scratch.
Picking is learned well, 45 % against 5 % by chance. It saves no labels at this size, where from scratch is as good or
better: 74 against 75 % of the phones wrong with 4 labelled utterances, 55 against 62 % with 16.
"""

from copy import deepcopy

import torch
from matplotlib import pyplot as plt
from stage import open_stage, train
from worlds.tones import PHONES, batch, share_wrong

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.ctc import CtcModel
from omni.model.masked_speech import MaskedSpeech
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.speech_encoder import SpeechEncoder, SpeechEncoderSpec
from omni.model.stack import StackSpec
from omni.speech.ctc_search import greedy
from omni_tokenizers.audio.negatives import batch_negatives
from omni_tokenizers.audio.spans import span_masks
from omni_tokenizers.audio.wav2vec_encoder import ConvShape

NORM = Norm("layer", eps=1e-5)
BATCH = 16  # utterances


def encoder() -> SpeechEncoder:
    stack = StackSpec(BlockSpec(64, AttentionSpec(4), MlpSpec(128), NORM), 2, final_norm=NORM)
    return SpeechEncoder(SpeechEncoderSpec(ConvShape("layer", (40, 8), (10, 4), (32, 32)), stack, kernel=16, groups=4))


def wrong_after(start: SpeechEncoder, labelled: int, steps: int) -> float:
    """Phones wrong in utterances never heard, in percent, after CTC on some labelled ones."""
    model = CtcModel(start, PHONES + 1)
    samples, lengths, phones = batch(range(2_000_000, 2_000_000 + labelled))

    def loss_of(_: int) -> torch.Tensor:
        chosen = torch.randperm(labelled)[:8]
        return model.loss(samples[chosen], [phones[i] for i in chosen], lengths[chosen]) / 8

    train(model, steps, 3e-3, f"spelling from {labelled}", loss_of)
    new, lengths, said = batch(range(3_000_000, 3_000_040))
    with torch.inference_mode():
        logits, counts = model.eval()(new, lengths)
    return share_wrong(greedy(logits, counts.tolist()), said)


stage = open_stage(__doc__, "few_labels")
steps, spelling, labels = (3, 3, (2, 4)) if stage.quick else (500, 300, (4, 16))
model, picked = MaskedSpeech(encoder(), groups=2, entries=16, size=32, shared=32), []


def pick(step: int) -> torch.Tensor:
    seeds = range(BATCH * step, BATCH * (step + 1))
    samples, lengths, _ = batch(seeds)
    masks = span_masks(model.encoder.frames(lengths).tolist(), seeds, length=4, share=0.5)
    model.quantizer.cool(step, decay=0.98)
    found = model(samples, torch.from_numpy(masks), torch.from_numpy(batch_negatives(masks, seeds, 20)), lengths)
    picked.append(100 * found.right.item() / found.count.item())
    return found.loss / found.count


train(model, steps, 4e-3, "hearing without labels", pick)
findings = [f"hidden frames picked rightly: {torch.tensor(picked[-20:]).mean():.0f} % (chance {100 / 21:.0f} %)"]
curves: dict[str, list[float]] = {"pretrained": [], "from scratch": []}
for labelled in labels:
    for name, curve in curves.items():
        torch.manual_seed(50)
        start = deepcopy(model.encoder) if name == "pretrained" else encoder()
        wrong = wrong_after(start, labelled, spelling)
        curve.append(wrong)
        findings.append(f"{name}, {labelled} labelled utterances: {wrong:.0f} % of the phones wrong")

figure = plt.figure(figsize=(9.5, 5), layout="constrained")
figure.suptitle("wav2vec 2.0 in small: hear without labels, then spell from few")
above, below = figure.subfigures(2, 1, height_ratios=(1, 1.7))
axis, (samples, lengths, _) = above.subplots(), batch(range(1))
axis.plot(samples[0], color="0.45", linewidth=0.5)
for frame in span_masks(model.encoder.frames(lengths).tolist(), [0], length=4, share=0.5)[0].nonzero()[0]:
    axis.axvspan(40 * frame, 40 * (frame + 1), color="#7a3bc2", alpha=0.25, linewidth=0)
axis.set(yticks=[], xlabel="sample", xlim=(0, lengths[0]), title="what the violet spans hide is picked among frames")
left, right = below.subplots(1, 2)
left.plot(picked, color="#7a3bc2", linewidth=0.8)
left.axhline(100 / 21, color="0.6", linestyle=":")
left.set(xlabel="step of pretraining", ylim=(0, None), title="hidden frames picked rightly, % (dotted: chance)")
for (name, curve), colour in zip(curves.items(), ("#7a3bc2", "#a04e00"), strict=True):
    right.plot(labels, curve, "o-", color=colour, label=name)
right.set(xscale="log", xlabel="labelled utterances", ylim=(0, 105), title="phones wrong in new utterances, %")
right.set_xticks(labels, labels)
right.minorticks_off()
right.legend()
stage.close(figure, *findings)
