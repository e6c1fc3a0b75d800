"""Say what is installed, what it runs on, and whether it works: a self-test of seconds, and a verdict.

Exit status: 0 when everything that was asked for works, 1 when something does not; what to do stands beside it.
"""

import argparse
import asyncio
import json
from typing import Any

MARKS = {"good": "✓", "absent": "–", "bad": "✗"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("--url", metavar="URL", help="test this server instead of one that is started for it")
    parser.add_argument("--key", help="key for the server")
    parser.add_argument("--json", action="store_true", help="print JSON instead")


def run(args: argparse.Namespace) -> int:
    """Look and test; the exit code is 1 when something does not work."""
    from omni_server.compare.checks import look, self_test

    found = look()
    if not args.json:
        _show(found)
    tested = asyncio.run(self_test(args.url, args.key))
    bad = [check for check in (*found, *tested) if check.verdict == "bad"]
    if args.json:
        written: dict[str, Any] = {"works": not bad, "checks": [vars(check) for check in (*found, *tested)]}
        print(json.dumps(written, ensure_ascii=False, indent=1))
    else:
        _show(tested)
        if bad:
            print(f"\nThis does not work: {bad[0].name}. {bad[0].remedy}")
        else:
            print("\nEverything that was tested works.")
    return 1 if bad else 0


def _show(checks: Any) -> None:
    for check in checks:
        print(f"{MARKS[check.verdict]} {check.name:22} {check.found}", flush=True)
        if check.verdict != "good" and check.remedy:
            print(f"  {'':22} {check.remedy}")
