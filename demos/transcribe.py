"""A small Whisper learns to write down digits, and is kept from inventing them where nobody speaks.

It is trained here on digits spoken by espeak-ng, in windows of two seconds, and on noise that is labelled with the
no-speech token, as Whisper was. Then it hears a recording with noise between the words. Whisper has to write something
about every window: without a guard it writes digits about noise. The guard reads the probability of the no-speech
token (and otherwise the decoder's doubt as well, but a model of ten words says them without doubt); voice activity is
asked before anything is decoded. The model is tiny and knows one voice: what counts is the difference between the rows.
"""

from random import Random

import numpy as np
import torch
from matplotlib import pyplot as plt
from stage import open_stage, train
from torch import Tensor
from torch.nn import functional as F
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm
from worlds.digits import DIGITS, RATE, WINDOW, Wave, noise, spoken

from omni.model.families.whisper import stack
from omni.model.whisper import Whisper, WhisperSpec
from omni.speech.guard import Guard
from omni.speech.transcribe import Transcriber
from omni.speech.voice import silero
from omni_tokenizers import LogMel, Text

BATCH, IGNORE = 16, -100  # clips; what the loss leaves out
NAMES = "endoftext startoftranscript en translate transcribe startoflm startofprev nospeech notimestamps".split()
text = Text.train([f" {word}" for word in DIGITS] * 9, vocab_size=320, special=[f"<|{name}|>" for name in NAMES])
END, START, EN, _, TASK, _, _, SILENCE, PLAIN = (text.special[f"<|{name}|>"] for name in NAMES)
mel = LogMel(floor="fixed")


def lesson(clip: Wave, words: str) -> tuple[Tensor, Tensor, Tensor]:
    """Log-Mel frames, the ids that the decoder is given, and those that it should say next."""
    said = [*text.encode(f" {words}"), END] if words else []
    wanted = [EN if words else SILENCE, IGNORE, IGNORE, *(said or [IGNORE])]
    return (
        torch.from_numpy(mel.encode(clip, RATE)),
        torch.tensor([START, EN, TASK, PLAIN, *said[:-1]]),
        torch.tensor(wanted),
    )


stage = open_stage(__doc__, "transcribe")
steps, clips = (4, 12) if stage.quick else (700, 800)
random = Random(0)
halves = (stack(80, 4, 240, 2, cross=cross) for cross in (False, True))
model = Whisper(WhisperSpec(80, text.size, *halves, places=int(50 * WINDOW), tokens=16))
speech = [lesson(*spoken(random)) for _ in tqdm(range(clips), desc="speaking", mininterval=1)]
quiet = [lesson(noise(random), "") for _ in range(clips // 4)]
torch.nn.init.normal_(model.decoder.embedding.weight, std=0.05)  # it is the head as well: of variance 1 it would shout


def listen(_: int) -> Tensor:
    lessons = [*random.sample(speech, BATCH * 3 // 4), *random.sample(quiet, min(BATCH // 4, len(quiet)))]
    frames, given, wanted = zip(*lessons, strict=True)
    logits = model(torch.stack(frames), pad_sequence(given, True, END))
    return F.cross_entropy(logits.flatten(0, 1), pad_sequence(wanted, True, IGNORE).flatten(), ignore_index=IGNORE)


losses = train(model, steps, 2e-3, "learning to listen", listen)
model.eval()
heard = Random(3)
pieces = [spoken(heard) if place % 2 == 0 else (noise(heard), "") for place in range(8)]
recording = np.concatenate([clip for clip, _ in pieces])
nothing = Guard(temperatures=(0.0,), compression=None, log_probability=None, no_speech=None)
careful = Guard(temperatures=(0.0,), log_probability=None)  # digits are said without doubt: its own doubt tells little
ways = {
    "no guard": Transcriber(model, text, mel, guard=nothing, longest=6),
    "guard": Transcriber(model, text, mel, guard=careful, longest=6),
    "voice activity": Transcriber(model, text, mel, guard=nothing, longest=6, voice=silero(), gap=0.6),
}
findings = []
figure, axis = plt.subplots(figsize=(11, 4.6), layout="constrained")
figure.suptitle("Digits in noise: a small Whisper without a guard, with it, and with voice activity asked first")
seconds = np.arange(len(recording)) / RATE
axis.plot(seconds, recording / np.abs(recording).max() * 0.9, color="0.55", linewidth=0.4)
rows = ["said", *ways]
for place, (_, words) in enumerate(pieces):
    axis.text((place + 0.5) * WINDOW, -1.5, words or "–", ha="center", va="center")
    axis.axvspan(place * WINDOW, (place + 1) * WINDOW, color="#1d5fc4" if words else "0.8", alpha=0.12, linewidth=0)
for row, (name, transcriber) in enumerate(ways.items(), 1):
    found = transcriber.transcribe(recording, RATE, language="en", timestamps=False, context=False)
    invented = 0
    for segment in found.segments:
        middle = (segment.start + segment.end) / 2
        true = pieces[min(int(middle / WINDOW), len(pieces) - 1)][1]
        invented += not true
        colour = "#08705a" if segment.text.strip() == true else "#b3352b"
        axis.text(middle, -1.5 - row, segment.text.strip(), ha="center", va="center", color=colour)
    findings.append(f"{name}: {invented} of {len(pieces) // 2} windows of noise have digits; {found.text.strip()!r}")
axis.set(xlabel="seconds", xlim=(0, seconds[-1]), ylim=(-2 - len(ways), 1))
axis.set_yticks([0, *(-1.5 - row for row in range(len(rows)))], ["sound", *rows])
stage.close(figure, f"loss at the end {np.mean(losses[-20:]):.3f}", *findings)
