"""wav2vec features, masks, negatives and the quantizer against transformers and torchaudio."""

import numpy as np
import pytest
import torch

from omni_tokenizers.audio.negatives import batch_negatives
from omni_tokenizers.audio.quantizer import GumbelQuantizer
from omni_tokenizers.audio.spans import span_mask, span_masks
from omni_tokenizers.audio.wav2vec import FixedNorm, Wav2Vec
from tests.tokenizers.small_speech import noise, published_speech, saved

LENGTHS = [400, 719, 720, 16_000, 33_333]


@pytest.mark.parametrize("kind", ["Wav2Vec2", "Hubert", "WavLM"])
@pytest.mark.parametrize("norm", ["group", "layer"])
def test_features_are_those_of_transformers_after_save_and_load(kind, norm, tmp_path):
    published = saved(published_speech(kind, norm), tmp_path)
    speech = Wav2Vec.load(tmp_path, normalize=False)
    for samples in LENGTHS:
        clip = noise(samples, samples)
        with torch.no_grad():
            theirs = published.feature_extractor(torch.tensor(clip)[None])[0].T
        torch.testing.assert_close(speech.encode(clip), theirs, rtol=1e-4, atol=1e-5)
        assert speech.count(samples) == int(published._get_feat_extract_output_lengths(samples)) == len(theirs)


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_features_are_those_of_torchaudio(norm):
    torchaudio = pytest.importorskip("torchaudio")
    torch.manual_seed(0)
    mode = "group_norm" if norm == "group" else "layer_norm"
    shapes = [(24, k, s) for k, s in zip((10, 3, 3, 3, 3, 2, 2), (5, 2, 2, 2, 2, 2, 2), strict=True)]
    published = torchaudio.models.wav2vec2_model(
        extractor_mode=mode, extractor_conv_layer_config=shapes, extractor_conv_bias=norm == "layer",
        encoder_embed_dim=16, encoder_projection_dropout=0.0, encoder_pos_conv_kernel=4, encoder_pos_conv_groups=2,
        encoder_num_layers=1, encoder_num_heads=2, encoder_attention_dropout=0.0, encoder_ff_interm_features=16,
        encoder_ff_interm_dropout=0.0, encoder_dropout=0.0, encoder_layer_norm_first=False, encoder_layer_drop=0.0,
        aux_num_out=None,
    ).eval()  # fmt: skip
    speech = Wav2Vec.from_state(published.state_dict(), normalize=False)
    assert speech.shape.norm == norm
    clip = noise(16_000)
    with torch.no_grad():
        theirs, _ = published.feature_extractor(torch.tensor(clip)[None], None)
    torch.testing.assert_close(speech.encode(clip), theirs[0], rtol=1e-4, atol=1e-5)


def test_input_normalisation_is_that_of_the_published_feature_extractor():
    from transformers import Wav2Vec2FeatureExtractor

    published = Wav2Vec2FeatureExtractor(return_attention_mask=True)
    clips = [noise(samples, samples) * 3 + 0.2 for samples in (400, 5000, 16_000)] + [np.zeros(500, np.float32)]
    padded = published(clips, sampling_rate=16_000, padding=True)["input_values"]
    for clip, theirs in zip(clips, padded, strict=True):  # over unpadded samples only
        np.testing.assert_allclose(FixedNorm.of(clip)(clip), theirs[: len(clip)], rtol=1e-5, atol=2e-6)


def test_a_checkpoint_says_itself_whether_its_input_is_normalised(tmp_path):
    from transformers import Wav2Vec2FeatureExtractor

    published_speech("Wav2Vec2", "layer").save_pretrained(tmp_path)
    for do_normalize in (True, False):
        Wav2Vec2FeatureExtractor(do_normalize=do_normalize).save_pretrained(tmp_path)
        assert Wav2Vec.load(tmp_path).normalize is do_normalize


@pytest.mark.parametrize(
    ("frames", "share", "length"), [(500, 0.65, 10), (49, 0.65, 10), (200, 0.05, 10), (83, 0.3, 4)]
)
def test_as_many_frames_are_hidden_as_by_transformers(frames, share, length):
    from transformers.models.wav2vec2.modeling_wav2vec2 import _compute_mask_indices

    np.random.seed(0)
    rounds = 3000
    theirs = np.stack([_compute_mask_indices((1, frames), share, length)[0] for _ in range(rounds)])
    ours = np.stack([span_mask(frames, seed, share=share, length=length) for seed in range(rounds)])
    error = 5 * theirs.sum(1).std() / frames / rounds**0.5  # five standard errors
    assert abs(ours.mean() - theirs.mean()) <= error  # 0 where the number of spans is never in doubt
    # Frame by frame too: the edges are hidden less often, by the same measure.
    assert np.abs(ours.mean(0) - theirs.mean(0)).max() < 5 * 0.5 * (2 / rounds) ** 0.5


def test_negatives_are_drawn_as_by_transformers():
    from transformers.models.wav2vec2.modeling_wav2vec2 import _sample_negative_indices

    masks = span_masks([40, 25], [1, 2], length=3)
    np.random.seed(0)
    theirs = _sample_negative_indices(masks.shape, 4000, masks)
    ours = batch_negatives(masks, [3, 4], 4000)
    assert ours.shape == theirs.shape
    for row, frame in np.argwhere(masks):
        place = np.arange(masks.size)
        mine, published = (np.isin(place, indices[row, frame]) for indices in (ours, theirs))
        assert np.array_equal(mine, published)  # the same candidates, all of them met
        counts = np.bincount(ours[row, frame], minlength=masks.size)[mine]
        assert counts.max() < 1.5 * counts.mean()
        assert counts.min() > 0.5 * counts.mean()


def test_negatives_feed_the_published_pretraining_model():
    from transformers import Wav2Vec2Config, Wav2Vec2ForPreTraining

    torch.manual_seed(0)
    model = Wav2Vec2ForPreTraining(
        Wav2Vec2Config(conv_dim=(16,) * 7, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                       intermediate_size=16, num_codevectors_per_group=8, codevector_dim=8, proj_codevector_dim=8,
                       num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=2)
    ).eval()  # fmt: skip
    masks = span_masks([49, 49], [0, 1])
    masks[1] = False
    masks[1, 7] = True  # one hidden frame, where the published sampler crashes
    out = model(
        torch.tensor(np.stack([noise(16_000, 0), noise(16_000, 1)])),
        mask_time_indices=torch.tensor(masks),
        sampled_negative_indices=torch.tensor(batch_negatives(masks, [0, 1], 10)),
    )
    assert out.contrastive_loss.isfinite()


def published_quantizer(groups=2, entries=20):
    from transformers import Wav2Vec2Config
    from transformers.models.wav2vec2.modeling_wav2vec2 import Wav2Vec2GumbelVectorQuantizer

    torch.manual_seed(0)
    published = Wav2Vec2GumbelVectorQuantizer(
        Wav2Vec2Config(
            conv_dim=(24,) * 7, num_codevector_groups=groups, num_codevectors_per_group=entries, codevector_dim=12
        )
    )
    torch.nn.init.normal_(published.codevectors)
    ours = GumbelQuantizer(24, groups=groups, entries=entries, size=12)
    ours.load_state_dict(published.state_dict())
    return ours, published


@pytest.mark.parametrize("masked", [False, True])
def test_the_quantizer_in_eval_is_that_of_transformers(masked):
    ours, published = published_quantizer()
    features = torch.randn(3, 17, 24)
    mask = torch.rand(3, 17) < 0.5 if masked else None
    out = ours.eval()(features, mask)
    vectors, perplexity = published.eval()(features, mask)
    torch.testing.assert_close(out.vectors, vectors)
    torch.testing.assert_close(out.perplexity, perplexity)


@pytest.mark.parametrize("masked", [False, True])
def test_the_quantizer_in_training_with_the_same_noise_is_that_of_transformers_gradients_too(masked):
    ours, published = published_quantizer()
    features = torch.randn(3, 17, 24)
    mask = torch.rand(3, 17) < 0.5 if masked else None
    ours.train().cool(0)
    torch.manual_seed(5)
    out = ours(features, mask)
    torch.manual_seed(5)
    vectors, perplexity = published.train()(features, mask)
    torch.testing.assert_close(out.vectors, vectors)
    torch.testing.assert_close(out.perplexity, perplexity)
    weight = torch.randn_like(vectors)
    ((out.vectors * weight).sum() + out.perplexity).backward()
    ((vectors * weight).sum() + perplexity).backward()
    for name, parameter in published.named_parameters():
        torch.testing.assert_close(dict(ours.named_parameters())[name].grad, parameter.grad, rtol=1e-4, atol=1e-5)
