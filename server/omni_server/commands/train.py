"""Make the small model `nano` from nothing: speak its data, train on it, and write it where it can be loaded.

It can be stopped at any moment and started again: it goes on from its last checkpoint, a few minutes old at most.
"""

import argparse
import json
import signal
import sys
from pathlib import Path
from types import FrameType

CACHE = Path.home() / ".cache" / "omni" / "nano"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what the command takes."""
    parser.add_argument("model", choices=("nano",), help="what to train")
    parser.add_argument(
        "--folder", type=Path, default=CACHE / "run", help=f"checkpoints and log (default: {CACHE}/run)"
    )
    parser.add_argument("--pool", type=Path, default=CACHE / "pool", help=f"spoken data (default: {CACHE}/pool)")
    parser.add_argument(
        "--dialogues",
        type=int,
        default=60_000,
        metavar="N",
        help="spoken by espeak-ng, in whole thousands; what the pool has besides is read too (default: 60000)",
    )
    parser.add_argument(
        "--recorded",
        type=int,
        default=12_000,
        metavar="N",
        help="spoken by recorded voices: flite's, and festival's where it is installed (default: 12000)",
    )
    parser.add_argument(
        "--exercises",
        type=int,
        default=20_000,
        metavar="N",
        help="spoken sums, comparisons, strings to repeat … of wider kinds (default: 20000)",
    )
    parser.add_argument(
        "--sayings", type=int, default=3500, metavar="N", help="answers in nano's own voice, as codes (default: 3500)"
    )
    parser.add_argument(
        "--codec",
        type=Path,
        metavar="FOLDER",
        help="the codec of that voice (default: the shipped one, if it is there)",
    )
    parser.add_argument("--steps", type=int, default=40_000, metavar="N", help="go on up to this step (default: 40000)")
    parser.add_argument(
        "--senses",
        type=int,
        metavar="N",
        help="first steps, in which it only learns to hear and see; then to converse (default: 3000, 0 with --start)",
    )
    parser.add_argument(
        "--cool", type=int, default=0, metavar="N", help="let the learning rate fall to zero over the last N steps"
    )
    parser.add_argument(
        "--start", type=Path, metavar="FOLDER", help="begin with the weights of this bundle instead of random ones"
    )
    parser.add_argument("--processes", type=int, default=2, metavar="N", help="that read together (default: 2)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda (default: cpu)")
    parser.add_argument(
        "--export", type=Path, metavar="FOLDER", help="write the model there in half precision at the end"
    )
    parser.add_argument(
        "--blend",
        type=float,
        metavar="SHARE",
        help="export so much of what was trained, 0 to 1, and the rest of the bundle that it began with (--start)",
    )


def run(args: argparse.Namespace) -> int:
    """Pool, training, export."""
    import torch
    from tqdm import tqdm

    from omni.model.load import read_json
    from omni.nano.codec.codec import SHIPPED, NanoCodec
    from omni.train.checkpoint import STATE
    from omni.train.export import blended, bundle_of, ship
    from omni.train.fitting import require_fit
    from omni.train.plots import plot_losses
    from omni.train.pool import Kind, make_pool, shards
    from omni.train.recipe import Recipe, model, tokenizers
    from omni.train.sayings import make_sayings
    from omni.train.training import Training, text_at

    if args.blend is not None and (args.start is None or args.export is None or not 0 <= args.blend <= 1):
        raise ValueError(
            f"--blend {args.blend:g} needs --start and --export, and is a share from 0 to 1: "
            "so much of what was trained, the rest of the bundle that it began with"
        )
    for flag, least in (("dialogues", 0), ("recorded", 0), ("exercises", 0), ("sayings", 0), ("processes", 1),
                        ("steps", 0), ("cool", 0), ("senses", 0)):  # fmt: skip
        if (getattr(args, flag) or 0) < least:
            raise ValueError(f"--{flag} {getattr(args, flag)}: at least {least} is needed")
    cards = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    if args.device not in ("cpu", *cards, *(["cuda"] if cards else [])):
        raise ValueError(f"--device {args.device}: torch finds none here; there is {', '.join(['cpu', *cards])}")
    if args.export is not None:
        args.export.mkdir(parents=True, exist_ok=True)
    codec_folder = args.codec or (SHIPPED if SHIPPED.is_dir() else None)
    codec = None if codec_folder is None else NanoCodec.load(codec_folder)
    if args.start is not None and not (args.start / "config.json").is_file():
        raise ValueError(f"--start {args.start} is no bundle (no config.json): name a folder that --export wrote")
    conversations: tuple[Kind, ...] = ("espeak", "recorded")
    if not args.dialogues + args.recorded and not any(any(shards(args.pool, "train", k)) for k in conversations):
        raise ValueError(
            "--dialogues and --recorded are 0, and exercises alone are no conversation: speak some of either"
        )
    checkpoint = args.folder / STATE
    if args.start is not None and not checkpoint.exists():
        stands = int(read_json(args.start / "config.json").get("step", 0))
        if args.steps <= stands:
            raise ValueError(
                f"--steps {args.steps}: the weights of --start stand at {stands}, and steps count on from there"
            )
    senses = Recipe.senses if args.start is None else 0
    recipe = Recipe(steps=args.steps, cooling=args.cool, senses=args.senses if args.senses is not None else senses)
    if checkpoint.exists() or args.start is not None:  # said before hours of speaking, not behind them
        text = text_at(recipe, args.folder, args.start)
        require_fit(model(recipe, tokenizers(text, codec)), recipe, args.folder, args.start)
    spoken: dict[Kind, int] = {"espeak": args.dialogues, "recorded": args.recorded, "exercises": args.exercises}
    made = make_pool(args.pool, spoken, args.processes)
    for _ in tqdm(made, desc="speaking", unit="shard"):
        pass
    torch.set_num_threads(1)
    if codec is not None:
        said = make_sayings(args.pool, codec, args.sayings)
        for _ in tqdm(said, desc="sayings", unit="text"):
            pass
    helpers = args.processes - 1 if args.device == "cpu" else 0
    training = Training(
        recipe, args.folder, args.pool, device=args.device, codec=codec_folder, helpers=helpers, start=args.start
    )
    with tqdm(total=args.steps, initial=training.standing.step, desc="training", unit="step") as bar:
        last: dict[str, str] = {}  # of steps of the stems alone there is no text to tell of

        def tell(means: dict[str, float]) -> None:
            bar.update(1)
            last.update({name: f"{value:.2f}" for name, value in means.items()})
            bar.set_postfix(last)

        def stop(_signal: int, _frame: FrameType | None) -> None:
            training.stopping = True

        before = {name: signal.signal(name, stop) for name in (signal.SIGINT, signal.SIGTERM)}
        try:
            training.run(args.steps, tell=tell)
        finally:
            for name, handler in before.items():
                signal.signal(name, handler)
    training.crew.close()
    if training.stopping:
        print(f"stopped at step {training.standing.step}: the same command goes on", file=sys.stderr)
        return 130
    told = {}
    if args.export is not None:
        bundle = bundle_of(args.folder, codec)
        if args.blend is not None:
            bundle = blended(bundle, args.start, args.blend)
        ship(bundle, args.export)
        told = {"export": str(args.export), **{k: bundle.about[k] for k in ("step", "recipe_hash")}}
    print(f"losses: {plot_losses(args.folder)}")
    if told:
        print(json.dumps(told))
    return 0
