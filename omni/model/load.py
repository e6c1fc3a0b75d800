"""`load("folder or hub name")`: recognise a published checkpoint by its configuration and give its numbers.

checkpoint = load("openai/whisper-base")      # or a local folder
checkpoint.model, checkpoint.tokenizers["text"], checkpoint.tokenizers["audio"]
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn

from omni.model.weights import Names, fill, plan
from omni_tokenizers.optional import need

Config = Mapping[str, Any]


class Family(Protocol):
    """What a file in `families/` offers: a model from a published configuration, and the names of its weights."""

    IGNORED: Sequence[str]  # regular expressions for tensors of theirs that are no weights
    # OPTIONAL, where a family has it: regular expressions for weights of ours that checkpoints may lack

    def build(self, config: Config) -> nn.Module:
        """The model with untrained weights."""
        ...

    def names(self, config: Config) -> Names:
        """Pairs (theirs, ours) for every weight."""
        ...

    def tokenizers(self, folder: Path, config: Config) -> dict[str, Any]:
        """The tokenizers that belong to the checkpoint, by modality."""
        ...


# `model_type` in config.json → module in omni.model.families
FAMILIES: dict[str, str] = {
    "vit": "vit",
    "deit": "deit",
    "dinov2": "dinov2",
    "dinov2_with_registers": "dinov2",
    "vit_mae": "mae",
    "swin": "swin",
    "clip": "clip",
    "clip_vision_model": "clip",
    "siglip": "siglip",
    "siglip_vision_model": "siglip",
    "siglip2": "siglip",
    "siglip2_vision_model": "siglip",
    "open_clip": "open_clip",
    "timm_vit": "timm_vit",
    "timm_swin": "timm_swin",
    "whisper": "whisper",
    "wav2vec2": "wav2vec2",
    "wavlm": "wavlm",
    "hubert": "hubert",
    "llama": "llama",
    "qwen2": "qwen",
    "qwen3": "qwen",
    "omni": "omni",
}


@dataclass
class Checkpoint:
    """A loaded model, with what it needs to be used."""

    kind: str
    model: nn.Module
    config: Config
    tokenizers: dict[str, Any] = field(default_factory=dict)
    untrained: list[str] = field(default_factory=list)  # ours that the checkpoint did not fill
    unused: list[str] = field(default_factory=list)  # theirs that this model has no place for


def family_of(kind: str) -> Family:
    """The family that a `model_type` belongs to."""
    if kind not in FAMILIES:
        raise ValueError(f"model_type is {kind!r}, which no family here knows; known are {', '.join(sorted(FAMILIES))}")
    return cast(Family, import_module(f"omni.model.families.{FAMILIES[kind]}"))


def find(source: str | Path) -> Path:
    """A local folder as it is; any other name from the hub's cache, or downloaded."""
    folder = Path(source)
    if folder.is_dir():
        return folder
    if folder.is_absolute() or str(source).startswith("."):
        raise ValueError(f"{source} is not a folder")
    hub = need("huggingface_hub", extra="model", use=f"fetching {source}")
    try:
        return Path(hub.snapshot_download(str(source), allow_patterns=["*.json", "*.safetensors", "*.model", "*.txt"]))
    except Exception as failure:
        raise ValueError(f"{source} is neither a local folder nor a model the hub gave us: {failure}") from failure


WEIGHTS = ("model.safetensors", "open_clip_model.safetensors")


def read_json(file: Path) -> dict[str, Any]:
    """The JSON object in a file of a checkpoint."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as wrong:
        raise ValueError(f"{file} is damaged, fetch it again: {wrong}") from None
    if not isinstance(found, dict):
        raise ValueError(f"{file} holds a {type(found).__name__}, not an object: it belongs to no checkpoint")
    return found


def recognise(folder: Path) -> tuple[str, Config]:
    """What kind of checkpoint a folder holds and its configuration, whichever library wrote it."""
    file, open_clip = folder / "config.json", folder / "open_clip_config.json"
    if not file.exists():
        if open_clip.exists():
            return "open_clip", read_json(open_clip)
        raise ValueError(f"{folder} has no config.json: it is no checkpoint that can be recognised")
    config = read_json(file)
    if "model_type" in config:
        return config["model_type"], config
    if "architecture" in config:  # timm names its architectures instead
        return "timm_swin" if config["architecture"].startswith("swin_") else "timm_vit", config
    for key, kind in (("model_cfg", "open_clip"), ("n_audio_state", "whisper")):
        if key in config:
            return kind, config
    raise ValueError(f"{file} has no model_type, architecture or other sign of a kind that is known here")


class Shards:
    """The tensors of a checkpoint, read one at a time from one safetensors file or several."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        index = folder / "model.safetensors.index.json"
        whole = [name for name in WEIGHTS if (folder / name).exists()]
        if whole or not index.exists():  # one file goes before an index: `save` writes it beside what was there
            files = whole[:1] or [WEIGHTS[0]]
        else:
            files = sorted(set(read_json(index).get("weight_map", {}).values()))
        absent = [name for name in files if not (folder / name).exists()]
        if absent or not files:
            pickled = any(folder.glob("*.bin")) or any(folder.glob("*.pt"))
            raise ValueError(
                f"{folder} lacks {', '.join(absent) or 'weights'}"
                + (f", which {index.name} names" if index.exists() and absent else "")
                + ("; pickled weights are not read: convert them to safetensors" if pickled else "")
            )
        self.open = []
        for name in files:
            try:
                self.open.append(stack.enter_context(safe_open(folder / name, framework="pt")))
            except SafetensorError as wrong:
                raise ValueError(f"{folder / name} is damaged, fetch it again: {wrong}") from None
        self.home = {key: file for file in self.open for key in file.keys()}  # noqa: SIM118  # it is no mapping

    def __iter__(self) -> Iterator[str]:
        return iter(self.home)

    def read(self, name: str) -> torch.Tensor:
        """One tensor, from its file."""
        return self.home[name].get_tensor(name)


def load(
    source: str | Path, *, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32, strict: bool = True
) -> Checkpoint:
    """Load a published checkpoint, or one that `save` wrote, in evaluation mode.

    The model is built without memory and every tensor is read once into its place, so loading never doubles memory.
    With `strict` a missing weight is an error; without it the names are in `untrained` and the weights are fresh.
    """
    folder = find(source)
    kind, config = recognise(folder)
    family = family_of(kind)
    if config.get("quantization_config"):
        raise ValueError(f"{folder} has a quantization_config, and quantized weights are not read: take the full ones")
    try:
        with torch.device("meta"):
            model = family.build(config)
    except KeyError as lacking:
        raise ValueError(f"the configuration in {folder} ({kind}) lacks {lacking}") from lacking
    with ExitStack() as stack:
        shards = Shards(folder, stack)
        ours = list(model.state_dict())
        # What `save` wrote carries our own names, so every name also stands for itself.
        names = [*family.names(config), *((name, name) for name in ours)]
        how = plan(names, list(shards), ours, family.IGNORED)
        optional = getattr(family, "OPTIONAL", ())
        needed = [name for name in how.missing if not any(re.search(skip, name) for skip in optional)]
        if strict and needed:
            raise ValueError(
                f"{folder} ({kind}) lacks {len(needed)} weights: {', '.join(needed[:5])}"
                f"{' …' if len(needed) > 5 else ''}; it has {', '.join(how.unexpected[:5]) or 'nothing'} that no "
                f"part of the model takes; strict=False leaves the missing ones untrained"
            )
        fill(model, how, shards.read, dtype, device)
    materialise(model, dtype, device)
    return Checkpoint(
        kind, model.eval(), config, family.tokenizers(folder, config), untrained=how.missing, unused=how.unexpected
    )


def materialise(model: nn.Module, dtype: torch.dtype, device: torch.device | str) -> None:
    """Give weights that no checkpoint filled a fresh value, and bring the buffers to the device.

    What a module has already, weights and buffers, stays to the bit: its own initialisation runs on stand-ins.
    """
    for module in model.modules():
        own = dict(module.named_parameters(recurse=False))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, torch.zeros_like(buffer, device=device) if buffer.is_meta else buffer.to(device))
        buffers = {name: buffer.clone() for name, buffer in module.named_buffers(recurse=False)}
        if any(p.is_meta for p in own.values()):
            for name, parameter in own.items():
                empty = torch.empty_like(parameter, dtype=dtype, device=device)
                setattr(module, name, nn.Parameter(empty, requires_grad=parameter.requires_grad))
            reset = getattr(module, "reset_parameters", None)
            if callable(reset):
                reset()
            else:
                for parameter in module.parameters(recurse=False):
                    nn.init.normal_(parameter, std=0.02)
            for name, parameter in own.items():
                if not parameter.is_meta:
                    setattr(module, name, parameter)
            for name, buffer in buffers.items():
                setattr(module, name, buffer)


def save(model: nn.Module, config: Config, folder: str | Path) -> None:
    """Write the weights as safetensors under our own names, and the configuration as JSON; `load` reads both back."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    # Written beside and moved into place: a model that was loaded from here may still read its weights from the file,
    # and whoever loads meanwhile finds the old weights or the new ones.
    beside = folder / "model.safetensors.new"
    save_file({name: t.contiguous() for name, t in model.state_dict().items()}, beside)
    beside.replace(folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(dict(config), indent=1, ensure_ascii=False) + "\n")
