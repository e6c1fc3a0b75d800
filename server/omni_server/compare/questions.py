"""What is asked: recordings with the moments of speech, and the answers that are right.

A folder holds sound files and `questions.jsonl`, one line each:
{"file": "seven.flac", "ask": "what is seven plus five", "right": ["twelve", "12"], "speech": [0.21, 1.84]}
Only `file` is needed: without `right` nobody judges the answer, without `speech` the recording's energy tells.
"""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from difflib import SequenceMatcher
from pathlib import Path

import numpy as np

from omni_server.client.recording import Recording
from omni_server.compare.numerals import words

LISTED = "questions.jsonl"
BUNDLED = Path(__file__).parent / "questions"
SOUNDS = (".wav", ".flac", ".ogg", ".mp3")
PHRASE = 3  # words of a question that an answer repeats before it says something of its own
TAIL = 0.1  # s behind the last speech that are kept: the rest of a recording's silence leaves as the microphone's own


@dataclass(frozen=True)
class Question:
    """One recording and what is known about it."""

    recording: Recording
    ask: str = ""
    right: tuple[str, ...] = ()  # answers that are right; empty: nobody judges

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.ask or self.recording.name

    def judged(self, text: str) -> bool | None:
        """Whether an answer is right, apart from what it repeats of the question; None where nobody knows."""
        if not self.right:
            return None
        said = f" {' '.join(beyond(words(self.ask), words(text)))} "
        return any(f" {' '.join(words(one))} " in said for one in self.right)


def beyond(asked: Sequence[str], said: Sequence[str]) -> list[str]:
    """What is said without the longest piece of the question in it, where that is a phrase of some words.

    >>> beyond("what is one times six".split(), "one times six is seven".split())
    ['is', 'seven']
    """
    same = SequenceMatcher(None, asked, said, autojunk=False).find_longest_match()
    if same.size < PHRASE:
        return list(said)
    return [*said[: same.b], *said[same.b + same.size :]]


def read(paths: Sequence[str | Path]) -> list[Question]:
    """Folders with `questions.jsonl`, folders of sound, and single files; raises ValueError with what is wrong."""
    found: list[Question] = []
    for path in map(Path, paths):
        if path.is_dir():
            found += _listed(path) if (path / LISTED).is_file() else _folder(path)
        else:
            found.append(_single(path))
    if not found:
        raise ValueError(f"{', '.join(map(str, paths))} holds no question: give sound files, or a folder of them")
    for question in found:
        if question.recording.speech is None:
            raise ValueError(f"{question.name} is silent: nobody could say when its speech ends")
    return [replace(question, recording=_trimmed(question.recording)) for question in _told_apart(found)]


def _told_apart(found: Sequence[Question]) -> list[Question]:
    """Reports and pairs go by name: a question that is there again, in another voice perhaps, gets a number."""
    times = Counter[str]()
    apart = []
    for question in found:
        times[question.name] += 1
        number = times[question.name]
        apart.append(question if number == 1 else replace(question, ask=f"{question.name} ({number})"))
    return apart


def _single(path: Path) -> Question:
    """A file, with what the list beside it knows about it."""
    recording = Recording.of(path)
    listed = _listed(path.parent) if (path.parent / LISTED).is_file() else []
    return next((one for one in listed if one.recording.name == path.name), Question(recording))


def _folder(path: Path) -> list[Question]:
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SOUNDS)
    return [Question(Recording.of(file)) for file in files]


def _listed(path: Path) -> list[Question]:
    found = []
    for number, line in enumerate((path / LISTED).read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        at = f"{path / LISTED}, line {number}"
        try:
            said = json.loads(line)
            speech = said.get("speech")
            recording = Recording.of(path / said["file"], speech=None if speech is None else (speech[0], speech[1]))
            right = said.get("right", [])
            if isinstance(right, str):
                raise TypeError(f"right is {right!r}, and not a list")
            if not all(words(str(one)) for one in right):
                raise TypeError(f"right is {right!r}, and one of them holds no word")
            found.append(Question(recording, str(said.get("ask", "")), tuple(map(str, right))))
        except (KeyError, IndexError, TypeError, AttributeError, json.JSONDecodeError) as wrong:
            raise ValueError(f'{at} is no question ({wrong}): write {{"file": …, "ask": …, "right": […]}}') from None
        except (ValueError, OSError) as wrong:
            raise ValueError(f"{at}: {wrong}") from None
    return found


def _trimmed(recording: Recording) -> Recording:
    assert recording.speech is not None
    end = min(len(recording.samples), round((recording.speech[1] + TAIL) * recording.rate))
    return replace(recording, samples=np.ascontiguousarray(recording.samples[:end]))
