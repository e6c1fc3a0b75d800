"""Look at recorded sessions, hear them, and say them once more to a server.

examples:
  omni serve --record sessions/                       keeps every session
  omni replay sessions/                               who said what, and how long each answer took
  omni replay sessions/ --wav heard/                  both sides of each as one stereo file: the user left, omni right
  omni replay sessions/ --url http://127.0.0.1:8000   the same words to this server: its answers beside those of then
"""

import argparse
import asyncio
import json
import sys
from pathlib import Path
from typing import Any


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    first, _, rest = (__doc__ or "").partition("\n\n")
    parser.description, parser.epilog = first, rest
    parser.add_argument("sessions", nargs="+", metavar="DIR", help="folders or files that `omni serve --record` wrote")
    parser.add_argument("--url", metavar="URL", help="say them again to this server, in real time")
    parser.add_argument("--key", help="key for the server")
    parser.add_argument("--wav", metavar="FOLDER", help="write each session as a stereo file")
    parser.add_argument("--json", action="store_true", help="print JSON instead")


def run(args: argparse.Namespace) -> int:
    """Show them; the exit code is 1 when one cannot be read, or has other answers when it is said again."""
    from omni_server.compare.replaying import again, sessions

    found, wrong = sessions(args.sessions)
    for line in wrong:
        print(f"omni replay: {line}", file=sys.stderr)
    same = not wrong
    report: list[dict[str, Any]] = []
    for session in found:
        now = asyncio.run(again(session, args.url, args.key)) if args.url else []
        then = [one for one in session.answers if one.status != "cancelled"]
        fresh = [one for one in now if one.status != "cancelled"]
        same = same and (not args.url or [one.text for one in then] == [one.text for one in fresh])
        if args.json:
            report.append(
                {
                    "file": str(session.path), "dialect": session.dialect, "seconds": session.seconds,
                    "then": [vars(one) for one in session.answers], "now": [vars(one) for one in now],
                }
            )  # fmt: skip
        else:
            _show(session, fresh, then, again=bool(args.url))
        if args.wav:
            print(f"  {_write(session, Path(args.wav))}", file=sys.stderr if args.json else sys.stdout)
    if args.json:
        print(json.dumps(report, ensure_ascii=False, indent=1))
    return 0 if same else 1


def _show(session: Any, fresh: list[Any], then: list[Any], *, again: bool) -> None:
    print(f"{session.path.name}  {session.dialect}  {session.seconds:.1f} s  {len(session.answers)} answers")
    for one in session.answers:
        if one.question:
            print(f"  {one.started:7.2f} s  you:   {one.question}")
        cut = "  (interrupted)" if one.status == "cancelled" else ""
        print(f"  {one.started:7.2f} s  omni:  {one.text.strip() or '(sound alone)'}{cut}{_took(one)}")
    if again:
        for old, new in zip(then, fresh, strict=False):
            verdict = "the same" if old.text == new.text else f"now: {new.text.strip() or '(sound alone)'}"
            print(f"  again: {verdict}{_took(new)}")
        if len(then) != len(fresh):
            print(f"  again: {len(fresh)} answers where there were {len(then)}")
    print()


def _took(one: Any) -> str:
    return "" if one.total_ms is None else f"  [{one.total_ms:.0f} ms at the server]"


def _write(session: Any, folder: Path) -> str:
    import numpy as np
    import soundfile

    from omni_tokenizers.audio.resampler import resample

    rate = max(session.user.rate, session.assistant.rate)
    if not rate:
        return f"{session.path.name} has no sound"
    sides = [resample(side.mixed(), side.rate or rate, rate) for side in (session.user, session.assistant)]
    length = max(map(len, sides))
    stereo = np.stack([np.pad(side, (0, length - len(side))) for side in sides], axis=1)  # [samples, 2]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{session.path.stem}.wav"
    try:
        soundfile.write(path, stereo, rate)
    except RuntimeError as wrong:
        raise ValueError(f"{wrong} Name a folder that can be written with --wav") from None
    return str(path)
