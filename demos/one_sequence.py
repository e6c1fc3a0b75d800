"""Text, a picture, log-Mel frames and acoustic codes as one sequence.

Above, every token of the sequence in its place and in the colour of its modality; in the middle what these tokens hold;
below who sees whom: text and sound look back, the patches of the picture see each other both ways. The codec here is a
small EnCodec with random weights and code books of frames of this very recording: its codes have the shape and the
pace of published ones and follow the sound, but nobody trained them to bring it back.
"""

import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib import pyplot as plt
from matplotlib.colors import to_rgb
from stage import open_stage
from transformers import EncodecConfig, EncodecModel

from omni.train.pictures import Figure, Scene, draw
from omni_tokenizers import Audio, Codes, Image, LogMel, Omni, Patches, Text, read_audio
from omni_tokenizers.audio.codec_hub import load_codec
from omni_tokenizers.audio.resampler import resample
from omni_tokenizers.image import Square
from omni_tokenizers.sequence.modality import ungrouped
from omni_tokenizers.sequence.palette import colour_of

RECORDING = Path(__file__).parent / "recordings" / "question.wav"
ROW = 48  # tokens in a row of the map
SCENE = Scene("white", (Figure("star", "red", 0, 0), Figure("heart", "green", 1, 1)), seed=3)

stage = open_stage(__doc__, "one_sequence")
sound, rate = read_audio(RECORDING)
sound = sound[: rate if stage.quick else 2 * rate]
with tempfile.TemporaryDirectory() as folder:
    model = EncodecModel(EncodecConfig(num_filters=4, hidden_size=16, codebook_size=64, target_bandwidths=[6.0]))
    with torch.no_grad():
        left = model.encoder(torch.from_numpy(resample(sound, rate, 24_000))[None, None])[0].T  # [frames, 16]
        for layer in model.quantizer.layers:  # each book: frames of this recording, as the books before leave them
            entries = left[torch.randperm(len(left))[:64]]
            layer.codebook.embed.copy_(entries)
            left = left - entries[torch.cdist(left, entries).argmin(1)]
    model.save_pretrained(folder)
    codec = load_codec(folder, books=4)  # 75 frames a second
text = Text.of_bytes()
omni = Omni(
    text=text, image=Patches(16, resize=Square(128)), audio=LogMel(floor="fixed"), codec=codec, positions="mrope"
)
parts = ["What is this? ", Image(draw(SCENE)), "I ask: ", Audio(sound, rate), "you say: ", Codes(sound, rate)]
sequence = omni.encode(parts)
print(sequence.show())

figure = plt.figure(figsize=(11, 8), layout="constrained")
figure.suptitle(f"One sequence of {len(sequence)} tokens: text, a picture, sound as log-Mel frames, sound as codes")
above, middle, below = figure.subfigures(3, 1, height_ratios=(2.6, 2.4, 4))

axis = above.subplots()
cells = np.ones((-(-len(sequence) // ROW), ROW, 3))
tones = {name: colour_of(name, sequence.kinds).light for name in sequence.counts()}
for place, kind in enumerate(sequence.modality):
    cells[place // ROW, place % ROW] = to_rgb(tones[sequence.kinds[kind]])
axis.pcolormesh(cells, edgecolors="white", linewidth=1.2)
axis.invert_yaxis()
for span in (span for span in sequence.spans if span.modality == "text"):
    for place, piece in enumerate(omni.pieces(sequence.ids[span.start : span.stop]), span.start):
        axis.text(place % ROW + 0.5, place // ROW + 0.52, piece, color="white", ha="center", va="center")
axis.set(
    xticks=[],
    yticks=np.arange(len(cells)) + 0.5,
    yticklabels=np.arange(len(cells)) * ROW,
    ylabel="first token of the row",
)
for name, tone in tones.items():
    axis.plot([], [], "s", color=tone, label=f"{name}, {sequence.counts()[name]} tokens")
axis.legend(ncols=4, loc="lower center", bbox_to_anchor=(0.5, 1.0))
axis.spines[:].set_visible(False)

held = {span.modality: (span, arrays) for span, arrays in zip(sequence.spans, sequence.payloads, strict=True)}
seen, heard, said = middle.subplots(1, 3, width_ratios=(1, 2, 2))
seen.imshow(omni.picture(*held["image"]))
seen.set(xticks=np.arange(15.5, 128, 16), yticks=np.arange(15.5, 128, 16), xticklabels=[], yticklabels=[])
seen.grid(color="white", linewidth=1.5)
seen.set_title("image: patches", color=tones["image"])
heard.imshow(ungrouped(held["audio"][0], held["audio"][1]["values"]).T, aspect="auto", origin="lower", cmap="magma")
heard.set(xlabel="log-Mel frame (10 ms)", ylabel="band")
heard.set_title("audio: a token is 4 log-Mel frames", color=tones["audio"])
said.imshow(held["codec"][1]["codes"].T, aspect="auto", cmap="twilight", interpolation="nearest")
said.set(xlabel="codec frame (13.3 ms)", ylabel="code book", yticks=range(4))
said.set_title("codec: a token is a code from each book", color=tones["codec"])

places, mask = below.subplots(1, 2, width_ratios=(1.4, 1))
sequence.plot((places, mask))
places.set(title="where they are: time, row and column of each token (M-RoPE)", xlabel="token")
lines, names = places.get_legend_handles_labels()
places.legend(lines[:3], names[:3], loc="upper left")
mask.set_title("who sees whom (dark: may look)")
stage.close(
    figure, f"{len(sequence)} tokens: " + ", ".join(f"{name} {count}" for name, count in sequence.counts().items())
)
