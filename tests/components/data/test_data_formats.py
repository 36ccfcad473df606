"""Each format gives the messages it says, and a row that fits none or two is explained."""

from typing import Any

import pytest

from components.data.formats import to_messages


def turns(*contents: str, system: str = "") -> list[dict[str, str]]:
    head = [{"role": "system", "content": system}] if system else []
    return head + [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]


READ = {
    "messages": ({"messages": turns("q", "a", system="s"), "id": 7}, turns("q", "a", system="s")),
    "conversations": ({"conversations": turns("q", "a")}, turns("q", "a")),
    "a system beside messages": ({"system": "s", "messages": turns("q", "a")}, turns("q", "a", system="s")),
    "messages keep theirs": ({"system": "s", "messages": turns("q", "a", system="t")}, turns("q", "a", system="t")),
    "weights are left aside": (
        {"messages": [{"role": "user", "content": "q", "name": "x", "tool_calls": None}]},
        [{"role": "user", "content": "q"}],
    ),
    "alpaca": ({"instruction": "i", "input": "", "output": "o"}, turns("i", "o")),
    "alpaca with input": ({"instruction": "i", "input": "x", "output": "o"}, turns("i\nx", "o")),
    "alpaca without a key": ({"instruction": "i", "output": "o"}, turns("i", "o")),
    "alpaca with all": (
        {"instruction": "i", "input": None, "output": "o", "system": "s", "history": [["a", "b"]]},
        turns("a", "b", "i", "o", system="s"),
    ),
    "query": ({"query": "q", "response": "r"}, turns("q", "r")),
    "query with all": (
        {"query": "q", "response": "r", "system": "s", "history": [["a", "b"], ["c", "d"]]},
        turns("a", "b", "c", "d", "q", "r", system="s"),
    ),
    "prompt": ({"prompt": "q", "completion": "r"}, turns("q", "r")),
    "prompt as messages": ({"prompt": turns("q"), "completion": turns("q", "r")[1:]}, turns("q", "r")),
    "nothing said": ({"query": None, "response": None}, turns("", "")),
}


@pytest.mark.parametrize(("row", "messages"), READ.values(), ids=READ)
def test_a_row_is_read(row: dict[str, Any], messages: list[dict[str, str]]):
    assert to_messages(row) == messages


REFUSED = {
    "unknown keys": ({"foo": 1, "bar": 2}, "no known format: its keys are foo, bar; accepted are instruction"),
    "no keys": ({}, "its keys are none"),
    "half a format": ({"instruction": "i"}, "no known format"),
    "two readings": ({"query": "q", "response": "r", "prompt": "p", "completion": "c"}, "read in two ways"),
    "both lists": ({"messages": turns("q"), "conversations": turns("q")}, "no known format"),
    "a number": ({"query": 3, "response": "r"}, r"'query' must be a text, not int \(3\)"),
    "a list": ({"instruction": "i", "output": ["x"]}, "'output' must be a text, not list"),
    "a system that is none": ({"query": "q", "response": "r", "system": {}}, "'system' must be a text"),
    "history of texts": ({"query": "q", "response": "r", "history": ["a", "b"]}, "must be a list of .question, answer"),
    "history that is a text": ({"query": "q", "response": "r", "history": "ab"}, "'history' must be"),
    "messages as a text": ({"messages": "[]"}, "'messages' must be a list of messages, not str"),
    "a message as a text": ({"messages": ["hi"]}, "message 1 of 'messages' must be an object"),
    "ShareGPT keys": ({"conversations": [{"from": "human", "value": "x"}]}, "needs role and content; .*from, value"),
    "content as parts": ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "content of message 1"),
    "content null": ({"messages": [*turns("q"), {"role": "assistant", "content": None}]}, "content of message 2"),
    "role a number": ({"messages": [{"role": 1, "content": "x"}]}, "the role of message 1"),
    "tool calls": ({"messages": [{"role": "user", "content": "", "tool_calls": [{}]}]}, "holds tool_calls"),
    "tools": ({"messages": turns("q", "a"), "tools": [{}]}, "holds 'tools', which would be lost"),
    "images": ({"query": "q", "response": "r", "images": ["x.png"]}, "holds 'images', which would be lost"),
    "prompt mixed": ({"prompt": turns("q"), "completion": "r"}, "'completion' must be a list of messages"),
}


@pytest.mark.parametrize(("row", "told"), REFUSED.values(), ids=REFUSED)
def test_a_row_is_refused_with_the_reason(row: dict[str, Any], told: str):
    with pytest.raises(ValueError, match=told):
        to_messages(row)
