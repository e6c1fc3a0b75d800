"""wav2vec 2.0's pretraining: its loss by hand, WavLM's mixing, and that it learns."""

from copy import deepcopy

import numpy as np
import pytest
import torch

from omni.model.attention import AttentionSpec
from omni.model.block import BlockSpec
from omni.model.ctc import CtcModel
from omni.model.losses.contrastive import contrastive
from omni.model.masked_speech import MaskedSpeech
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.speech_encoder import RelativeSpec, SpeechEncoder, SpeechEncoderSpec
from omni.model.stack import StackSpec
from omni.speech.ctc_search import greedy
from omni_tokenizers.audio.mixing import mix
from omni_tokenizers.audio.negatives import batch_negatives
from omni_tokenizers.audio.spans import span_masks
from omni_tokenizers.audio.wav2vec_encoder import ConvShape

NORM = Norm("layer", eps=1e-5)
PHONES = 8
WORDS = [(1, 2, 3), (4, 5), (6, 7, 8), (2, 5, 7), (3, 1), (8, 4, 6)]
PHONE = 160  # samples of one, more or less


def encoder(*, hides: bool = True, relative: RelativeSpec | None = None) -> SpeechEncoder:
    block = BlockSpec(64, AttentionSpec(4), MlpSpec(128), NORM)
    shape = ConvShape("layer", (40, 8), (10, 4), (32, 32))
    stack = StackSpec(block, 2, final_norm=NORM)
    return SpeechEncoder(SpeechEncoderSpec(shape, stack, kernel=16, groups=4, hides=hides, relative=relative))


def phones_of(draw: np.random.Generator) -> list[int]:
    return [phone for _ in range(4) for phone in WORDS[draw.integers(len(WORDS))]]


def utterance(seed: int) -> np.ndarray:
    """Four words of a small language; a phone is two tones of wandering phase, as loud and as long as it pleases."""
    draw = np.random.default_rng(seed)
    pieces = []
    for phone in phones_of(draw):
        t = np.arange(int(PHONE * draw.uniform(0.7, 1.3)))
        piece = np.zeros(len(t))
        for loud, pitch in ((1.0, 0.03 + 0.03 * (phone % 3)), (0.7, 0.15 + 0.06 * (phone // 3))):
            # A phase that could be foretold from the frames before would be learned in the place of the phones.
            phase = draw.uniform(0, 6) + np.cumsum(0.15 * draw.standard_normal(len(t)))
            piece += loud * np.sin(2 * np.pi * pitch * t + phase)
        pieces.append(piece * draw.uniform(0.5, 1.5))
    wave = np.concatenate(pieces)
    wave = wave + 0.4 * draw.standard_normal(len(wave))
    return ((wave - wave.mean()) / wave.std()).astype(np.float32)


def batch(seeds: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
    waves = [torch.from_numpy(utterance(seed)) for seed in seeds]
    return torch.nn.utils.rnn.pad_sequence(waves, batch_first=True), torch.tensor([len(wave) for wave in waves])


def task(
    model: MaskedSpeech, lengths: torch.Tensor, seeds: list[int], count: int = 20
) -> tuple[torch.Tensor, torch.Tensor]:
    masks = span_masks(model.encoder.frames(lengths).tolist(), seeds, length=4, share=0.5)
    return torch.from_numpy(masks), torch.from_numpy(batch_negatives(masks, seeds, count))


def test_the_loss_is_the_formula_written_out() -> None:
    draw = torch.Generator().manual_seed(1)
    context, targets = torch.randn(2, 6, 5, generator=draw), torch.randn(2, 6, 5, generator=draw)
    codes = torch.randint(0, 3, (2, 6, 2), generator=draw)
    masks = np.array([[1, 0, 1, 1, 0, 0], [0, 1, 1, 0, 1, 1]], dtype=bool)
    negatives = batch_negatives(masks, [1, 2], 4)
    total, right = 0.0, 0
    for row, frame in zip(*masks.nonzero(), strict=True):
        scores = [torch.cosine_similarity(context[row, frame], targets[row, frame], dim=0) / 0.1]
        for index in negatives[row, frame]:
            other = divmod(int(index), 6)
            if not torch.equal(codes[other], codes[row, frame]):
                scores.append(torch.cosine_similarity(context[row, frame], targets[other], dim=0) / 0.1)
        total -= torch.stack(scores).log_softmax(0)[0].item()
        right += len(scores) > 1 and int(torch.stack(scores).argmax()) == 0
    found = contrastive(context, targets, codes, torch.from_numpy(masks), torch.from_numpy(negatives))
    assert found.loss.item() == pytest.approx(total, rel=1e-5)
    assert (found.right.item(), found.count.item()) == (right, 7)


def test_a_negative_of_another_utterance_is_an_error() -> None:
    hide, codes = torch.ones(2, 3, dtype=torch.bool), torch.zeros(2, 3, 1, dtype=torch.long)
    with pytest.raises(ValueError, match="another utterance"):
        contrastive(torch.randn(2, 3, 4), torch.randn(2, 3, 4), codes, hide, torch.zeros(2, 3, 1, dtype=torch.long))


def test_what_is_hidden_is_not_heard() -> None:
    torch.manual_seed(0)
    model = encoder().eval()
    samples = torch.randn(1, 2000)
    hide = torch.zeros(1, model.frames(torch.tensor(2000)).item(), dtype=torch.bool)
    hide[:, 10:20] = True
    louder = samples.clone()
    louder[:, 10 * 40 + 110 : 20 * 40] *= 3  # samples that only hidden frames are made of
    with torch.inference_mode():
        assert torch.equal(model(louder, hide=hide).frames, model(samples, hide=hide).frames)
        assert not torch.allclose(model(louder).frames, model(samples).frames)


def test_noisy_speech_is_asked_for_what_the_clean_speech_says() -> None:
    torch.manual_seed(0)
    model = MaskedSpeech(encoder(), groups=2, entries=16, size=32, shared=32).eval()
    clean, lengths = batch([1, 2])
    hide, negatives = task(model, lengths, [1, 2])
    noisy = torch.stack([
        torch.from_numpy(mix(own.numpy(), 3, speech=[other.numpy()], share=1.0).samples)
        for own, other in zip(clean, clean.flip(0), strict=True)
    ])  # fmt: skip
    with torch.inference_mode():
        want = model(clean, hide, negatives, lengths)
        found = model(noisy, hide, negatives, lengths, clean=clean)
    assert torch.equal(found.targets, want.targets)
    assert not torch.allclose(found.context, want.context)


def test_an_encoder_that_cannot_hide_says_so() -> None:
    with pytest.raises(ValueError, match="hides=True"):
        MaskedSpeech(encoder(hides=False))
    with pytest.raises(ValueError, match="hides=True"):
        encoder(hides=False)(torch.zeros(1, 500), hide=torch.zeros(1, 10, dtype=torch.bool))


def test_audio_too_short_for_a_frame_is_named_with_what_is_needed() -> None:
    with pytest.raises(ValueError, match=r"100 samples; one frame needs 110"):
        encoder()(torch.zeros(1, 100))


def test_the_relative_table_is_one_weight_however_many_layers_use_it() -> None:
    model = encoder(relative=RelativeSpec(16, 40))
    assert [name for name in model.state_dict() if "values" in name] == ["relative.values.weight"]


@pytest.fixture(scope="module")
def pretrained() -> MaskedSpeech:
    torch.manual_seed(0)
    model, steps = MaskedSpeech(encoder(), groups=2, entries=16, size=32, shared=32), 900
    optimiser = torch.optim.AdamW(model.parameters(), lr=4e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=steps)
    for step in range(steps):
        seeds = list(range(16 * step, 16 * step + 16))
        samples, lengths = batch(seeds)
        model.quantizer.cool(step, decay=0.985)
        found = model(samples, *task(model, lengths, seeds), lengths)
        optimiser.zero_grad()
        (found.loss / found.count).backward()
        optimiser.step()
        rate.step()
    return model.eval()


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_pretraining_learns_to_pick_hidden_frames_of_utterances_never_heard(pretrained: MaskedSpeech) -> None:
    seeds = list(range(1_000_000, 1_000_032))
    samples, lengths = batch(seeds)
    with torch.inference_mode():
        found = pretrained(samples, *task(pretrained, lengths, seeds), lengths)
    accuracy = found.right.item() / found.count.item()
    assert accuracy > 0.3, f"picked {accuracy:.1%} rightly; chance is {1 / 21:.1%}"  # 50.8 % seen


def errors_after_two_labelled_utterances(start: SpeechEncoder, trial: int) -> float:
    """Phone error rate on 40 utterances never heard, after 60 steps of CTC on two labelled ones."""
    torch.manual_seed(trial)
    model, steps = CtcModel(start, PHONES + 1), 60
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimiser, 3e-3, total_steps=steps)
    seeds = [2_000_000 + 10 * trial, 2_000_001 + 10 * trial]
    samples, lengths = batch(seeds)
    labels = [phones_of(np.random.default_rng(seed)) for seed in seeds]
    for _ in range(steps):
        optimiser.zero_grad()
        model.loss(samples, labels, lengths).backward()
        optimiser.step()
        rate.step()
    seeds = list(range(3_000_000, 3_000_040))
    samples, lengths = batch(seeds)
    with torch.inference_mode():
        logits, counts = model.eval()(samples, lengths)
    said = [phones_of(np.random.default_rng(seed)) for seed in seeds]
    wrong = sum(edits(found, want) for found, want in zip(greedy(logits, counts.tolist()), said, strict=True))
    return wrong / sum(map(len, said))


def edits(found: list[int], want: list[int]) -> int:
    """Insertions, deletions and replacements between two rows of phones."""
    row = list(range(len(want) + 1))
    for i, one in enumerate(found, 1):
        before, row = row, [i]
        for j, other in enumerate(want, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (one != other)))
    return row[-1]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_with_two_labelled_utterances_a_pretrained_encoder_spells_better_than_a_fresh_one(
    pretrained: MaskedSpeech,
) -> None:
    trials = range(5)
    after = np.mean([errors_after_two_labelled_utterances(deepcopy(pretrained.encoder), trial) for trial in trials])
    torch.manual_seed(50)
    scratch = np.mean([errors_after_two_labelled_utterances(encoder(), trial) for trial in trials])
    assert after < scratch - 0.02, (
        f"{after:.3f} of the phones wrong after pretraining, {scratch:.3f} without"
    )  # 0.745, 0.805 seen
