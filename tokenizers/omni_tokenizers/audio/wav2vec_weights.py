"""Published checkpoints of wav2vec 2.0, HuBERT, WavLM and their kin: only the feature encoder is read.

A checkpoint is a folder with `config.json` and safetensors, or the hub name of one. Of a 1.3 GB model the
feature encoder is 17 MB; safetensors gives those tensors without reading the others.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from omni_tokenizers.audio.wav2vec_encoder import ConvShape, FeatureEncoder, Norm, shape_of
from omni_tokenizers.optional import need

MARK = "feature_extractor."  # what the encoder is called inside every published model
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class Checkpoint:
    """A feature encoder and what its checkpoint says about the input."""

    encoder: FeatureEncoder
    normalize: bool  # each utterance to mean 0 and variance 1 first
    rate: int  # Hz


def load_checkpoint(source: str | Path) -> Checkpoint:
    """Read the feature encoder from a folder or a hub name."""
    folder = Path(source)
    if not folder.is_dir():
        folder = _from_hub(str(source))
    config = _json(folder / "config.json")
    norm: Norm = config.get("feat_extract_norm", "group")
    if (activation := config.get("feat_extract_activation", "gelu")) != "gelu":
        raise ValueError(f"{source}: the activation is {activation!r}; published feature encoders use 'gelu'")
    try:
        kernels, strides, channels = (tuple(config[key]) for key in ("conv_kernel", "conv_stride", "conv_dim"))
        shape = ConvShape(norm, kernels, strides, channels, config["conv_bias"])
    except KeyError as missing:
        raise ValueError(f"{folder / 'config.json'} has no {missing}: this is not a wav2vec-like model") from None
    encoder = encoder_of(_weights(folder), shape)
    settings = folder / "preprocessor_config.json"
    given = _json(settings) if settings.exists() else {}
    # Without a preprocessor file this is transformers' own default.
    return Checkpoint(encoder, given.get("do_normalize", True), given.get("sampling_rate", 16_000))


def encoder_of(
    state: dict[str, torch.Tensor], shape: ConvShape | None = None, strides: tuple[int, ...] = ConvShape.strides
) -> FeatureEncoder:
    """Build the encoder from a state dict of transformers or torchaudio; other weights in it are left alone."""
    own: dict[str, torch.Tensor] = {}
    for name, tensor in state.items():
        before, mark, after = name.rpartition(MARK)
        if mark and after.startswith("conv_layers."):
            own[after] = tensor.detach().to(torch.float32)
        elif not before and name.startswith("conv_layers."):
            own[name] = tensor.detach().to(torch.float32)
    found = shape_of(own, strides if shape is None else shape.strides)
    if shape is not None and found != shape:
        raise ValueError(f"the weights are {found} and config.json says {shape}: they belong to different models")
    encoder = FeatureEncoder(found)
    missing = sorted(set(encoder.state_dict()) - set(own))
    unexpected = sorted(set(own) - set(encoder.state_dict()))
    if missing or unexpected:
        raise ValueError(f"feature encoder weights missing: {missing}, unexpected: {unexpected}")
    encoder.load_state_dict(own)
    return encoder.eval().requires_grad_(False)


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    if (folder / INDEX).exists():
        place: dict[str, str] = _json(folder / INDEX)["weight_map"]
        names = sorted({file for name, file in place.items() if f"{MARK}conv_layers." in name})
    else:
        names = [SINGLE]
    state: dict[str, torch.Tensor] = {}
    for name in names:
        path = folder / name
        if not path.exists():
            pickled = any(folder.glob("*.bin"))
            more = "; the pickled .bin is not read: convert it to safetensors" if pickled else ""
            raise ValueError(f"{folder} has no {name}{more}")
        try:
            with safe_open(path, "pt") as file:
                state |= {key: file.get_tensor(key) for key in file.keys() if "conv_layers." in key}  # noqa: SIM118
        except SafetensorError as broken:
            raise ValueError(f"{path} is not a whole safetensors file ({broken}): fetch it again") from None
    return state


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path.parent} has no {path.name}: give the folder of a checkpoint") from None
    except ValueError as broken:
        raise ValueError(f"{path} is not JSON ({broken})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{path} holds a {type(value).__name__}; an object is needed")
    return value


def _from_hub(name: str) -> Path:
    """Fetch (or find in the local cache) the few files of a hub repository that we read."""
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise ValueError(f"{name} is not a folder: give the folder of a checkpoint, or a hub name such as owner/model")
    hub = need("huggingface_hub", extra="model", use=f"loading {name} from the hub")
    files: Iterable[str] = ("config.json", "preprocessor_config.json", "model.safetensors", "*.safetensors.index.json")
    try:
        folder = Path(hub.snapshot_download(name, allow_patterns=list(files)))
        if (folder / INDEX).exists():
            shards = sorted(set(_json(folder / INDEX)["weight_map"].values()))
            folder = Path(hub.snapshot_download(name, allow_patterns=[*files, *shards]))
    except (OSError, ValueError) as failed:
        raise ValueError(
            f"{name} is neither a folder here nor a model that the hub gave "
            f"({type(failed).__name__}): check the name and the connection, or give a local folder"
        ) from failed
    return folder
