"""Where a turn begins and ends in rows that are hard to read: calls without texts, answers quoted, nothing asked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.templates import ChatTemplate, Encoded, Refused, encode
from tests.components.templates.families import ASKS, FAMILIES, json
from tests.components.templates.styles import STYLES, tokenizer
from tests.components.templates.test_families import A1, A2, Q1, Q2, RESULT, SHAPES, T2, TOOLS, family_tokenizer, said
from tests.components.templates.test_masks import learned

ARGUMENTS: list[dict[str, Any]] = [
    {},
    {"days": 2},
    {"city": ""},
    {"city": "Rome", "days": 3},
    {"where": {"city": "Rome"}, "list": ["a", "b"]},
    {"city": "Orléans"},
]
HARMONY = (  # the name of the tool stands before its result, too
    FAMILIES["gpt-oss"].template.replace(
        "functions.get_weather to", "functions.{{ messages[loop.index0 - 1].tool_calls[0].function.name }} to"
    )
)
ONLY_NEWS = HARMONY.replace(  # a call's thought is dropped once the final answer is there
    "{% if m.thinking %}", "{% if m.thinking and (messages[-1].role != 'assistant' or messages[-1].tool_calls) %}"
)
HEADED = "{% for m in messages %}<|{{ m.role }}|>\n{{ m.content }}{{ eos_token if m.role == 'assistant' }}\n"
"""A template that asks for an answer only behind a message, in the loop."""


def row(messages: list[dict[str, Any]], tools: bool = True) -> dict[str, Any]:
    return {"messages": messages, "tools": TOOLS} if tools else {"messages": messages}


def called(arguments: dict[str, Any], **more: Any) -> dict[str, Any]:
    call = {"type": "function", "function": {"name": "get_weather", "arguments": arguments}}
    return said("", tool_calls=[call], **more)


def found(outcome: list[Encoded] | Refused, tok: Any) -> list[str]:
    assert not isinstance(outcome, Refused), (outcome.reason, outcome.detail)
    return [run for sample in outcome for run in learned(tok, sample)]


def taught(template: str, content: dict[str, Any], eos: str = "</s>") -> list[str]:
    tok = tokenizer(template, eos=eos)
    return found(encode([content], ChatTemplate(tok))[0], tok)


@pytest.mark.parametrize("arguments", ARGUMENTS, ids=json)
def test_a_call_is_learned_to_its_end_whatever_its_arguments(arguments: dict[str, Any], tmp_path: Path) -> None:
    content = row([Q1, called(arguments), RESULT, A2])
    tok = family_tokenizer(FAMILIES["GLM 4.5"], tmp_path)
    written = "".join(
        f"\n<arg_key>{key}</arg_key>\n<arg_value>{value if isinstance(value, str) else json(value)}</arg_value>"
        for key, value in arguments.items()
    )
    assert found(encode([content], ChatTemplate(tok))[0], tok) == [
        f"\n<think></think>\n<tool_call>get_weather{written}\n</tool_call><|observation|>",
        f"\n<think></think>\n{A2['content']}<|user|>",
    ]
    assert taught(HARMONY, content, eos="<|return|>") == [
        f" to=functions.get_weather<|channel|>commentary json<|message|>{json(arguments)}<|call|>",
        f"<|channel|>final<|message|>{A2['content']}<|return|>",
    ]


SPELLINGS = {
    r'{"city": "Orl\u00e9ans",  "days": 1.50}': '{"city": "Orléans", "days": 1.5}',
    '{"days":123456789012345678901234567890 }': '{"days": 123456789012345678901234567890}',
    "{ }": "{}",
}


@pytest.mark.parametrize("spelled", SPELLINGS)
def test_arguments_that_are_text_stay_as_spelled_where_the_template_takes_a_text(spelled: str) -> None:
    content = row([Q1, called({}) | {"tool_calls": [{"function": {"name": "f", "arguments": spelled}}]}, RESULT, A2])
    for family, arguments in (("arguments as text", spelled), ("Qwen2.5 with tools", SPELLINGS[spelled])):
        call, _ = taught(FAMILIES[family].template, content, eos="<|im_end|>")
        assert call == f'<tool_call>\n{{"name": "f", "arguments": {arguments}}}\n</tool_call><|im_end|>'


def test_a_template_that_shows_only_some_arguments_is_refused() -> None:
    template = FAMILIES["Qwen2.5 with tools"].template.replace(
        "c.function.arguments | tojson", "c.function.arguments.days | tojson"
    )
    (outcome,) = encode([row([Q1, called({"days": 2})])], ChatTemplate(tokenizer(template)))
    assert isinstance(outcome, Refused)
    assert outcome.reason == "the template does not write the assistant's tool call"


TWO = said("", tool_calls=[called(arguments)["tool_calls"][0] for arguments in ({"city": "Rome"}, {"days": 2})])
ORDERED = [*SHAPES.values(), *(row([Q1, call, RESULT, A2]) for call in (TWO, *map(called, ARGUMENTS)))]


@pytest.fixture(scope="module", params=["GLM 4.5", "gpt-oss", "Qwen3", "DeepSeek R1"])
def known(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, list[Any]]:
    """A family's tokenizer, and what is learned of each row alone."""
    family = FAMILIES[request.param]
    family = replace(family, template=HARMONY) if request.param == "gpt-oss" else family
    tok = family_tokenizer(family, tmp_path_factory.mktemp("family"))
    return tok, [told(encode([content], ChatTemplate(tok))[0]) for content in ORDERED]


@pytest.mark.quick_cases(2)
@settings(max_examples=15, deadline=None)
@given(order=st.permutations(range(len(ORDERED))))
def test_what_is_learned_of_a_row_does_not_depend_on_the_rows_before(
    known: tuple[Any, list[Any]], order: list[int]
) -> None:
    tok, alone = known
    together = encode([ORDERED[i] for i in order], ChatTemplate(tok))
    assert [told(outcome) for outcome in together] == [alone[i] for i in order]


def told(outcome: list[Encoded] | Refused) -> Any:
    return (outcome.reason, outcome.detail) if isinstance(outcome, Refused) else outcome


@pytest.mark.parametrize(
    "noted", ["{{ m.role }}\n> {{ q }}\n\n", "note\n{{ q }}<|im_end|>\n<|im_start|>{{ m.role }}\n"]
)
def test_an_answer_that_is_quoted_later_is_learned_in_its_own_place(noted: str) -> None:
    template = (
        "{% for m in messages %}{% set q = messages[loop.index0 - 1].content %}<|im_start|>"
        "{% if m.role == 'user' and loop.index0 > 1 %}" + noted + "{% else %}{{ m.role }}\n{% endif %}"
        "{{ m.content }}<|im_end|>\n{% endfor %}" + ASKS + "<|im_start|>assistant\n{% endif %}"
    )
    tok = tokenizer(template)
    (outcome,) = encode([row([Q1, A1, Q2, A2], tools=False)], ChatTemplate(tok))
    assert found(outcome, tok) == [A1["content"] + "<|im_end|>", A2["content"] + "<|im_end|>"]
    (sample,) = outcome  # type: ignore[misc]
    first = next(n for n, label in enumerate(sample.labels) if label != -100)
    asked = tok.apply_chat_template([Q1], add_generation_prompt=True, return_dict=False)
    assert sample.input_ids[:first] == asked


@pytest.mark.parametrize("messages", [[A1], [A1, Q1, A2]], ids=["alone", "first"])
def test_an_answer_to_nothing_is_learned_as_one_to_a_question(messages: list[dict[str, Any]]) -> None:
    answers = [m["content"] for m in messages if m["role"] == "assistant"]
    content = row(messages, tools=False)
    asks = "{% if loop.last and add_generation_prompt %}<|assistant|>\n{% endif %}{% endfor %}"
    assert taught("<s>" + HEADED + asks, content) == [f"{text}</s>" for text in answers]
    final = [f"<|channel|>final<|message|>{text}<|return|>" for text in answers]
    assert taught(HARMONY, content, eos="<|return|>") == final
    assert taught(STYLES["chatml"], content) == [f"{text}<|im_end|>" for text in answers]
    assert taught(FAMILIES["Mistral v7"].template, content) == [f"{text}</s>" for text in answers]


@pytest.mark.parametrize("opening", ["<think>", "<think>\n"])
def test_a_call_where_the_prompt_opens_a_thought_is_learned_whole(opening: str) -> None:
    template = FAMILIES["Qwen2.5 with tools"].template
    template = template.replace(ASKS + "<|im_start|>assistant\n", ASKS + "<|im_start|>assistant\n" + opening)
    arguments = {"city": "Rome"}
    call = f'<tool_call>\n{{"name": "get_weather", "arguments": {json(arguments)}}}\n</tool_call><|im_end|>'
    assert taught(template, row([Q1, called(arguments), RESULT, A2])) == [call, A2["content"] + "<|im_end|>"]


def test_a_thought_that_is_hidden_once_the_answer_is_there_is_shown_to_the_answer_as_it_was_asked_for() -> None:
    content = row([Q1, called({"days": 2}, reasoning_content="Rain?"), RESULT, T2])
    tok = tokenizer(ONLY_NEWS, eos="<|return|>")
    (outcome,) = encode([content], ChatTemplate(tok))
    call, answer = found(outcome, tok)
    assert call == (
        "<|channel|>analysis<|message|>Rain?<|end|><|start|>assistant"
        ' to=functions.get_weather<|channel|>commentary json<|message|>{"days": 2}<|call|>'
    )
    assert answer == (
        "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>final<|message|>It is.<|return|>"
    )
    last = outcome[-1]  # type: ignore[index]
    given = {"tools": TOOLS, "chat_template": ChatTemplate(tok).samples(content)[-1].row["chat_template"]}
    asked = tok.apply_chat_template(content["messages"][:3], add_generation_prompt=True, return_dict=False, **given)
    assert last.input_ids == asked + tok.encode(answer, add_special_tokens=False)


def test_a_prompt_as_it_was_asked_for_may_share_whitespace_with_its_answer() -> None:
    template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ '\n' if m.role == 'assistant' }}{{ m.content }}"
        "{{ '!' if loop.last and loop.index0 > 1 and m.role == 'user' }}<|im_end|>\n{% endfor %}"
        + ASKS + "<|im_start|>assistant\n{% endif %}"
    )  # fmt: skip
    tok = tokenizer(template)
    tok.add_tokens(["\n\n"])
    (outcome,) = encode([row([Q1, said("Blue."), Q2, A2], tools=False)], ChatTemplate(tok))
    assert found(outcome, tok) == ["Blue.<|im_end|>", A2["content"] + "<|im_end|>"]
    assert f"{Q2['content']}!<|im_end|>" in tok.decode(outcome[-1].input_ids)  # type: ignore[index]
