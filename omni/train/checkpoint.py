"""Everything a training needs to go on as if it had not stopped: weights, optimisers, step and the pool it read."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from omni.train.keeping import replacing

STATE = "state.safetensors"
ABOUT = "state.json"  # what the state says of itself, for people
RECIPE = "recipe.json"


@dataclass
class Standing:
    """Where a training stands."""

    step: int = 0
    began: int = 0  # the step of the bundle that it began with
    origin: str = ""  # which bundle that was: a hash of its weights
    shards: tuple[str, ...] = ()  # names of the shards it reads
    seconds: float = 0.0  # of work, over all its lives


def write(
    folder: Path, modules: dict[str, nn.Module], optimisers: dict[str, torch.optim.Optimizer], standing: Standing
) -> None:
    """Write the state beside the one that is there, then put it in its place."""
    tensors: dict[str, Tensor] = {}
    for name, module in modules.items():
        tensors.update({f"{name}.{key}": value for key, value in module.state_dict().items()})
    for name, optimiser in optimisers.items():
        for number, state in optimiser.state_dict()["state"].items():
            tensors.update({f"{name}.{number}.{key}": torch.as_tensor(value) for key, value in state.items()})
    about = asdict(standing)
    # One file holds it all, what it says of itself included, so that no two halves of different steps can meet.
    held = {key: t.detach().contiguous().cpu() for key, t in tensors.items()}
    with replacing(folder / STATE) as beside:
        save_file(held, beside, {"about": json.dumps(about)})
    (folder / ABOUT).write_text(json.dumps(about, indent=1) + "\n")


def read(folder: Path, modules: dict[str, nn.Module], optimisers: dict[str, torch.optim.Optimizer]) -> Standing | None:
    """Bring modules and optimisers to where the training stood; None where nothing was written yet."""
    from safetensors import safe_open

    file = folder / STATE
    if not file.exists():
        return None
    with safe_open(file, framework="pt") as opened:
        about = json.loads(opened.metadata()["about"])
    tensors = load_file(file)
    for name, module in modules.items():
        wanted = module.state_dict()
        unfit = [
            k for k, t in wanted.items() if f"{name}.{k}" not in tensors or tensors[f"{name}.{k}"].shape != t.shape
        ]
        if unfit:
            raise ValueError(
                f"{file} is of another version ({name}.{unfit[0]} is not there as it has to be): "
                "go on with the one that made it, or name another folder"
            )
        module.load_state_dict({key: tensors.pop(f"{name}.{key}") for key in wanted})
    for name, optimiser in optimisers.items():
        state: dict[int, dict[str, Tensor]] = {}
        for key in [key for key in tensors if key.startswith(f"{name}.")]:
            _, number, what = key.split(".")
            state.setdefault(int(number), {})[what] = tensors.pop(key)
        now = optimiser.state_dict()
        optimiser.load_state_dict({"state": state, "param_groups": now["param_groups"]})
    if tensors:
        raise ValueError(
            f"{file} holds {len(tensors)} tensors that this training has no place for: {next(iter(tensors))} …"
        )
    return Standing(**{**about, "shards": tuple(about["shards"])})
