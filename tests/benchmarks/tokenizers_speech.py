"""wav2vec features and codec streams against the published code in the same process."""

from collections.abc import Iterable
from tempfile import TemporaryDirectory

import numpy as np

from tests.benchmarks.harness import Row, compare

SECONDS = 5  # of the clip


def rows(quick: bool) -> Iterable[Row]:
    """Features of a clip, of live audio, and a codec's exact pieces beside the published model in one go."""
    import torch
    from transformers import EncodecConfig, EncodecModel, Wav2Vec2Config, Wav2Vec2Model

    from omni_tokenizers.audio.codec_hub import load_codec
    from omni_tokenizers.audio.wav2vec import Wav2Vec

    runs = 3 if quick else 9
    clip = np.random.default_rng(0).standard_normal(SECONDS * 16_000).astype(np.float32)
    batch = torch.tensor(clip)[None]
    for norm in ("layer", "group"):
        config = Wav2Vec2Config(feat_extract_norm=norm, conv_bias=norm == "layer", num_hidden_layers=1)
        published = Wav2Vec2Model(config).eval().feature_extractor.requires_grad_(False)
        state = {f"feature_extractor.{name}": weight for name, weight in published.state_dict().items()}
        speech = Wav2Vec.from_state(state, normalize=False)
        yield from compare(
            f"wav2vec features, {norm} norm, {SECONDS} s",
            lambda speech=speech: speech.encode(clip),
            {"transformers": lambda published=published: published(batch)},
            runs=runs,
            warmup=1,
        )
        if norm == "layer":
            live = speech
            whole = published

    def stream(eager: bool) -> None:
        push = live.stream(eager=eager)
        for at in range(0, len(clip), 320):
            push.push(clip[at : at + 320])
        push.finish()

    for name, eager in (("every 20 ms", True), ("blocks of 80 ms", False)):
        yield from compare(
            f"wav2vec features live, {name}, {SECONDS} s",
            lambda eager=eager: stream(eager),
            {"transformers, whole clip once": lambda: whole(batch)},
            runs=runs,
            warmup=1,
        )
    with TemporaryDirectory() as folder:
        model = EncodecModel(EncodecConfig()).eval()
        for layer in model.quantizer.layers:
            layer.codebook.embed.normal_()
        model.save_pretrained(folder)
        codec = load_codec(folder, books=8)
    sound = clip[: 24_000 * 2]
    with torch.inference_mode():
        yield from compare(
            "EnCodec 24 kHz encode, exact pieces, 2 s",
            lambda: codec.encode(sound),
            {"transformers, one go": lambda: model.encode(torch.tensor(sound)[None, None], bandwidth=6.0)},
            runs=runs,
            warmup=1,
        )
