"""Small published speech models with random weights, for the tests of the speech tokenizers."""

import numpy as np
import torch

from omni_tokenizers.audio.wav2vec import Wav2Vec
from omni_tokenizers.audio.wav2vec_encoder import ConvShape, FeatureEncoder


def noise(samples, seed=0):
    return np.random.default_rng(seed).standard_normal(samples).astype(np.float32) * np.float32(0.3)


def cut(clip, lengths):
    """Cut a clip in pieces of these lengths, over and over; an empty piece among them is a piece."""
    pieces, at = [], 0
    while at < len(clip):
        for length in [*lengths, 997]:  # 997, so that it always ends
            pieces.append(clip[at : at + length])
            at += length
    return pieces


def small_wav2vec(norm="layer", width=16, **options):
    torch.manual_seed(0)
    return Wav2Vec(FeatureEncoder(ConvShape(norm, channels=(width,) * 7)), **options)


def published_speech(kind, norm, width=32, **more):
    """A Wav2Vec2Model, HubertModel or WavLMModel of transformers."""
    import transformers

    torch.manual_seed(0)
    config = getattr(transformers, f"{kind}Config")(
        feat_extract_norm=norm, conv_bias=norm == "layer", conv_dim=(width,) * 7, hidden_size=32,
        num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, num_conv_pos_embeddings=16, **more,
    )  # fmt: skip
    model = getattr(transformers, f"{kind}Model")(config).eval()
    for layer in model.feature_extractor.conv_layers:
        if getattr(layer, "layer_norm", None) is not None:  # else all are 1 and 0, and swapping them would not show
            torch.nn.init.normal_(layer.layer_norm.weight, 1, 0.2)
            torch.nn.init.normal_(layer.layer_norm.bias, 0, 0.2)
    return model


def published_encodec(**changes):
    from transformers import EncodecConfig, EncodecModel

    torch.manual_seed(0)
    sizes = {
        "num_filters": 4,
        "hidden_size": 16,
        "codebook_size": 64,
        "num_lstm_layers": 1,
        "target_bandwidths": [0.9, 1.8],
    }
    model = EncodecModel(EncodecConfig(**{**sizes, **changes})).eval()
    for layer in model.quantizer.layers:
        layer.codebook.embed.normal_(std=0.3)
    return model


def published_mimi(**changes):
    from transformers import MimiConfig, MimiModel

    torch.manual_seed(0)
    sizes = {
        "num_filters": 4, "hidden_size": 32, "codebook_size": 64, "codebook_dim": 16, "num_quantizers": 4,
        "vector_quantization_hidden_dimension": 16, "num_hidden_layers": 2, "intermediate_size": 32,
        "num_attention_heads": 2, "num_key_value_heads": 2, "upsample_groups": 32,
        "sliding_window": 8,  # short, so that a second of sound reaches over it
        "layer_scale_initial_scale": 0.5,
    }  # fmt: skip
    model = MimiModel(MimiConfig(**{**sizes, **changes})).eval()
    for quantizer in (
        model.quantizer.semantic_residual_vector_quantizer,
        model.quantizer.acoustic_residual_vector_quantizer,
    ):
        for layer in quantizer.layers:
            layer.codebook.embed_sum.normal_(std=0.3)
    return model


def published_dac(**changes):
    from transformers import DacConfig, DacModel

    torch.manual_seed(0)
    sizes = {
        "encoder_hidden_size": 8,
        "decoder_hidden_size": 32,
        "n_codebooks": 3,
        "codebook_size": 32,
        "codebook_dim": 4,
    }
    return DacModel(DacConfig(**{**sizes, **changes})).eval()


def saved(model, folder):
    """Save a model and load it again, as its users do."""
    model.save_pretrained(folder)
    return type(model).from_pretrained(folder).eval()
