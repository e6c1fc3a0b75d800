"""Whisper-base's encoder against transformers and openai-whisper: forward pass and training step on 30 s of audio."""

from collections.abc import Callable, Iterable

import torch
import whisper
from torch import nn
from transformers import WhisperConfig, WhisperForConditionalGeneration
from whisper.model import ModelDimensions

from omni.model.families.whisper import build, names
from omni.model.weights import fill, plan
from tests.benchmarks.harness import Row, compare

FRAMES = 3000  # log-Mel frames, 30 s
DIMENSIONS = {
    "n_mels": 80, "n_audio_ctx": 1500, "n_audio_state": 512, "n_audio_head": 8, "n_audio_layer": 6,
    "n_vocab": 51865, "n_text_ctx": 448, "n_text_state": 512, "n_text_head": 8, "n_text_layer": 6,
}  # fmt: skip


def transformers_whisper() -> nn.Module:
    """Whisper-base as transformers builds it."""
    return WhisperForConditionalGeneration(
        WhisperConfig(
            d_model=512, encoder_layers=6, decoder_layers=6, encoder_attention_heads=8, decoder_attention_heads=8,
            encoder_ffn_dim=2048, decoder_ffn_dim=2048,
        )
    )  # fmt: skip


def encoders(dtype: torch.dtype) -> dict[str, tuple[nn.Module, bool]]:
    """The three encoders with the same weights, and whether theirs take the bins before the frames."""
    theirs = whisper.model.Whisper(ModelDimensions(**DIMENSIONS))
    nn.init.normal_(theirs.decoder.positional_embedding)
    state = theirs.state_dict()
    ours = build(DIMENSIONS)
    how = plan(names(DIMENSIONS), list(state), list(ours.state_dict()))
    fill(ours, how, lambda name: state[name].clone(), torch.float32, "cpu")
    found = {"": (ours.encoder, False), "transformers": (transformers_whisper().get_encoder(), True)}
    found["openai-whisper"] = (theirs.encoder, True)
    # openai-whisper keeps its weights in float32 and casts them at every call: its norms take no other.
    return {n: (model if n == "openai-whisper" else model.to(dtype), swapped) for n, (model, swapped) in found.items()}


def output(model: nn.Module, mel: torch.Tensor, swapped: bool) -> torch.Tensor:
    """The encoder's output as a tensor."""
    found = model(mel.transpose(1, 2) if swapped else mel)
    return found if isinstance(found, torch.Tensor) else found.last_hidden_state


def forward(model: nn.Module, mel: torch.Tensor, swapped: bool) -> Callable[[], object]:
    """A forward pass."""
    model.eval()

    def call() -> object:
        with torch.inference_mode():
            return output(model, mel, swapped)

    return call


def training(model: nn.Module, mel: torch.Tensor, swapped: bool) -> Callable[[], object]:
    """Forward, backward and a step of AdamW."""
    model.train()
    optimiser = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-6)

    def call() -> object:
        optimiser.zero_grad(set_to_none=True)
        output(model, mel, swapped).float().square().mean().backward()
        return optimiser.step()

    return call


def rows(quick: bool) -> Iterable[Row]:
    """Each work in float32 and bfloat16, one window."""
    torch.manual_seed(0)
    mel = torch.randn(1, FRAMES, 80)
    for dtype in (torch.float32, torch.bfloat16):
        for work, make in (("forward", forward), ("training step", training)):
            calls = {name: make(m, mel.to(dtype), swapped) for name, (m, swapped) in encoders(dtype).items()}
            ours = calls.pop("")
            title = f"Whisper-base encoder, 30 s, {work}, {str(dtype).removeprefix('torch.')}"
            yield from compare(title, ours, calls, bar=1.0, runs=3 if quick or dtype == torch.bfloat16 else 9, warmup=1)
