"""The first half of `make demo`: a recording is spoken, and becomes tokens while it is being spoken.

make demo                                        the bundled recording
make demo RECORDING=my.wav ARGS="--instructions 'Be brief'"    your own
"""

import argparse
import sys
import time
from pathlib import Path
from statistics import median

from omni_tokenizers import Audio, LogMel, Omni, Text, join, read_audio

RECORDING = Path(__file__).parent / "recordings" / "question.wav"
CHUNK = 0.02  # seconds of sound in one message of a client


def main() -> int:
    parser = argparse.ArgumentParser(prog="make demo", description="Stream a recording into one token sequence.")
    parser.add_argument("recording", nargs="?", type=Path, default=RECORDING, help="a WAV, FLAC, OGG or MP3 file")
    parser.add_argument("--instructions", default="Answer in one sentence.", help="text before the speech")
    parser.add_argument("--fast", action="store_true", help="do not wait for the recording's own pace")
    args = parser.parse_args()
    omni = Omni(text=Text.of_bytes(), audio=LogMel(bins=80, floor="fixed"))
    try:
        sound, rate = read_audio(args.recording)
        omni.encode(Audio(sound[:rate], rate))  # the first sound imports torch: not what a chunk costs
    except (ValueError, OSError) as refusal:
        print(f"demo: {refusal}", file=sys.stderr)
        return 2

    live = omni.stream()
    pieces = [live.push(args.instructions)]
    size = int(CHUNK * rate)
    print(f"{args.recording.name}: {len(sound) / rate:.2f} s at {rate} Hz, in chunks of {CHUNK * 1000:.0f} ms")
    costs = []
    begin = time.perf_counter()
    for index, start in enumerate(range(0, len(sound), size)):
        if not args.fast:
            time.sleep(max(0.0, begin + (index + 1) * CHUNK - time.perf_counter()))
        before = time.perf_counter()
        pieces.append(live.push(Audio(sound[start : start + size], rate)))
        costs.append((time.perf_counter() - before) * 1e3)
        if sys.stdout.isatty():
            print(f"\r  {(index + 1) * CHUNK:5.2f} s spoken, {len(live):4d} tokens", end="", flush=True)
    before = time.perf_counter()
    sequence = join([*pieces, live.finish()])
    tail = (time.perf_counter() - before) * 1e3

    same = sequence == omni.encode([args.instructions, Audio(sound, rate)])
    print(f"\r{' ' * 40}\n{sequence.show()}\n")
    print(f"tokenizing a chunk  {median(costs):6.2f} ms median, {max(costs):.2f} ms worst")
    print(f"after the last word {tail:6.2f} ms to the complete sequence")
    print(f"streamed = offline  {'yes, to the bit' if same else 'NO'}")
    print("\nNext: `omni talk` asks the model this recording, `omni serve` opens a page to speak on (README).")
    return 0 if same else 1


if __name__ == "__main__":
    raise SystemExit(main())
