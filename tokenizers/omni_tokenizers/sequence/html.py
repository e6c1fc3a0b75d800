"""The sequence as one self-contained page: no scripts, nothing fetched, light and dark, readable without colours."""

from html import escape
from pathlib import Path

import numpy as np

from omni_tokenizers.sequence.describe import headline, reach
from omni_tokenizers.sequence.masks import mask_arrays
from omni_tokenizers.sequence.modality import Array, ungrouped
from omni_tokenizers.sequence.palette import colour_of
from omni_tokenizers.sequence.raster import Pixels, data_uri, heat, hex_colour, shrunk, with_gaps
from omni_tokenizers.sequence.sequence import Sequence
from omni_tokenizers.sequence.span import PAD, Span

STYLE = (Path(__file__).parent / "page.css").read_text(encoding="utf-8")
MOST_PIECES = 1500  # text tokens of one span that are written out
MOST_COLUMNS = 2400  # frames of one picture; longer sound is thinned out
MOST_CARDS = 200  # spans with a card of their own
MOST_PIXELS = 640  # a side of a picture of patches
MASK_CELLS = 340  # a side of the mask's picture


def to_html(sequence: Sequence, *, title: str = "Token sequence", budget: int | None = None) -> str:
    """Write the page."""
    seconds = sum(span.seconds for span in sequence.spans)
    facts = [f"{len(sequence):,} tokens", f"{len(sequence.spans):,} spans"]
    facts += [f"{sequence.documents} documents"] if sequence.documents > 1 else []
    facts += [f"{seconds:.1f} s of sound"] if seconds else []
    facts += [f"positions: {sequence.scheme}"]
    body = [
        f"<h1>{escape(title)}</h1>",
        f'<p class="lead">{escape(" · ".join(facts))}</p>',
        _ribbon(sequence),
        _legend(sequence),
        _budget(len(sequence), budget) if budget is not None else "",
        "<h2>In order</h2>",
        *_cards(sequence),
        _mask(sequence),
        _table(sequence),
    ]
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        # Nothing may be fetched or run, whatever the text of a sequence says.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:; '
        "style-src 'unsafe-inline'\">"
        f"<title>{escape(title)}</title><style>{STYLE}{_tones(sequence)}</style></head>\n"
        f"<body><main>\n{chr(10).join(part for part in body if part)}\n</main></body></html>\n"
    )


def _tones(sequence: Sequence) -> str:
    used = {kind: colour_of(kind, sequence.kinds) for kind in sequence.counts()}
    light = "".join(f".{_tone(kind, sequence)}{{--tone:{colour.light}}}" for kind, colour in used.items())
    dark = "".join(f".{_tone(kind, sequence)}{{--tone:{colour.dark}}}" for kind, colour in used.items())
    return f"{light}@media (prefers-color-scheme: dark){{{dark}}}"


def _tone(kind: str, sequence: Sequence) -> str:
    return f"kind{sequence.kinds.index(kind)}"


def _ribbon(sequence: Sequence) -> str:
    if not len(sequence):
        return '<p class="lead">The sequence is empty.</p>'
    cells = []
    for index, span in enumerate(sequence.spans):
        if span.length:
            label = f"{span.modality}, {_tokens(span)}, from token {span.start:,}"
            target = f"#s{index}" if index < MOST_CARDS else "#all"
            cells.append(
                f'<a class="{_tone(span.modality, sequence)}" href="{target}" style="flex:{span.length}" '
                f'title="{escape(label)}" aria-label="{escape(label)}"></a>'
            )
    return (
        f'<nav class="ribbon" aria-label="The sequence, one block a span">{"".join(cells)}</nav>'
        f'<div class="ends" aria-hidden="true"><span>0</span><span>{len(sequence):,}</span></div>'
    )


def _legend(sequence: Sequence) -> str:
    items = [
        f'<li class="{_tone(kind, sequence)}">{escape(kind)} <b>{count:,}</b> '
        f"<span>{count / len(sequence):.0%}</span></li>"
        for kind, count in sequence.counts().items()
        if count
    ]
    return f'<ul class="legend" aria-label="Tokens by modality">{"".join(items)}</ul>'


def _budget(tokens: int, budget: int) -> str:
    share = min(tokens / budget, 1) if budget > 0 else 1
    left = budget - tokens
    words = f"{left:,} left" if left >= 0 else f"<strong>{-left:,} too many</strong>"
    return (
        f'<div class="budget{" over" if left < 0 else ""}"><div><i style="width:{share:.2%}"></i></div>'
        f"<p>{tokens:,} of a budget of {budget:,} tokens, {words}</p></div>"
    )


def _cards(sequence: Sequence) -> list[str]:
    cards = []
    document = -1 if sequence.documents > 1 else 0
    for index, span in enumerate(sequence.spans[:MOST_CARDS]):
        if span.document > document:
            document = span.document
            cards.append(f'<h2 class="document">Document {document + 1}</h2>')
        cards.append(_card(sequence, index))
    if len(sequence.spans) > MOST_CARDS:
        cards.append(f'<p class="lead">{len(sequence.spans) - MOST_CARDS:,} more spans are in the table below.</p>')
    return cards


def _card(sequence: Sequence, index: int) -> str:
    span = sequence.spans[index]
    about = headline(span, sequence.payloads[index])
    ways = {"causal": "", "bidirectional": "sees itself both ways", "prefix": "prefix, seen both ways"}[span.attention]
    about = ", ".join(word for word in (about, ways) if word)
    many = f"tokens {span.start:,} to {span.stop - 1:,}"
    place = many if span.length > 1 else f"token {span.start:,}" if span.length else f"at token {span.start:,}"
    return (
        f'<section class="span {_tone(span.modality, sequence)}" id="s{index}"><header>'
        f'<h3>{escape(span.modality)}</h3><span class="size">{_tokens(span)}</span>'
        f'<span class="about">{escape(about)}</span><span class="place">{place}</span></header>'
        f"{_content(sequence, index)}</section>"
    )


def _content(sequence: Sequence, index: int) -> str:
    span, arrays = sequence.spans[index], sequence.payloads[index]
    if span.modality == PAD or not span.length:
        return ""
    if span.modality == "text":
        return _pieces(sequence, span)
    picture = sequence.reader.picture(span, arrays) if sequence.reader is not None else None
    if picture is None and span.modality == "image" and "patches" in span.meta:
        from omni_tokenizers.sequence.image_tokens import picture_of

        picture = picture_of(span, arrays)
    if picture is not None:
        return _patches(span, np.asarray(picture))
    if "codes" in arrays and arrays["codes"].ndim == 2:
        return _rows(span, arrays["codes"].T, "codes", "code books, the first on top")
    values = arrays.get("values")
    if values is not None and span.modality in ("audio", "speech"):
        rows = ungrouped(span, values)
        what = "Mel bands, low ones at the bottom" if span.modality == "audio" else "features"
        return _rows(span, rows.T[::-1], "frames", what)
    return f'<p class="about">{escape(", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items()))}</p>'


def _pieces(sequence: Sequence, span: Span) -> str:
    ids = sequence.ids[span.start : min(span.stop, span.start + MOST_PIECES)].tolist()
    if sequence.reader is None:
        words = [f"#{number}" for number in ids]
    else:
        words = sequence.reader.pieces(ids)
    marked = [
        f'<span title="token {span.start + i:,}, id {number}">{_whitespace(word)}</span>'
        for i, (number, word) in enumerate(zip(ids, words, strict=True))
    ]
    more = span.length - len(ids)
    rest = f" <i>… {more:,} more tokens</i>" if more else ""
    return f'<p class="pieces">{"".join(marked)}{rest}</p>'


def _whitespace(word: str) -> str:
    shown = escape(word).replace("\n", "<i>⏎</i>\n").replace("\t", "<i>⇥</i>")
    # A control character could hide or reorder what is around it.
    return "".join(c if c.isprintable() or c in "\n " else f"<i>\\u{ord(c):04x}</i>" for c in shown)


def _patches(span: Span, picture: Array) -> str:
    height, width = picture.shape[:2]
    grid = span.grids[-1] if len(span.grids) == 1 else None
    pixels: Pixels = shrunk(picture, MOST_PIXELS)
    source = (span.meta.get("width", width), span.meta.get("height", height))
    scaled = "" if source == (width, height) else f", scaled from {source[0]}×{source[1]}"
    caption = f"{width}×{height} pixels{scaled}, made again from the tokens"
    if grid is not None and pixels.shape[0] >= 4 * grid[1] and pixels.shape[1] >= 4 * grid[2]:
        gap = 1 if max(grid[1:]) > 40 else 2
        pixels = with_gaps(pixels, grid[1], grid[2], gap)
        caption += "; each tile is one token"
    shown = max(pixels.shape[1], min(320, pixels.shape[1] * 4))
    return (
        f'<figure><img src="{data_uri(pixels)}" width="{shown}" alt="{escape(span.modality)} of '
        f'{width}×{height} pixels, as its {span.length} tokens hold it">'
        f"<figcaption>{escape(caption)}</figcaption></figure>"
    )


def _rows(span: Span, matrix: Array, kind: str, what: str) -> str:
    step = -(-matrix.shape[1] // MOST_COLUMNS)
    pixels = heat(matrix[:, ::step])
    begin = span.first * span.step
    ticks = [begin + span.seconds * share / 4 for share in range(5)] if span.step else []
    alt = f"{matrix.shape[1]} columns of {matrix.shape[0]} {span.modality} values"
    marks = "".join(f"<span>{tick:.2f} s</span>" for tick in ticks)
    thinned = f", every {step}th column" if step > 1 else ""
    return (
        f'<figure class="frames {kind}"><img src="{data_uri(pixels)}" width="{pixels.shape[1]}" '
        f'height="{pixels.shape[0]}" alt="{escape(alt)}">'
        f'<div class="ticks" aria-hidden="true">{marks}</div>'
        f"<figcaption>{matrix.shape[0]} {escape(what)}; {matrix.shape[1]:,} frames{thinned}</figcaption></figure>"
    )


def _mask(sequence: Sequence) -> str:
    tokens = len(sequence)
    if not tokens:
        return ""
    document, block = mask_arrays(sequence.spans)
    at = np.arange(0, tokens, max(1, -(-tokens // MASK_CELLS)))
    back = at[:, None] >= at[None, :]
    seen = (back | ((block[at][:, None] == block[at]) & (block[at] >= 0))) & (document[at][:, None] == document[at])
    seen &= document[at][:, None] >= 0
    tones = np.array([hex_colour(colour_of(kind, sequence.kinds).light) for kind in sequence.kinds], np.uint8)
    pixels = np.full((*seen.shape, 4), (128, 128, 128, 24), np.uint8)
    pixels[..., :3] = np.where(seen[..., None], tones[sequence.modality[at]][None, :], pixels[..., :3])
    pixels[..., 3] = np.where(seen, 255, pixels[..., 3])
    scale = max(1, MASK_CELLS // len(at))
    scaled = pixels.repeat(scale, 0).repeat(scale, 1)
    return (
        '<h2>Who sees whom</h2><div class="who">'
        f'<img src="{data_uri(scaled)}" width="{scaled.shape[1]}" height="{scaled.shape[0]}" '
        'alt="Attention mask, row token looks at column token">'
        "<div><p>A row is a token that looks, a column a token it may see, in the colour of its modality.</p>"
        "<p>Below the diagonal is the past. A square that reaches above it is a span that sees itself both ways; "
        "an empty corner is another document, or padding.</p></div></div>"
    )


def _table(sequence: Sequence) -> str:
    axes = "position" if sequence.scheme == "linear" else "time, row, column"
    rows = []
    for index, span in enumerate(sequence.spans):
        places = ", ".join(f"{a}" if a == b else f"{a}–{b}" for a, b in reach(sequence, index))
        about = headline(span, sequence.payloads[index])
        rows.append(
            f'<tr><td class="n">{span.start:,}</td><td>{escape(span.modality)}</td><td class="n">{span.length:,}</td>'
            f"<td>{places}</td><td>{span.attention}</td><td>{escape(about)}</td></tr>"
        )
    return (
        f'<details id="all"><summary>All {len(sequence.spans):,} spans as a table</summary><div class="scroll"><table>'
        f'<thead><tr><th class="n">from</th><th>modality</th><th class="n">tokens</th><th>{axes}</th><th>attention</th>'
        f"<th>about</th></tr></thead><tbody>{''.join(rows)}</tbody></table></div></details>"
    )


def _tokens(span: Span) -> str:
    return f"{span.length:,} token{'' if span.length == 1 else 's'}"
