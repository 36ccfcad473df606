"""How a conversation goes on behind an answer, beside what transformers renders of the whole conversation."""

from pathlib import Path
from typing import Any

import pytest

from components.templates import Prompts, Refused, continuation
from tests.components.templates.families import FAMILIES
from tests.components.templates.styles import STYLES, tokenizer
from tests.components.templates.test_families import CALL, Q1, RESULT, TOOLS, family_tokenizer, said

SHOW_RESULTS = (
    "Qwen2.5 with tools", "the same, with generation blocks", "Qwen3", "Llama 3.1 with tools", "Mistral v3 with tools",
    "GLM 4.5", "gpt-oss", "arguments as text",
)  # fmt: skip
REFUSED = ("gpt-oss", "channels")
"""Templates that write an answer's end otherwise once the conversation goes on."""
NO_REFERENCE = ("a vision model, which reads parts alone", "chatml without a generation prompt")
ID = {"id": "0" * 9}
MADE_UP = {"type": "function", "function": {"name": "get_weather", "arguments": "no JSON"}}


def tokenizer_of(name: str, folder: Path) -> Any:
    return family_tokenizer(FAMILIES[name], folder) if name in FAMILIES else tokenizer(STYLES[name])


def rendered(tok: Any, messages: list[dict[str, Any]], tools: Any = None) -> str:
    return tok.apply_chat_template(messages, tools=tools, tokenize=False, add_generation_prompt=True)


@pytest.mark.parametrize("name", [*FAMILIES, *STYLES])
def test_what_follows_an_answer_is_what_the_template_writes(name: str, tmp_path: Path) -> None:
    tok, again = tokenizer_of(name, tmp_path), {"role": "user", "content": "Once more"}
    answer = said("Because", reasoning_content="I think")
    if name in REFUSED:
        with pytest.raises(Refused, match="ends an answer otherwise"):
            continuation(Prompts(tok), {"messages": [Q1]}, answer, [again])
        return
    end, ids = continuation(Prompts(tok), {"messages": [Q1]}, answer, [again])
    if name not in NO_REFERENCE:
        expected = rendered(tok, [Q1, said("Because"), again]).rpartition("Because")[2]
        assert tok.decode(end) + tok.decode(ids) == expected
    assert "Once more" in tok.decode(ids)


@pytest.mark.parametrize("name", SHOW_RESULTS)
def test_a_tools_result_follows_a_call_whatever_its_arguments(name: str, tmp_path: Path) -> None:
    tok = tokenizer_of(name, tmp_path)
    row, as_text = {"messages": [Q1], "tools": TOOLS}, name == "arguments as text"
    end, ids = continuation(Prompts(tok), row, said("", tool_calls=[MADE_UP]), [RESULT])
    call = {**CALL, **ID, "function": {"name": "get_weather", "arguments": '{"a": "Zz"}' if as_text else {"a": "Zz"}}}
    whole = rendered(tok, [Q1, said("", tool_calls=[call]), {**RESULT, "tool_call_id": ID["id"]}], TOOLS)
    rest = whole.rpartition("Zz")[2]
    text = tok.decode(end) + tok.decode(ids)
    assert rest.endswith(text)
    assert "wet" in text
    assert rest.index(tok.decode(end)) == len(rest) - len(text)  # nothing of the end is left out


def test_a_template_that_shows_no_results_is_named(tmp_path: Path) -> None:
    tok = tokenizer_of("ChatML", tmp_path)
    with pytest.raises(Refused, match="the template "):
        continuation(Prompts(tok), {"messages": [Q1]}, said("", tool_calls=[CALL]), [RESULT])
