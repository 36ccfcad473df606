"""Rewards of the form, the length, the words and the tool calls of an answer."""

from typing import Any

import pytest

from components.config import Params
from components.errors import MartletError
from components.rewards import Reward, score, tool_call
from tests.components.rewards.judged import given, sample


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("<think>so</think><answer>4</answer>", 1),
        ("<think>\nso\n\nit is\n</think>\n\n<answer>\n4\n</answer>\n", 1),
        ("so it is</think>\n<answer>4</answer>", 1),
        ("<think></think><answer></answer>", 1),
        ("<think>so</think>4", 0),
        ("<think>so</think><answer>4", 0),
        ("<think>so</think><answer>4</answer> or 5", 0),
        ("Sure: <think>so</think><answer>4</answer>", 0),
        ("<think>so<answer>4</answer></think>", 0),
        ("<think>a</think><answer>1</answer><answer>2</answer>", 0),
        ("<think>a</think><think>b</think><answer>1</answer>", 0),
        ("<answer>4</answer><think>so</think>", 0),
        ("", 0),
    ],
)
def test_format(completion: str, expected: float) -> None:
    assert given("format", sample(completion)) == [expected]


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("<think>look</think>\nAction: search\nAction Input: {}", 1),
        ("look</think> Action: search Action Input: cats", 1),
        ("<think>look</think>\nAction: search", 0),
        ("<think>look</think>\nAction: \nAction Input: ", 0),
        ("Action: search\nAction Input: {}", 0),
        ("<think>look</think> well, Action: search Action Input: x", 0),
    ],
)
def test_react_format(completion: str, expected: float) -> None:
    assert given("react_format", sample(completion)) == [expected]


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("", 0),
        ("a b", 0),
        ("a b c", 0),
        ("a b c d e f", 0),
        ("A b c a B C", -0.25),
        ("a a a a a a", -0.75),
        ("我们我们我们", -0.5),
        ("a" * 100, 0),
    ],
)
def test_repetition(completion: str, expected: float) -> None:
    assert given("repetition", sample(completion)) == [pytest.approx(expected)]


def test_repetition_goes_by_its_settings() -> None:
    words = sample("a b a b a")
    assert given("repetition", words, repetition_n_grams=2, repetition_max_penalty=-4) == [-2.0]
    assert given("repetition", words, repetition_n_grams=1, repetition_max_penalty=-5) == [pytest.approx(-3)]


@pytest.mark.parametrize(("tokens", "expected"), [(0, 0), (80, 0), (85, -0.25), (90, -0.5), (100, -1), (500, -1)])
def test_soft_overlong(tokens: int, expected: float) -> None:
    assert given("soft_overlong", sample("x", tokens), soft_max_length=100, soft_cache_length=20) == [expected]
    assert given("soft_overlong", sample("x", tokens), max_completion_length=100, soft_cache_length=20) == [expected]


def test_cosine_of_right_and_wrong_answers() -> None:
    lengths = (0, 50, 100, 400)
    right = [sample("\\boxed{4}", n, solution="4") for n in lengths]
    wrong = [sample("\\boxed{5}", n, solution="4") for n in lengths]
    expected = [1.0, 0.75, 0.5, 0.5, -0.5, -0.25, 0.0, 0.0, None]
    samples = [*right, *wrong, sample("\\boxed{5}")]
    assert given("cosine", *samples, cosine_max_len=100) == [e if e is None else pytest.approx(e) for e in expected]
    assert given("cosine", *samples, max_completion_length=100) == given("cosine", *samples, cosine_max_len=100)
    values = {
        "cosine_min_len_value_correct": 8, "cosine_max_len_value_correct": 4, "cosine_min_len_value_wrong": -8,
        "cosine_max_len_value_wrong": -2, "cosine_max_len": 100,
    }  # fmt: skip
    assert given("cosine", right[1], wrong[1], **values) == [pytest.approx(6), pytest.approx(-5)]


def call(name: Any = "add", **arguments: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name, "arguments": arguments}}


@pytest.mark.parametrize(
    ("made", "expected", "reward"),
    [
        ([call(a=1, b=2)], [call(b=2, a=1)], 1),
        ([call(a=1)], [{"name": "add", "arguments": '{"a": 1}'}], 1),
        ([call(a=1)], '[{"name": "add", "arguments": {"a": 1.0}}]', 1),
        ([call(a=1)], {"name": "add", "arguments": {"a": 1}}, 1),
        ([{"function": {"name": "add", "arguments": '{"a": [1, {"b": null}]}'}}], [call(a=[1, {"b": None}])], 1),
        ([call()], [call()], 1),
        ([], [], 1),
        ([], [call()], 0),
        ([call()], [], 0),
        ([call("sub", a=1)], [call(a=1)], 0),
        ([call(a=1, b=2)], [call(a=1, b=3)], 0.75),
        ([call(a=1)], [call(a=True)], 0.5),
        ([call(a="1")], [call(a=1)], 0.5),
        ([call(a=1, b=2)], [call(a=1)], 0.75),
        ([call(a=1), call(a=1)], [call(a=1)], 0.5),
        ([call(a=1)], [call(a=1), call(a=2)], 0.5),
        ([call(a=2), call("sub")], [call("sub"), call(a=2)], 1),
        ([call(a=2), call(a=1)], [call(a=1), call(a=2)], 1),
        ([{"function": {"name": "add", "arguments": "{a"}}], [call(a=1)], 0),
        (["add", {"function": {"name": None}}], [call(a=1)], 0),
        ([call()], None, None),
    ],
)
def test_tool_calls(made: list[Any], expected: Any, reward: float | None) -> None:
    messages: list[dict[str, Any]] = [{"role": "assistant", "content": "", "tool_calls": made}]
    assert given("tool_call", sample("", messages=messages, tool_calls=expected)) == [reward]


def test_calls_of_all_turns_count() -> None:
    messages = [
        {"role": "assistant", "content": "", "tool_calls": [call(a=1)]},
        {"role": "tool", "content": "2"},
        {"role": "assistant", "content": "", "tool_calls": [call("sub")]},
        {"role": "assistant", "content": "It is 2.", "tool_calls": None},
    ]
    assert given("tool_call", sample("", messages=messages, tool_calls=[call(a=1), call("sub")])) == [1.0]


@pytest.mark.parametrize("column", ["[", "add", 5, [5], [{"name": 5}], [{"name": "x", "arguments": [1]}], [{}], "5"])
def test_expected_calls_that_cannot_be_read_are_an_error_of_the_row(column: Any) -> None:
    reward = Reward("tool_call", 1.0, lambda samples: tool_call.rewards(samples, Params()))
    good = sample("", tool_calls=[])
    assert score([reward], [sample("", tool_calls=column), good], 20).errors == {"tool_call": 1}
    with pytest.raises(MartletError, match=r"tool_call failed on all of 1 answers: .*tool_call\.py|.*decoder\.py"):
        score([reward], [sample("", tool_calls=column)], 20)
