"""A modality that the library has never heard of: a thermal camera, as a plug-in of thirty lines.

`Thermal` says how a frame of temperatures becomes tokens and comes back; `Values` gives it one linear layer in the
model. Nothing else in the library or the model knows of heat. A sequence is the question "how many are warm?", a frame,
and the answer as text; the loss is that of the answer's one token. Left new frames as their tokens hold them, with what
the model says, bright where it is warm; right how it learned.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from matplotlib import pyplot as plt
from numpy.typing import NDArray
from stage import open_stage, train
from torch.nn import functional as F
from worlds.warm_rooms import HEIGHT, MOST, ROOM, WIDTH, frame

from omni.model.embed import Values
from omni.model.omni import Omni as Model
from omni.model.omni import OmniSpec
from omni_tokenizers import Omni, Tagged, Text
from omni_tokenizers.sequence import Encoded, Span, register
from omni_tokenizers.tokenizer import CannotStream

SPREAD = 8.0  # kelvin, a large difference in a room
QUESTION = "how many are warm? "


@register("thermal")
class Thermal:
    """A frame of temperatures in kelvin, [height, width]: a token is a square block, as differences from a room's."""

    def __init__(self, block: int = 4) -> None:
        self.block = block  # pixels

    def encode(self, part: Tagged, /) -> Encoded:
        frame, b = np.asarray(part.source, np.float32), self.block
        height, width = frame.shape
        if height % b or width % b:
            raise ValueError(f"a thermal frame of {width}×{height} pixels is no whole number of blocks of {b}: crop it")
        blocks = frame.reshape(height // b, b, width // b, b).swapaxes(1, 2).reshape(-1, b, b)
        values = (blocks - np.float32(ROOM)) / np.float32(SPREAD)
        return Encoded({"values": values}, attention="bidirectional", whole=True, meta={"columns": width // b})

    def count(self, part: Tagged, /) -> int:
        height, width = part.source.shape
        return (height // self.block) * (width // self.block)

    def decode(self, span: Span, arrays: Mapping[str, Any], /) -> Tagged:
        rows = arrays["values"].reshape(-1, span.meta["columns"], self.block, self.block).swapaxes(1, 2)
        differences = rows.reshape(-1, span.meta["columns"] * self.block) * np.float32(SPREAD)
        return Tagged("thermal", differences + np.float32(ROOM))

    def stream(self) -> Any:
        raise CannotStream("a thermal frame comes whole: push it with push_whole")


stage = open_stage(__doc__, "new_modality")
steps, batch = (4, 8) if stage.quick else (400, 24)
omni = Omni(text=Text.of_bytes(), thermal={"block": 4})
takes = {"thermal": Values(4 * 4)}
spec = OmniSpec(omni.size, omni.text_size, width=64, depth=3, heads=4, hidden=160, longest=128, inputs=takes)
model, random = Model(spec), np.random.default_rng(0)


def ask(frames: list[NDArray[np.float32]]) -> torch.Tensor:
    """Scores of the next id after each frame: [frames, text ids]."""
    return model([omni.encode([QUESTION, Tagged("thermal", kelvin)]) for kelvin in frames]).text[:, -1]


held, answers = zip(*(frame(np.random.default_rng(10_000 + i)) for i in range(16 if stage.quick else 200)), strict=True)
right_ids = torch.tensor([ord(str(answer)) for answer in answers])


def count_people(_: int) -> torch.Tensor:
    frames, people = zip(*(frame(random) for _ in range(batch)), strict=True)
    return F.cross_entropy(ask(list(frames)), torch.tensor([ord(str(count)) for count in people]))


losses = train(model, steps, 2e-3, "counting people", count_people)
with torch.no_grad():
    said = ask(list(held)).argmax(-1)
share = (said == right_ids).float().mean().item()
figure = plt.figure(figsize=(10, 4.4), layout="constrained")
figure.suptitle("A modality as a plug-in: a thermal camera joins the model")
left, right = figure.subfigures(1, 2, width_ratios=(1.7, 1))
for axis, kelvin, answer, number in zip(left.subplots(2, 3).flat, held, answers, said.tolist(), strict=False):
    sequence = omni.encode([QUESTION, Tagged("thermal", kelvin)])
    axis.imshow(omni.decode(sequence)[1].source, cmap="inferno", vmin=ROOM - 3, vmax=ROOM + 14)
    axis.set(xticks=np.arange(3.5, WIDTH, 4), yticks=np.arange(3.5, HEIGHT, 4), xticklabels=[], yticklabels=[])
    axis.grid(color="white", linewidth=0.3)
    axis.set_title(f"says {chr(number)!r}, true {answer}", color="#08705a" if chr(number) == str(answer) else "#b3352b")
axis = right.subplots()
axis.plot(losses, color="#08705a", linewidth=0.9)
axis.axhline(np.log(MOST + 1), color="0.6", linestyle=":")
axis.set(xlabel="step", yscale="log", title="loss of the answer, nats (dotted: a guess)")
stage.close(figure, f"{share:.0%} of {len(held)} new frames answered rightly (a guess: {1 / (MOST + 1):.0%})")
