"""The recipe: a tiny one learns, and one that was stopped ends where one that was not does."""

import itertools
import json
import math
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import fields, replace
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from omni.bundle import Bundle
from omni.nano.codec.codec import NanoCodec
from omni.script import SPECIALS, USER
from omni.train.dialogue import split_of
from omni.train.export import blended, bundle_of, ship
from omni.train.loss import Probes, loss, misread, written
from omni.train.mixing import Take
from omni.train.mixture import Mixture
from omni.train.muon import orthogonal
from omni.train.pictures import CELLS, Scene
from omni.train.plots import logged
from omni.train.pool import Shard, Utterance, make_noises, make_shard, read_shard, shards
from omni.train.recipe import SHAPE, Recipe, model, tokenizers
from omni.train.sayings import FILE, fingerprint, make_sayings
from omni.train.skills import SKILLS, UNKNOWN, arithmetic, draw_dialogue, fact, repeat, tool
from omni.train.training import Training, pace
from omni.train.writing import Heard, Writing
from omni_server import cli
from omni_tokenizers import Text

TINY = Recipe(
    width=32, depth=2, heads=4, kv_heads=2, hidden=64, stem=16, vocabulary=300, blocks=2, spread=32, speller=1, batch=8,
    pieces=2, warm=5, rate=4e-3, muon=1e-2, senses=0, sounds=8, pictures=4, again=0, probing=0,
)  # fmt: skip


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pool")
    make_shard(folder, "train", 0, 12, "espeak")
    make_shard(folder, "train", 0, 4, "exercises")
    make_noises(folder, "train", pieces=6)
    return folder


@pytest.fixture(scope="module")
def vocabulary() -> Text:
    return Text.train(["What is the capital of France? Paris."] * 3, vocab_size=300, special=SPECIALS)


def training(folder: Path, pool: Path, vocabulary: Text, recipe: Recipe = TINY, helpers: int = 0) -> Training:
    folder.mkdir(exist_ok=True)
    vocabulary.save(folder / "tokenizer.json")  # that of the recipe takes seconds to learn
    return Training(recipe, folder, pool, helpers=helpers)


def weights(of: Training) -> dict[str, torch.Tensor]:
    return {f"{n} {k}": t.clone() for n, m in of.modules.items() for k, t in m.state_dict().items()}


def test_a_tiny_recipe_learns(tmp_path: Path, pool: Path, vocabulary: Text) -> None:
    learns = training(tmp_path / "run", pool, vocabulary)
    losses: list[dict[str, float]] = []
    learns.run(40, tell=losses.append)
    first, last = (np.mean([m["text"] for m in some]) for some in (losses[:5], losses[-5:]))
    assert last < 0.65 * first
    # A step of the smallest batch may have no sound.
    began, ended = (np.mean([m["turn"] for m in some if "turn" in m]) for some in (losses[:8], losses[-8:]))
    assert ended < began
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [10, 20, 30, 40]


def test_the_stems_learn_to_hear_and_see_before_the_rest_learns_to_converse(
    tmp_path: Path, pool: Path, vocabulary: Text
) -> None:
    learns = training(tmp_path / "run", pool, vocabulary, replace(TINY, senses=20))
    before = weights(learns)
    losses: list[dict[str, float]] = []
    learns.run(20, tell=losses.append)
    for what in ("heard", "spelled", "seen"):
        assert losses[-1][what] < 0.8 * losses[0][what]
    assert all("text" not in loss for loss in losses)
    now = weights(learns)
    changed = {name for name in now if not torch.equal(now[name], before[name])}
    assert changed
    assert all(name.startswith(("model inputs.audio.", "model inputs.image.", "probes ")) for name in changed)
    learns.run(21, tell=losses.append)
    assert losses[-1]["text"] > 0
    assert {name for name, t in weights(learns).items() if "stack" in name and torch.equal(t, now[name])} == set()


def test_where_nobody_speaks_the_stem_has_to_write_nothing(pool: Path, vocabulary: Text, tmp_path: Path) -> None:
    reads = training(tmp_path / "run", pool, vocabulary)
    writing = Writing(reads.tokens, 2)
    writing.special(USER)
    writing.sound(Take(np.zeros((40, 80), np.float32), 0, 0), "")
    [silence] = writing.spoken
    assert silence.ids == silence.letters == ()
    writing.special(USER)
    writing.sound(Take(np.zeros((4, 80), np.float32), 0, 4), "a")
    stem = reads.model.inputs["audio"].stem
    with torch.no_grad():  # it writes nothing with a probability of one half, whatever it hears
        stem.words.weight.zero_()
        stem.words.bias.zero_()
        stem.words.bias[-1] = math.log(vocabulary.size)
    writing.spoken = [silence, Heard(silence.first + 10 + 1, (5,), (), 0)]  # room for one id and no blank
    found = loss(reads.model, reads.probes, TINY, [writing.example()])
    assert float(found.heard.detach()) == pytest.approx(10 * math.log(2) + math.log(2 * vocabulary.size), rel=1e-5)


@pytest.mark.parametrize(("labels", "begin", "waits"), [((0, 1), 1, 1), ((), 2, 2), ((1, 1), 3, 1), ((0, 1, 0), 3, 0)])
def test_nothing_is_written_before_anything_is_said(labels: tuple[int, ...], begin: int, waits: int) -> None:
    scores = torch.randn(1, 5, 3, generator=torch.Generator().manual_seed(0))
    each = torch.log_softmax(scores[0], 1)
    paths = [  # of all, those that spell the labels, and wait while there is room
        sum(float(each[token, label]) for token, label in enumerate(path))
        for path in itertools.product(range(3), repeat=5)
        if tuple(label for label, _ in itertools.groupby(path) if label != 2) == labels
        if set(path[:waits]) <= {2}
    ]
    found = written(scores, torch.tensor([5]), torch.tensor([begin]), [labels])
    assert float(found) == pytest.approx(-math.log(sum(map(math.exp, paths))), rel=1e-5)


@torch.no_grad()
def test_a_letter_in_a_picture_has_to_come_near_the_letter_that_is_written(vocabulary: Text) -> None:
    writing = Writing(tokenizers(vocabulary), 2)
    writing.picture(Scene("white", text="NO", text_color="red", seed=4))
    [seen] = writing.example().seen
    assert seen.ids == tuple(vocabulary.encode(f"A {letter}")[-1] for letter in "NO")
    rows = columns = 4
    table = torch.randn(vocabulary.size, 8, generator=torch.Generator().manual_seed(0))
    probes = Probes(1, 8)
    probes.plain.weight.zero_()
    probes.plain.bias.zero_()
    tokens = torch.zeros(rows * columns, 8)
    classes = vocabulary.size + 1
    nothing = misread(probes, tokens, table, (rows, columns), [seen])
    assert float(nothing) == pytest.approx(rows * columns * math.log(classes) / CELLS**2, rel=1e-5)
    places = [int(letter.y * rows) * columns + int(letter.x * columns) for letter in seen.letters]
    assert len(set(places)) == 2
    probes.plain.bias.fill_(60)
    for place, said in zip(places, seen.ids, strict=True):
        tokens[place] = 99 * torch.nn.functional.normalize(table[said], dim=0)
    assert float(misread(probes, tokens, table, (rows, columns), [seen])) < 1e-3
    tokens[places] = tokens[places[::-1]]
    assert float(misread(probes, tokens, table, (rows, columns), [seen])) > 5


def test_half_of_what_is_spoken_are_exercises(pool: Path, vocabulary: Text, tmp_path: Path) -> None:
    mixture = training(tmp_path / "run", pool, vocabulary).mixture
    exercises = {shard.kind: [dialogue for dialogue, _ in shard.dialogues] for shard in mixture.pool}["exercises"]
    spoken = [mixture.spoken(Random(i)) for i in range(200)]
    assert 70 < sum(dialogue in exercises for dialogue, _ in spoken) < 130
    for dialogue, where in spoken:
        assert [w and w[1].text for w in where] == [turn.question for turn in dialogue.turns]


def test_a_skill_is_heard_as_often_as_it_is_drawn(vocabulary: Text) -> None:
    random = Random(0)
    drawn = [draw_dialogue(random, "train", skill) for skill in SKILLS for _ in range(4)]
    said = [
        (dialogue, tuple(Utterance(turn.question, "espeak a", 0, 1, 0, 1, None) for turn in dialogue.turns))
        for dialogue in drawn
    ]
    shard = Shard("espeak", np.zeros((1, 80), np.float16), said)
    mixture = Mixture(tokenizers(vocabulary), 2, 4, "train", [shard], [np.zeros((1, 80), np.float16)])
    heard = Counter(mixture.spoken(random)[0].skill.split()[0] for _ in range(1000))
    for name, skill in {"repeat": repeat, "arithmetic": arithmetic, "fact": fact}.items():
        assert heard[name] / 1000 == pytest.approx(SKILLS[skill] / sum(SKILLS.values()), abs=0.035)


def test_what_the_exam_asks_without_a_tool_is_not_answered_in_training(pool: Path, vocabulary: Text) -> None:
    mixture = Mixture(tokenizers(vocabulary), 2, 4, "train", [read_shard(next(shards(pool, "train")))], [])
    random = Random(0)
    unknown = [
        turns[0].question
        for _ in range(400)
        if (turns := mixture.offered(draw_dialogue(random, "train", tool), random)[1])[0].answer == UNKNOWN
    ]
    assert len(unknown) > 40
    assert {split_of(question) for question in unknown} == {"train"}


def test_sayings_of_another_codec_are_refused(tmp_path: Path) -> None:
    codec = NanoCodec.load()
    save_file({"codes": np.zeros((1, 12), np.uint8)}, tmp_path / FILE, {"where": "{}", "made": "another"})
    with pytest.raises(
        ValueError, match=f'was made by another, and what is wanted is .*{fingerprint(codec)}.*"answers": 3'
    ):
        list(make_sayings(tmp_path, codec, 3))


def test_stopping_and_going_on_gives_the_weights_of_not_stopping(tmp_path: Path, pool: Path, vocabulary: Text) -> None:
    whole = training(tmp_path / "whole", pool, vocabulary)
    whole.run(4)
    training(tmp_path / "cut", pool, vocabulary).run(2)
    rest = training(tmp_path / "cut", pool, vocabulary)
    assert rest.standing.step == 2
    rest.run(4)
    one, two = weights(whole), weights(rest)
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_training_reads_the_shards_it_stopped_with_until_its_next_checkpoint(
    tmp_path: Path, pool: Path, vocabulary: Text
) -> None:
    began = training(tmp_path / "run", pool, vocabulary)
    began.run(1)
    late = pool / "train-espeak-9999.jsonl"
    late.write_text("")
    try:
        assert training(tmp_path / "run", pool, vocabulary).standing.shards == began.standing.shards
    finally:
        late.unlink()
    with pytest.raises(ValueError, match=r"reads train-espeak-0000, train-exercises-0000, .* has no such shard"):
        training(tmp_path / "run", tmp_path, vocabulary)


@pytest.mark.slow
def test_two_processes_learn_what_one_does(tmp_path: Path, pool: Path, vocabulary: Text) -> None:
    alone = training(tmp_path / "alone", pool, vocabulary)
    first = weights(alone)
    alone.run(3)
    both = training(tmp_path / "both", pool, vocabulary, helpers=1)
    both.run(3)
    both.crew.close()
    zero, one, two = (torch.cat([t.flatten() for t in of.values()]) for of in (first, weights(alone), weights(both)))
    # Not each number: Adam moves one whose gradient is nearly nothing by its sign, and that is a matter of rounding.
    assert (one - two).norm() < 0.1 * (one - zero).norm()


def test_what_is_shipped_says_what_was_trained(tmp_path: Path, pool: Path, vocabulary: Text) -> None:
    trained = training(tmp_path / "run", pool, vocabulary)
    trained.run(1)
    ship(bundle_of(tmp_path / "run"), tmp_path / "shipped")
    loaded = Bundle.load(tmp_path / "shipped")
    assert loaded.about["step"] == 1
    assert loaded.about["recipe"]["width"] == 32
    ours, theirs = trained.model.state_dict(), loaded.model.state_dict()
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-3, rtol=1e-3) for name in ours)
    size = (tmp_path / "shipped" / "model.safetensors").stat().st_size
    assert size < 2.2 * sum(t.numel() for t in ours.values()) + 20_000


def test_a_training_can_begin_with_the_weights_that_were_shipped(tmp_path: Path, pool: Path, vocabulary: Text) -> None:
    trained = training(tmp_path / "run", pool, vocabulary)
    trained.run(1)
    ship(bundle_of(tmp_path / "run"), tmp_path / "shipped")
    again = Training(TINY, tmp_path / "again", pool, start=tmp_path / "shipped")
    ours, theirs = trained.model.state_dict(), again.model.state_dict()
    assert again.standing.step == again.standing.began == trained.standing.step
    assert all(torch.allclose(ours[name], theirs[name], atol=1e-3, rtol=1e-3) for name in ours)
    again.run(2)
    goes_on = Training(TINY, tmp_path / "again", pool, start=tmp_path / "shipped")
    assert (goes_on.standing.step, goes_on.standing.began) == (2, 1)
    assert all(torch.equal(t, again.model.state_dict()[name]) for name, t in goes_on.model.state_dict().items())


def test_a_folder_goes_on_only_from_what_it_began_with(tmp_path: Path, pool: Path, vocabulary: Text) -> None:
    training(tmp_path / "run", pool, vocabulary).run(1)
    ship(bundle_of(tmp_path / "run"), tmp_path / "shipped")
    with pytest.raises(ValueError, match=r"did not begin with .*shipped: name another folder"):
        Training(TINY, tmp_path / "run", pool, start=tmp_path / "shipped")
    # A vocabulary that an interrupted beginning left is not that of the weights.
    (tmp_path / "begun").mkdir()
    Text.train(["other words"], vocab_size=280, special=SPECIALS).save(tmp_path / "begun" / "tokenizer.json")
    Training(TINY, tmp_path / "begun", pool, start=tmp_path / "shipped")
    found, shipped = ((tmp_path / name / "tokenizer.json").read_text() for name in ("begun", "shipped"))
    assert found == shipped


def test_a_recipe_of_another_shape_is_refused_and_leaves_the_folder_as_it_was(
    tmp_path: Path, pool: Path, vocabulary: Text
) -> None:
    training(tmp_path / "run", pool, vocabulary).run(1)
    before = (tmp_path / "run" / "recipe.json").read_text()
    other = replace(TINY, depth=3, spread=48, seed=2)  # a seed changes no shape
    with pytest.raises(
        ValueError, match=r"run has .* another shape \(depth: 2 there, 3 here; spread: 32 there, 48 here\)"
    ):
        training(tmp_path / "run", pool, vocabulary, recipe=other)
    with pytest.raises(ValueError, match=r"\(depth: 2 there, 1 here\): name another folder"):
        training(tmp_path / "run", pool, vocabulary, recipe=replace(TINY, depth=1))
    assert (tmp_path / "run" / "recipe.json").read_text() == before


def test_a_setting_that_the_recipe_did_not_have_yet_is_named(tmp_path: Path, pool: Path, vocabulary: Text) -> None:
    training(tmp_path / "run", pool, vocabulary).run(1)
    file = tmp_path / "run" / "recipe.json"
    file.write_text(json.dumps({name: value for name, value in TINY.config().items() if name != "spread"}))
    assert training(tmp_path / "run", pool, vocabulary).standing.step == 1  # the weights are what counts
    file.write_text(json.dumps({name: value for name, value in TINY.config().items() if name != "spread"}))
    for refused in (
        lambda: training(tmp_path / "run", pool, vocabulary, recipe=replace(TINY, spread=48)),
        lambda: bundle_of(tmp_path / "run"),
    ):
        with pytest.raises(ValueError, match=r"another shape \(spread: none there, (48|1024) here\)"):
            refused()
    file.unlink()
    with pytest.raises(ValueError, match=r"\(model\.inputs\.audio\.stem\.blocks\.0\..* differs\)"):
        training(tmp_path / "run", pool, vocabulary, recipe=replace(TINY, spread=48))


def test_a_bundle_of_another_shape_is_no_beginning_and_leaves_nothing(
    tmp_path: Path, pool: Path, vocabulary: Text
) -> None:
    training(tmp_path / "run", pool, vocabulary).run(1)
    ship(bundle_of(tmp_path / "run"), tmp_path / "shipped")
    for changes, told in (
        ({"spread": 48}, r"inputs\.audio\.stem\.spread: 32 there, 48 here"),
        ({"depth": 1}, "depth: 2 there, 1 here"),
    ):
        with pytest.raises(ValueError, match=rf"shipped has .* another shape \({told}\): begin with one"):
            Training(replace(TINY, **changes), tmp_path / "again", pool, start=tmp_path / "shipped")
    assert not list((tmp_path / "again").iterdir())


def test_another_shape_is_told_before_anything_is_spoken(
    tmp_path: Path, pool: Path, vocabulary: Text, capsys: pytest.CaptureFixture[str]
) -> None:
    training(tmp_path / "run", pool, vocabulary).run(1)
    ship(bundle_of(tmp_path / "run"), tmp_path / "shipped")
    for given, told in (
        (["--folder", tmp_path / "run"], "width: 32 there, 256 here; depth: 2 there, 6 here; heads: 4"),
        (["--folder", tmp_path / "new", "--start", tmp_path / "shipped"], "width: 32 there, 256 here; depth: 2"),
    ):
        assert cli.main(["train", "nano", "--pool", str(tmp_path / "pool"), *map(str, given)]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "pool").exists()


def test_damaged_weights_are_named(tmp_path: Path, pool: Path, vocabulary: Text) -> None:
    training(tmp_path / "run", pool, vocabulary).run(1)
    file = tmp_path / "run" / "state.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"state\.safetensors is damaged: put a copy in its place"):
        training(tmp_path / "run", pool, vocabulary)


def test_a_checkpoint_that_does_not_fit_on_the_disk_leaves_the_one_before(
    tmp_path: Path, pool: Path, vocabulary: Text
) -> None:
    run = training(tmp_path / "run", pool, vocabulary)
    run.run(1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OSError, match=r"state\.safetensors could not be written .*: is the disk full\?"):
            run.save()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not (tmp_path / "run" / "state.safetensors.new").exists()
    assert training(tmp_path / "run", pool, vocabulary).standing.step == 1


def test_every_setting_that_changes_the_weights_is_one_of_the_shape(vocabulary: Text) -> None:
    tokens = tokenizers(vocabulary)

    def sizes(recipe: Recipe) -> dict[str, torch.Size]:
        return {name: t.shape for name, t in model(recipe, tokens).state_dict().items()}

    names = [f.name for f in fields(Recipe) if f.name != "vocabulary"]  # which the tokenizer has
    changing = {name for name in names if sizes(replace(TINY, **{name: 2 * getattr(TINY, name) or 1})) != sizes(TINY)}
    assert changing == {*SHAPE} - {"vocabulary"}


def test_a_log_that_a_power_cut_tore_goes_on(tmp_path: Path, pool: Path, vocabulary: Text) -> None:
    run = training(tmp_path / "run", pool, vocabulary)
    (tmp_path / "run" / "log.jsonl").write_text('{"step": 10, "te')
    run.run(1)
    assert [line["step"] for line in logged(tmp_path / "run")] == [1]


def test_a_helper_leaves_the_end_to_the_first_process_and_its_death_is_told(
    tmp_path: Path, pool: Path, vocabulary: Text
) -> None:
    both = training(tmp_path / "run", pool, vocabulary, helpers=1)
    both.run(1)
    (helper,) = both.crew.processes
    os.kill(helper.pid, signal.SIGINT)  # Ctrl-C comes to every process of a terminal
    os.kill(helper.pid, signal.SIGTERM)
    both.run(2)
    assert both.standing.step == 2
    os.kill(helper.pid, signal.SIGKILL)
    helper.join(10)
    with pytest.raises(ChildProcessError, match=r"process 1 ended by itself \(exit status -9"):
        both.run(3)
    both.crew.close()


def test_a_blend_is_so_much_of_the_end_and_the_rest_of_the_beginning(
    tmp_path: Path, pool: Path, vocabulary: Text
) -> None:
    trained = training(tmp_path / "run", pool, vocabulary)
    trained.run(1)
    ship(bundle_of(tmp_path / "run"), tmp_path / "shipped")
    again = Training(TINY, tmp_path / "again", pool, start=tmp_path / "shipped")
    begin = {name: t.clone() for name, t in again.model.state_dict().items()}
    again.run(4)
    end = bundle_of(tmp_path / "again")
    half = blended(end, tmp_path / "shipped", 0.5)
    for name, mixed in half.model.state_dict().items():
        assert torch.allclose(mixed, (begin[name] + end.model.state_dict()[name]) / 2, atol=1e-6)
    for share, whole in ((1.0, end.model.state_dict()), (0.0, begin)):
        found = blended(end, tmp_path / "shipped", share).model.state_dict()
        assert all(torch.equal(t, whole[name]) for name, t in found.items())
    ship(half, tmp_path / "half")
    about = Bundle.load(tmp_path / "half").about
    assert (about["blend"], about["blended_with"]) == (0.5, Bundle.load(tmp_path / "shipped").about["recipe_hash"])


def test_on_weights_that_were_shipped_the_probes_learn_first(tmp_path: Path, pool: Path, vocabulary: Text) -> None:
    trained = training(tmp_path / "run", pool, vocabulary)
    trained.run(1)
    ship(bundle_of(tmp_path / "run"), tmp_path / "shipped")
    again = Training(replace(TINY, probing=3), tmp_path / "again", pool, start=tmp_path / "shipped")
    before = weights(again)
    again.run(1 + 3)
    changed = {name.split(" ")[0] for name, t in weights(again).items() if not torch.equal(t, before[name])}
    assert changed == {"probes"}
    again.run(1 + 4)
    assert any(name.startswith("model") and not torch.equal(t, before[name]) for name, t in weights(again).items())


def test_of_two_steps_one_is_of_the_stems_alone(tmp_path: Path, pool: Path, vocabulary: Text) -> None:
    learns = training(tmp_path / "run", pool, vocabulary, replace(TINY, again=2))
    before, losses = weights(learns), list[dict[str, float]]()
    learns.run(1, tell=losses.append)
    first = weights(learns)
    assert not any("stack" in name for name in first if not torch.equal(first[name], before[name]))
    learns.run(2, tell=losses.append)
    second = weights(learns)
    assert any("stack" in name for name in second if not torch.equal(second[name], first[name]))
    assert ["text" in loss for loss in losses] == ["turn" in loss for loss in losses] == [False, True]
    [line] = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()[1:]]
    assert line["text"] == pytest.approx(losses[1]["text"], abs=1e-4)


def test_the_pace_goes_up_stays_and_comes_down() -> None:
    recipe = Recipe(warm=10, steps=100, cooling=20)
    assert pace(replace(recipe, probing=5), 34, began=30) == 1
    assert pace(replace(recipe, probing=5), 35, began=30) == pytest.approx(0.1)
    assert pace(recipe, 0) == pytest.approx(0.1)
    assert pace(recipe, 9) == pace(recipe, 79) == 1
    assert pace(recipe, 90) == pytest.approx(0.5)


def test_the_stack_is_told_where_words_stand(tmp_path: Path, pool: Path, vocabulary: Text) -> None:
    reads = training(tmp_path / "run", pool, vocabulary)
    found = []
    for random in (None, None, Random(1)):
        writing = Writing(reads.tokens, 2)
        writing.special(USER)
        writing.say("What is the capital of France?", slowly=random)
        writing.answer("answer", "Paris.")
        found.append(float(loss(reads.model, reads.probes, TINY, [writing.example()]).text.detach()))
    assert found[0] == found[1] != found[2]


def test_muon_makes_a_matrix_nearly_orthogonal() -> None:
    torch.manual_seed(0)
    for shape in ((2, 16, 48), (2, 48, 16)):
        given = torch.randn(shape)
        u, _, v = torch.linalg.svd(given, full_matrices=False)
        found = orthogonal(given)
        values = torch.linalg.svdvals(found)
        assert 0.6 < float(values.min()) <= float(values.max()) < 1.25
        assert float(torch.nn.functional.cosine_similarity(found.flatten(), (u @ v).flatten(), dim=0)) > 0.97


@pytest.mark.slow
def test_one_command_speaks_trains_goes_on_and_exports(tmp_path: Path) -> None:
    places = ["--folder", tmp_path / "run", "--pool", tmp_path / "pool", "--export", tmp_path / "made"]
    sizes = ["--dialogues", 1, "--recorded", 0, "--exercises", 0, "--sayings", 3, "--processes", 1, "--cool", 1]
    for steps in (1, 2):
        until = ["--senses", 1, "--steps", steps]
        command = [sys.executable, "-m", "omni_server.cli", "train", "nano", *places, *sizes, *until]
        done = subprocess.run([*map(str, command)], capture_output=True, text=True, timeout=300, check=False)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout.splitlines()[-1])["step"] == steps
        assert "training: 100%" in done.stderr
    bundle = Bundle.load(tmp_path / "made")
    assert bundle.about["step"] == 2
    assert bundle.speaks
    assert (tmp_path / "run" / "losses.png").stat().st_size > 1000
