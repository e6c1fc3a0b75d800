"""Examine the small model `nano` on questions that it never trained on, and print how often it was right.

Voices, number pairs, word strings, pictures and kinds of noise are held out. The questions are made as they are asked,
which needs the [scores] extra (espeak-ng and what measures a voice), and flite for the recorded voice.
"""

import argparse
from pathlib import Path

from omni_server.commands import place_for

VOICED = 60  # texts that are read out, and sentences that go through the codec, at most


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("model", choices=("nano",), help="what to examine")
    parser.add_argument(
        "--weights", type=Path, metavar="FOLDER", help="a bundle, or a training's folder (default: shipped)"
    )
    parser.add_argument(
        "--codec",
        type=Path,
        metavar="FOLDER",
        help="with a training's folder: the codec of its voice (default: the shipped one)",
    )
    parser.add_argument("--count", type=int, default=300, metavar="N", help="questions a measure (default: 300)")
    parser.add_argument(
        "--split",
        choices=("dev", "test"),
        default="test",
        help="dev while something is still being chosen; its recorded voice is one that was trained on (default: test)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of the table")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the table as well")
    parser.add_argument("--card", type=Path, metavar="FILE", help="write the model's card with these numbers as well")
    parser.add_argument(
        "--failures", type=Path, metavar="FOLDER", help="write down what was wrong, with sounds and pictures"
    )


def run(args: argparse.Namespace) -> int:
    """Ask, mark, print; the exit code is 0 whatever the marks are."""
    for file in filter(None, (args.plot, args.card)):  # said before minutes of questions, not behind them
        place_for(file)
    if args.failures is not None:
        args.failures.mkdir(parents=True, exist_ok=True)
    if args.card is not None and args.split != "test":
        raise ValueError("a card tells of questions that were never looked at: --card goes with --split test")
    from omni import nano
    from omni.bundle import Bundle
    from omni.nano.codec.codec import SHIPPED, NanoCodec
    from omni.train.card import require_described, write_card
    from omni.train.export import bundle_of
    from omni.train.failures import write_failures
    from omni.train.marking import mark, native_and_pipeline
    from omni.train.plots import check_drawn, plot_marks
    from omni.train.voicing import voice_rows
    from omni_server.compare.machine import about_this_machine
    from omni_tokenizers.optional import need

    folder = args.weights or nano.WEIGHTS
    training = (folder / "recipe.json").exists()
    if args.codec and not training:
        raise ValueError(f"{folder} is a bundle, which has its codec in it: --codec goes with a training's folder")
    if args.card is not None and training:
        raise ValueError(f"{folder} is a training, and a card is of what ships: export it first")
    if args.plot is not None:
        check_drawn(args.plot)
    voice = args.codec or (SHIPPED if SHIPPED.is_dir() else None)
    bundle = bundle_of(folder, voice and NanoCodec.load(voice)) if training else Bundle.load(folder)
    if args.card is not None:
        require_described(bundle)
    if bundle.speaks:
        for package in ("pocketsphinx", "pystoi", "pesq"):
            need(package, extra="scores", use="examining nano's voice")
    marks = mark(bundle, args.split, args.count)
    marks.rows.extend(native_and_pipeline(bundle, args.split, args.count))
    marks.rows.extend(voice_rows(bundle, args.split, min(args.count, VOICED)))
    print(marks.as_json(about_this_machine()) if args.json else marks.as_text())
    if args.plot is not None:
        plot_marks(marks, args.plot)
    if args.card is not None:
        write_card(bundle, marks, args.count, folder, args.card)
    if args.failures is not None:
        write_failures(marks.failures, args.failures)
    return 0
