"""The same questions to a pipeline (speech to text, a text model, text to speech) and to a native model that hears and
speaks itself, with the same weights on the same machine: nano both times. Each question is spoken in real time, first
to one, then to the other, A B A B.

The upper part of the picture shows where the time goes between the last sample of speech and the first sample of the
answer that is heard, stage by stage. Below, each line joins the two answers to one question: where it falls to the
left, the native model was faster; a cross is a wrong answer, since a fast wrong answer is worth nothing. `omni compare`
does the same with more rounds, interruptions and many users at once.
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import matplotlib.pyplot as plt
from stage import Stage, open_stage

import omni.nano
from omni_server.client.opening import connect
from omni_server.client.own_server import flags_of, own_server
from omni_server.client.wishes import Wishes
from omni_server.compare.questions import BUNDLED, read
from omni_server.compare.rows import figure as shown
from omni_server.compare.run import Contestant, Plan, Run
from omni_server.compare.statistics import paired_ratio, percentile
from omni_server.compare.terminal import in_order, mean_stages
from omni_server.compare.turn import Measured

MODES = ("pipeline", "native")
COLOURS = plt.get_cmap("tab20")
QUICK = 2  # questions
WEIGHTS = omni.nano.WEIGHTS / "config.json"


def draw(stage: Stage, measured: Measured) -> None:
    figure, (above, below) = plt.subplots(2, 1, figsize=(8, 6), height_ratios=(1, 2), layout="constrained", sharex=True)
    stages = {mode: mean_stages(measured, mode) for mode in MODES}
    names = in_order(one.name for found in stages.values() for one in found)
    for row, mode in enumerate(MODES):
        at = 0.0
        for one in stages[mode]:
            known = above.get_legend_handles_labels()[1]
            label = None if one.name in known else one.name
            above.barh(-row, max(0.0, one.ms), left=at, color=COLOURS(names.index(one.name)), label=label)
            at += max(0.0, one.ms)
        above.text(at, -row, f"  {at:.0f} ms", va="center")
    above.set(title="where the time goes, mean", yticks=[0, -1], yticklabels=MODES)
    above.legend(ncols=7, loc="upper left", bbox_to_anchor=(-0.2, -0.08))
    questions = list(dict.fromkeys(turn.question for turn in measured.turns))
    for row, question in enumerate(questions):
        pair = {t.contestant: t for t in measured.turns if t.question == question and t.counts}
        times = {mode: turn.voice_to_voice_ms for mode, turn in pair.items()}
        if len(pair) == len(MODES):
            below.plot([times[mode] for mode in MODES], [-row, -row], color="0.8", zorder=0)
        for mode, turn in pair.items():
            below.scatter(times[mode], -row, color=f"C{MODES.index(mode)}", marker="x" if turn.right is False else "o")
    for number, mode in enumerate(MODES):
        below.scatter([], [], color=f"C{number}", label=mode)
    below.scatter([], [], color="gray", marker="x", label="a wrong answer")
    below.set(title="each question", yticks=[-row for row in range(len(questions))], yticklabels=questions)
    below.set(xlabel="ms from the last sample of speech to the first that is heard", xlim=(0, None))
    below.legend(loc="lower right", bbox_to_anchor=(1, 1), ncols=3)
    figure.suptitle("Pipeline against native: the same weights, the same questions")
    ratio = paired_ratio(*measured.pairs(*MODES))
    lines = []
    for mode in MODES:
        values, judged = measured.counted(mode), [t.right for t in measured.of(mode)]
        median = shown(percentile(values, 50) if values else None, "ms")
        lines.append(f"{mode:9} {median} at the median of {len(values)}, {judged.count(True)} of {len(judged)} right")
    if ratio is not None:
        lines.append(f"pipeline / native, paired: {shown(ratio.value, ratio_unit := '×')}" + (
            f" (95 %: {shown(ratio.interval[0], ratio_unit)} to {shown(ratio.interval[1], ratio_unit)})"
            if ratio.interval else ""))  # fmt: skip
    stage.close(figure, *lines)


async def main() -> None:
    stage = open_stage(__doc__, Path(__file__).stem)
    if not WEIGHTS.is_file():
        raise SystemExit("nano's weights are not there: `omni train nano` makes them")
    questions = read([BUNDLED])[: QUICK if stage.quick else None]
    wishes = {
        "native": Wishes(turns="meaning", eagerness="high", transcribe=False),
        "pipeline": Wishes(transcribe=False),
    }
    async with AsyncExitStack() as stack:
        contestants = []
        for mode in MODES:
            url = await stack.enter_async_context(own_server(flags_of(mode, sessions=2)))
            contestants.append(Contestant(mode, lambda url=url, mode=mode: connect(url, wishes=wishes[mode])))
        plan = Plan(rounds=1, interruptions=0, users=())
        measured = await Run(contestants, questions, plan, told=print).all()
    draw(stage, measured)


if __name__ == "__main__":
    asyncio.run(main())
