"""A text decoder of the shape of Qwen2-0.5B against transformers, and one decoding step of a small one."""

from collections.abc import Callable, Iterable

import torch
from torch.nn import functional as F
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel, Qwen2Config, Qwen2ForCausalLM

from omni.model.decoder import Decoder
from omni.model.load import family_of
from omni.model.weights import fill, plan
from tests.benchmarks.harness import Row, compare
from tests.benchmarks.memory import compare_peaks, forget_peak

TOKENS = 128
HALF_BILLION = {
    "vocab_size": 151_936, "hidden_size": 896, "intermediate_size": 4864, "num_hidden_layers": 24,
    "num_attention_heads": 14, "num_key_value_heads": 2, "tie_word_embeddings": True, "max_position_embeddings": 4096,
    "rope_parameters": {"rope_type": "default", "rope_theta": 1e6},
}  # fmt: skip
SMALL = {
    "vocab_size": 2048, "hidden_size": 256, "intermediate_size": 704, "num_hidden_layers": 6,
    "num_attention_heads": 4, "num_key_value_heads": 4, "tie_word_embeddings": True, "max_position_embeddings": 1024,
}  # fmt: skip
PROMPT, SAID = 64, 64  # tokens


def qwen(quick: bool) -> PreTrainedModel:
    """Random weights; the quick one has 4 of the 24 layers and a tenth of the vocabulary."""
    torch.manual_seed(0)
    smaller = {"num_hidden_layers": 4, "vocab_size": 15_194} if quick else {}
    return Qwen2ForCausalLM(Qwen2Config(**{**HALF_BILLION, **smaller}))


def ours_of(theirs: PreTrainedModel, *, copy: bool = True) -> Decoder:
    """Our decoder with the same weights; `copy=False` shares what needs no joining."""
    config = theirs.config.to_dict()
    family = family_of(config["model_type"])
    with torch.device("meta"):
        model = family.build(config)
    state = theirs.state_dict()
    how = plan(family.names(config), list(state), list(model.state_dict()))
    fill(model, how, lambda name: state[name].clone() if copy else state[name], theirs.dtype, "cpu")
    assert isinstance(model, Decoder)
    return model


def forward(model: torch.nn.Module, ids: torch.Tensor) -> Callable[[], torch.Tensor]:
    """The scores of every token."""
    model.eval()

    def call() -> torch.Tensor:
        with torch.inference_mode():
            out = model(ids)
            return out if isinstance(out, torch.Tensor) else out.logits

    return call


def training(model: torch.nn.Module, ids: torch.Tensor) -> Callable[[], float]:
    """Forward, next-token loss, backward and a step of plain gradient descent."""
    model.train()
    optimiser = torch.optim.SGD(model.parameters(), lr=1e-4)

    def call() -> float:
        optimiser.zero_grad(set_to_none=True)
        out = model(ids)
        scores = out if isinstance(out, torch.Tensor) else out.logits
        loss = F.cross_entropy(scores[:, :-1].flatten(0, 1).float(), ids[:, 1:].flatten())
        loss.backward()
        optimiser.step()
        return float(loss.detach())

    return call


WORKS = {"forward": forward, "training step": training}


def peak_of(work: str, who: str, dtype: str, quick: str) -> None:
    """One contestant's work, for its memory."""
    model: torch.nn.Module = qwen(quick == "quick").to(getattr(torch, dtype))
    if who == "ours":
        model = ours_of(model, copy=False)  # type: ignore[arg-type]
    call = WORKS[work](model, torch.randint(0, 15_000, (1, TOKENS)))
    forget_peak()
    call()
    call()


def decoding() -> tuple[Callable[[], object], Callable[[], object]]:
    """Ours and transformers: answer a prompt greedily, token by token, each with its cache."""
    theirs = LlamaForCausalLM(LlamaConfig(**SMALL)).eval()
    ours = ours_of(theirs).eval()
    prompt = torch.randint(0, SMALL["vocab_size"], (1, PROMPT))
    expected = theirs.generate(prompt, max_new_tokens=SAID, do_sample=False, eos_token_id=None, pad_token_id=0)

    def step_by_step() -> list[int]:
        with torch.inference_mode():
            cache = ours.cache(capacity=PROMPT + SAID)
            said = ours(prompt, step=cache.step([0], [PROMPT]))[:, -1:].argmax(-1)
            answer = [int(said)]
            while len(answer) < SAID:
                said = ours(said, step=cache.step([0], [1])).argmax(-1)
                answer.append(int(said))
            return answer

    assert step_by_step() == expected[0, PROMPT:].tolist(), "the two do not say the same"
    return step_by_step, lambda: theirs.generate(
        prompt, max_new_tokens=SAID, do_sample=False, eos_token_id=None, pad_token_id=0
    )


def rows(quick: bool) -> Iterable[Row]:
    """Forward pass and training step in float32 and bfloat16, peak memory, then decoding."""
    ours, peer = decoding()
    size = "6 layers, width 256"
    yield from compare(
        f"answer of {SAID} tokens, greedy, {size}", ours, {"transformers generate": peer}, runs=3 if quick else 15
    )
    shape = "4 layers of Qwen2-0.5B" if quick else "Qwen2-0.5B shape"
    ids = torch.randint(0, 15_000, (1, TOKENS))
    for dtype in ("float32", "bfloat16"):
        theirs = qwen(quick).to(getattr(torch, dtype))
        mine = ours_of(theirs)
        for work, make in WORKS.items():
            title = f"{shape}, {TOKENS} tokens, {work}, {dtype}"
            calls = {"transformers": make(theirs, ids)}
            yield from compare(
                title, make(mine, ids), calls, bar=1.0, runs=3 if quick or dtype == "bfloat16" else 5, warmup=1
            )
        del theirs, mine
        if not quick:
            for work in WORKS:
                yield from compare_peaks(
                    f"{shape}, {TOKENS} tokens, {work}, {dtype}, peak memory", __name__, "peak_of",
                    (work, "ours", dtype, "full"), {"transformers": (work, "theirs", dtype, "full")},
                )  # fmt: skip
