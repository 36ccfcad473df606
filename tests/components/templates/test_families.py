"""What each family's template teaches of each shape of row: exactly this, or the row is refused with the reason."""

import json
from pathlib import Path
from typing import Any

import pytest

from components.templates import ChatTemplate, Refused, Sample, encode
from tests.components.templates.families import FAMILIES, Family
from tests.components.templates.styles import tokenizer
from tests.components.templates.test_masks import learned

TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of the days to come.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}},
    },
}
CALL = {"type": "function", "function": {"name": "get_weather", "arguments": {"city": "Orléans", "days": 2}}}
SYSTEM = {"role": "system", "content": "Be brief."}
Q1, Q2 = {"role": "user", "content": "What is the sky?"}, {"role": "user", "content": "And 世界?"}
RESULT = {"role": "tool", "content": 'rain, "wet"', "name": "get_weather"}


def said(content: str, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


A1, A2 = said("The sky is blue.\n\n- by and large"), said("It is 世界.")
T1 = said("The sky is blue.", reasoning_content="Look up,\nlook down.")
T2 = said("It is.", reasoning_content="Hm.")
INLINE = [said(f"<think>\n{m['reasoning_content']}\n</think>\n\n{m['content']}") for m in (T1, T2)]
TOOLS = [TOOL]
SHAPES: dict[str, dict[str, Any]] = {
    "single": {"messages": [Q1, A1]},
    "multi": {"messages": [Q1, A1, Q2, A2]},
    "system": {"messages": [SYSTEM, Q1, A1, Q2, A2]},
    "tools": {"messages": [Q1, said("", tool_calls=[CALL]), RESULT, A2], "tools": TOOLS},
    "tools, system": {
        "messages": [SYSTEM, Q1, said("Wait.", tool_calls=[CALL]), RESULT, A1, Q2, A2],
        "tools": TOOLS,
    },
    "thinking": {"messages": [Q1, T1]},
    "multi thinking": {"messages": [Q1, T1, Q2, T2]},
    "inline thinking": {"messages": [Q1, INLINE[0]]},
    "multi inline": {"messages": [Q1, INLINE[0], Q2, INLINE[1]]},
    "thinking tools": {
        "messages": [Q1, said("", tool_calls=[CALL], reasoning_content="Rain?"), RESULT, T2],
        "tools": TOOLS,
    },
}


def family_tokenizer(family: Family, folder: Path) -> Any:
    tok = tokenizer(family.template, eos=family.eos)
    if family.stops:
        ids = [tok.convert_tokens_to_ids(token) for token in family.stops]
        (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": ids}))
        tok.name_or_path = str(folder)
    return tok


def objections(tok: Any, family: Family, row: dict[str, Any], samples: list[Sample]) -> list[str]:
    """What is wrong with samples, found without the code that made them."""
    wrong = []
    spans = [(sample, span) for sample in samples for span in sample.spans]
    answers = [message for message in row["messages"] if message["role"] == "assistant"]
    texts = [sample.text[start:stop] for sample, (start, stop) in spans]
    if sorted(texts) != sorted(family.writes(message) for message in answers):
        wrong.append(f"learned is {texts}")
    for sample, (start, _) in spans:
        given = sample.row | {"chat_template": sample.row.get("chat_template", family.template)}
        messages, tools, template = given["messages"], given.get("tools"), given["chat_template"]
        options = {"tools": tools, "chat_template": template, "tokenize": False}
        whole = tok.apply_chat_template(
            messages, add_generation_prompt=given.get("add_generation_prompt", False), **options
        )
        if whole + sample.suffix != sample.text:
            wrong.append("the text is not the template's")
        ends = [n for n, message in enumerate([*messages, {"role": "assistant"}]) if message["role"] == "assistant"]
        if sample.text[:start] not in [
            tok.apply_chat_template(messages[:n], add_generation_prompt=True, **options) for n in ends if n
        ]:
            wrong.append(f"{sample.text[:start]!r} is not what is asked")
    return wrong


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", FAMILIES)
def test_a_family_teaches_exactly_its_answers_or_says_why_not(name: str, shape: str, tmp_path: Path) -> None:
    family, row = FAMILIES[name], SHAPES[shape]
    tok = family_tokenizer(family, tmp_path)
    chat = ChatTemplate(tok)
    (outcome,) = encode([row], chat)
    if shape in family.refuses:
        assert isinstance(outcome, Refused)
        assert family.refuses[shape] in outcome.reason
        return
    assert not isinstance(outcome, Refused), (outcome.reason, outcome.detail)
    assert objections(tok, family, row, chat.samples(row)) == []
    found = [run for sample in outcome for run in learned(tok, sample)]
    assert sorted(found) == sorted(family.writes(m) for m in row["messages"] if m["role"] == "assistant")


@pytest.mark.parametrize("name", ["ChatML", "Qwen3", "Llama 3.1 with tools", "GLM 4.5", "gpt-oss"])
@pytest.mark.parametrize("moved", [(-1, 0), (1, 0), (0, -1), (0, 1)])
def test_a_mask_that_is_off_by_a_character_is_objected_to(name: str, moved: tuple[int, int], tmp_path: Path) -> None:
    family, row = FAMILIES[name], SHAPES["multi"]
    tok = family_tokenizer(family, tmp_path)
    for sample in ChatTemplate(tok).samples(row):
        start, stop = sample.spans[0]
        off = sample._replace(spans=[(start + moved[0], stop + moved[1]), *sample.spans[1:]])
        assert objections(tok, family, row, [off]) != []
        other = sample._replace(text=sample.text.replace("sky", "sea"))
        assert "the text is not the template's" in objections(tok, family, row, [other])
