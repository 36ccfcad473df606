"""What holds for every row, whatever is in it."""

import copy
import json
from typing import Any

from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st

from components import rows
from components.data.formats import formats, to_row
from components.data.normalize.messages import ROLES

COLUMNS = [
    *("messages", "conversations", "conversation", "instruction", "input", "output", "prompt", "completion", "query"),
    *("response", "question", "answer", "text", "content", "chosen", "rejected", "rejected_response", "label"),
    *("rejected_messages", "system", "history", "tools", "image", "videos", "objects", "channel", "solution", "Query"),
]
FIELDS = [
    *("role", "from", "content", "value", "name", "human", "assistant", "type", "text", "image", "image_url", "url"),
    *(
        "thinking",
        "tool_calls",
        "function_call",
        "function",
        "arguments",
        "input",
        "tool_call_id",
        "loss",
        "loss_scale",
    ),
]
WORDS = st.sampled_from(
    [*ROLES, "tool_use", "tool_result", "image_url", "{}", '{"name": "f"}', "[]", "[[", "true", "", "(1,)", "\ud800"]
)
TEXTS = st.one_of(WORDS, st.text(st.characters(), max_size=8))
LEAVES = st.one_of(TEXTS, st.none(), st.booleans(), st.integers(), st.floats(), st.just(2**80), st.just(10**400))
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.one_of(st.sampled_from(FIELDS), TEXTS), inner, max_size=4)
    ),
    max_leaves=8,
)
MESSAGE = st.fixed_dictionaries(
    {}, optional={"role": WORDS, "from": WORDS, **{name: st.one_of(TEXTS, VALUES) for name in FIELDS[2:]}}
)
CELLS = st.one_of(VALUES, TEXTS, st.lists(MESSAGE, max_size=3))
ANYTHING = st.dictionaries(st.one_of(st.sampled_from(COLUMNS), TEXTS), CELLS, max_size=5)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ANYTHING)
@example({"\ud800": "a", "response": "b"})
def test_any_object_is_a_row_that_arrow_takes_or_one_sentence(raw: dict[str, Any]):
    before = copy.deepcopy(raw)
    try:
        row = to_row(raw)
    except ValueError as error:
        assert type(error) is ValueError
        assert str(error).encode()
        return
    finally:
        assert repr(raw) == repr(before)
    assert {"messages", "prompt", "text"} & row.keys()
    assert row.keys() <= {*rows.COLUMNS}
    assert rows.to_arrow([row], ["s"], [1]).num_rows == 1


PLAIN = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
JSON = st.recursive(
    st.one_of(PLAIN, st.booleans(), st.integers(-(2**53), 2**53), st.none()),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(PLAIN, inner, max_size=3)),
    max_leaves=5,
)
CALL = st.fixed_dictionaries({"name": PLAIN, "arguments": st.dictionaries(PLAIN, JSON, max_size=3)}).map(
    lambda function: {"type": "function", "function": function}
)
ASSISTANT = st.fixed_dictionaries(
    {"role": st.just("assistant"), "content": PLAIN},
    optional={
        "reasoning_content": PLAIN,
        "tool_calls": st.lists(CALL, min_size=1, max_size=2),
        "loss_scale": st.floats(0, 8, width=32),
    },
)
USER = st.fixed_dictionaries({"role": st.just("user"), "content": PLAIN}, optional={"name": PLAIN})
CHAT = st.lists(st.tuples(USER, ASSISTANT), min_size=1, max_size=3).map(
    lambda pairs: [m for pair in pairs for m in pair]
)
CANONICAL = st.one_of(
    CHAT.map(lambda chat: {"messages": chat}),
    st.fixed_dictionaries({"prompt": st.lists(USER, min_size=1, max_size=1), "extra": st.just({"solution": 4})}),
    st.tuples(USER, ASSISTANT, ASSISTANT).map(lambda m: {"prompt": [m[0]], "chosen": [m[1]], "rejected": [m[2]]}),
    st.tuples(USER, ASSISTANT, st.booleans()).map(lambda m: {"prompt": [m[0]], "completion": [m[1]], "label": m[2]}),
    st.fixed_dictionaries({"text": PLAIN}),
)
BESIDE = st.fixed_dictionaries(
    {},
    optional={
        "tools": st.lists(PLAIN.map(lambda name: {"type": "function", "function": {"name": name}}), min_size=1),
        "images": st.lists(PLAIN, min_size=1),
        "objects": st.dictionaries(PLAIN, JSON, min_size=1),
        "chat_template_kwargs": st.dictionaries(PLAIN, JSON, min_size=1),
        "channel": PLAIN,
    },
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(CANONICAL, BESIDE)
def test_a_canonical_row_is_read_as_it_is_and_comes_back_from_arrow(row: dict[str, Any], beside: dict[str, Any]):
    whole = row | beside
    assume("text" not in whole or "images" not in whole)  # a caption
    raw = {name: value for name, value in whole.items() if name != "extra"} | row.get("extra", {})
    assert to_row(raw) == whole
    assert rows.from_arrow(rows.to_arrow([whole], ["s"], [1])) == [whole]


@given(CHAT, st.sampled_from(["ShareGPT", "parts", "JSON"]))
def test_a_chat_says_the_same_in_every_dialect(chat: list[dict[str, Any]], dialect: str):
    asked = [{"role": message["role"], "content": message["content"]} for message in chat]
    names = {"user": "human", "assistant": "gpt"}
    raw = {
        "ShareGPT": {"conversations": [{"from": names[m["role"]], "value": m["content"]} for m in asked]},
        "parts": {"messages": [m | {"content": [{"type": "text", "text": m["content"]}]} for m in asked]},
        "JSON": {"messages": json.dumps(asked)},
    }[dialect]
    assert to_row(raw) == {"messages": asked}


def test_every_format_is_found_and_says_what_it_accepts():
    assert {*formats()} == {
        *("messages", "alpaca", "query-response", "prompt-completion", "prompt", "text", "classification", "pairs"),
        "caption",
        *("preference", "rejected-response", "unpaired"),
    }
    assert len({module.ACCEPTS for module in formats().values()}) == len(formats())
