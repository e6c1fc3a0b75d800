"""The omni model: one sequence of everything in, text and acoustic codes out, one shared stack between.

A token's vector is the row of its id. A token that is not text has the id of its modality's placeholder, whose row
thereby says what kind of token it is, and the vector of its payload is added to it.
"""

from collections.abc import Mapping
from collections.abc import Sequence as ListLike
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omni.model.attention import AttentionSpec
from omni.model.batch import Batch, batch
from omni.model.block import BlockSpec
from omni.model.cache import Cache
from omni.model.embed import NO_STATE, Input, of_dict, tupled
from omni.model.heads import CodeHead
from omni.model.mlp import MlpSpec
from omni.model.norm import Norm
from omni.model.rotary import RotarySpec
from omni.model.stack import Stack, StackSpec
from omni.model.stem import State
from omni_tokenizers.sequence import Sequence


@dataclass(frozen=True)
class OmniSpec:
    """An omni model in full, as plain values: `config()` is its JSON, and `OmniSpec.of(config)` reads it back."""

    ids: int  # rows of the id table, placeholders included: `size` of the omni tokenizer
    text: int  # ids that the text head scores: the vocabulary without placeholders
    width: int = 256
    depth: int = 6
    heads: int = 8
    kv_heads: int | None = None
    hidden: int = 704  # of the gated MLP
    longest: int = 4096  # tokens
    base: float = 10_000.0  # of the rotary positions
    sections: tuple[int, ...] | None = None  # rotary frequencies by axis, for sequences with M-RoPE positions
    layout: Literal["contiguous", "interleaved"] = "contiguous"
    inputs: Mapping[str, Input] = field(default_factory=dict)  # modality → its embedder
    codes: CodeHead | None = None  # what the model says in sound
    tied: bool = True  # the text head is the id table
    extra: Mapping[str, int] = field(default_factory=dict)  # more linear heads by name → classes: {"turn": 1}

    @property
    def stack(self) -> StackSpec:
        """The shared stack: RMSNorm before each branch, SwiGLU, rotary positions."""
        norm = Norm("rms", eps=1e-6)
        block = BlockSpec(
            self.width,
            AttentionSpec(self.heads, self.kv_heads, bias=False, out_bias=False),
            MlpSpec(self.hidden, "silu", gated=True, bias=False),
            norm,
        )
        rotary = RotarySpec(base=self.base, sections=self.sections, layout=self.layout)
        return StackSpec(block, self.depth, final_norm=norm, rotary=rotary)

    def config(self) -> dict[str, Any]:
        """The specification as JSON, for `save`."""
        return {"model_type": "omni", **asdict(self)}

    @staticmethod
    def of(config: Mapping[str, Any]) -> "OmniSpec":
        """The specification that a `config()` describes; names that it does not know are left alone."""
        known = {name: config[name] for name in OmniSpec.__dataclass_fields__ if name in config}
        known["inputs"] = {name: of_dict(about) for name, about in known.get("inputs", {}).items()}
        try:
            if known.get("codes") is not None:
                known["codes"] = CodeHead(**tupled(known["codes"]))
            if known.get("sections") is not None:
                known["sections"] = tuple(known["sections"])
            return OmniSpec(**known)
        except TypeError as wrong:
            raise ValueError(
                f"the model is described otherwise than this version reads it ({wrong}): "
                "use the version that made the model"
            ) from None


@dataclass(frozen=True)
class Left:
    """What a piece of a span leaves for the next piece."""

    next: int  # the step of its source that comes next
    state: State


NOTHING = Left(0, NO_STATE)


@dataclass(frozen=True)
class Output:
    """What the model says after every token of every row."""

    hidden: Tensor  # [rows, tokens, width]
    text: Tensor  # [rows, tokens, text ids], scores of the next text id
    codes: list[Tensor] | None  # of each book [rows, tokens, entries]; None without a code head, or a depth one
    extra: dict[str, Tensor]  # [rows, tokens, classes]
    lengths: list[int]  # tokens of each row; beyond them stands nothing of meaning


class Omni(nn.Module):
    """Embedders, the stack, heads."""

    def __init__(self, spec: OmniSpec) -> None:
        super().__init__()
        if spec.text > spec.ids:
            raise ValueError(f"{spec.text} text ids do not fit into a table of {spec.ids}")
        self.spec = spec
        self.embed = nn.Embedding(spec.ids, spec.width)
        nn.init.normal_(self.embed.weight, std=spec.width**-0.5)  # a tied head would begin with huge scores
        self.inputs = nn.ModuleDict({name: given.build(spec.width) for name, given in spec.inputs.items()})
        self.stack = Stack(spec.stack)
        self.head = None if spec.tied else nn.Linear(spec.width, spec.text, bias=False)
        self.codes = spec.codes.build(spec.width) if spec.codes else None
        self.extra = nn.ModuleDict({name: nn.Linear(spec.width, classes) for name, classes in spec.extra.items()})

    def forward(self, sequences: Sequence | ListLike[Sequence]) -> Output:
        """Read whole sequences, each a row, and say everything about every token."""
        rows = self.batch([sequences] if isinstance(sequences, Sequence) else sequences)
        hidden = self.hidden(rows)
        parallel = self.codes is not None and self.spec.codes is not None and self.spec.codes.how == "parallel"
        return Output(
            hidden=hidden,
            text=self.text(hidden),
            codes=self.codes(hidden) if parallel and self.codes is not None else None,
            extra={name: head(hidden) for name, head in self.extra.items()},
            lengths=rows.lengths,
        )

    def batch(self, sequences: ListLike[Sequence], starts: ListLike[int] | None = None) -> Batch:
        """Sequences as a batch on the model's device, checked against what the model was built for."""
        for sequence in sequences:
            self.check(sequence)
        weight = self.embed.weight
        return batch(sequences, weight.device, weight.dtype, starts)

    def check(self, sequence: Sequence) -> None:
        """Raise unless this model can read the sequence."""
        for name in sequence.counts():
            if name not in ("text", "pad") and name not in self.inputs:
                raise ValueError(f"this model was not built for {name}: it takes {', '.join(['text', *self.inputs])}")
        if len(sequence) > self.spec.longest:
            raise ValueError(
                f"the sequence has {len(sequence)} tokens, more than the {self.spec.longest} positions of this model: "
                f"truncate it first"
            )
        if len(sequence) and not 0 <= sequence.ids.min() <= sequence.ids.max() < self.spec.ids:
            raise ValueError(
                f"the sequence has ids from {sequence.ids.min()} to {sequence.ids.max()} and this model has 0 to "
                f"{self.spec.ids - 1}: encode it with the tokenizer that belongs to the model"
            )
        if self.spec.sections is None and sequence.scheme != "linear":
            raise ValueError(
                f"the sequence has {sequence.scheme} positions and this model has rotary positions of one axis: "
                f'use sequence.in_scheme("linear"), or build the model with sections'
            )

    def vectors(self, rows: Batch, left: dict[tuple[int, str], Left] | None = None) -> Tensor:
        """The input of the stack: [rows, tokens, width].

        `left` holds what the pieces before left, by row and modality, and is updated: live sound goes on.
        """
        left = {} if left is None else left
        x = self.embed(rows.ids)
        for name, runs in rows.runs.items():
            before = [left.get((run.row, name), NOTHING) for run in runs]
            goes_on = [run.span.first == b.next for run, b in zip(runs, before, strict=True)]
            states = [b.state if on else NO_STATE for b, on in zip(before, goes_on, strict=True)]
            parts, after = self.inputs[name](runs, states, self.embed.weight)
            where = torch.cat([torch.arange(run.span.start, run.span.stop) + run.row * x.shape[1] for run in runs])
            added = torch.zeros_like(x).flatten(0, 1).index_add(0, where.to(x.device), torch.cat(parts).to(x.dtype))
            x = x + added.view_as(x)
            for run, state in zip(runs, after, strict=True):
                left[run.row, name] = Left(run.span.first + run.span.length, state)
        return x

    def hidden(self, rows: Batch) -> Tensor:
        """What the stack makes of a batch: [rows, tokens, width]."""
        return self.stack(self.vectors(rows), rows.reach, positions=rows.positions)

    def text(self, hidden: Tensor) -> Tensor:
        """Scores of the next text id: [..., width] → [..., text ids]."""
        return F.linear(hidden, self.embed.weight[: self.spec.text]) if self.head is None else self.head(hidden)

    def cache(self, *, slots: int = 1, capacity: int | None = None) -> Cache:
        """An empty cache that fits this model, on its device and in its type."""
        return Cache.of(self.spec.stack, slots, capacity or self.spec.longest, self.embed.weight)
