"""Any causal language model with its chat template through transformers, from a folder or a hub name.

--llm "hf:/models/qwen3-0.6b?device=cuda&dtype=bfloat16"
"""

import threading
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from typing import Any

import torch

from omni.engine.answering import StageFailed
from omni.engine.pipeline.published import place_of, usual_dtype
from omni.engine.pipeline.stages import Call, Message, Stopped
from omni.engine.pipeline.template import templated
from omni.engine.pipeline.thoughts import OPEN, Thoughts
from omni.engine.pipeline.thread import ModelThread
from omni.engine.pipeline.tool_text import ToolText
from omni.engine.protocol import Tool
from omni.model.sampling import Sampler
from omni.sampling import Sampling
from omni_tokenizers.optional import need

UNBOUNDED = 1 << 30  # tokens, of a model that names no limit


class CausalModel:
    """One model for all sessions, in a thread of its own: one answer at a time."""

    sees = False

    def __init__(self, source: str, *, device: str = "cpu", dtype: str | None = None) -> None:
        transformers = need("transformers", extra="model", use="a causal language model")
        source = place_of(source)
        self._tokenizer = transformers.AutoTokenizer.from_pretrained(source)
        if not self._tokenizer.chat_template:
            raise ValueError(f"{source} has no chat template: it continues text and does not answer")
        self._model = transformers.AutoModelForCausalLM.from_pretrained(source, dtype=dtype or usual_dtype(device))
        self._model.eval().to(device)
        ends = self._model.generation_config.eos_token_id
        self._ends = {self._tokenizer.eos_token_id, *(ends if isinstance(ends, list) else [ends])}
        self._context = context_of(self._model.config)
        self._thread = ModelThread("causal")

    async def answer(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        sampling: Sampling,
        longest: int,
        *,
        must_call: bool,  # noqa: ARG002 - how a call begins is the template's secret, so none can be forced
    ) -> AsyncGenerator[str | Call | Stopped, None]:
        """Stream the answer; a cancel stops the model at its next token."""
        # A server's limit is for any model, and may be more than all that this one reads.
        longest = min(longest, self._context // 2)
        parser = ToolText() if tools else None
        stream = self._thread.stream(lambda stop: self._generate(messages, tools, sampling, longest, stop))
        async with aclosing(stream) as pieces:
            async for piece in pieces:
                if parser is None or not isinstance(piece, str):
                    yield piece
                else:
                    for found in parser.push(piece):
                        yield found
        for found in parser.finish() if parser is not None else ():
            yield found

    def prompt(self, messages: Sequence[Message], tools: Sequence[Tool], longest: int) -> list[int]:
        """Ids of the conversation, without its oldest turns where it is too long; the system's words always stay."""
        kept = list(messages)
        while True:
            ids = templated(self._tokenizer, kept, tools)
            if len(ids) + longest <= self._context:
                return ids
            first = 1 if kept and kept[0].role == "system" else 0
            turns = [i for i in range(first + 1, len(kept)) if kept[i].role == "user"]
            if not turns:
                raise StageFailed(
                    "too_long",
                    f"the last turn is {len(ids)} tokens long and {longest} are kept for the answer, "
                    f"but the model reads {self._context}: say less, or ask for a shorter answer",
                )
            del kept[first : turns[0]]

    def _generate(
        self,
        messages: Sequence[Message],
        tools: Sequence[Tool],
        sampling: Sampling,
        longest: int,
        stop: threading.Event,
    ) -> Iterator[str | Stopped]:
        ids = self.prompt(messages, tools, longest)
        sampler = Sampler(sampling)
        text = StreamedText(self._tokenizer)
        thoughts = Thoughts(thinks=self._tokenizer.decode(ids).rstrip().endswith(OPEN))
        past: Any = None
        fed = torch.tensor([ids], device=self._model.device)
        for _ in range(longest):
            with torch.inference_mode():
                out = self._model(input_ids=fed, past_key_values=past, use_cache=True, logits_to_keep=1)
            if stop.is_set():
                return
            past = out.past_key_values
            chosen = sampler.choose(out.logits[0, -1].float())
            if chosen in self._ends:
                break
            if piece := thoughts.push(text.push(chosen)):
                yield piece
            fed = torch.tensor([[chosen]], device=self._model.device)
        else:
            yield Stopped()
        if piece := thoughts.push(text.finish()) + thoughts.finish():
            yield piece

    async def close(self) -> None:
        """Free the model."""
        await self._thread.close()


def context_of(config: Any) -> int:
    """Tokens that a model reads; one that also sees or hears says so of its text part."""
    return getattr(config.get_text_config(), "max_position_embeddings", None) or UNBOUNDED


class StreamedText:
    """Ids to text as they come. A letter that needs several ids waits for the last of them."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._ids: list[int] = []
        self._shown = 0  # ids whose text has left
        self._context = 0  # ids before them that are decoded again: what a tokenizer writes depends on its neighbours

    def push(self, token: int) -> str:
        """One more id; the text that is certain now."""
        self._ids.append(token)
        before = self._decode(self._ids[self._context : self._shown])
        now = self._decode(self._ids[self._context :])
        if now.endswith("�"):
            return ""
        self._context, self._shown = self._shown, len(self._ids)
        return now[len(before) :]

    def finish(self) -> str:
        """What was held back."""
        before = self._decode(self._ids[self._context : self._shown])
        return self._decode(self._ids[self._context :])[len(before) :]

    def _decode(self, ids: list[int]) -> str:
        return self._tokenizer.decode(ids, skip_special_tokens=True)
