"""Published weights by name: which tensor of theirs becomes which part of ours.

A family lists pairs (theirs, ours). `{i}` and `{j}` stand for numbers. Ours may end in `@part` where we hold as one
matrix what they hold as several: `qkv.weight@q`, `@k`, `@v`; `up.weight@gate`, `@up`. It ends in `@transposed` where
theirs multiplies from the other side (open_clip's projections). Theirs may be `ZERO` where they have no such tensor
because it would be zero (Whisper's keys have no bias).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

ZERO = "=0"
TRANSPOSED = "transposed"
PARTS = ("q", "k", "v", "kv", "gate", "up")  # the order in which parts are joined
Names = Sequence[tuple[str, str]]


def both(theirs: str, ours: str) -> list[tuple[str, str]]:
    """The weight and the bias of a module."""
    return [(f"{theirs}.{kind}", f"{ours}.{kind}") for kind in ("weight", "bias")]


@dataclass
class Plan:
    """For every tensor of ours, the tensors of theirs that make it."""

    sources: dict[str, list[str]] = field(default_factory=dict)
    transposed: set[str] = field(default_factory=set)  # ours that are the transpose of theirs
    missing: list[str] = field(default_factory=list)  # ours that theirs do not fill
    unexpected: list[str] = field(default_factory=list)  # theirs that ours have no place for


def pattern(name: str) -> re.Pattern[str]:
    """A pattern for all the names that a name with {i} and {j} stands for."""
    return re.compile(re.escape(name).replace(r"\{i\}", r"(?P<i>\d+)").replace(r"\{j\}", r"(?P<j>\d+)"))


def plan(names: Names, theirs: Iterable[str], ours: Iterable[str], ignore: Sequence[str] = ()) -> Plan:
    """Decide, from names alone, how to fill our tensors; says what is missing and what is left over.

    `ignore` holds regular expressions for names of theirs that are no weights, such as buffers of position ids.

    >>> how = plan([("a.{i}.query", "b.{i}.qk@q"), ("a.{i}.key", "b.{i}.qk@k")], ["a.0.query", "a.0.key"], ["b.0.qk"])
    >>> how.sources
    {'b.0.qk': ['a.0.query', 'a.0.key']}
    """
    pairs = [(pattern(a), pattern(b.partition("@")[0]), b) for a, b in names if a != ZERO]
    zeros = [(pattern(b.partition("@")[0]), b.partition("@")[2]) for a, b in names if a == ZERO]
    found: dict[str, dict[str, str]] = {}  # our name → part → their name
    for name in theirs:
        for their_pattern, _, target in pairs:
            match = their_pattern.fullmatch(name)
            if match:
                filled, _, part = target.format(**match.groupdict()).partition("@")
                found.setdefault(filled, {})[part] = name
                break
    result = Plan()
    for target in ours:
        parts = found.get(target, {})
        parts |= {part: ZERO for shape, part in zeros if parts and shape.fullmatch(target)}
        needed = {b.partition("@")[2] for _, shape, b in pairs if shape.fullmatch(target)} or {""}
        if "" in parts:
            result.sources[target] = [parts[""]]
        elif TRANSPOSED in parts:
            result.sources[target] = [parts[TRANSPOSED]]
            result.transposed.add(target)
        elif lacking := sorted(needed - {"", TRANSPOSED} - set(parts)) or ([] if parts else [""]):
            result.missing += [f"{target}@{part}" if part else target for part in lacking]
        else:
            result.sources[target] = [parts[part] for part in sorted(parts, key=PARTS.index)]
    used = {name for sources in result.sources.values() for name in sources}
    result.unexpected = sorted(n for n in set(theirs) - used if not any(re.search(skip, n) for skip in ignore))
    return result


def join(tensors: Sequence[Tensor | None], like: torch.Size) -> Tensor:
    """Join parts along their first axis; None is a zero part as large as what is left over."""
    known = [t for t in tensors if t is not None]
    if len(known) < len(tensors):
        rest = (like[0] - sum(len(t) for t in known)) // (len(tensors) - len(known))
        tensors = [known[0].new_zeros(rest, *known[0].shape[1:]) if t is None else t for t in tensors]
    return (
        tensors[0] if len(tensors) == 1 and tensors[0] is not None else torch.cat([t for t in tensors if t is not None])
    )


def fill(
    model: nn.Module, how: Plan, read: Callable[[str], Tensor], dtype: torch.dtype, device: torch.device | str
) -> None:
    """Give the model (on the meta device, or any) the weights that `read(name)` returns, one tensor at a time."""
    ours: Mapping[str, Tensor] = model.state_dict(keep_vars=True)
    filled = {}
    for target, names in how.sources.items():
        shape = ours[target].shape
        tensor = join([None if name == ZERO else read(name) for name in names], shape)
        if target in how.transposed:
            tensor = tensor.T
        if tensor.shape != shape:
            # A patch convolution [width, channels, p, p] is our linear layer [width, channels·p·p]; axes of one entry
            # come and go.
            flat = tensor.flatten(1) if tensor.ndim > 2 else tensor
            if flat.shape != shape and tensor.squeeze().shape != torch.Size(n for n in shape if n != 1):
                raise ValueError(
                    f"{' + '.join(names)} has shape {tuple(tensor.shape)} and {target} needs {tuple(shape)}: "
                    f"the configuration and the weights do not belong together"
                )
            tensor = tensor.reshape(shape)
        kind = dtype if tensor.is_floating_point() else tensor.dtype
        filled[target] = tensor.to(device=device, dtype=kind).contiguous()
    model.load_state_dict(filled, strict=False, assign=True)
