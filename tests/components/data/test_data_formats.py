"""Each dialect gives the canonical row it means."""

from collections.abc import Iterator
from typing import Any

import pytest

from components import rows
from components.data.formats import to_row


def turns(*contents: str, system: str = "") -> list[dict[str, Any]]:
    head = [{"role": "system", "content": system}] if system else []
    return head + [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(contents)]


def user(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **fields}


def assistant(content: Any, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **fields}


def call(city: str = "Rome", spelled: str = "", **fields: Any) -> dict[str, Any]:
    return {**fields, "type": "function", "function": {"name": "weather", "arguments": spelled or {"city": city}}}


def said(*pairs: tuple[str, str]) -> list[dict[str, str]]:
    return [{"from": who, "value": what} for who, what in pairs]


SCHEMA = {"type": "object", "properties": {"city": {"type": "string", "default": None}}}
TOOL = {"type": "function", "function": {"name": "weather", "description": "d", "parameters": SCHEMA}}
QA = turns("q", "a")

CONVERSATIONS = {
    "OpenAI": ({"messages": turns("q", "a", system="s"), "id": 7}, {"messages": turns("q", "a", system="s")}),
    "another name": ({"conversation": QA}, {"messages": QA}),
    "as JSON": ({"messages": '[{"role": "user", "content": "q"}, {"role": "gpt", "content": "a"}]'}, {"messages": QA}),
    "as Python": (
        {"messages": "[{'role': 'user', 'content': 'q'}, {'role': 'gpt', 'content': 'a'}]"},
        {"messages": QA},
    ),
    "a system beside": ({"system": "s", "messages": QA}, {"messages": turns("q", "a", system="s")}),
    "a system by its other name": ({"system_prompt": "s", "messages": QA}, {"messages": turns("q", "a", system="s")}),
    "its own system": (
        {"system": "s", "messages": turns("q", system="t")[:1] + QA},
        {"messages": turns("q", "a", system="t")},
    ),
    "Anthropic's system": (
        {"system": [{"type": "text", "text": "s"}], "messages": QA},
        {"messages": turns("q", "a", system="s")},
    ),
    "developer": (
        {"messages": [{"role": "developer", "content": "s"}, *QA]},
        {"messages": turns("q", "a", system="s")},
    ),
    "nulls of Parquet": (
        {"messages": [user("q", tool_calls=None, name=None), assistant("a", loss=None)], "tools": None, "text": None},
        {"messages": QA},
    ),
    "empties of Parquet": ({"messages": QA, "tools": [], "images": [], "objects": {}, "chosen": []}, {"messages": QA}),
    "a name": (
        {"messages": [user("q", name="Ann"), assistant("a")]},
        {"messages": [user("q", name="Ann"), assistant("a")]},
    ),
    "made of its parts": ({"messages": QA, "problem": "q", "solution": "a", "answer": "4"}, {"messages": QA}),
    "pre-training as ms-swift has it": ({"messages": [assistant("long")]}, {"messages": [assistant("long")]}),
    "ShareGPT": (
        {"conversations": said(("system", "s"), ("human", "q"), ("gpt", "a"))},
        {"messages": turns("q", "a", system="s")},
    ),
    "ShareGPT, other roles": ({"conversations": said(("user", "q"), ("chatgpt", "a"))}, {"messages": QA}),
    "ShareGPT, loud roles": ({"conversations": said(("Human", "q"), ("GPT", "a"))}, {"messages": QA}),
    "role and value": ({"messages": [{"role": "user", "value": "q"}, {"role": "bot", "value": "a"}]}, {"messages": QA}),
    "ShareGPT with more": (
        {"conversations": [said(("human", "q"))[0] | {"weight": None}, assistant("a")]},
        {"messages": QA},
    ),
    "pairs": (
        {"system": "s", "conversation": [{"human": "q", "assistant": "a"}, {"assistant": "c", "human": "b"}]},
        {"messages": turns("q", "a", "b", "c", system="s")},
    ),
    "weights": (
        {
            "messages": [
                user("q"),
                assistant("a", loss=False),
                user("r"),
                assistant("b", loss_scale=2),
                user("s", loss=True),
            ]
        },
        {"messages": [user("q"), assistant("a", loss_scale=0.0), user("r"), assistant("b", loss_scale=2.0), user("s")]},
    ),
    "weights of both kinds": (
        {
            "messages": [
                user("q"),
                assistant("a", loss=True, loss_scale=0.5),
                assistant("b", loss=True),
                assistant("c", weight=0),
            ]
        },
        {"messages": [user("q"), *(assistant(c, loss_scale=w) for c, w in (("a", 0.5), ("b", 1.0), ("c", 0.0)))]},
    ),
    "thoughts": (
        {
            "messages": [
                user("q"),
                assistant("a", thinking="t"),
                assistant("b", reasoning="u"),
                assistant("c", reasoning_content="v"),
            ]
        },
        {
            "messages": [
                user("q"),
                *(assistant(c, reasoning_content=t) for c, t in (("a", "t"), ("b", "u"), ("c", "v"))),
            ]
        },
    ),
    "ends with a question": (
        {"messages": turns("q", "a", "b"), "solution": "4"},
        {"messages": turns("q", "a", "b"), "extra": {"solution": "4"}},
    ),
    "carried": (
        {
            "messages": QA,
            "channel": "c",
            "chat_template_kwargs": '{"enable_thinking": false}',
            "objects": {"bbox": [[1, 2]]},
        },
        {
            "messages": QA,
            "channel": "c",
            "chat_template_kwargs": {"enable_thinking": False},
            "objects": {"bbox": [[1, 2]]},
        },
    ),
}

CALLED = [user("q"), assistant("", tool_calls=[call(id="1")]), {"role": "tool", "content": "sun", "tool_call_id": "1"}]
SWIFT = [
    user("q"),
    assistant("", tool_calls=[call(), call("Oslo")]),
    {"role": "tool", "content": "sun"},
    assistant("a"),
]
TOOLS = {
    "OpenAI": (
        {
            "messages": [CALLED[0], assistant(None, tool_calls=[call(id="1")]), CALLED[2], assistant("a")],
            "tools": [TOOL],
        },
        {"messages": [*CALLED, assistant("a")], "tools": [TOOL]},
    ),
    "arguments as JSON": (
        {
            "messages": [
                user("q"),
                assistant(None, tool_calls=[{"function": {"name": "weather", "arguments": '{"city": "Rome"}'}}]),
            ]
        },
        {"messages": [user("q"), assistant("", tool_calls=[call(spelled='{"city": "Rome"}')])]},
    ),
    "no arguments": (
        {"messages": [user("q"), assistant("", tool_calls=[{"name": "now", "arguments": ""}])]},
        {
            "messages": [
                user("q"),
                assistant("", tool_calls=[{"type": "function", "function": {"name": "now", "arguments": {}}}]),
            ]
        },
    ),
    "function_call": (
        {
            "messages": [
                user("q"),
                assistant(None, function_call={"name": "weather", "arguments": '{"city": "Rome"}'}),
                {"role": "function", "name": "weather", "content": "sun"},
            ]
        },
        {
            "messages": [
                user("q"),
                assistant("", tool_calls=[call(spelled='{"city": "Rome"}')]),
                {"role": "tool", "name": "weather", "content": "sun"},
            ]
        },
    ),
    "ShareGPT": (
        {
            "conversations": said(
                ("human", "q"),
                ("function_call", '{"name": "weather", "arguments": {"city": "Rome"}}'),
                ("observation", "sun"),
                ("gpt", "a"),
            ),
            "tools": '[{"name": "weather", "description": "d", "parameters": {"type": "object"}}]',
        },
        {
            "messages": [user("q"), assistant("", tool_calls=[call()]), SWIFT[2], assistant("a")],
            "tools": [TOOL | {"function": TOOL["function"] | {"parameters": {"type": "object"}}}],
        },
    ),
    "ms-swift, two calls": (
        {
            "messages": [
                user("q"),
                {"role": "tool_call", "content": '{"name": "weather", "arguments": {"city": "Rome"}}'},
                {"role": "tool_call", "content": {"name": "weather", "arguments": {"city": "Oslo"}}},
                {"role": "tool_response", "content": "sun"},
                assistant("a"),
            ]
        },
        {"messages": SWIFT},
    ),
    "a list of calls": (
        {
            "conversations": said(
                ("human", "q"), ("function_call", '[{"name": "weather", "arguments": {"city": "Rome"}}]')
            )
        },
        {"messages": [user("q"), assistant("", tool_calls=[call()])]},
    ),
    "a call after words": (
        {"messages": [user("q"), assistant("let me see"), {"role": "tool-call", "content": call()["function"]}]},
        {"messages": [user("q"), assistant("let me see", tool_calls=[call()])]},
    ),
    "a call of another weight": (
        {"messages": [user("q"), assistant("w", loss=False), {"role": "tool_call", "content": call()["function"]}]},
        {"messages": [user("q"), assistant("w", loss_scale=0.0), assistant("", tool_calls=[call()])]},
    ),
    "what a tool gave, as an object": (
        {"messages": [*CALLED[:2], {"role": "tool", "content": {"sky": "blue"}}, {"role": "tool", "content": [1, 2]}]},
        {
            "messages": [
                *CALLED[:2],
                {"role": "tool", "content": '{"sky":"blue"}'},
                {"role": "tool", "content": "[1,2]"},
            ]
        },
    ),
    "Anthropic": (
        {
            "system": "s",
            "messages": [
                user([{"type": "text", "text": "q"}]),
                assistant(
                    [
                        {"type": "thinking", "thinking": "hm", "signature": "x"},
                        {"type": "text", "text": "I look."},
                        {"type": "tool_use", "id": "1", "name": "weather", "input": {"city": "Rome"}},
                    ]
                ),
                user(
                    [
                        {"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "sun"}]},
                        {"type": "text", "text": "and now?"},
                    ]
                ),
                assistant([{"type": "text", "text": "a"}]),
            ],
            "tools": [{"name": "weather", "description": "d", "input_schema": SCHEMA}],
        },
        {
            "messages": [
                {"role": "system", "content": "s"},
                user("q"),
                assistant("I look.", reasoning_content="hm", tool_calls=[call(id="1")]),
                CALLED[2],
                user("and now?"),
                assistant("a"),
            ],
            "tools": [TOOL],
        },
    ),
    "one tool": ({"messages": QA, "tools": TOOL}, {"messages": QA, "tools": [TOOL]}),
    "tools one by one": (
        {"messages": QA, "tools": ['{"name": "f"}']},
        {"messages": QA, "tools": [{"type": "function", "function": {"name": "f"}}]},
    ),
    "tools out of Parquet": (
        {"messages": QA, "tools": [TOOL | {"function": TOOL["function"] | {"strict": None}}]},
        {"messages": QA, "tools": [TOOL]},
    ),
    "a tool of a server's": (
        {"messages": QA, "tools": [{"type": "bash_1", "name": "bash"}]},
        {"messages": QA, "tools": [{"type": "bash_1", "name": "bash"}]},
    ),
}

PICTURE = {"type": "image_url", "image_url": {"url": "http://x/1.png"}}
MEDIA = {
    "OpenAI's parts": (
        {
            "messages": [
                user([{"type": "text", "text": "see "}, PICTURE, {"type": "text", "text": "!"}]),
                assistant("a"),
            ]
        },
        {"messages": [user("see <image>!"), assistant("a")], "images": ["http://x/1.png"]},
    ),
    "Qwen's parts": (
        {
            "messages": [
                user([{"type": "video", "video": "v.mp4"}, {"type": "audio", "audio": "a.wav"}, {"image": "i.png"}]),
                assistant("a"),
            ]
        },
        {
            "messages": [user("<video><audio><image>"), assistant("a")],
            "videos": ["v.mp4"],
            "audios": ["a.wav"],
            "images": ["i.png"],
        },
    ),
    "frames": (
        {"messages": [user([{"type": "video", "video": ["1.png", "2.png"]}]), assistant("a")]},
        {"messages": [user("<video>"), assistant("a")], "videos": [["1.png", "2.png"]]},
    ),
    "written out": (
        {
            "messages": [
                user(
                    [
                        {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
                        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "BB"}},
                        {"type": "image", "source": {"type": "url", "url": "u"}},
                    ]
                ),
                assistant("a"),
            ]
        },
        {
            "messages": [user("<audio><image><image>"), assistant("a")],
            "audios": ["data:audio/wav;base64,AA"],
            "images": ["data:image/png;base64,BB", "u"],
        },
    ),
    "TRL's parts": (
        {
            "messages": [user([{"type": "image", "text": None}, {"type": "text", "text": "what?"}]), assistant("a")],
            "images": ["1.png"],
        },
        {"messages": [user("<image>what?"), assistant("a")], "images": ["1.png"]},
    ),
    "ms-swift": (
        {"query": "<image>q", "response": "a", "images": ["1.png"]},
        {"messages": turns("<image>q", "a"), "images": ["1.png"]},
    ),
    "one of each": (
        {"query": "q", "response": "a", "image": "1.png", "video": "2.mp4", "audio": {"path": "3.wav"}},
        {"messages": QA, "images": ["1.png"], "videos": ["2.mp4"], "audios": [{"path": "3.wav"}]},
    ),
    "the plural wins": (
        {"query": "q", "response": "a", "image": "1", "images": ["2"]},
        {"messages": QA, "images": ["2"]},
    ),
}

PAIRS = {
    "Alpaca": ({"instruction": "i", "input": "", "output": "o"}, {"messages": turns("i", "o")}),
    "Alpaca with input": ({"instruction": "i", "input": "x", "output": "o"}, {"messages": turns("i\nx", "o")}),
    "Alpaca without a key": ({"instruction": "i", "output": "o"}, {"messages": turns("i", "o")}),
    "Alpaca's input alone": ({"instruction": "", "input": "x", "output": "o"}, {"messages": turns("x", "o")}),
    "Alpaca with its text": (
        {"instruction": "i", "input": "", "output": "o", "text": "Below is"},
        {"messages": turns("i", "o")},
    ),
    "Alpaca with all": (
        {"instruction": "i", "input": None, "output": "o", "system": "s", "history": [["a", "b"]]},
        {"messages": turns("a", "b", "i", "o", system="s")},
    ),
    "Alpaca's answer by another name": ({"instruction": "i", "response": "o"}, {"messages": turns("i", "o")}),
    "query": ({"query": "q", "response": "a"}, {"messages": QA}),
    "query with all": (
        {"query": "q", "response": "r", "system": "s", "history": [["a", "b"], ["c", None]]},
        {"messages": [*turns("a", "b", "c", system="s"), user("q"), assistant("r")]},
    ),
    "history as text": (
        {"query": "q", "response": "r", "history": "[['a', 'b']]"},
        {"messages": turns("a", "b", "q", "r")},
    ),
    "history of messages": (
        {"query": "q", "response": "r", "history": turns("a", "b")},
        {"messages": turns("a", "b", "q", "r")},
    ),
    "an answer that is empty": ({"query": "q", "response": ""}, {"messages": turns("q", "")}),
    "a question that is empty": ({"query": "", "response": "a"}, {"messages": turns("", "a")}),
    "a list of answers": ({"question": "q", "answers": ["a", "b"]}, {"messages": QA}),
    "capitals": ({"Question": "q", "Answer": "a"}, {"messages": QA}),
    "the surest name": ({"query": "q", "question": "x", "response": "a", "answer": "x", "text": "x"}, {"messages": QA}),
    "a filled name": ({"question": "q", "answer": "", "solution": "a"}, {"messages": QA}),
    **{
        f"{asks} + {answers}": ({asks: "q", answers: "a"}, {"messages": QA})
        for asks, answers in [
            *((asks, "answer") for asks in ("prompt", "input", "question", "problem")),
            *(
                ("question", to)
                for to in ("output", "targets", "target", "answer_key", "solution", "text", "completion", "content")
            ),
        ]
    },
    "prompt and completion": ({"prompt": "q", "completion": "a"}, {"messages": QA}),
    "prompt and completion as messages": (
        {"prompt": turns("q", "a", "b"), "completion": [assistant("c")], "system": "s"},
        {
            "messages": [
                {"role": "system", "content": "s"},
                user("q"),
                assistant("a", loss_scale=0.0),
                user("b"),
                assistant("c"),
            ]
        },
    ),
    "prompt and completion mixed": ({"prompt": turns("q"), "completion": "a"}, {"messages": QA}),
    "completion as one message": ({"prompt": turns("q"), "completion": assistant("a")}, {"messages": QA}),
}

PAIR = {"prompt": turns("q"), "chosen": [assistant("a")], "rejected": [assistant("b")]}
JUDGED = {
    "texts": ({"prompt": "q", "chosen": "a", "rejected": "b"}, PAIR),
    "texts with a system": (
        {"system": "s", "question": "q", "chosen": "a", "rejected": "b"},
        PAIR | {"prompt": turns("q", system="s")},
    ),
    "texts with an instruction": (
        {"instruction": "i", "input": "x", "chosen": "a", "rejected": "b"},
        PAIR | {"prompt": turns("i\nx")},
    ),
    "last turns": ({"prompt": turns("q"), "chosen": [assistant("a")], "rejected": [assistant("b")]}, PAIR),
    "whole conversations": ({"chosen": turns("q", "a"), "rejected": turns("q", "b")}, PAIR),
    "whole conversations and more": (
        {"prompt": "q", "messages": QA, "chosen": turns("q", "a"), "rejected": turns("q", "b"), "score_chosen": 9},
        PAIR,
    ),
    "whole conversations of several turns": (
        {"system": "s", "chosen": turns("q", "a", "r", "b", "x", "y"), "rejected": turns("q", "a", "r", "c")},
        {
            "prompt": turns("q", "a", "r", system="s"),
            "chosen": [assistant("b"), user("x"), assistant("y")],
            "rejected": [assistant("c")],
        },
    ),
    "equal conversations": ({"chosen": QA, "rejected": QA}, PAIR | {"rejected": [assistant("a")]}),
    "LLaMA-Factory": (
        {
            "conversations": said(("human", "q")),
            "chosen": {"from": "gpt", "value": "a"},
            "rejected": {"from": "gpt", "value": "b"},
        },
        PAIR,
    ),
    "pictures in both": (
        {"chosen": [user([PICTURE]), assistant("a")], "rejected": [user([PICTURE]), assistant("b")]},
        PAIR | {"prompt": turns("<image>"), "images": ["http://x/1.png"]},
    ),
    "rejected_response": ({"messages": QA, "rejected_response": "b"}, PAIR),
    "rejected_response as messages": ({"messages": QA, "rejected_response": [assistant("b")]}, PAIR),
    "rejected_response of a query": (
        {"query": "q", "response": "a", "rejected_response": "b", "tools": [TOOL]},
        PAIR | {"tools": [TOOL]},
    ),
    "rejected_response to calls": (
        {"messages": [*CALLED, assistant("a")], "rejected_response": "b"},
        PAIR | {"chosen": [*CALLED[1:], assistant("a")]},
    ),
    "rejected_messages": (
        {"system": "s", "messages": QA, "rejected_messages": turns("q", "b")},
        PAIR | {"prompt": turns("q", system="s")},
    ),
    "empties beside": (
        {"messages": QA, "rejected_response": "b", "chosen": None, "rejected": None, "label": None},
        PAIR,
    ),
    "KTO": (
        {"prompt": "q", "completion": "a", "label": True},
        {"prompt": turns("q"), "completion": [assistant("a")], "label": True},
    ),
    "KTO as messages": (
        {"prompt": turns("q", "x", "r"), "completion": [assistant("a")], "label": False},
        {"prompt": turns("q", "x", "r"), "completion": [assistant("a")], "label": False},
    ),
    "ms-swift's KTO": (
        {"messages": QA, "label": 0},
        {"prompt": turns("q"), "completion": [assistant("a")], "label": False},
    ),
    "LLaMA-Factory's KTO": (
        {"instruction": "q", "output": "a", "kto_tag": "True"},
        {"prompt": turns("q"), "completion": [assistant("a")], "label": True},
    ),
    "a pair without negatives among others": (
        {"anchor": "q", "positive": "p", "negative": [], "label": None},
        {"prompt": turns("q"), "extra": {"positive": "p"}},
    ),
    "a label out of pandas": (
        {"query": "q", "response": "a", "label": 1.0},
        {"prompt": turns("q"), "completion": [assistant("a")], "label": True},
    ),
}

ALONE = {
    "a prompt": ({"prompt": "q"}, {"prompt": turns("q")}),
    "a prompt with what rewards want": (
        {"prompt": turns("q"), "answer": "4", "data_source": "x", "n": 1, "none": None, "_": "out"},
        {"prompt": turns("q"), "extra": {"answer": "4", "data_source": "x", "n": 1}},
    ),
    "messages with what rewards want": (
        {"messages": turns("q", system="s"), "solution": "4", "images": ["1"]},
        {"prompt": turns("q", system="s"), "extra": {"solution": "4"}, "images": ["1"]},
    ),
    "a query": ({"query": "q", "system": "s", "response": None}, {"prompt": turns("q", system="s")}),
    "a text": ({"text": "long", "url": "x", "n": 3}, {"text": "long"}),
    "a content": ({"content": "long", "title": "x"}, {"text": "long"}),
    "a response": ({"response": "long"}, {"text": "long"}),
    "a text beside empties": ({"text": "long", "messages": [], "prompt": "", "completion": ""}, {"text": "long"}),
}

GROUPS = {
    "conversation": CONVERSATIONS,
    "tools": TOOLS,
    "media": MEDIA,
    "pair": PAIRS,
    "judged": JUDGED,
    "alone": ALONE,
}
READ = {f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()}


@pytest.mark.parametrize(("raw", "row"), READ.values(), ids=READ)
def test_a_row_is_read(raw: dict[str, Any], row: dict[str, Any]):
    assert to_row(raw) == row


def test_all_of_them_lie_in_arrow_and_come_back():
    made = [to_row(raw) for raw, _ in READ.values()]
    batch = rows.to_arrow(made, ["s"] * len(made), range(len(made)))
    assert rows.from_arrow(batch) == [row for _, row in READ.values()]


WRONG = [
    *(None, True, 0, -1, 2**80, float("nan"), "", "x", "\ud800", "\0", "[", "[]", "{}", '"x"', "(1,)", "[{1: b'x'}]"),
    *([], {}, [[]], [{}], [None], [1], {"type": "text"}, {"type": "image", "image": "\udfff"}, {"role": "user"}),
]


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths to all values within a value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*path, key)
        yield from places(item, (*path, key))


def replaced(value: Any, path: tuple[Any, ...], new: Any) -> Any:
    """A copy of a value with another one at `path`."""
    if not path:
        return new
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


@pytest.mark.parametrize("group", GROUPS)
def test_a_row_with_one_value_gone_wrong_is_read_or_refused(group: str):
    """Every value of every row, replaced by everything that it should not be."""
    made = []
    for raw, _ in GROUPS[group].values():
        for spoiled in (replaced(raw, path, wrong) for path in places(raw) for wrong in WRONG):
            before = repr(spoiled)
            try:
                made.append(to_row(spoiled))
            except ValueError as error:
                assert type(error) is ValueError, before
                assert str(error).isprintable(), before
            assert repr(spoiled) == before
    back = rows.from_arrow(rows.to_arrow(made, ["s"] * len(made), range(len(made))))
    assert [row for row, twin in zip(made, back, strict=True) if row != twin and "nan" not in repr(row)] == []
