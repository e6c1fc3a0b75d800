"""Embedders: the payload of a span becomes vectors of the shared width, one a token.

Each is a small configuration with a name (`kind`), so that a model says in JSON what it can take: `Values` for patches
and any other rows of numbers, `Mel` for log-Mel frames, `Features` of a frozen encoder (wav2vec, ViT, Whisper) over a
bridge, `Books` for acoustic codes. All take the spans of one modality from all rows of a batch at once, with what the
pieces before them left and the model's table of ids, and give the vectors of each span and what the next pieces will
need.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from omni.model.batch import Run
from omni.model.bridge import Bridge
from omni.model.stem import CausalStem, State, Stem

Embedded = tuple[list[Tensor], list[State]]  # of each span: [tokens, width], and the state after it
NO_STATE: State = []


@dataclass(frozen=True)
class Values:
    """Rows of `size` numbers, each through one linear layer: for patches, the same as a strided convolution."""

    size: int
    kind: Literal["values"] = "values"

    def build(self, width: int) -> nn.Module:
        """The embedder."""
        return ValueEmbedder(self, width)


@dataclass(frozen=True)
class Picture:
    """Patches put together again, and strided convolutions over the whole: a shape may lie anywhere in its patches."""

    patch: int = 16  # pixels: a power of two
    side: int = 8  # rows and columns that have a place of their own; beyond them the last one serves
    channels: tuple[int, ...] = (16, 32, 128)  # of all convolutions but the last, which has the width
    spread: int = 512  # of the network in each token
    kind: Literal["picture"] = "picture"

    def build(self, width: int) -> nn.Module:
        """The embedder."""
        return PictureEmbedder(self, width)


@dataclass(frozen=True)
class Mel:
    """Log-Mel frames through the causal stem."""

    stem: Stem
    kind: Literal["mel"] = "mel"

    def build(self, width: int) -> nn.Module:
        """The embedder."""
        return MelEmbedder(self, width)


@dataclass(frozen=True)
class Features:
    """Features that a frozen encoder made, over a bridge."""

    bridge: Bridge
    kind: Literal["features"] = "features"

    def build(self, width: int) -> nn.Module:
        """The embedder."""
        return FeatureEmbedder(self, width)


@dataclass(frozen=True)
class Books:
    """Acoustic codes, one a book and frame; a frame's vector is the sum over its books."""

    sizes: tuple[int, ...]  # entries of each book
    kind: Literal["books"] = "books"

    def build(self, width: int) -> nn.Module:
        """The embedder."""
        return BookEmbedder(self, width)


Input = Values | Picture | Mel | Features | Books


class ValueEmbedder(nn.Module):
    """All rows of all spans in one product."""

    def __init__(self, spec: Values, width: int) -> None:
        super().__init__()
        self.size = spec.size
        self.linear = nn.Linear(spec.size, width)

    def forward(self, runs: list[Run], states: list[State], _table: Tensor) -> Embedded:
        """Spans of `values` [tokens, …], `size` numbers a token."""
        rows = [array_of(run, "values").flatten(1) for run in runs]
        for run, row in zip(runs, rows, strict=True):
            check_width(run, row.shape[1], self.size, "numbers a token")
        return list(self.linear(torch.cat(rows)).split([len(row) for row in rows])), states


class PictureEmbedder(nn.Module):
    """Convolutions of stride 2 until a patch is one token, a residual branch, and a vector for each row and column."""

    def __init__(self, spec: Picture, width: int) -> None:
        super().__init__()
        if spec.patch != 2 ** (len(spec.channels) + 1):
            raise ValueError(
                f"patches of {spec.patch} pixels need log2({spec.patch}) convolutions and channels has "
                f"{len(spec.channels)} sizes: give one for each but the last"
            )
        self.spec = spec
        channels = (3, *spec.channels, width)
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(channels))
        self.norm = nn.RMSNorm(width, eps=1e-6)
        self.around = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.into = nn.Linear(width, spec.spread)
        self.out = nn.Linear(spec.spread, width)
        self.after = nn.RMSNorm(width, eps=1e-6)
        self.across = nn.Linear(width, width)
        self.rows = nn.Embedding(spec.side, width)
        self.columns = nn.Embedding(spec.side, width)
        for table in (self.rows, self.columns):
            nn.init.normal_(table.weight, std=width**-0.5)

    def forward(self, runs: list[Run], states: list[State], _table: Tensor) -> Embedded:
        """Spans of `values` [tokens, size], each the pixels of a patch row by row, and `places` [tokens, 2]."""
        patches = [array_of(run, "values").flatten(1) for run in runs]
        places = [array_of(run, "places").long() for run in runs]
        for run, patch in zip(runs, patches, strict=True):
            check_width(run, patch.shape[1], 3 * self.spec.patch**2, "numbers a token")
        shapes = [(int(place[:, 0].max()) + 1, int(place[:, 1].max()) + 1) for place in places]
        for run, (rows, columns) in zip(runs, shapes, strict=True):
            if run.span.length % (rows * columns):
                raise ValueError(
                    f"a picture of {rows} × {columns} patches comes with {run.span.length} tokens: "
                    "encode it without class tokens and registers, and without merging patches"
                )
        seen: list[Tensor] = [patch.new_zeros(0) for patch in patches]
        for shape in dict.fromkeys(shapes):  # pictures of one shape are seen at once
            mine = [number for number, other in enumerate(shapes) if other == shape]
            found = self.see(torch.cat([patches[n] for n in mine]), torch.cat([places[n] for n in mine]), shape)
            for number, tokens in zip(mine, found.split([len(patches[n]) for n in mine]), strict=True):
                seen[number] = tokens
        place = torch.cat(places).clamp(0, self.spec.side - 1)
        y = self.across(torch.cat(seen)) + self.rows(place[:, 0]) + self.columns(place[:, 1])
        y = F.rms_norm(y, y.shape[-1:])  # were it much louder than what the stack adds, the stack could not work on it
        return list(y.split([len(patch) for patch in patches])), states

    def see(self, patches: Tensor, places: Tensor, shape: tuple[int, int]) -> Tensor:
        """Patches [pictures · rows · columns, size] in any order within a picture → their tokens, in that order."""
        rows, columns, patch = *shape, self.spec.patch
        at = (
            places[:, 0] * columns
            + places[:, 1]
            + torch.arange(len(places), device=places.device) // (rows * columns) * (rows * columns)
        )
        whole = torch.zeros_like(patches)
        whole[at] = patches
        pixels = whole.view(-1, rows, columns, patch, patch, 3).permute(0, 5, 1, 3, 2, 4)
        x = pixels.reshape(-1, 3, rows * patch, columns * patch)
        for convolution in self.convolutions:
            x = F.gelu(convolution(x))  # at last [pictures, width, rows, columns]
        y = self.around(self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        tokens: Tensor = self.after(x.permute(0, 2, 3, 1) + self.out(F.gelu(self.into(y))))
        return tokens.flatten(0, 2)[at]


class MelEmbedder(nn.Module):
    """The causal stem over every span, going on from what the piece before it left."""

    def __init__(self, spec: Mel, width: int) -> None:
        super().__init__()
        self.stem = CausalStem(spec.stem, width)

    def forward(self, runs: list[Run], states: list[State], table: Tensor) -> Embedded:
        """Spans of `values` [tokens, frames a token, bins]."""
        return self.stem(self.pieces(runs), [state or self.stem.start() for state in states], table)

    def pieces(self, runs: list[Run]) -> list[Tensor]:
        """What the stem takes of spans: each [tokens, frames a token, bins]."""
        spec = self.stem.spec
        pieces = [array_of(run, "values").unflatten(0, (-1, 1)).flatten(1, -2) for run in runs]
        for run, piece in zip(runs, pieces, strict=True):
            check_width(run, piece.shape[2], spec.bins, "Mel bins")
            check_width(run, piece.shape[1], spec.frames, "frames a token")
        return pieces


class FeatureEmbedder(nn.Module):
    """Every span over the bridge by itself: a span's last group may be short, and a resampler sees one span."""

    def __init__(self, spec: Features, width: int) -> None:
        super().__init__()
        self.source = spec.bridge.source
        self.bridge = spec.bridge.build(width)

    def forward(self, runs: list[Run], states: list[State], _table: Tensor) -> Embedded:
        """Spans of `values` [tokens, source] or [tokens, features a token, source]."""
        return [self.cross(run) for run in runs], states

    def cross(self, run: Run) -> Tensor:
        """One span: [tokens, width]."""
        features = array_of(run, "values")
        features = features.flatten(0, -2)[None]  # [1, features, source]
        check_width(run, features.shape[2], self.source, "numbers a feature")
        tokens: Tensor = self.bridge(features, torch.tensor([run.span.units], device=features.device))[0]
        if len(tokens) != run.span.length:
            raise ValueError(
                f"the bridge makes {len(tokens)} tokens of {features.shape[1]} {run.span.modality} features and the "
                f"sequence has {run.span.length}: group the tokens as the bridge does"
            )
        return tokens


class BookEmbedder(nn.Module):
    """The codes of all spans in one look-up; the tables of all books are one, each below the other."""

    offsets: Tensor

    def __init__(self, spec: Books, width: int) -> None:
        super().__init__()
        self.sizes = spec.sizes
        self.table = nn.Embedding(sum(spec.sizes), width)
        # The sum over a frame's books begins as long as the vector of a text id.
        nn.init.normal_(self.table.weight, std=(width * len(spec.sizes)) ** -0.5)
        # No weight, so nothing loads it: it has to be right even when the model is built without memory.
        with torch.device("cpu"):
            offsets = torch.tensor([0, *spec.sizes[:-1]]).cumsum(0)
        self.register_buffer("offsets", offsets, persistent=False)

    def forward(self, runs: list[Run], states: list[State], _table: Tensor) -> Embedded:
        """Spans of `codes` [tokens, books]."""
        codes = [array_of(run, "codes") for run in runs]
        sizes = torch.tensor(self.sizes, device=codes[0].device)
        for run, code in zip(runs, codes, strict=True):
            check_width(run, code.shape[1], len(self.sizes), "codes a token")
            if bool(((code < 0) | (code >= sizes)).any()):
                raise ValueError(
                    f"{run.span.modality} has codes from {int(code.min())} to {int(code.max())} and the books of this "
                    f"model have {', '.join(map(str, self.sizes))} entries: encode it with the codec of the model"
                )
        return list(self.look_up(torch.cat(codes).long()).split([len(code) for code in codes])), states

    def look_up(self, codes: Tensor) -> Tensor:
        """codes [..., books] → [..., width]."""
        return self.table(codes + self.offsets).sum(-2)


def array_of(run: Run, name: str) -> Tensor:
    """An array of a span's payload."""
    if name not in run.arrays:
        raise ValueError(f"{run.span.modality} needs an array {name!r}, its span has {', '.join(run.arrays)}")
    return run.arrays[name]


def check_width(run: Run, found: int, built: int, what: str) -> None:
    """Raise unless a span has what the model was built for."""
    if found != built:
        raise ValueError(
            f"{run.span.modality} comes with {found} {what} and this model was built for {built}: "
            f"encode it with the tokenizer that belongs to the model"
        )


def of_dict(about: Mapping[str, Any]) -> Input:
    """An input from JSON, by its `kind`."""
    about = dict(about)
    kind = about.pop("kind", None)
    try:
        if kind == "values":
            return Values(**about)
        if kind == "picture":
            return Picture(**tupled(about))
        if kind == "mel":
            return Mel(Stem(**tupled(about["stem"])))
        if kind == "features":
            return Features(Bridge(**tupled(about["bridge"])))
        if kind == "books":
            return Books(tuple(about["sizes"]))
    except (TypeError, KeyError) as wrong:
        raise ValueError(
            f"the input of kind {kind!r} is described otherwise than this version reads it ({wrong}): "
            "use the version that made the model"
        ) from None
    raise ValueError(f"an input is of the kind values, picture, mel, features or books, not {kind!r}")


def tupled(about: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON object with its lists as tuples."""
    return {name: tuple(v) if isinstance(v, list) else v for name, v in about.items()}
