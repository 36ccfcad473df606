"""A row that cannot be read, or can be read in two ways, is refused with one sentence that says where and why."""

import json
from decimal import Decimal
from typing import Any

import pytest

from components.data.formats import read_row, to_row

Q, A = {"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}
PIECE = {"type": "text", "text": "x"}
HALF = "half \ud83d"


def chat(*messages: Any) -> dict[str, Any]:
    return {"messages": list(messages)}


def says(content: Any, **fields: Any) -> dict[str, Any]:
    return chat(Q, {"role": "assistant", "content": content, **fields})


def calls(*made: Any) -> dict[str, Any]:
    return says(None, tool_calls=list(made))


def part(**fields: Any) -> dict[str, Any]:
    return chat({"role": "user", "content": [PIECE, fields]}, A)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


COLUMNS = {
    "no object": (["q", "a"], "a row must be an object, not a list"),
    "no keys": ({}, "no known format: its keys with a value are none"),
    "nothing but nulls": ({"query": None, "response": None}, "with a value are none"),
    "unknown keys": ({"foo": 1, "bar": 2}, "its keys with a value are foo, bar; accepted are instruction"),
    "an instruction alone": ({"instruction": "i"}, "no known format"),
    "an instruction without its output": ({"instruction": "i", "input": "x", "output": None}, "no known format"),
    "an answer alone": ({"answer": "a"}, "no known format"),
    "chosen alone": ({"chosen": "a", "rejected": None}, "no known format"),
    "a question of an unknown name": (
        {"ask": "q", "id": 1, "response": "r"},
        r"""'response' answers, but no .* to ask \(not read: ask\); rename with --columns '{"ask": "query"}'""",
    ),
    "an answer of an unknown name": (
        {"instruction": "i", "anwser": "a", "score": 1},
        r"""'instruction' asks, but no .*\(not read: anwser, score\); rename with --columns '{"anwser": "response"}'""",
    ),
    "misspelt names": (
        {"mesages": [], "convrsations": [1], "n": 1},
        """not read are mesages, convrsations; rename with --columns '{"mesages": "messages", "convrsations": """,
    ),
    "a label beside a text": (
        {"text": "t", "sentiment": 1, "idx": 3},
        r"""'sentiment' beside the plain text 'text' would not be .* --columns '{"text": "query", "sentiment": """,
    ),
    "a class beside a text of an unknown name": (
        {"review": "t", "sentiment": "good", "id": 1},
        r"""no column is known .*\(not read: review\); .*--columns '{"review": "text", "sentiment": "label"}'$""",
    ),
    "a label beside a text of an unknown name": ({"tweet": "t", "label": 1}, """--columns '{"tweet": "text"}'$"""),
    "a text of an unknown name": ({"sentence": "t"}, """--columns '{"sentence": "text"}'$"""),
    "a summary beside a text": ({"text": "t", "summary": "s"}, "'summary' beside the plain text 'text'"),
    "many keys": ({f"k{i}": 1 for i in range(50)}, "k18, k19, …; accepted"),
    "a key of control characters": ({"a\nb": 1}, r"are 'a\\nb'; accepted"),
    "a number for a text": ({"query": 3, "response": "r"}, r"'query' must be a text, not a number \(3\)"),
    "a boolean for a text": ({"query": "q", "response": True}, r"'response' must be a text, not true or false \(True"),
    "an object for a text": ({"instruction": "i", "output": {"x": 1}}, r"'output' must be a text, not an object"),
    "a list of numbers": ({"question": "q", "answers": [4]}, r"'answers' must be a text, not a number \(4\)"),
    "a list of lists": ({"question": "q", "answer": [["a"]]}, "'answer' must be a text, not a list"),
    "a list in a text": ({"text": ["long"]}, "'text' must be a text, not a list"),
    "a system that is none": ({"query": "q", "response": "r", "system": {"x": 1}}, "'system' must be a text, not an"),
    "history of texts": ({"query": "q", "response": "r", "history": ["a", "b"]}, "'history' must be a list of"),
    "history of threes": ({"query": "q", "response": "r", "history": [["a", "b", "c"]]}, "'history' must be a list of"),
    "history of numbers": ({"query": "q", "response": "r", "history": [[1, 2]]}, "'history' must be a list of"),
    "history as prose": ({"query": "q", "response": "r", "history": "ab c"}, "'history' is a text that is not JSON"),
    "a channel that is none": ({"text": "x", "channel": 3}, "'channel' must be a text, not a number"),
    "objects as a list": ({"text": "x", "objects": [1]}, "'objects' must be an object, not a list"),
    "settings as prose": ({"text": "x", "chat_template_kwargs": "no"}, "'chat_template_kwargs' is a text that is not"),
    "images as a number": ({"text": "x", "images": 3}, "'images' must be addresses of media, not a number"),
    "images with a null": ({"text": "x", "images": ["a", None]}, "'images' must be addresses of media, not null"),
    "half a character": ({"query": HALF, "response": "r"}, "lone surrogate.*ud83d"),
    "half a character in a chat": (says(HALF), "lone surrogate"),
    "half a character in a prompt's extra": ({"prompt": "q", "x": HALF}, "what goes to the rewards cannot be kept"),
    "half a character in a name": (says("a", name=HALF), "lone surrogate"),
}

MESSAGES = {
    "a text": ({"messages": "hello there"}, "'messages' is a text that is not JSON: 'hello there'"),
    "JSON of something else": ({"messages": '{"role": "user"}'}, "'messages' must be a list of messages, not an obj"),
    "an empty list as JSON": ({"messages": "[]"}, "'messages' holds no message"),
    "a number": ({"conversations": 3}, "'conversations' must be a list of messages, not a number"),
    "an object": ({"messages": Q}, "'messages' must be a list of messages, not an object"),
    "a message as a text": (chat("hi"), "message 1 of 'messages' must be an object with role and content, not a text"),
    "a message as null": (chat(Q, None), "message 2 of 'messages' must be an object with role and content, not null"),
    "nested lists": (chat([Q, A]), "message 1 of 'messages' must be an object.* not a list"),
    "unknown keys": (chat({"speaker": "x", "line": "y"}), "message 1 .* needs role and content; its keys are speaker"),
    "an empty message": (chat(Q, {}), "message 2 of 'messages' needs role and content; its keys are none"),
    "no content": (chat(Q, {"role": "assistant"}), "message 2 of 'messages' has no content; its keys are role"),
    "null content": (says(None), "message 2 of 'messages' has no content"),
    "null content with a name": (says(None, name="x"), "message 2 of 'messages' has no content"),
    "content a number": (
        says(4),
        "the content of message 2 of 'messages' must be a text or a list of parts, not a num",
    ),
    "content a boolean": (says(False), "content of message 2 .* not true or false"),
    "an unknown role": (
        chat({"role": "narrator", "content": "x"}),
        r"message 1 .* unknown role, a text \('narrator'\)",
    ),
    "a role as a number": (chat({"role": 1, "content": "x"}), "the role of message 1 .* must be a text, not a number"),
    "a role as a list": (chat({"role": ["user"], "content": "x"}), "the role of message 1 .* must be a text, not a l"),
    "a null role": (chat({"role": None, "content": "x"}), "message 1 .* needs role and content; its keys are content"),
    "an unknown sharer": ({"conversations": [{"from": "bing", "value": "x"}]}, "unknown role, a text .'bing'"),
    "half a pair": (
        {"conversation": [{"human": "q", "assistant": 3}]},
        "the assistant of message 1 .* must be a text, not a n",
    ),
    "a name as a number": (says("a", name=3), "the name of message 2 of 'messages' must be a text"),
    "thoughts as an object": (says("a", reasoning={"x": 1}), "the reasoning of message 2 .* must be a text, not an ob"),
    "a tool's id as a number": (
        chat(Q, {"role": "tool", "content": "x", "tool_call_id": 7}),
        "tool_call_id of message 2",
    ),
    "loss as a word": (says("a", loss="no"), "the loss of message 2 of 'messages' must be true or false, not a text"),
    "loss as a list": (says("a", loss=[True]), "the loss of message 2 .* must be true or false, not a list"),
    "a negative weight": (says("a", loss_scale=-1), r"the loss_scale of message 2 .* 0 or more, not a number \(-1\)"),
    "a weight as a word": (says("a", loss_scale="2"), "the loss_scale of message 2 .* must be a number"),
    "a weight that is none": (says("a", loss_scale=float("nan")), "the loss_scale of message 2 .* not a number .nan"),
    "a weight without end": (says("a", loss_scale=10**400), "the loss_scale of message 2"),
}

PARTS = {
    "a text": (
        chat({"role": "user", "content": ["x"]}),
        "part 1 of message 1 of 'messages' must be an object with a type",
    ),
    "an unknown type": (part(type="hologram", hologram="x"), "part 2 of message 1 .* no known type .*'hologram'"),
    "no type": (part(x=1), "part 2 of message 1 .* of no known type .null.; its keys are x"),
    "a type as a list": (part(type=[1]), "part 2 of message 1 .* of no known type"),
    "a text without text": (part(type="text"), "part 2 of message 1 .* of no known type"),
    "a text as a number": (part(type="text", text=3), "the text of part 2 of message 1 .* must be a text, not a n"),
    "an image as a number": (
        part(type="image", image=3),
        "the image of part 2 of message 1 .* must be an address, not a n",
    ),
    "a url as a number": (
        part(type="image_url", image_url={"url": 3}),
        "the image of part 2 .* must be an address, not a n",
    ),
    "an image without address": (
        part(type="image_url", image_url={"detail": "low"}),
        "has no url, path or data; its keys",
    ),
    "media twice": (
        part(type="image", image="1.png") | {"images": ["2.png"]},
        "holds media both in 'images' and in its messages' parts",
    ),
    "half a character in an address": (part(type="image", image=HALF), "the image of part 2 .* cannot be kept as JSON"),
}

TOOLS = {
    "a call as a text": (calls("weather"), "a tool call of message 2 .* must be an object with name and argum"),
    "a call without name": (
        calls({"function": {"arguments": "{}"}}),
        "message 2 of 'messages' holds a tool call without a n",
    ),
    "a name as a number": (calls({"name": 3}), r"a tool call without a name \(a number"),
    "torn arguments": (
        calls({"function": {"name": "weather", "arguments": '{"city": "Ro'}}),
        "the arguments of the call of 'weather' in message 2 of 'messages' are not JSON",
    ),
    "arguments as a list": (
        calls({"name": "f", "arguments": [1]}),
        "call of 'f' in message 2 .* must be an object, not a l",
    ),
    "arguments as JSON of a text": (calls({"name": "f", "arguments": '"x"'}), "must be an object, not a text"),
    "arguments too deep": (
        calls({"name": "f", "arguments": {"x": deep(500)}}),
        "call of 'f' .* cannot be kept as JSON",
    ),
    "a number too long": (
        calls({"name": "f", "arguments": {"x": 2**70}}),
        "cannot be kept as JSON: Integer exceeds 64",
    ),
    "a user who calls": (
        chat(Q | {"tool_calls": [{"name": "f"}]}, A),
        "message 1 .* is the user's and holds tool calls",
    ),
    "calls as a number": (says("x", tool_calls=3), "a tool call of message 2 .* must be an object .* not a number"),
    "prose for a call": (
        {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": "call the weather"}]},
        "the tool call of message 2 of 'conversations' is a text that is not JSON",
    ),
    "a call of nothing": (chat(Q, {"role": "tool_call", "content": None}), "a tool call of message 2 .* not null"),
    "no call in a list": (
        chat(Q, A, {"role": "tool_call", "content": "[]"}),
        "message 3 of 'messages' holds no tool call",
    ),
    "tools as prose": (chat(Q, A) | {"tools": "{API_LIST}"}, "'tools' .*"),
    "tools as a number": (chat(Q, A) | {"tools": 3}, "'tools' must be a list of objects, not a number"),
    "a tool as a number": (
        chat(Q, A) | {"tools": [{"name": "f"}, 3]},
        "tool 2 of 'tools' must be an object, not a numb",
    ),
    "a tool too deep": (
        chat(Q, A) | {"tools": [{"name": "f", "parameters": deep(500)}]},
        "tool 1 of 'tools' cannot be",
    ),
}

JUDGED = {
    "answers to nothing": ({"chosen": "a", "rejected": "b"}, "nothing says to what: the question goes into 'prompt'"),
    "a number": ({"prompt": "q", "chosen": 1, "rejected": "b"}, "'chosen' must be a list of messages, not a number"),
    "an empty list": ({"prompt": "q", "chosen": "a", "rejected": []}, "'rejected' holds no message"),
    "two conversations": (
        {"chosen": [Q, A], "rejected": [Q | {"content": "other"}, A]},
        "whole conversations that do not begin with the same question",
    ),
    "a question and an answer": ({"chosen": [Q, A], "rejected": [A]}, "do not begin with the same question"),
    "other pictures": (
        {
            "chosen": [{"role": "user", "content": [{"type": "image", "image": "1"}]}, A],
            "rejected": [{"role": "user", "content": [{"type": "image", "image": "2"}]}, A],
        },
        "chosen and rejected hold different media",
    ),
    "rejected but not asked": (chat(A) | {"rejected_response": "b"}, "holds an answer but no question"),
    "rejected but not answered": (
        chat(Q, A, Q) | {"rejected_response": "b"},
        "the last message is the user's: an answer",
    ),
    "rejected and a tool answers": (
        chat(Q, {"role": "tool", "content": "x"}, A) | {"rejected_response": "b"},
        "the tool answers the last question, not the assistant",
    ),
    "rejected and only a prompt": (
        chat(Q) | {"rejected_response": "b"},
        "'messages' asks, but holds no answer to judge",
    ),
    "a whole conversation for an answer": (
        {"prompt": "q", "chosen": [A], "rejected": [Q, A]},
        "do not begin with the same question",
    ),
    "a completion that asks": ({"prompt": "q", "completion": [Q]}, "'completion' must begin with the assistant's mess"),
    "a rejected response that asks": (
        chat(Q, A) | {"rejected_response": [Q, A]},
        "'rejected_response' must begin with",
    ),
    "rejected as a number": (
        chat(Q, A) | {"rejected_response": 3},
        "'rejected_response' must be a list of messages, not",
    ),
    "rejected with other pictures": (
        chat(Q, A) | {"rejected_response": [{"role": "assistant", "content": [{"type": "image", "image": "1"}]}]},
        "'rejected_response' holds media of its own",
    ),
    "a judgement as a word": (chat(Q, A) | {"kto_tag": "good"}, "'kto_tag' must be true or false.* not a text .'good'"),
    "a judgement of a prompt": (chat(Q) | {"kto_tag": 1}, "'messages' asks, but holds no answer to judge"),
}

GROUPS = {"columns": COLUMNS, "messages": MESSAGES, "parts": PARTS, "tools": TOOLS, "judged": JUDGED}
REFUSED = {f"{group}: {name}": case for group, cases in GROUPS.items() for name, case in cases.items()}


@pytest.mark.parametrize(("raw", "told"), REFUSED.values(), ids=REFUSED)
def test_a_row_is_refused_with_the_reason(raw: Any, told: str):
    with pytest.raises(ValueError, match=told) as refusal:
        to_row(raw)
    reason = str(refusal.value)
    assert len(reason) < 800
    assert reason.isprintable()


CHAT, PAIR = [Q, A], {"query": "q", "response": "a"}
AMBIGUOUS = {
    "two conversations": ({"messages": CHAT, "conversations": CHAT}, ["messages", "conversations"]),
    "a conversation and a query": ({"messages": CHAT, **PAIR}, ["messages", "query + response"]),
    "a conversation and Alpaca": (
        {"conversations": CHAT, "instruction": "i", "output": "o"},
        ["instruction + output", "conversations"],
    ),
    "a conversation and a completion": (
        {"messages": CHAT, "prompt": "q", "completion": "a"},
        ["messages", "prompt + completion"],
    ),
    "Alpaca and a query": (
        {"instruction": "i", "output": "o", **PAIR},
        ["instruction + output", "query + response"],
    ),
    "two pairs": ({**PAIR, "prompt": "p", "completion": "c"}, ["prompt + completion", "query + response"]),
    "two questions": ({"prompt": "p", "question": "q", "answer": "a"}, ["prompt + answer", "question + answer"]),
    "two answers": ({"problem": "p", "solution": "s", "answer": "4"}, ["problem + answer", "problem + solution"]),
    "two prompts": ({"question": "q", "problem": "p"}, ["question", "problem"]),
    "two texts": ({"text": "t", "content": "c"}, ["text", "content"]),
    "two judgements": ({"messages": CHAT, "rejected_response": "b", "rejected_messages": [Q, A]}, [
        "messages + rejected_response", "messages + rejected_messages",
    ]),
    "a pair and a label": (
        {"messages": CHAT, "rejected_response": "b", "label": True},
        ["messages + rejected_response", "messages + label"],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "readings"), AMBIGUOUS.values(), ids=AMBIGUOUS)
def test_a_row_with_two_readings_shows_them(raw: dict[str, Any], readings: list[str]):
    with pytest.raises(ValueError, match="can be read as") as refusal:
        to_row(raw)
    told = str(refusal.value).removeprefix("can be read as ").partition(": leave all but one out")[0]
    assert sorted(told.split(" or as ")) == sorted(readings)


@pytest.mark.parametrize("column", ["messages", "query", "response"])
def test_a_reading_left_out_leaves_the_other(column: str):
    raw = {"messages": CHAT, **PAIR}
    assert to_row(raw | {column: None}) == {"messages": CHAT}


def exchange(arguments: str, result: str = '""', tools: str = "[]") -> str:
    """The JSON of a row with a call, whose parts are JSON."""
    call = f'{{"role": "assistant", "tool_calls": [{{"name": "f", "arguments": {arguments}}}]}}'
    messages = f'[{{"role": "user", "content": "x"}}, {call}, {{"role": "tool", "content": {result}}}]'
    return f'{{"messages": {messages}, "tools": {tools}}}'


def kept(raw: str) -> tuple[object, str]:
    """The arguments of the call, and the tool's result."""
    _, call, result = read_row(raw)["messages"]
    return call["tool_calls"][0]["function"]["arguments"], result["content"]


LONG = "123456789012345678901234567890"
EXACT = ["0", "-1", "18446744073709551615", "-9223372036854775808", "0.1", "1.50", "1e5", "12345678.90123456", "1E-3"]
LONG_INTEGERS = [LONG, "18446744073709551616", "-9223372036854775809"]
ROUNDED = ["3.14159265358979323846", "0.10000000000000001", "123456789012345678901234567890.5", "1e-400"]


@pytest.mark.parametrize("number", [*EXACT, *LONG_INTEGERS, *ROUNDED])
def test_a_number_is_learned_as_it_is_written_or_refused(number: str) -> None:
    arguments = f'{{"a": [{number}, {{"b": 0.5}}]}}'
    text = json.dumps(arguments)
    if number in ROUNDED:
        for raw in (exchange(arguments), exchange(text), exchange("{}", tools=f'[{{"name": "f", "x": {number}}}]')):
            with pytest.raises(ValueError, match="has more digits than 64 bits hold; write it as a text"):
                read_row(raw)
    else:
        assert kept(exchange(text))[0] == arguments
        # Python's own JSON has integers of any length
        stays = {"a": [json.loads(number), {"b": 0.5}]}
        value = kept(exchange(arguments))[0]
        assert (json.loads(value) if isinstance(value, str) else value) == stays
        assert isinstance(value, str) == (number in LONG_INTEGERS)
    result = kept(exchange("{}", f'{{"n": {number}}}'))[1]
    assert json.loads(result, parse_float=Decimal) == {"n": json.loads(number, parse_float=Decimal)}
    nested = json.dumps(exchange(text)[len('{"messages": ') : -len(', "tools": []}')])
    row = f'{{"messages": {nested}, "score": 1.0}}'
    if number not in ROUNDED:
        assert kept(row)[0] == arguments


@pytest.mark.parametrize("column", ["tools", "objects", "chat_template_kwargs", "truth"])
def test_a_long_integer_is_refused_where_its_digits_would_be_lost(column: str) -> None:
    row = '{"prompt": "x", "%s": {"name": "f", "n": %s}}'
    with pytest.raises(ValueError, match=f"the number {LONG} has more digits"):
        read_row(row % (column, LONG))
    assert read_row(row % (column, 2**64 - 1))


def test_a_number_that_nobody_reads_refuses_nothing() -> None:
    assert read_row(f'{{"query": "a", "response": "b", "id": {LONG}, "score": 0.10000000000000001, "p": 1e-{LONG}}}')
