"""The sequence on a terminal: a ribbon, a line for each span, and the budget."""

import os
import shutil
import sys
import unicodedata
from itertools import groupby

from omni_tokenizers.sequence.describe import headline
from omni_tokenizers.sequence.palette import colour_of
from omni_tokenizers.sequence.sequence import Sequence

NARROWEST = 40  # columns
WIDEST = 120
MOST_LINES = 60  # spans; the ones in the middle of a longer sequence are counted, not listed


def show(sequence: Sequence, *, budget: int | None = None, width: int | None = None, colour: bool | None = None) -> str:
    """Draw the sequence. Colours only on a terminal and without NO_COLOR, unless `colour` says so."""
    if colour is None:
        colour = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    width = min(max(width or shutil.get_terminal_size().columns, NARROWEST), WIDEST)
    paint = _Paint(sequence.kinds, colour)
    totals = sequence.counts()
    head = [f"{len(sequence):,} tokens"]
    head += [paint(f"{name} {count:,}", name) for name, count in totals.items()]
    if sequence.documents > 1:
        head.append(f"{sequence.documents} documents")
    lines = [" · ".join(head)]
    if budget is not None:
        lines.append(_budget(len(sequence), budget, width))
    if len(sequence):
        lines.append(_ribbon(sequence, width, paint))
    lines += _span_lines(sequence, width, paint)
    return "\n".join(lines)


class _Paint:
    def __init__(self, kinds: tuple[str, ...], colour: bool) -> None:
        self.kinds, self.colour = kinds, colour

    def __call__(self, text: str, modality: str) -> str:
        text = "".join(map(_visible, text))
        if not self.colour:
            return text
        return f"\x1b[38;5;{colour_of(modality, self.kinds).terminal}m{text}\x1b[0m"


def _budget(tokens: int, budget: int, width: int) -> str:
    share = tokens / budget if budget > 0 else float("inf")
    cells = min(30, width - 30)
    full = min(cells, round(cells * min(share, 1)))
    over = f", {tokens - budget:,} too many" if tokens > budget else f", {budget - tokens:,} left"
    return f"[{'#' * full}{'.' * (cells - full)}] {tokens:,} of {budget:,}{over}"


def _ribbon(sequence: Sequence, width: int, paint: _Paint) -> str:
    cells = min(width, len(sequence))
    kinds = [sequence.kinds[sequence.modality[cell * len(sequence) // cells]] for cell in range(cells)]
    # Without colours the first letter says it; with them a solid bar reads better.
    runs = [(kind, len(list(run))) for kind, run in groupby(kinds)]
    return "".join(paint(("█" if paint.colour else kind[0]) * length, kind) for kind, length in runs)


def _span_lines(sequence: Sequence, width: int, paint: _Paint) -> list[str]:
    digits = len(f"{len(sequence):,}")
    longest = max((len(span.modality) for span in sequence.spans), default=0)
    many = len(sequence.spans) > MOST_LINES
    lines = []
    document = 0
    for index, span in enumerate(sequence.spans):
        if many and MOST_LINES // 2 <= index < len(sequence.spans) - MOST_LINES // 2:
            if index == MOST_LINES // 2:
                lines.append(f"… {len(sequence.spans) - MOST_LINES // 2 * 2} more spans …")
            continue
        if span.document > document:
            lines.append(f"── document {span.document + 1} ──")
            document = span.document
        left = f"{span.start:>{digits},}  {span.modality:<{longest}}  {span.length:>{digits},}  "
        both_ways = {"causal": "", "bidirectional": "⇄ ", "prefix": "⇤ "}[span.attention]
        about = headline(span, sequence.payloads[index])
        if span.modality == "text":
            about = (about + " " if about else "") + _text(sequence, index)
        room = width - _columns(left) - _columns(both_ways)
        lines.append(paint(left, span.modality) + both_ways + _cut(about, room))
    return lines


def _text(sequence: Sequence, index: int) -> str:
    span = sequence.spans[index]
    ids = sequence.ids[span.start : span.start + min(span.length, WIDEST * 2)].tolist()
    if sequence.reader is None:
        return " ".join(f"#{number}" for number in ids)
    decoded = sequence.reader.text(ids)
    return '"' + decoded.translate({ord('"'): '\\"'}) + '"'


def _cut(text: str, room: int) -> str:
    # Control characters, escape sequences among them, must not reach the terminal.
    clean = "".join(_visible(character) for character in text)
    if _columns(clean) <= room:
        return clean
    kept = ""
    for character in clean:
        if _columns(kept + character) > room - 1:
            break
        kept += character
    return kept + "…"


def _visible(character: str) -> str:
    if character in "\n\r\t":
        return {"\n": "⏎", "\r": "␍", "\t": "⇥"}[character]
    if unicodedata.category(character) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"):
        return f"<{ord(character):x}>"
    return character


def _columns(text: str) -> int:
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)
