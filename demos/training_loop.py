"""The tokenizer library in a training loop of your own: plain PyTorch, with no model of this project.

A few lines of torch learn to describe drawn pictures. The library makes one sequence of each picture and its caption,
packs several into one row so that no place is wasted on padding, and hands over what a loop needs: ids, where the
patches are and their values, positions, and a mask in which no caption sees another's picture. Left new pictures
with the captions that the model writes, right the loss of the caption's letters.
"""

from random import Random

import torch
from matplotlib import pyplot as plt
from stage import open_stage
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from omni.train.pictures import PLACES, Scene, draw, random_scene
from omni_tokenizers import Image, Omni, Patches, Text
from omni_tokenizers.image import LongestSide
from omni_tokenizers.sequence import Ids, Sequence, pack

END, WIDTH, LONGEST, PACKED = "\n", 96, 64, 16  # the end of a caption; –; tokens of a document; documents of a row
text = Text.of_bytes()
omni = Omni(text=text, image=Patches(8, resize=LongestSide(32)))


def caption(scene: Scene) -> str:
    return "; ".join(f"{f.color} {f.shape} {PLACES[f.row, f.column]}" for f in scene.figures)


class Describer(nn.Module):
    """What fits on a slide: a table for ids, a layer for patches, torch's own encoder under the sequence's mask."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.places = nn.Embedding(omni.size, WIDTH), nn.Embedding(LONGEST, WIDTH)
        self.project = nn.Linear(8 * 8 * 3, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, 4, 3 * WIDTH, dropout=0.0, batch_first=True, norm_first=True)
        self.stack = nn.TransformerEncoder(layer, 3, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.head = nn.Linear(WIDTH, omni.text_size)

    def forward(self, sequence: Sequence) -> Tensor:
        t = sequence.to("cpu")
        x = self.table(t.ids) + self.places(t.positions)  # [tokens, WIDTH]
        x = x.index_add(0, t.where["image"], self.project(t.values["image"]["values"].flatten(1)))
        return self.head(self.stack(x[None], mask=~t.mask())[0])  # [tokens, text ids]


def loss_of(model: Describer, row: Sequence) -> Tensor:
    """Cross-entropy of each next token, where the next one is text of the same document."""
    ids, t = torch.tensor(row.ids), row.to("cpu")
    asked = (ids[1:] < omni.text_size) & (t.document[1:] == t.document[:-1])
    return F.cross_entropy(model(row)[:-1][asked], ids[1:][asked])


@torch.no_grad()
def describe(model: Describer, picture: Image) -> str:
    """Write the likeliest byte, again and again, until the end."""
    written: list[int] = []
    while END not in text.decode(written) and len(written) < LONGEST - omni.count(picture):
        written.append(int(model(omni.encode([picture, Ids(tuple(written))]))[-1].argmax()))
    return text.decode(written).strip()


stage = open_stage(__doc__, "training_loop")
steps, count = (4, 40) if stage.quick else (700, 2500)
random = Random(0)
scenes = [random_scene(random, "one") for _ in range(count)]
documents = [omni.encode([Image(draw(s)), caption(s) + END]) for s in tqdm(scenes, desc="drawing", mininterval=1)]
model = Describer()
optimiser = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 2e-3, total_steps=steps)
losses = []
for _ in tqdm(range(steps), desc="learning to describe", mininterval=1):
    loss = loss_of(model, pack(random.sample(documents, PACKED)))
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    schedule.step()
    losses.append(loss.item())

model.eval()
new = [random_scene(random, "one") for _ in range(2 if stage.quick else 60)]
pictures = [draw(scene) for scene in new]
said = [describe(model, Image(picture)) for picture in tqdm(pictures, desc="describing", mininterval=1)]
right = sum(words == caption(scene) for words, scene in zip(said, new, strict=True))
figure = plt.figure(figsize=(10, 4.2), layout="constrained")
figure.suptitle("The tokenizer library in a plain PyTorch loop: learning to describe pictures")
left, lossy = figure.subfigures(1, 2, width_ratios=(1.6, 1))
for axis, picture, words, scene in zip(left.subplots(2, 3).flat, pictures, said, new, strict=False):
    axis.imshow(omni.decode(omni.encode(Image(picture)))[0].source)  # as its 16 tokens hold it
    axis.set(xticks=[], yticks=[])
    axis.set_title(ascii(words)[1:-1][:28] or "(nothing)", color="#08705a" if words == caption(scene) else "#b3352b")
axis = lossy.subplots()
axis.plot(losses, color="#1d5fc4", linewidth=0.9)
axis.set(yscale="log", xlabel="step", title="loss of a caption's next letter, nats")
stage.close(figure, f"{right} of {len(new)} new pictures described without a mistake")
