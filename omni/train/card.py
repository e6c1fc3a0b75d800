"""The card of a shipped model: what it is, what it reached, what it cannot do. Its numbers come from an examination.

How it came to this is written by people: the section `## History` of a card that is there stays.
"""

from pathlib import Path

from omni.bundle import Bundle
from omni.train.marking import Marks, shown

HISTORY = "\n## History\n"
CARD = """# nano

A small omni model made from nothing by this repository's own recipe: it hears, sees, reads, answers in text and in the
one synthetic voice of its codec, and marks where a turn ends.

| | |
| --- | --- |
| weights | {weights:.1f} million, half precision, {megabytes:.1f} MB with tokenizer and codec |
| recipe | hash `{hash}`, pool version {pool}, {shards} shards of spoken data |
| trained | {step} steps of {batch} conversations, on two shared CPU cores |
| license | that of the repository |

## Limits, first of all

- It learned from synthetic voices (espeak-ng, and recorded ones of flite and festival) and a closed world of some
  hundred words. It does not understand people, other languages or other topics, and an answer that sounds sure may
  be wrong.
- {state}
- Choices were made on losses and on a development split with voices of its own. Where a test result did lead to one,
  the history below says so.
- A large published model takes its place wherever a bundle is taken: `omni.bundle.Bundle.load(folder)` reads any omni
  model with its tokenizers, and the pipeline engine takes published models by name (`--stt whisper:…`, `--llm hf:…`,
  `--tts vits:…`).

## Results

`omni eval nano --count {count}`: voices, combinations, pictures and kinds of noise are held out. What
belongs to a closed list (facts, small talk, the four ways to ask for the time) is known from training: only the voice
is new. A sum or a product is held out in one order of its numbers; the other order may be known.

{table}

By skill, what was answered rightly:

{skills}

## Recipe

Dialogues are drawn from templates of fifteen skills, spoken by espeak-ng (variants by five accents, rate, pitch and
range at random) and by recorded voices of flite and festival, in rooms and over narrow lines; noise, other voices,
another microphone, tempo and vocal tract are added in the log-Mel domain at every step. One mixture of transcription,
answers in text to speech, text and pictures, answers in speech, reading out, calls of tools, silence, exercises that
go beyond what is asked, typed and spoken, and the turn's end after every token of sound. Before that, and beside it,
the stems of sound and pictures learn by themselves: to write down what is heard, in letters and in ids of text (CTC),
and to tell shapes, colors, and the letters of signs. Muon for matrices, AdamW for the rest, a level learning rate and
a fall at the end.

Left out, since it did not help: a warm-up of the stems without labels
([measured](../../docs/nano/training.md#without-labels)). Not done: overlapping voices as turns of their own (they are
heard as noise).

To go on: `omni train nano` ([docs/nano/training.md](../../docs/nano/training.md)).
"""


def require_described(bundle: Bundle) -> None:
    """Raise ValueError where a bundle does not say what a card has to tell."""
    missing = [name for name in ("recipe_hash", "pool", "shards", "step", "recipe") if name not in bundle.about]
    if missing:
        raise ValueError(f"a card tells how the model was made, and its config.json has no {', '.join(missing)}")


def write_card(bundle: Bundle, marks: Marks, count: int, folder: Path, file: Path) -> None:
    """The card of the bundle in `folder`, from the marks of its examination."""
    about, rows = bundle.about, marks.rows
    missed = [row.measure for row in rows if row.verdict == "missed"]
    state = (
        "Every bar that was measured holds."
        if not missed
        else f"The training was short. Bars that are missed: {'; '.join(missed)}. The table says by how much."
    )
    lines = ["| measure | value | n | 95 % interval | bar | |", "| --- | --- | --- | --- | --- | --- |"]
    for row in rows:
        value = "–" if row.value is None else shown(row.value, row.bar)
        around = "" if row.interval is None else " … ".join(shown(edge, row.bar) for edge in row.interval)
        bar = "" if row.bar is None else shown(row.bar, row.bar)
        lines.append(f"| {row.measure} | {value} | {row.n} | {around} | {bar} | {row.verdict} |")
    head, *skills = [f"| {' | '.join(cells)} |" for cells in marks.by_skill()]
    ruled = [head, f"|{' --- |' * head.count(' | ')} --- |", *skills]
    size = sum(part.stat().st_size for part in folder.rglob("*") if part.is_file())
    text = CARD.format(
        weights=sum(p.numel() for p in bundle.model.parameters()) / 1e6,
        megabytes=size / 1e6,
        hash=about["recipe_hash"],
        pool=about["pool"],
        shards=about["shards"],
        step=about["step"],
        batch=about["recipe"]["batch"],
        state=state,
        count=count,
        table="\n".join(lines),
        skills="\n".join(ruled),
    )
    before = file.read_text() if file.exists() else ""
    by_hand = before[before.index(HISTORY) :] if HISTORY in before else ""
    file.write_text(text + by_hand)
