"""Make the recordings that `omni compare` asks by default: held-out questions, each in a held-out voice of espeak-ng.

python scripts/questions.py            needs the [train] extra; the same seed makes the same files
"""

import json
import re
from random import Random

import numpy as np
import soundfile

from omni.train import skills
from omni.train.skills import draw_dialogue, sentence
from omni.train.speakers import RATE, espeak_speaker, recorded_speaker, say
from omni_server.client.recording import where_speech_is
from omni_server.compare.questions import BUNDLED, LISTED

SEED = 20_261_121
EACH = 4  # questions of a skill
LEAD = 0.25  # s of silence in front
SKILLS = (skills.arithmetic, skills.capital, skills.opposite, skills.calendar)


def main() -> None:
    random = Random(SEED)
    BUNDLED.mkdir(exist_ok=True)
    lines: list[str] = []
    for skill in SKILLS:
        asked: set[str] = set()
        while len(asked) < EACH:
            turn = draw_dialogue(random, "test", skill).turns[0]
            if turn.question in asked or turn.picture is not None:
                continue
            # Every fourth in a recorded voice, which no training ever heard.
            last = len(asked) == EACH - 1
            speaker = recorded_speaker(random, "test") if last else espeak_speaker(random, "test")
            sound = say(turn.question, speaker)
            name = f"{skill.__name__}-{len(asked) + 1}.flac"
            wave = np.concatenate((np.zeros(round(LEAD * RATE), np.float32), sound))
            soundfile.write(BUNDLED / name, wave, RATE, subtype="PCM_16")
            # The voice fades below the threshold before its last sample: the earlier end flatters nobody's latency.
            begin, end = where_speech_is(wave, RATE) or (0.0, 0.0)
            right = sentence(re.split(" is | comes | of ", turn.answer)[-1])  # without what it repeats
            about = {"file": name, "ask": turn.question, "right": [right], "speech": [begin, end]}
            lines.append(json.dumps({**about, "voice": speaker.name}, ensure_ascii=False))
            asked.add(turn.question)
    (BUNDLED / LISTED).write_text("\n".join(lines) + "\n", encoding="utf-8")
    size = sum(file.stat().st_size for file in BUNDLED.iterdir())
    print(f"{len(lines)} questions, {size / 1000:.0f} kB, in {BUNDLED}")


if __name__ == "__main__":
    main()
