"""The report as one page that needs nothing else: no script, no font, no picture from elsewhere."""

import html
from collections.abc import Mapping, Sequence

from omni_server.compare import figures
from omni_server.compare.rows import REFERENCES, Row
from omni_server.compare.terminal import VERDICT, mean_stages
from omni_server.compare.turn import Measured, Turn

STYLE = """
:root { --ink: #1b1f24; --soft: #5c6670; --paper: #ffffff; --rule: #e3e7eb; --card: #f6f8fa; --good: #1a7f37;
  --bad: #c62828; --c0: #0b66c3; --c1: #d9480f; --c2: #2f9e44; --c3: #9c36b5; --in: #ffffff }
@media (prefers-color-scheme: dark) { :root { --ink: #e6e9ec; --soft: #9aa4ae; --paper: #14181c; --rule: #2b3238;
  --card: #1c2228; --good: #56d364; --bad: #ff7b72; --c0: #58a6ff; --c1: #ff9e64; --c2: #69db7c; --c3: #da77f2 } }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif }
main { max-width: 50rem; margin: 0 auto; padding: 2.5rem 1.25rem 4rem }
h1 { font-size: 1.7rem; line-height: 1.2; margin: 0 0 .3rem } h2 { font-size: 1.15rem; margin: 2.6rem 0 .5rem }
.lead { font-size: 1.15rem; margin: .8rem 0 } .soft { color: var(--soft); font-size: .9rem }
.scroll { overflow-x: auto } table { border-collapse: collapse; width: 100%; font-size: .9rem }
th { text-align: left; font-weight: 600; color: var(--soft) }
td, th { padding: .32rem .6rem; border-bottom: 1px solid var(--rule) }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap }
.yes { color: var(--good); font-weight: 600 } .NO { color: var(--bad); font-weight: 600 }
figure { margin: 0; padding: 1rem; background: var(--card); border-radius: 10px; overflow-x: auto }
figure > svg { min-width: 32rem }
svg { display: block; width: 100%; height: auto; font: 12px system-ui, sans-serif }
.grid { stroke: var(--rule) } .ref { stroke: var(--soft); stroke-dasharray: 2 4 }
.line { fill: none; stroke-width: 2.2 } .dashed { stroke-dasharray: 6 4 }
text { fill: var(--ink) } .tick, .label { fill: var(--soft) } .mid { text-anchor: middle }
.end, .name { text-anchor: end } .name { font-weight: 600 }
.in { fill: var(--in); text-anchor: middle; font-size: 11px }
.line.c0 { stroke: var(--c0) } .line.c1 { stroke: var(--c1) }
.line.c2 { stroke: var(--c2) } .line.c3 { stroke: var(--c3) }
.dot.c0 { fill: var(--c0) } .dot.c1 { fill: var(--c1) } .dot.c2 { fill: var(--c2) } .dot.c3 { fill: var(--c3) }
.s0 { fill: #3d6fb4 } .s1 { fill: #b0552d } .s2 { fill: #3d8a54 } .s3 { fill: #8a4fa3 } .s4 { fill: #a3831f }
.s5 { fill: #2f8f96 } .s6 { fill: #b23a5e } .s7 { fill: #6b7785 } .s8 { fill: #5a5ecb } .s9 { fill: #7a6a4f }
.s10 { fill: #4c7a2d } .s11 { fill: #94543f } .s12 { fill: #a0407a } .s13 { fill: #35607a }
.legend { display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; margin: .6rem 0 0; font-size: .85rem; color: var(--soft) }
.legend span { display: inline-flex; align-items: center; gap: .45rem } .key { width: 22px; height: 12px; flex: none }
details { margin-top: 1rem } summary { cursor: pointer }
"""


def page(measured: Measured, found: Sequence[Row], about: Mapping[str, str], questions: int) -> str:
    """The whole page."""
    stages = {name: mean_stages(measured, name) for name in measured.contestants}
    published = ", ".join(f"{one.name} {one.ms:.0f} ms" for one in REFERENCES)
    sections = [
        _figure(
            "How long until the answer is heard",
            figures.cumulative(measured),
            f"Each step is one turn. Dotted lines are figures published elsewhere, on other hardware: {published}.",
        ),
        _figure(
            "Where the time goes",
            figures.stacked(stages),
            "The mean of each stage; they add up to the mean voice-to-voice. Rest is what no stage has: the network "
            "both ways, and by how much the server heard the end of speech elsewhere than it was.",
        ),
        _figure(
            "With more users at once",
            figures.users(measured),
            "Lines are medians, dashed lines 95th percentiles. Every user speaks in real time and listens to the end.",
        ),
        _figure(
            "How soon it stops when somebody interrupts",
            figures.stops(measured),
            "From the first sample of the interrupting speech to the last sample of the answer that is heard.",
        ),
    ]
    lead = _lead(found)
    known = _text("; ".join(f"{name}: {value}" for name, value in about.items()))
    title = _text(" and ".join(measured.contestants) + (", side by side" if len(measured.contestants) > 1 else ""))
    return f"""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>{STYLE}</style></head><body><main>
<h1>{title}</h1>
<p class="soft">{known}</p>
{lead}
<p>{questions} recordings, spoken in real time to each by turns. Time runs from the last sample of speech, which is
known from the recording, to the first sample of the answer that comes out of a loudspeaker behind a small buffer.
Turns that were cancelled, reopened or failed, or that the measuring machine was too busy to time, are counted below
and are in no percentile.</p>
<h2>Numbers</h2>
{_table(found)}
{"".join(sections)}
<h2>Every turn</h2>
<details><summary>{len(measured.turns)} turns</summary>{_turns(measured.turns)}</details>
</main></body></html>
"""


def _lead(found: Sequence[Row]) -> str:
    ratio = next((row for row in found if row.unit == "×" and row.value is not None), None)
    barred = [row for row in found if row.holds is not None]
    said = ""
    if ratio is not None:
        within = f" (95 % interval {_text(ratio.shown_interval)})" if ratio.interval is not None else ""
        name = _text(ratio.measure.partition(" at ")[0])
        said += f"{name} at the median: <strong>{_text(ratio.shown)}</strong>{within}. "
    if barred:
        said += f"{sum(bool(row.holds) for row in barred)} of {len(barred)} bars hold."
    return f'<p class="lead">{said}</p>' if said else ""


def _figure(title: str, drawn: str, caption: str) -> str:
    if not drawn:
        return ""
    return f'<h2>{_text(title)}</h2><figure>{drawn}</figure><p class="soft">{_text(caption)}</p>\n'


def _table(found: Sequence[Row]) -> str:
    lines = "".join(
        f'<tr><td>{_text(row.measure)}</td><td class="n">{_text(row.shown)}</td>'
        f'<td class="n">{_text(row.shown_interval)}</td><td class="n">{row.n}</td><td>{_text(row.bar or "")}</td>'
        f'<td class="{VERDICT[row.holds]}">{VERDICT[row.holds]}</td></tr>'
        for row in found
    )
    head = (
        '<th>measure</th><th class="n">value</th><th class="n">95 % interval</th><th class="n">n</th>'
        "<th>bar</th><th>holds</th>"
    )
    return _scrolling(head, lines)


def _scrolling(head: str, lines: str) -> str:
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></div>'


def _turns(turns: Sequence[Turn]) -> str:
    def shown(turn: Turn) -> str:
        value = turn.stop_ms if "interrupted" in turn.excluded else turn.voice_to_voice_ms
        verdict = {True: "right", False: "wrong", None: ""}[turn.right]
        note = turn.error or ", ".join(turn.excluded)
        return (
            f'<tr><td>{_text(turn.contestant)}</td><td class="n">{turn.users}</td><td>{_text(turn.question)}</td>'
            f'<td class="n">{"–" if value is None else f"{value:.0f}"}</td><td>{_text(turn.text)}</td>'
            f"<td>{verdict}</td><td>{_text(note)}</td></tr>"
        )

    head = '<th></th><th class="n">users</th><th>question</th><th class="n">ms</th><th>answer</th><th></th><th></th>'
    return _scrolling(head, "".join(map(shown, turns)))


def _text(value: str) -> str:
    return html.escape(value)
