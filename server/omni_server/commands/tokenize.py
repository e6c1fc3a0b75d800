"""Show any mix of text, images and audio files as one token sequence.

A file is what its suffix says; `-` reads text from standard input, and `--text` takes it from the command line.
Nothing but the tokenizer library is needed.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import omni_tokenizers
from omni_tokenizers.sequence.describe import facts
from omni_tokenizers.sequence.positions import SCHEMES

DEFAULT_PATCH = 16  # pixels
DEFAULT_PIXELS = 224  # a side of the square that images are scaled to


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument(
        "files", nargs="*", metavar="FILE", help="text, image and audio files in order; - is text from stdin"
    )
    parser.add_argument(
        "--text", action="append", default=[], metavar="WORDS", help="text after the files; may be repeated"
    )
    parser.add_argument(
        "--vocabulary", metavar="FILE", help="vocabulary for text (any that Text.load reads); default: bytes"
    )
    parser.add_argument(
        "--patch", type=int, default=DEFAULT_PATCH, metavar="PIXELS", help="side of a patch (default: 16)"
    )
    parser.add_argument(
        "--image-size", default=str(DEFAULT_PIXELS), metavar="PIXELS",
        help='scale images to this square (default: 224); "native" keeps their size and pads to whole patches',
    )  # fmt: skip
    parser.add_argument("--bins", type=int, default=80, choices=(80, 128), help="Mel bands (default: 80)")
    parser.add_argument(
        "--frames-per-token", type=int, default=4, metavar="N", help="Mel frames a token (default: 4, 40 ms)"
    )
    parser.add_argument("--positions", choices=SCHEMES, default="linear", help="position scheme (default: linear)")
    parser.add_argument(
        "--budget", type=int, metavar="TOKENS", help="compare with a budget; exit status 3 when it is exceeded"
    )
    parser.add_argument(
        "--count", action="store_true", help="print the number of tokens alone, from sizes where they are enough"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the picture")
    parser.add_argument("--ids", action="store_true", help="with --json: all ids as well")
    parser.add_argument("--html", metavar="FILE", help="write a self-contained page as well")
    parser.add_argument("--save", metavar="FOLDER", help="save the sequence as JSON and safetensors as well")


def run(args: argparse.Namespace) -> int:
    """Print the sequence; the exit code is 3 when it has more tokens than the budget."""
    parts = [_part(name) for name in args.files] + list(args.text)
    if not parts:
        raise ValueError("nothing to tokenize: name a file, or pass --text")
    omni, vocabulary = _omni(args)
    if args.count:
        tokens = omni.count(parts)
        print(json.dumps({"tokens": tokens}) if args.json else tokens)
        return _within(tokens, args.budget)
    sequence = omni.encode(parts)
    if args.html:
        Path(args.html).write_text(sequence.to_html(title=_title(args), budget=args.budget), encoding="utf-8")
    if args.save:
        sequence.save(args.save)
    if args.json:
        print(json.dumps(_report(sequence, vocabulary, args), ensure_ascii=False, indent=1))
    else:
        print(sequence.show(budget=args.budget))
        print(f"\ntext by {vocabulary}\n--json gives sizes and positions, --html FILE a page")
    return _within(len(sequence), args.budget)


def _omni(args: argparse.Namespace) -> tuple[Any, str]:
    from omni_tokenizers.audio import LogMel
    from omni_tokenizers.image import Pad, Patches, Square
    from omni_tokenizers.sequence import AudioTokens, Omni
    from omni_tokenizers.text import Text

    if args.vocabulary:
        text, vocabulary = Text.load(args.vocabulary), str(args.vocabulary)
    else:
        # No vocabulary is shipped, and bytes are the one that needs none: a token is a byte.
        text, vocabulary = Text.of_bytes(), "bytes (pass --vocabulary FILE for a real one)"
    if args.image_size != "native" and not args.image_size.isdecimal():
        raise ValueError(f'--image-size {args.image_size} is neither a number of pixels nor "native"')
    resize = Pad() if args.image_size == "native" else Square(int(args.image_size))
    omni = Omni(
        text=text,
        image=Patches(args.patch, resize=resize),
        audio=AudioTokens(LogMel(bins=args.bins), frames_per_token=args.frames_per_token),
        positions=args.positions,
    )
    return omni, vocabulary


def _part(name: str) -> Any:
    if name == "-":
        return sys.stdin.read()
    path = Path(name)
    if not path.is_file():
        raise ValueError(f"no file at {path}" if not path.exists() else f"{path} is a folder, not a file")
    from omni_tokenizers.sequence.parts import part_of

    try:
        return part_of(path)
    except UnicodeDecodeError as wrong:
        raise ValueError(f"{path} is no UTF-8 text: byte {wrong.start} is 0x{wrong.object[wrong.start]:02x}") from None


def _report(sequence: Any, vocabulary: str, args: argparse.Namespace) -> dict[str, Any]:
    report = {
        "tokens": len(sequence),
        "by_modality": sequence.counts(),
        "seconds": round(sum(span.seconds for span in sequence.spans), 6),
        "vocabulary": vocabulary,
        "positions": sequence.scheme,
        "library": omni_tokenizers.__version__,
        "spans": [facts(sequence, index) for index in range(len(sequence.spans))],
    }
    if args.budget is not None:
        report["budget"] = {"tokens": args.budget, "left": args.budget - len(sequence)}
    if args.ids:
        report["ids"] = sequence.ids.tolist()
    return report


def _title(args: argparse.Namespace) -> str:
    names = [Path(name).name if name != "-" else "standard input" for name in args.files]
    return " + ".join(names) if 0 < len(names) <= 3 else f"{len(names) or 'Words'} {'files' if names else ''}".strip()


def _within(tokens: int, budget: int | None) -> int:
    return 3 if budget is not None and tokens > budget else 0
