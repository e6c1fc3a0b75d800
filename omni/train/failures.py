"""What was answered wrongly, written down with its sound and picture, for a person to hear and see."""

from collections.abc import Sequence
from pathlib import Path

import soundfile
from PIL import Image as Pixels

from omni.train.marking import Failure
from omni_tokenizers.sequence import Audio, Image
from omni_tokenizers.sequence.parts import TextPart


def write_failures(failures: Sequence[Failure], folder: Path) -> Path:
    """failures.md with a line for each, and a file for each sound and picture."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("[0-9][0-9][0-9][0-9]-*"):  # of an examination before
        old.unlink()
    lines = ["| measure | asked | expected | said | files |", "| --- | --- | --- | --- | --- |"]
    for number, failure in enumerate(failures):
        links = []
        for turn, asked in enumerate(failure.question.turns):
            for part in asked.parts:
                name = f"{number:04d}-{turn}"
                if isinstance(part, Audio):
                    soundfile.write(folder / f"{name}.wav", part.source, part.rate)
                    links.append(f"[sound]({name}.wav)")
                elif isinstance(part, Image):
                    Pixels.fromarray(part.source).save(folder / f"{name}.png")
                    links.append(f"[picture]({name}.png)")
                elif not isinstance(part, TextPart):
                    raise TypeError(f"a question has sounds, pictures and text, not {type(part).__name__}")
        asked_last = failure.question.turns[-1]
        cells = (failure.measure, failure.question.about, asked_last.call or asked_last.expected, failure.said)
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + f" | {' '.join(links)} |")
    file = folder / "failures.md"
    file.write_text("\n".join(lines) + "\n")
    return file
