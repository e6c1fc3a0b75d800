"""Write down what the shipped nano answers to the recordings and the typed questions of its tests: after every new
weights, so that `make test` notices when an answer changes without them.

python scripts/answers.py
"""

import json
from pathlib import Path

import soundfile

from omni import nano
from omni.train.asking import Asked, Question, ask
from omni_tokenizers.sequence import Audio
from omni_tokenizers.sequence.parts import Part, TextPart

RECORDINGS = Path(__file__).resolve().parents[1] / "tests" / "omni" / "recordings"


def main() -> None:
    file = RECORDINGS / "answers.json"
    known = json.loads(file.read_text())
    bundle = nano.load()

    def answers(parts: dict[str, Part]) -> dict[str, str]:
        # One by one, as the tests ask: beside others a number may fall to the other side of a tie.
        found = {name: ask(bundle, [Question((Asked((part,), ""),))])[0][0].text for name, part in parts.items()}
        for name, text in found.items():
            print(f"{name:40} {text}")
        return found

    sounds: dict[str, Part] = {}
    for name in known["spoken"]:
        samples, rate = soundfile.read(RECORDINGS / name, dtype="float32")
        sounds[name] = Audio(samples, rate)
    told = {"spoken": answers(sounds), "typed": answers({text: TextPart(text) for text in known["typed"]})}
    file.write_text(json.dumps(told, indent=1) + "\n")


if __name__ == "__main__":
    main()
