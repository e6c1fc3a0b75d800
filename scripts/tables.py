"""Put the last benchmark results, docs/bench/*.json, into the pages between their markers.

`<!-- bench:engine -->` is followed by the rows that have a bar, `<!-- bench:engine all -->` by all of them.
Run `make tables`. With `--check` it changes nothing and fails when a table is not the one its JSON makes.
"""

import json
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

from omni.train.marking import shown
from omni_server.compare.rows import figure

ROOT = Path(__file__).resolve().parents[1]
MARKED = re.compile(r"(<!-- bench:(?P<name>[\w-]+)(?P<all> all)? -->\n).*?(<!-- /bench -->)", re.DOTALL)


def table(name: str, *, whole: bool) -> str:
    report = json.loads((ROOT / "docs" / "bench" / f"{name}.json").read_text())
    rows = [row for row in report["rows"] if whole or row["bar"] is not None]
    lines = measures(rows) if "measure" in rows[0] else ratios(rows)
    what = "" if "measure" in rows[0] else "; medians of paired runs, a ratio above 1 is in our favour"
    return "\n".join([*lines, "", f"{report['machine']}, {report['date']}{what}. `make bench-{name}`"]) + "\n"


def measures(rows: list[dict[str, Any]]) -> list[str]:
    """What `omni compare` and `omni eval` found: the first with units, the second as shares of one."""
    lines = ["| measure | value | 95 % interval | n | bar |", "|---|---:|---:|---:|---|"]
    for row in rows:
        bar = row["bar"]
        told = partial(figure, unit=row["unit"]) if "unit" in row else partial(shown, bar=bar)
        value = "not measured" if row["value"] is None else told(row["value"])
        around = " … ".join(map(told, row["interval"] or ()))
        wanted = "" if bar is None else bar if isinstance(bar, str) else told(bar)
        missed = " **missed**" if row["holds"] is False else ""
        lines.append(f"| {row['measure']} | {value} | {around} | {row['n']} | {wanted}{missed} |")
    return lines


def ratios(rows: list[dict[str, Any]]) -> list[str]:
    """What a benchmark beside peers found."""
    lines = [
        "| work | ours | peer | | ratio | bar |",
        "|---|---:|---:|---|---:|---:|",
    ]
    for row in rows:
        bar = "" if row["bar"] is None else f"≥ {row['bar']:g}×" + ("" if row["holds"] else " **missed**")
        lines.append(
            f"| {row['work']} | {number(row['ours'])} {row['unit']} | {number(row['peer'])} {row['unit']} "
            f"| {row['peer_name']} | {row['ratio']:.2f}× | {bar} |"
        )
    return lines


def number(value: float) -> str:
    """Three digits that count, and all those before the point."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def filled(text: str) -> str:
    def fill(found: re.Match[str]) -> str:
        return found.group(1) + table(found.group("name"), whole=found.group("all") is not None) + found.groups()[-1]

    return MARKED.sub(fill, text)


def main() -> int:
    pages = [page for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")] if MARKED.search(page.read_text())]
    stale = [page for page in pages if filled(page.read_text()) != page.read_text()]
    if "--check" in sys.argv[1:]:
        for page in stale:
            print(f"{page.relative_to(ROOT)} does not show the last benchmark: run make tables", file=sys.stderr)
        return 1 if stale else 0
    for page in stale:
        page.write_text(filled(page.read_text()))
        print(f"wrote {page.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
