"""The `omni` command: finds the subcommand by name and imports only that one."""

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from importlib import import_module
from types import FrameType
from typing import Protocol, cast

from omni_tokenizers.optional import remedy
from omni_tokenizers.version import __version__

# Help lines stand here and not in the modules, so that `omni --help` imports none of them.
COMMANDS = {
    "compare": "speak the same recordings to two servers and compare when answers are heard",
    "completion": "print a script that completes commands and flags in a shell",
    "doctor": "say what is installed, on what device, and whether it works",
    "eval": "examine the small model nano on held-out questions",
    "replay": "look at recorded sessions, hear them, or say them again to a server",
    "serve": "serve spoken conversations on a websocket",
    "talk": "ask by recording, microphone or text, and see where the answer's time went",
    "tokenize": "show text, image and audio files as one token sequence",
    "train": "make the small model nano from nothing, or go on with it",
}


NOBODY_READS = 141  # exit status of what a shell ends with SIGPIPE


class Command(Protocol):
    """What a module in `omni_server.commands` offers."""

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        """Declare the flags."""
        ...

    def run(self, args: argparse.Namespace) -> int:
        """Do it; return the exit code."""
        ...


def load(name: str) -> Command:
    """Import the module of one subcommand."""
    return cast(Command, import_module(f"omni_server.commands.{name.replace('-', '_')}"))


def build_parser(chosen: str | None) -> argparse.ArgumentParser:
    """A parser that knows every subcommand by name, and the flags of the chosen one."""
    parser = argparse.ArgumentParser(
        prog="omni",
        description="Text, images and speech as one token sequence; one model; a streaming server.",
        epilog="omni COMMAND --help says more about one command.",
    )
    parser.add_argument("--version", action="version", version=f"omni {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name, line in COMMANDS.items():
        command = commands.add_parser(name, help=line, description=line[0].upper() + line[1:] + ".")
        if name == chosen:
            load(name).add_arguments(command)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code (2 for a refusal, 130 for Ctrl-C, 141 for a closed pipe)."""
    words = list(sys.argv[1:] if argv is None else argv)
    if argv is None:  # a process of its own; `serve` and `train` have handlers of theirs
        signal.signal(signal.SIGTERM, _terminated)
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")  # a terminal that lacks a character ends nothing
    chosen = next((word for word in words if not word.startswith("-")), None)
    try:
        parser = build_parser(chosen)
        args = parser.parse_args(words)
        if args.command is None:
            parser.print_help()
            return 2
        status = load(args.command).run(args)
        sys.stdout.flush()
        return status
    except BrokenPipeError:
        # What is left in the buffer goes nowhere: else Python complains about it at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return NOBODY_READS
    except ModuleNotFoundError as missing:
        print(f"omni {chosen}: this needs the package {missing.name}: {remedy('server')}", file=sys.stderr)
        return 2
    except (ValueError, TypeError, OSError, ImportError) as refusal:
        print(f"omni {chosen}: {refusal}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _terminated(number: int, _frame: FrameType | None) -> None:
    """Leave as by an exception: what was opened is closed, and a server that was started ends too."""
    raise SystemExit(128 + number)


if __name__ == "__main__":
    raise SystemExit(main())
