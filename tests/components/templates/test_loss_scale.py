"""What counts, and how much: the strategies by name, together, and a row's own weights before them."""

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import ConfigError
from components.templates import ChatTemplate, Refused
from components.templates.loss_scale import strategy
from tests.components.templates.families import FAMILIES
from tests.components.templates.styles import STYLES, tokenizer
from tests.components.templates.test_families import A1, A2, CALL, Q1, Q2, RESULT, SHAPES, SYSTEM, T1, TOOLS, said

REACT = "Thought: look\nAction: search\nAction Input: sky\nObservation: blue\nFinal Answer: blue"
END = "<|im_end|>"
NAMES = (
    "default", "last_round", "all", "react", "hermes", "qwen", "agentflan", "alpha_umi", "ignore_empty_think",
    "ignore_think_prefix",
)  # fmt: skip


def weighed(spec: str, row: dict[str, Any], template: str = STYLES["chatml"], **options: Any) -> list[Any]:
    """Per sample, the texts of its spans and their weights."""
    chat = ChatTemplate(tokenizer(template), loss_scale=strategy(spec), **options)
    return [
        [(sample.text[a:b], weight) for (a, b), weight in zip(sample.spans, sample.weights, strict=True)]
        for sample in chat.samples(row)
    ]


def conversation(*turns: str, **of_last: Any) -> dict[str, Any]:
    roles = ["user", "assistant"] * len(turns)
    messages = [{"role": role, "content": text} for role, text in zip(roles, turns, strict=False)]
    messages[-1] |= of_last
    return {"messages": messages}


@pytest.mark.parametrize(
    ("spec", "answer", "expected"),
    [
        ("default", REACT, [(REACT + END, 1.0)]),
        (
            "react",
            REACT,
            [
                ("Thought: look\n", 1.0),
                ("Action: search\nAction Input: sky\nObservation:", 2.0),
                (" blue\n", 0.0),
                ("Final Answer: blue" + END, 1.0),
            ],
        ),
        ("alpha_umi", "Well.\nNext: caller.", [("Well.\n", 1.0), ("Next: caller.", 2.0), (END, 1.0)]),
        (
            "agentflan",
            "Thought: a\nAction: b\nObservation: c",
            [("Thought: a\nAction:", 1.0), (" b\n", 3.0), ("Observation:", 2.0), (" c", 0.0), (END, 1.0)],
        ),
        (
            "qwen",
            "✿FUNCTION✿: f\n✿ARGS✿: {}\n✿RESULT✿: 1\n✿RETURN✿: one",
            [("✿FUNCTION✿: f\n✿ARGS✿: {}\n✿RESULT✿:", 2.0), (" 1\n", 0.0), ("✿RETURN✿: one" + END, 1.0)],
        ),
        (
            "hermes",
            "Yes.\n<tool_call>\n{}\n</tool_call>",
            [("Yes.\n", 1.0), ("<tool_call>\n{}\n</tool_call>", 2.0), (END, 1.0)],
        ),
        (
            "ignore_empty_think",
            "<think>\n\n</think>\n\nBlue.",
            [("<think>\n\n</think>\n\n", 0.0), ("Blue." + END, 1.0)],
        ),
        ("ignore_empty_think", "<think>\nhm\n</think>\n\nBlue.", [("<think>\nhm\n</think>\n\nBlue." + END, 1.0)]),
        ("ignore_think_prefix", "<think>\nhm\n</think>\n", [("<think>\n", 0.0), ("hm\n</think>\n" + END, 1.0)]),
        (
            "hermes+ignore_empty_think",
            "<think></think><tool_call>1</tool_call>",
            [("<think></think>", 0.0), ("<tool_call>1</tool_call>", 2.0), (END, 1.0)],
        ),
    ],
)
def test_a_strategy_weighs_the_parts_of_an_answer(spec: str, answer: str, expected: list[tuple[str, float]]) -> None:
    assert weighed(spec, conversation("What?", answer)) == [expected]


def test_agentflan_triples_the_answers_to_its_questions() -> None:
    row = conversation("What is the tool you want to use?", "Thought: search")
    assert weighed("agentflan", row) == [[("Thought: search", 3.0), (END, 1.0)]]


def test_last_round_is_what_follows_the_last_question_or_result() -> None:
    assert weighed("last_round", conversation("a", "b", "c", "d")) == [[("d" + END, 1.0)]]
    row = {"messages": [Q1, said("", tool_calls=[CALL]), RESULT, said("Rain.")], "tools": TOOLS}
    assert weighed("last_round", row, FAMILIES["Qwen2.5 with tools"].template) == [[("Rain." + END, 1.0)]]


def test_the_last_round_of_a_thinking_model_without_its_empty_thought() -> None:
    found = weighed("last_round+ignore_empty_think", conversation("a", "b", "c", "d"), FAMILIES["Qwen3"].template)
    assert found == [[("<think>\n\n</think>\n\n", 0.0), ("d" + END, 1.0)]]


def test_all_is_every_character() -> None:
    row = conversation("a", "b", "c", "d")
    text = ChatTemplate(tokenizer(STYLES["chatml"])).render(row["messages"])
    assert weighed("all", row) == [[(text, 1.0)]]
    assert "".join(part for part, _ in weighed("all+react", conversation("a", REACT))[0]) == (
        f"<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n{REACT}<|im_end|>\n"
    )


SHAPES_OF_ALL = {
    **SHAPES,
    "a thought": {"messages": [Q1, T1]},
    "a late system prompt": {"messages": [Q1, A1, SYSTEM, Q2, A2]},
    "two system prompts": {"messages": [SYSTEM, {**SYSTEM, "content": "Say ARR."}, Q1, A1]},
    "an empty answer": {"messages": [Q1, said(""), Q2, A2]},
    "a question at the end": {"messages": [Q1, A1, Q2]},
    "no answer": {"messages": [Q1]},
}
NO_END_TAG = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}" + (
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
FIRST_SYSTEM_ONLY = "{% for m in messages if m.role != 'system' or loop.first %}<|im_start|>{{ m.role }}\n" + (
    "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
TEMPLATES_OF_ALL = {
    **STYLES,
    **{name: family.template for name, family in FAMILIES.items()},
    "no end tag": NO_END_TAG,
    "first system only": FIRST_SYSTEM_ONLY,
}


@pytest.mark.parametrize("template", TEMPLATES_OF_ALL)
def test_all_learns_every_token_of_the_samples_of_default_and_refuses_what_default_refuses(template: str) -> None:
    tok = tokenizer(TEMPLATES_OF_ALL[template], eos=FAMILIES[template].eos if template in FAMILIES else "</s>")
    suffix = "</s>" if template == "no end tag" else None
    by_default, of_all = (
        ChatTemplate(tok, loss_scale=strategy(base), response_suffix=suffix) for base in ("default", "all")
    )
    for name, row in SHAPES_OF_ALL.items():
        try:
            expected = by_default.samples(row)
        except Refused as refusal:
            with pytest.raises(Refused, match=f"^{re.escape(str(refusal))}$"):
                of_all.samples(row)
            continue
        everything = [sample._replace(spans=[(0, len(sample.text))], weights=[1.0]) for sample in expected]
        assert of_all.samples(row) == everything, name


def test_all_leaves_out_an_answer_of_weight_0_and_refuses_one_that_a_later_sample_would_learn() -> None:
    row = conversation("a", "b", "c", "d")
    row["messages"][1]["loss_scale"] = 0.0
    ((head, answer, rest),) = weighed("all", row)
    assert answer == ("b" + END, 0.0)
    assert (head[1], rest[1]) == (1.0, 1.0)
    with pytest.raises(Refused, match="changes an earlier answer"):
        weighed("all", row, STYLES["deepseek"])


def test_a_row_s_own_weight_comes_before_the_strategy() -> None:
    row = conversation("a", "b", "c", REACT, loss_scale=0.5)
    row["messages"][1]["loss_scale"] = 3.0
    assert weighed("last_round+react", row) == [[("b" + END, 3.0), (REACT + END, 0.5)]]
    row["messages"][3]["loss_scale"] = 0.0
    assert weighed("default", row) == [[("b" + END, 3.0)]]


def test_a_row_of_which_nothing_counts_is_refused() -> None:
    with pytest.raises(Refused, match="leaves all of them out"):
        weighed("default", conversation("a", "b", loss_scale=0.0))


def test_an_unknown_strategy_is_told_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match=r"no loss scale 'ract' \(did you mean 'react'\?\); choose one of agentflan"):
        strategy("last_round+ract")


def test_which_turns_are_learned_stands_in_front() -> None:
    with pytest.raises(ConfigError, match=r"hermes\+all: `all` stands once, in front"):
        strategy("hermes+all")


def test_a_plugin_is_a_file_with_a_function(tmp_path: Path) -> None:
    file = tmp_path / "first_word.py"
    file.write_text(
        "def weigh(response, query):\n    a, b, c = response.partition(' ')\n    return [(a, 4.0), (b + c, 1.0)]\n"
    )
    chat = ChatTemplate(tokenizer(STYLES["chatml"]), loss_scale=strategy("first_word", [file]))
    (sample,) = chat.samples(conversation("a", "Blue it is."))
    assert [sample.text[a:b] for a, b in sample.spans] == ["Blue", f" it is.{END}"]
    assert sample.weights == [4.0, 1.0]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ("x = 1", r"mine\.py: not a complete loss scale: `weigh` missing"),
        ("import nowhere_to_be_found", r"mine\.py:1: ModuleNotFoundError"),
        ("def weigh(response, query):\n    return [('', 1.0)]", r"mine\.py:1: .*are not the response"),
        ("\ndef weigh(response, query):\n    return 1 / 0", r"mine\.py:3: ZeroDivisionError"),
    ],
)
def test_a_plugin_that_is_none_is_told(tmp_path: Path, code: str, message: str) -> None:
    file = tmp_path / "mine.py"
    file.write_text(code)
    with pytest.raises(ConfigError, match=message):
        strategy("mine", [file])("Blue.", "")
    with pytest.raises(ConfigError, match="no such file"):
        strategy("other", [tmp_path / "other.py"])


WORDS = ("Action:", "Thought:", "Observation:", "<tool_call>", "</tool_call>", "<think>", "</think>", "✿ARGS✿:", " a\n")


@settings(max_examples=100, deadline=None)
@given(name=st.sampled_from(NAMES), other=st.sampled_from(NAMES[3:]), words=st.lists(st.sampled_from(WORDS)))
def test_the_parts_are_the_response(name: str, other: str, words: list[str]) -> None:
    response = "".join(words)
    parts = strategy(f"{name}+{other}")(response, "?")
    assert "".join(text for text, _ in parts) == response
    assert all(weight in (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 9.0) for _, weight in parts)
