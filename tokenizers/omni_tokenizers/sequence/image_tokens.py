"""Pictures in a sequence: patches, one to a token, or a block of merged ones where the order says so.

Tokens see each other in both directions inside a picture. The payload keeps patch values and grid places; the
span keeps the size of the source and the settings, so a saved sequence can be turned back into pixels by itself.
"""

import json
from typing import Any

import numpy as np

from omni_tokenizers.image import ORDERS, Order, Patches, image_size
from omni_tokenizers.image.grid import PatchGrid
from omni_tokenizers.sequence.modality import Array, Arrays, Encoded, dressed
from omni_tokenizers.sequence.parts import Film, Image, Part
from omni_tokenizers.sequence.span import Attention, Grid, Span


class ImageTokens:
    """The image modality around a `Patches`. An order that merges m × m patches gives one token for each block."""

    def __init__(self, patches: Patches, *, attention: Attention = "bidirectional") -> None:
        self.patches = patches
        self.attention = attention
        self._merge = _order(patches).merge
        if self._merge > 1 and patches.slots:
            raise ValueError(
                f"blocks of {self._merge}×{self._merge} patches and {patches.slots} class or register slots do not go "
                "together in one sequence: use an order without merging, or no slots"
            )
        # Through JSON, so that a saved and loaded sequence equals this one.
        self._settings = json.loads(json.dumps(patches.settings()))

    def encode(self, part: Part, /) -> Encoded:
        """The patches of one picture, or of all pictures of a film."""
        if isinstance(part, Film):
            return self._film(part)
        grid = self.patches.encode(_picture(part).source)
        values = _numpy(grid.values)  # [patches, dim]
        m = self._merge
        block = (-1, m * m) if m > 1 else (-1,)
        slots: list[Grid] = [(1, 1, 1)] * grid.slots
        return Encoded(
            {
                "values": values.reshape(*block, values.shape[1]),
                "places": np.asarray(grid.positions).reshape(*block, 2),
            },
            attention=self.attention,
            whole=True,
            grids=(*slots, *((1, rows // m, columns // m) for rows, columns in grid.grids)),
            group=m * m,
            meta={"width": grid.plan.source[0], "height": grid.plan.source[1], "patches": self._settings},
        )

    def count(self, part: Part, /) -> int:
        """How many tokens, from the picture's width and height; of a file only the header is read."""
        if isinstance(part, Film):
            return sum(self.count(Image(source)) for source in part.pictures)
        size = image_size(_picture(part).source, max_pixels=self.patches.max_pixels)
        return self.patches.count(*size) // self._merge**2

    def decode(self, span: Span, arrays: Arrays, /) -> Image | Film:
        """The pixels as they were after scaling: [height, width, 3], of a film [pictures, height, width, 3]."""
        pictures = pictures_of(span, arrays)
        return Film(np.stack(pictures), span.step) if span.step else Image(pictures[0])

    def picture(self, span: Span, arrays: Arrays, /) -> Array:
        """What the patches show, uint8 [height, width, 3]; the pictures of a film stand side by side."""
        return picture_of(span, arrays)

    def _film(self, part: Film) -> Encoded:
        if not 0 < part.step < float("inf"):
            raise ValueError(f"the pictures of a film are {part.step} s apart: the step must be finite and above 0")
        frames = [self.encode(Image(source)) for source in part.pictures]
        if not frames:
            raise ValueError("a film needs at least one picture")
        grids = {frame.grids for frame in frames}
        if len(grids) > 1 or len(frames[0].grids) > 1:
            raise ValueError(
                f"the pictures of a film need one grid that is the same for all, got {sorted(grids)}: "
                "use a resize policy such as Square, without tiles and slots"
            )
        _, rows, columns = frames[0].grids[0]
        arrays = {name: np.concatenate([frame.arrays[name] for frame in frames]) for name in frames[0].arrays}
        return dressed(frames[0], arrays=arrays, grids=((len(frames), rows, columns),), step=part.step, units=-1)

    def stream(self) -> Any:
        """Refused with the reason: an image arrives whole."""
        return self.patches.stream()


def picture_of(span: Span, arrays: Arrays) -> Array:
    """The pixels behind a span of patches; the pictures of a film stand side by side."""
    return np.concatenate(pictures_of(span, arrays), axis=1)


def pictures_of(span: Span, arrays: Arrays) -> list[Array]:
    """The pixels behind a span of patches, from the settings that the span carries: one picture, or a film's."""
    patches = Patches.from_settings(span.meta["patches"])
    plan = patches.plan(span.meta["width"], span.meta["height"])
    m = _order(patches).merge
    values = arrays["values"].reshape(-1, patches.dim)
    places = arrays["places"].reshape(-1, 2)
    grids = span.grids[patches.slots :]
    times = grids[0][0]
    patches_each = len(values) // times
    return [
        patches.decode(
            PatchGrid(
                values=values[at : at + patches_each],
                positions=places[at : at + patches_each],
                kind=np.zeros(patches_each, np.uint8),
                view=np.zeros(patches_each, np.int32),
                grids=tuple((rows * m, columns * m) for _, rows, columns in grids),
                plan=plan,
            )
        )
        for at in range(0, len(values), patches_each)
    ]


def _order(patches: Patches) -> Order:
    return patches.order if isinstance(patches.order, Order) else ORDERS[patches.order]


def _picture(part: Part) -> Image:
    if not isinstance(part, Image):
        raise TypeError(f"expected Image(source), got {type(part).__name__}")
    return part


def _numpy(values: Any) -> Array:
    return values.detach().float().cpu().numpy() if hasattr(values, "detach") else np.asarray(values)
