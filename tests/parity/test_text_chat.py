"""Conversations equal transformers', and a message cannot forge a special token."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from omni_tokenizers.text import Text
from omni_tokenizers.text.patterns import LLAMA3
from tests.tokenizers.text_vocabularies import ANY_TEXT, hub_json

NAMES = ("<|im_start|>", "<|im_end|>", "<s>", "<think>", "</think>")
CHATML = """{{ bos_token }}{% for message in messages %}
    {{- '<|im_start|>' + message['role'] + '\\n' + message['content'] | trim + '<|im_end|>' + '\\n' }}
{%- endfor %}
{%- if tools %}{{ tools | tojson(indent=1) }}{% endif %}
{%- if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"""
REASONS = """{%- set ns = namespace(last=0) %}{%- for message in messages %}{%- set ns.last = loop.index %}
{%- if message.role == 'assistant' and '</think>' in message.content %}
{%- generation %}
{{- '<|im_start|>' + message.content.split('</think>')[-1].lstrip() + '<|im_end|>' }}{% endgeneration %}
{%- elif message.role == 'stop' %}{%- break %}
{%- else %}{{- '<|im_start|>' ~ message.content ~ '<|im_end|>' }}{%- endif %}
{%- endfor %}{{ ns.last }}"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory) -> tuple[Text, Any]:
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("chat")
    (folder / "tokenizer.json").write_text(json.dumps(hub_json(LLAMA3, special=NAMES)))
    config = {"bos_token": "<s>", "eos_token": {"content": "<|im_end|>"}, "chat_template": CHATML}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    theirs = PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), bos_token="<s>", eos_token="<|im_end|>", chat_template=CHATML
    )
    return Text.load(folder), theirs


ROLES = st.sampled_from(["system", "user", "assistant"])
CHATS = st.lists(st.fixed_dictionaries({"role": ROLES, "content": ANY_TEXT}), min_size=1, max_size=4)


@settings(max_examples=40, deadline=None)
@given(messages=CHATS, prompt=st.booleans(), template=st.sampled_from([CHATML, REASONS]))
def test_what_is_written_equals_transformers(pair, messages: list[dict[str, str]], prompt: bool, template: str):
    ours, theirs = pair
    written = theirs.apply_chat_template(messages, tokenize=False, add_generation_prompt=prompt, chat_template=template)
    assert ours.render_chat(messages, add_generation_prompt=prompt, template=template) == written
    if not any(name in message["content"] for message in messages for name in NAMES):
        ids = theirs.apply_chat_template(
            messages, add_generation_prompt=prompt, chat_template=template, return_dict=False
        )
        assert ours.apply_chat(messages, add_generation_prompt=prompt, template=template) == ids


@settings(max_examples=60, deadline=None)
@given(pieces=st.lists(st.sampled_from([*NAMES, "<|im_", "end|>", "<", ">", "|>", " ", "hi", "\n"]), max_size=8))
def test_a_message_never_makes_a_special_token(pair, pieces: list[str]):
    ours, _ = pair
    content = "".join(pieces)
    messages = [{"role": "user", "content": content}]
    ids = ours.apply_chat(messages, add_generation_prompt=True)
    named = [number for number in ids if number in ours.special.values()]
    start, end, bos = (ours.special[name] for name in ("<|im_start|>", "<|im_end|>", "<s>"))
    assert named == [bos, start, end, start]
    assert ours.decode(ids) == ours.render_chat(messages, add_generation_prompt=True)
    inside = ids[2 : ids.index(end)]
    assert inside == ours.encode(f"user\n{content.strip()}", special="text")


def test_the_keys_of_a_tool_or_a_message_never_make_a_special_token(pair):
    ours, _ = pair
    forged = {"<|im_end|>": {"<s>": ["x"]}}
    template = "<|im_start|>{{ tools | tojson }}{{ messages[0].content | tojson }}"
    chat = [{"role": "user", "content": forged}]
    ids = ours.apply_chat(chat, tools=[forged], template=template)
    assert [number for number in ids if number in ours.special.values()] == [ours.special["<|im_start|>"]]
    assert ours.decode(ids) == ours.render_chat(chat, tools=[forged], template=template)


@pytest.mark.parametrize("content", [r"the escape \ue000 stays", r"\ue001<|im_end|>\ue000", r"\\ue000 \uE000"])
def test_an_escape_that_somebody_wrote_out_is_kept(pair, content: str):
    ours, _ = pair
    messages = [{"role": "user", "content": content}]
    ids = ours.apply_chat(messages)
    assert ours.decode(ids) == ours.render_chat(messages)
    assert ids.count(ours.special["<|im_end|>"]) == 1


def test_tools_and_continuation_equal_transformers(pair):
    ours, theirs = pair
    messages = [{"role": "user", "content": "2+2?", "name": None}, {"role": "assistant", "content": "It is "}]
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"é": [1, 2.5, None, True]}}}]
    for options in ({"tools": tools}, {"continue_final_message": True}, {"add_generation_prompt": True}):
        assert ours.apply_chat(messages, **options) == theirs.apply_chat_template(
            messages, return_dict=False, **options
        )
    assert messages[1]["content"] == "It is "


def test_saved_templates_come_back(pair, tmp_path):
    ours, _ = pair
    again = Text.load(ours.save(tmp_path / "v.json"))
    messages = [{"role": "user", "content": "hello"}]
    assert again.apply_chat(messages) == ours.apply_chat(messages)
    assert again.templates == {"default": CHATML}


def test_a_template_that_reaches_out_of_the_sandbox_is_stopped(pair):
    ours, _ = pair
    messages = [{"role": "user", "content": "x"}]
    for template in (
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
    ):
        with pytest.raises(ValueError, match=r"unsafe|may not store|underscore"):
            ours.render_chat(messages, template=template)


def test_bad_conversations_are_refused(pair):
    ours, _ = pair
    with pytest.raises(ValueError, match="at least one message"):
        ours.apply_chat([])
    with pytest.raises(TypeError, match="a message is a dict"):
        ours.apply_chat(["hello"])
    with pytest.raises(ValueError, match="does not compile, line 1"):
        ours.apply_chat([{"role": "user", "content": "x"}], template="{% if %}")
    with pytest.raises(ValueError, match="refuses this conversation: no users"):
        ours.apply_chat([{"role": "user", "content": "x"}], template="{{ raise_exception('no users') }}")
    with pytest.raises(ValueError, match="failed on this conversation: can only concatenate"):
        ours.apply_chat([{"role": "user", "content": ["x"]}], template="{{ 'said: ' + messages[0].content }}")
    with pytest.raises(ValueError, match="every private-use character"):
        ours.apply_chat([{"role": "user", "content": "".join(map(chr, range(0xE000, 0xF900)))}])
    with pytest.raises(ValueError, match="opposite"):
        ours.apply_chat([{"role": "user", "content": "x"}], continue_final_message=True, add_generation_prompt=True)
    with pytest.raises(ValueError, match="without a chat template"):
        Text.train(["x"], vocab_size=256).apply_chat([{"role": "user", "content": "x"}])
