"""Speak the same recordings to a pipeline and a native model; compare when answers are heard, and which are right.

Both run on this machine with the same weights; questions are asked by turns, A B A B, in real time.

examples:
  omni compare                                        nano, native against pipeline, with the bundled questions
  omni compare questions/ --json out.json             a folder of recordings (docs/compare.md says what belongs into it)
  omni compare --quick                                a minute: one round, few interruptions, two users
  omni compare --against wss://host/v1/realtime --key KEY      the native model against any OpenAI Realtime server
  omni compare --modes "" --against ws://one:8000 --against ws://other:8000      two servers that run already

Exit status: 0, 3 when a bar does not hold, 2 when it cannot run.
"""

import argparse
import asyncio
import json
import os
import sys
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

from omni_server.commands import check_stages, place_for

DEFAULT_PAGE = "omni-compare.html"
NOT_REACHED = 3  # exit status


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    first, _, rest = (__doc__ or "").partition("\n\n")
    parser.description, parser.epilog = first, rest
    add = parser.add_argument
    add("questions", nargs="*", metavar="FILE", help="recordings, or folders of them (default: 16 that come along)")
    add("--modes", default="native,pipeline", metavar="A,B", help="own servers to start (default: native,pipeline)")
    add("--against", action="append", default=[], metavar="URL", help="a server that runs already; may be repeated")
    add("--key", help="key for --against (environment: OPENAI_API_KEY)")
    add("--model", default="nano", help="weights of own servers: a name or a folder (default: nano)")
    for stage in ("stt", "llm", "tts"):
        add(f"--{stage}", metavar="PLUGIN", help="of an own pipeline (default: the model's own weights)")
    add(
        "--turns", choices=("own", "silence", "meaning"), default="own",
        help="who says that a turn is over: silence for both, the model's prediction for both, or each its own way: "
        "prediction for native, silence for others (default: own)",
    )  # fmt: skip
    add("--rounds", type=int, default=3, metavar="N", help="times that each question is asked to each (default: 3)")
    add("--interruptions", type=int, default=10, metavar="N", help="answers of each that are interrupted (default: 10)")
    add("--users", default="2,4,8,16", metavar="N,…", help="users at once, besides one (default: 2,4,8,16)")
    add("--quick", action="store_true", help="one round, 3 interruptions, 2 users")
    add("--json", metavar="FILE", help="write all numbers")
    add("--html", default=DEFAULT_PAGE, metavar="FILE", help=f"write the report (default: {DEFAULT_PAGE})")


def run(args: argparse.Namespace) -> int:
    """Compare; the exit code is 3 when a bar does not hold."""
    return asyncio.run(_compare(args))


async def _compare(args: argparse.Namespace) -> int:
    from omni_server.compare.machine import about_this_machine
    from omni_server.compare.page import page
    from omni_server.compare.questions import BUNDLED, read
    from omni_server.compare.rows import rows
    from omni_server.compare.run import Run
    from omni_server.compare.terminal import report

    plan = _plan(args)
    for name in filter(None, (args.json, args.html)):  # said before minutes of talking, not behind them
        place_for(name)
    questions = read(args.questions or [BUNDLED])
    modes = _modes(args)
    check_stages(args, pipeline="pipeline" in modes)
    async with AsyncExitStack() as stack:
        contestants, about = await _contestants(args, modes, max((1, *plan.users)), stack)
        for contestant in contestants:  # who cannot be reached says so now
            async with contestant.open():
                pass
        measured = await Run(contestants, questions, plan, told=lambda line: print(line, file=sys.stderr)).all()
    found = rows(measured)
    known = {**about_this_machine(), **about}
    print(report(measured, found))
    if args.json:
        written: dict[str, Any] = {
            **known, "rows": [row.as_json() for row in found], "turns": [turn.as_json() for turn in measured.turns]
        }  # fmt: skip
        text = json.dumps(written, ensure_ascii=False, indent=1, allow_nan=False)
        place_for(args.json).write_text(text + "\n", encoding="utf-8")
    if args.html:
        place_for(args.html).write_text(page(measured, found, known, len(questions)), encoding="utf-8")
        print(f"\n{args.html} has the figures and every turn", file=sys.stderr)
    return NOT_REACHED if any(row.holds is False for row in found) else 0


def _plan(args: argparse.Namespace) -> Any:
    from omni_server.compare.run import Plan

    if args.quick:
        return Plan(rounds=1, interruptions=3, users=(2,), turns_each=2)
    try:
        users = tuple(int(count) for count in args.users.split(",") if count.strip())
    except ValueError:
        raise ValueError(f"--users {args.users}: write numbers with commas, such as 2,4,8") from None
    for name, value in (("--rounds", args.rounds), ("--users", min(users, default=2) - 1)):
        if value < 1:
            raise ValueError(f"{name}: at least {1 if name == '--rounds' else 2} is needed")
    if args.interruptions < 0:
        raise ValueError(f"--interruptions is {args.interruptions}: it is a number from 0 on")
    return Plan(rounds=args.rounds, interruptions=args.interruptions, users=users)


def _modes(args: argparse.Namespace) -> list[str]:
    from omni_server.client.own_server import MODES

    # Against somebody else only the native model runs, unless it was said otherwise.
    said = "native" if args.against and args.modes == "native,pipeline" else args.modes
    modes = [mode.strip() for mode in said.split(",") if mode.strip()]
    for mode in modes:
        if mode not in MODES:
            raise ValueError(f"--modes {args.modes}: there is no {mode!r}; there are {', '.join(MODES)}")
    for named, flag in ((modes, "--modes"), (args.against, "--against")):
        twice = next((one for one in named if named.count(one) > 1), None)
        if twice is not None:
            raise ValueError(f"{flag} names {twice} twice: each is compared with the others")
    if not 1 <= len(modes) + len(args.against) <= 4:
        raise ValueError(f"{len(modes) + len(args.against)} contestants: name 1 to 4 with --modes and --against")
    return modes


async def _contestants(
    args: argparse.Namespace, modes: list[str], users: int, stack: AsyncExitStack
) -> tuple[list[Any], dict[str, str]]:
    from omni_server.client.opening import connect
    from omni_server.client.own_server import flags_of, own_server
    from omni_server.client.wishes import Wishes
    from omni_server.compare.run import Contestant

    def wishes(mode: str) -> Wishes:
        if args.turns == "meaning" or (args.turns == "own" and mode == "native"):
            return Wishes(turns="meaning", eagerness="high", transcribe=False)
        return Wishes(transcribe=False)

    found: list[Contestant] = []
    about: dict[str, str] = {}
    for mode in modes:
        print(f"starting {mode} …", file=sys.stderr)
        flags = flags_of(mode, model=args.model, sessions=users + 2, stt=args.stt, llm=args.llm, tts=args.tts)
        url = await stack.enter_async_context(own_server(flags))
        found.append(Contestant(mode, lambda url=url, mode=mode: connect(url, wishes=wishes(mode))))  # type: ignore[misc]
        about[mode] = f"turns by {wishes(mode).turns}"
    key = args.key or os.environ.get("OPENAI_API_KEY")
    for url in args.against:
        name = urlsplit(url if "://" in url else f"ws://{url}").netloc
        name = name if name not in about else url
        wire = "openai" if "/realtime" in url else None
        found.append(
            Contestant(name, lambda url=url, wire=wire: connect(url, key=key, wishes=wishes(""), wire=wire))  # type: ignore[misc]
        )
        about[name] = f"turns by {wishes('').turns}, at {url}"
    return found, about
