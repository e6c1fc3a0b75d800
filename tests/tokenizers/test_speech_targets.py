"""Masks, negatives, the quantizer and mixing: they depend on an example's seed and on nothing else."""

from math import comb

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_tokenizers.audio.mixing import Overlay, energy, gain, lay, mix, snr
from omni_tokenizers.audio.negatives import batch_negatives, negatives
from omni_tokenizers.audio.quantizer import GumbelQuantizer, perplexity
from omni_tokenizers.audio.spans import span_mask, span_masks
from omni_tokenizers.audio.wav2vec import FixedNorm
from tests.tokenizers.small_speech import noise

SEEDS = st.one_of(st.integers(0, 2**40), st.tuples(st.integers(0, 9), st.integers(0, 10**6)))
EXAMPLES = st.lists(st.tuples(st.integers(0, 200), SEEDS), min_size=1, max_size=6)


@settings(max_examples=80, deadline=None)
@given(EXAMPLES)
def test_masks_and_negatives_depend_on_the_examples_seed_not_on_batch_or_padding(examples):
    lengths, seeds = zip(*examples, strict=True)
    masks = span_masks(lengths, seeds)
    chosen = batch_negatives(masks, seeds, count=5)
    for row, (frames, seed) in enumerate(examples):
        alone = span_mask(frames, seed)
        assert np.array_equal(masks[row, :frames], alone)
        assert not masks[row, frames:].any()
        assert np.array_equal(chosen[row, masks[row]] - row * masks.shape[1], negatives(alone, seed, count=5))


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 300), SEEDS, st.floats(0, 1), st.integers(1, 20), st.integers(0, 3))
def test_a_mask_is_made_of_whole_spans_as_many_as_the_rule_allows(frames, seed, share, length, least):
    mask = span_mask(frames, seed, share=share, length=length, least=least)
    runs = np.diff(np.flatnonzero(np.diff(np.r_[0, mask, 0])))[::2]  # lengths of the masked stretches
    assert mask.shape == (frames,)
    assert (runs >= length).all()
    most = min(max(int(share * frames / length + 1), least), frames // length, max(frames - length + 1, 0))
    assert mask.sum() <= most * length
    if int(share * frames / length) >= 1 and most >= 1:
        assert mask.any()


def test_each_frame_is_hidden_as_often_as_the_closed_form_says_the_last_one_too():
    frames, length, rounds = 500, 10, 4000
    starts = frames - length + 1
    covering = np.minimum.reduce([np.arange(1, frames + 1), np.arange(frames, 0, -1), np.full(frames, length)])
    # 32 or 33 spans (0.65 · 500 / 10 = 32.5), drawn without replacement: hypergeometric.
    free = [np.array([comb(starts - int(c), n) / comb(starts, n) for c in covering]) for n in (32, 33)]
    expected = 1 - sum(free) / 2
    masks = np.stack([span_mask(frames, seed) for seed in range(rounds)])
    assert 0.48 < expected.mean() < 0.50  # about 49 %
    assert abs(masks.mean() - expected.mean()) < 0.003
    assert (np.abs(masks.mean(0) - expected) < 5 * np.sqrt(expected * (1 - expected) / rounds)).all()
    assert masks[:, -1].any()


@settings(max_examples=80, deadline=None)
@given(st.lists(st.booleans(), max_size=60), SEEDS, st.integers(1, 20))
def test_negatives_are_other_hidden_frames(flags, seed, count):
    mask = np.array(flags, bool)
    chosen = negatives(mask, seed, count)
    hidden = np.flatnonzero(mask)
    assert chosen.shape == (len(hidden), count)
    assert np.isin(chosen, hidden).all()
    if len(hidden) > 1:
        assert (chosen != hidden[:, None]).all()


def test_one_hidden_frame_and_none_do_not_crash():
    assert negatives(np.array([False, True, False]), 0, 3).tolist() == [[1, 1, 1]]
    assert negatives(np.zeros(4, bool), 0).shape == (0, 100)


def test_negatives_are_uniform_over_the_others():
    counts = np.bincount(negatives(np.ones(5, bool), 0, 40_000)[2], minlength=5)
    assert counts[2] == 0
    assert (np.abs(counts[[0, 1, 3, 4]] / 10_000 - 1) < 0.05).all()


def test_the_quantizer_learns_through_its_choice_and_gives_the_entries_it_chose():
    torch.manual_seed(0)
    quantizer = GumbelQuantizer(12, groups=2, entries=5, size=6)
    features = torch.randn(2, 7, 12)
    out = quantizer(features)
    books = quantizer.codevectors.view(2, 5, 3)
    expected = torch.cat([books[0][out.codes[..., 0]], books[1][out.codes[..., 1]]], -1)
    torch.testing.assert_close(out.vectors, expected)
    out.vectors.square().sum().backward()
    assert quantizer.weight_proj.weight.grad.abs().max() > 0
    assert quantizer.codevectors.grad.abs().max() > 0


def test_the_noise_of_the_quantizer_comes_from_the_generator_given():
    quantizer = GumbelQuantizer(12, groups=2, entries=5, size=6)
    features = torch.zeros(1, 50, 12)
    first = quantizer(features, generator=torch.Generator().manual_seed(1)).codes
    assert torch.equal(first, quantizer(features, generator=torch.Generator().manual_seed(1)).codes)
    assert not torch.equal(first, quantizer(features, generator=torch.Generator().manual_seed(2)).codes)


def test_perplexity_counts_the_entries_in_use_and_only_masked_frames():
    uniform = torch.eye(4).view(1, 4, 1, 4)  # four frames, each another entry
    assert perplexity(uniform).item() == pytest.approx(4)
    assert perplexity(uniform, torch.tensor([[True, True, False, False]])).item() == pytest.approx(2)
    assert perplexity(uniform, torch.zeros(1, 4, dtype=torch.bool)).isfinite()


def test_the_temperature_falls_to_its_floor():
    quantizer = GumbelQuantizer(4, size=4)
    assert quantizer.cool(0) == 2.0
    assert quantizer.cool(10**7) == quantizer.temperature == 0.5


@settings(max_examples=80, deadline=None)
@given(st.floats(-30, 30), st.floats(1e-3, 1), st.floats(1e-3, 1))
def test_the_gain_puts_the_ratio_where_it_was_asked_for(wanted, own, other):
    voice, noise_ = noise(4000, 1) * np.float32(own), noise(3000, 2) * np.float32(other)
    scaled = np.float32(gain(voice, noise_, wanted)) * noise_
    assert snr(voice, scaled) == pytest.approx(wanted, abs=1e-4)


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 500), st.integers(1, 500), SEEDS, st.booleans())
def test_mixing_changes_one_stretch_by_the_scaled_source_and_depends_on_the_seed(samples, source, seed, noisy):
    voice, other = noise(samples, 1), noise(source, 2)
    before = voice.copy()
    pools = {"noise": [other]} if noisy else {"speech": [other]}
    mixed = mix(voice, seed, share=1, **pools)
    again = mix(voice, seed, share=1, **pools)
    assert np.array_equal(voice, before)
    assert np.array_equal(mixed.samples, again.samples)
    assert mixed.overlay == again.overlay
    laid = mixed.overlay
    assert laid.kind == ("noise" if noisy else "speech")
    assert 0 <= laid.length <= samples // 2
    assert -5 <= laid.snr <= (20 if noisy else 5)
    expected = voice.astype(np.float64)
    piece = other[laid.source_start : laid.source_start + laid.length].astype(np.float64)
    expected[laid.start : laid.start + laid.length] += gain(voice, other, laid.snr) * piece
    np.testing.assert_allclose(mixed.samples, expected, atol=1e-5)


def test_energies_of_independent_sounds_add():
    voice, other = noise(200_000, 1), noise(200_000, 2)
    mixed = lay(voice, other, Overlay("noise", 0, 3.0, 0, 0, len(voice)))
    assert energy(mixed) == pytest.approx(energy(voice) * (1 + 10**-0.3), rel=0.01)


def test_a_fifth_of_the_utterances_are_mixed_and_a_tenth_of_those_with_noise():
    voice, pools = noise(100), {"speech": [noise(80, 1), noise(90, 2)], "noise": [noise(70, 3)]}
    overlays = [mix(voice, seed, **pools).overlay for seed in range(10_000)]
    laid = [overlay for overlay in overlays if overlay]
    assert abs(len(laid) / 10_000 - 0.2) < 0.02
    assert abs(sum(overlay.kind == "noise" for overlay in laid) / len(laid) - 0.1) < 0.02
    assert {overlay.source for overlay in laid if overlay.kind == "speech"} == {0, 1}


@pytest.mark.parametrize("kind", [torch.tensor, np.ndarray.tolist, lambda x: (x * 32768).astype(np.int16)])
def test_sound_of_any_kind_is_mixed_and_measured_as_the_samples_it_stands_for(kind):
    levels = np.random.default_rng(0).integers(-3000, 3000, (3, 400)).astype(np.float32) / 32768
    plain = mix(levels[0], seed=3, noise=list(levels[1:]), share=1.0)
    same = mix(kind(levels[0]), seed=3, noise=[kind(clip) for clip in levels[1:]], share=1.0)
    assert same.overlay == plain.overlay == mix(levels[0], seed=3, noise=levels[1:], share=1.0).overlay
    assert np.array_equal(same.samples, plain.samples)
    assert np.array_equal(lay(kind(levels[0]), kind(levels[1 + same.overlay.source]), same.overlay), plain.samples)
    assert FixedNorm.of(kind(levels[0])) == FixedNorm.of(levels[0])
    with pytest.raises(ValueError, match="sample 0 is nan"):
        mix(np.full(9, np.nan), seed=0)


def test_silence_and_empty_clips_are_left_as_they_are():
    silence = np.zeros(100, np.float32)
    assert np.array_equal(mix(silence, 0, noise=[noise(50)], share=1).samples, silence)
    voice = noise(100)
    assert np.array_equal(mix(voice, 0, noise=[silence], share=1).samples, voice)
    assert len(mix(noise(0), 0, noise=[voice], share=1).samples) == 0
    assert mix(voice, 0, share=1).overlay is None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: span_mask(-1, 0), "frames is -1"),
        (lambda: span_mask(10, 0, length=0), "length is 0"),
        (lambda: span_mask(10, 0, share=1.5), "share is 1.5"),
        (lambda: span_masks([1, 2], [0]), "2 utterances and 1 seeds"),
        (lambda: negatives(np.ones((2, 3), bool), 0), r"\(2, 3\)"),
        (lambda: negatives(np.ones(3, int), 0), "int64"),
        (lambda: negatives(np.ones(3, bool), 0, count=0), "count is 0"),
        (lambda: batch_negatives(np.ones((2, 3), bool), [0]), "1 seeds"),
        (lambda: GumbelQuantizer(size=7), "size is 7"),
        (lambda: GumbelQuantizer(8, size=4)(torch.zeros(1, 2, 9)), r"\(1, 2, 9\)"),
        (lambda: GumbelQuantizer(8, size=4)(torch.zeros(1, 2, 8), torch.ones(1, 2)), "float32"),
        (lambda: mix(noise(10), 0, share=2), "share is 2"),
        (lambda: mix(noise(10), 0, noise_snr=(5, -5)), "noise_snr"),
        (lambda: lay(noise(10), noise(5), Overlay("noise", 0, 0.0, 0, 0, 6)), "do not fit"),
        (lambda: snr(noise(10), np.zeros(3, np.float32)), "silence"),
    ],
)
def test_wrong_settings_are_refused_with_the_value(make, message):
    with pytest.raises(ValueError, match=message):
        make()
