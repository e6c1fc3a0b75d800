"""Loading: what is recognised, what is refused and in which words, and what it costs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from omni.model.decoder import Decoder
from omni.model.families import llama
from omni.model.load import load, materialise, save
from omni.model.position_table import PositionTable

CONFIG = {
    "model_type": "llama", "vocab_size": 31, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
    "num_attention_heads": 2, "max_position_embeddings": 16,
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    save(llama.build(CONFIG), CONFIG, tmp_path / "model")
    return tmp_path / "model"


def test_what_was_saved_is_loaded_in_evaluation_mode(folder: Path) -> None:
    checkpoint = load(folder)
    assert checkpoint.kind == "llama"
    assert isinstance(checkpoint.model, Decoder)
    assert not checkpoint.model.training
    assert checkpoint.untrained == checkpoint.unused == []
    stored = load_file(folder / "model.safetensors")
    assert all(torch.equal(t, stored[name]) for name, t in checkpoint.model.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_weights_come_in_the_type_asked_for_and_positions_stay_exact(folder: Path, dtype: torch.dtype) -> None:
    model = load(folder, dtype=dtype).model
    assert {p.dtype for p in model.parameters()} == {dtype}
    assert model.stack.rotary.frequency.dtype == torch.float32
    assert model(torch.tensor([[1, 2]])).dtype == dtype


def test_a_loaded_model_is_saved_over_its_own_folder(folder: Path) -> None:
    before = load(folder).model
    expected = {name: t.clone() for name, t in before.state_dict().items()}
    save(before, CONFIG, folder)
    for model in (before, load(folder).model):
        assert all(torch.equal(t, expected[name]) for name, t in model.state_dict().items())


def test_a_loaded_model_can_be_trained(folder: Path) -> None:
    model = load(folder).model.train()
    model(torch.tensor([[1, 2, 3]])).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    with torch.no_grad():
        model.embed.weight.add_(1)
    assert not torch.equal(model.embed.weight, load(folder).model.embed.weight)


def change(folder: Path, **config: object) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))


def rewrite(folder: Path, **tensors: torch.Tensor | None) -> None:
    stored = {**load_file(folder / "model.safetensors"), **tensors}
    save_file({name: t for name, t in stored.items() if t is not None}, folder / "model.safetensors")


def test_an_unknown_kind_is_named_beside_the_known_ones(folder: Path) -> None:
    change(folder, model_type="gpt_bigcode")
    with pytest.raises(ValueError, match=r"'gpt_bigcode', which no family here knows; known are .*llama.*whisper"):
        load(folder)


def test_a_folder_that_is_no_checkpoint_says_what_it_lacks(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"has no config\.json"):
        load(tmp_path)
    with pytest.raises(ValueError, match="nowhere is not a folder"):
        load(tmp_path / "nowhere")
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    with pytest.raises(ValueError, match=r"lacks model\.safetensors"):
        load(tmp_path)


def test_a_missing_weight_is_named_and_can_be_left_untrained(folder: Path) -> None:
    lost = "stack.blocks.1.mlp.norm.weight"
    rewrite(folder, **{lost: None, "stranger": torch.zeros(2)})
    with pytest.raises(ValueError, match=rf"lacks 1 weights: {lost}; it has stranger that no part of the model takes"):
        load(folder)
    checkpoint = load(folder, strict=False)
    assert (checkpoint.untrained, checkpoint.unused) == ([lost], ["stranger"])
    assert torch.isfinite(checkpoint.model(torch.tensor([[1, 2]]))).all()


def test_a_wrong_shape_is_said_with_the_shape_that_is_right(folder: Path) -> None:
    rewrite(folder, **{"embed.weight": torch.zeros(30, 16)})
    with pytest.raises(ValueError, match=r"embed.weight has shape \(30, 16\) and embed.weight needs \(31, 16\)"):
        load(folder)


def test_more_tokens_than_positions_are_refused(folder: Path) -> None:
    model = load(folder).model
    with pytest.raises(ValueError, match="17 tokens are more than the 16 positions of this model"):
        model(torch.zeros(1, 17, dtype=torch.long))
    cache = model.cache(capacity=32)
    model(torch.zeros(1, 16, dtype=torch.long), step=cache.step([0], [16]))
    with pytest.raises(ValueError, match="17 tokens are more than the 16 positions of this model"):
        model(torch.zeros(1, 1, dtype=torch.long), step=cache.step([0], [1]))


def test_the_text_tokenizer_beside_the_weights_comes_along(folder: Path) -> None:
    from omni_tokenizers import Text

    assert load(folder).tokenizers == {}
    Text.train(["so it goes, and so it went"], vocab_size=260).save(folder / "tokenizer.json")
    assert load(folder).tokenizers["text"].decode(load(folder).tokenizers["text"].encode("so it")) == "so it"


MEASURE = """
import sys, threading, torch
from pathlib import Path
from omni.model.load import load

def anonymous():  # bytes of memory that are no file's
    line = next(l for l in Path("/proc/self/status").read_text().splitlines() if l.startswith("RssAnon"))
    return int(line.split()[1]) * 1024

load(sys.argv[2])  # a small one first: imports and pools are not what is measured
for dtype in (torch.float32, torch.bfloat16):
    before, top, done = anonymous(), 0, threading.Event()
    def watch():
        global top
        while not done.wait(0.001):
            top = max(top, anonymous())
    watcher = threading.Thread(target=watch)
    watcher.start()
    model = load(sys.argv[1], dtype=dtype).model
    done.set()
    watcher.join()
    size = sum(p.nbytes for p in model.parameters())
    print((max(top, anonymous()) - before) / size)
    del model
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the memory of a process from /proc")
def test_loading_never_holds_the_weights_twice(folder: Path, tmp_path: Path) -> None:
    big = {**CONFIG, "hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 4, "vocab_size": 4000}
    save(llama.build(big), big, tmp_path / "big")  # 68 MB in float32
    command = [sys.executable, "-c", MEASURE, str(tmp_path / "big"), str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    exact, half = map(float, run.stdout.split())
    # Held once, so near 1; float32 weights may also stay in the file's own pages and cost nothing.
    assert exact < 1.2
    assert 0.5 < half < 1.2


def test_what_a_module_has_stays_to_the_bit_while_the_rest_of_it_is_made_fresh() -> None:
    with torch.device("meta"):
        norm = nn.BatchNorm1d(4)
    weight = torch.tensor([1.5, -2.0, 0.25, 3.0])
    norm.weight = nn.Parameter(weight.clone())
    norm.running_mean = torch.arange(4.0)
    norm.running_var = torch.full((4,), 7.0)
    materialise(nn.Sequential(norm), torch.bfloat16, "cpu")
    assert torch.equal(norm.weight, weight)
    assert torch.equal(norm.running_mean, torch.arange(4.0))
    assert torch.equal(norm.running_var, torch.full((4,), 7.0))
    assert torch.equal(norm.bias, torch.zeros(4, dtype=torch.bfloat16))


def test_damaged_files_are_named_with_what_to_do(folder: Path) -> None:
    whole = (folder / "model.safetensors").read_bytes()
    for damaged in (b"", b"no weights at all", whole[: len(whole) // 2]):
        (folder / "model.safetensors").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.safetensors is damaged, fetch it again"):
            load(folder)
    for damaged, message in (('{"model_type"', "config.json is damaged, fetch it again"), ("[]", "holds a list")):
        (folder / "config.json").write_text(damaged)
        with pytest.raises(ValueError, match=message):
            load(folder)


def test_what_a_configuration_lacks_is_named(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({k: v for k, v in CONFIG.items() if k != "hidden_size"}))
    with pytest.raises(ValueError, match=r"\(llama\) lacks 'hidden_size'"):
        load(folder)


def test_pickled_weights_are_not_read_and_the_message_says_so(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(ValueError, match=r"lacks model\.safetensors; pickled weights are not read: convert them"):
        load(folder)


def test_what_was_saved_goes_before_the_files_of_an_index_that_lay_there(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "old.safetensors")
    index = {"weight_map": dict.fromkeys(load_file(folder / "old.safetensors"), "old.safetensors")}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    model = load(folder).model
    with torch.no_grad():
        model.embed.weight.add_(1)
    save(model, CONFIG, folder)
    assert torch.equal(load(folder).model.embed.weight, model.embed.weight)


def test_an_index_that_names_no_file_is_refused(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text("{}")
    with pytest.raises(ValueError, match="lacks weights"):
        load(folder)


def test_quantized_weights_are_refused_rather_than_read_without_their_scales(folder: Path) -> None:
    name = "stack.blocks.0.mlp.inner.down.weight"
    small = load_file(folder / "model.safetensors")[name].to(torch.float8_e4m3fn)
    rewrite(folder, **{name: small, f"{name}_scale_inv": torch.full((1, 1), 3.0)})
    change(folder, quantization_config={"quant_method": "fp8"})
    with pytest.raises(ValueError, match="has a quantization_config, and quantized weights are not read"):
        load(folder)


def test_a_fixed_weight_that_is_made_fresh_stays_fixed() -> None:
    with torch.device("meta"):
        table = PositionTable(8, (2, 2), fixed=True)
    materialise(table, torch.float32, "cpu")
    assert torch.equal(table.table, PositionTable(8, (2, 2), fixed=True).table)
    assert not table.table.requires_grad
