"""The gate: a fault planted for every check is found, named and acted upon."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.config.groups.validation import Validation
from components.data import Table, inspect
from components.data.checks import CHECKS


def table(*rows: Any, source: str = "a.jsonl", numbers: list[int] | None = None) -> Table:
    numbers = numbers or list(range(1, len(rows) + 1))
    return Table([source] * len(rows), numbers, [json.dumps(row, ensure_ascii=False) for row in rows])


def pair(query: str, response: str = "fine") -> dict[str, str]:
    return {"query": query, "response": response}


def chat(*roles: str) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": f"{role} {i}"} for i, role in enumerate(roles)]}


GOOD = [pair(f"question {i}") for i in range(5)]
FAULTS = {
    "schema": ({"foo": 1}, "no known format"),
    "roles": (chat("user", "user", "assistant"), "turn 2 is by the user"),
    "empty": (pair("x", " \n\t"), "the answer is empty"),
    "duplicate": (pair("question  \n3 "), "the same as a.jsonl:4"),
    "leak": (pair("held  out"), "its prompt also stands in validation row v.jsonl:1"),
    "long": (pair("x" * 101), "105 characters, more than 100"),
}


def gate(fault: Any = None, **validation: Any):
    rows = [*GOOD, fault] if fault else GOOD
    tables = {"train": table(*rows), "val": table(pair("held out", "other"), source="v.jsonl")}
    return inspect(tables, {"sums": ["1 + 1"]}, Validation(max_chars=100, **validation))


def test_every_check_has_a_planted_fault():
    assert set(FAULTS) == set(CHECKS)


def test_good_rows_pass():
    verdict = gate()
    assert not verdict.closed and not verdict.rejected
    assert verdict.rows() == {"train": 5, "val": 1, "dropped": 0}


@pytest.mark.parametrize("check", CHECKS)
def test_block_closes_the_gate_and_names_the_row(check: str):
    fault, reason = FAULTS[check]
    verdict = gate(fault, **{f"on_{check}": "block"})
    assert verdict.closed
    (told,) = verdict.reasons
    assert told.startswith(f"{check}: 1 row, first a.jsonl:6: ") and reason in told and json.dumps(fault)[:8] in told
    assert [entry["name"] for entry in verdict.checks if entry["closed"]] == [check]
    assert verdict.rejected[0][:4] == ("train", "a.jsonl", 6, check)


@pytest.mark.parametrize("check", CHECKS)
def test_drop_leaves_the_row_out_and_names_it(check: str):
    verdict = gate(FAULTS[check][0], **{f"on_{check}": "drop"})
    assert not verdict.closed
    assert verdict.rows() == {"train": 5, "val": 1, "dropped": 1}
    (finding,) = verdict.rejected
    assert (finding.row, finding.check) == (6, check) and FAULTS[check][1] in finding.reason


@pytest.mark.parametrize("check", [name for name in CHECKS if name != "schema"])
@pytest.mark.parametrize("action", ["warn", "ignore"])
def test_warn_names_the_row_and_ignore_counts_it(check: str, action: str):
    verdict = gate(FAULTS[check][0], **{f"on_{check}": action})
    assert not verdict.closed and verdict.rows()["train"] == 6
    assert {entry["name"]: entry["count"] for entry in verdict.checks}[check] == 1
    assert [finding.row for finding in verdict.warned] == ([6] if action == "warn" else [])


def test_an_unreadable_row_never_goes_on():
    verdict = gate({"foo": 1}, on_schema="ignore")
    assert not verdict.closed and verdict.rows() == {"train": 5, "val": 1, "dropped": 1}


WRONG_ROLES = {
    "no answer": (["user"], "ends without an answer"),
    "answer first": (["assistant"], "turn 1 is by the assistant"),
    "system only": (["system"], "no question and no answer"),
    "nothing": ([], "no question and no answer"),
    "system late": (["user", "assistant", "system", "user", "assistant"], "a system message stands after"),
    "two systems": (["system", "system", "user", "assistant"], "a system message stands after"),
    "answered twice": (["user", "assistant", "assistant"], "turn 3 is by the assistant"),
    "a tool": (["user", "tool", "assistant"], "turn 2 has the role 'tool', not assistant"),
    "a bot": (["user", "bot"], "turn 2 has the role 'bot', not assistant"),
}


@pytest.mark.parametrize(("found", "told"), WRONG_ROLES.values(), ids=WRONG_ROLES)
def test_roles(found: list[str], told: str):
    (finding,) = gate(chat(*found)).rejected
    assert finding.check == "roles" and told in finding.reason


def test_a_row_repeated_on_purpose_is_no_duplicate_of_itself():
    rows = table(pair("a"), pair("b"), pair("a"), pair("a"), pair("a"), numbers=[1, 2, 1, 3, 3])
    verdict = inspect({"train": rows}, {}, Validation(max_dropped=1))
    assert [row.row for row in verdict.clean] == [1, 2, 1]
    assert [finding.row for finding in verdict.rejected] == [3, 3]


def test_duplicates_are_within_a_split_and_answers_count():
    tables = {"train": table(pair("a", "1"), pair("a", "2")), "val": table(pair("b"), pair("b"))}
    assert [f.split for f in inspect(tables, {}, Validation()).rejected] == ["val"]


def test_leak_sees_question_sets_every_prompt_of_a_chat_and_validation_rows():
    long_chat = {"messages": [*chat("user", "assistant", "user", "assistant")["messages"]]}
    long_chat["messages"][0]["content"] = "1 +  1"
    tables = {
        "train": table(pair("1 + 1"), long_chat, pair("2 + 2"), pair("3 + 3"), {**pair("1 + 1"), "system": "be brief"}),
        "val": table(pair("1 + 1"), pair("2 + 2"), source="v.jsonl"),
    }
    verdict = inspect(tables, {"sums": ["1 + 1"]}, Validation(max_dropped=1))
    assert [(f.split, f.row) for f in verdict.rejected] == [("train", n) for n in (1, 2, 3, 5)] + [("val", 1)]
    assert "question set sums" in verdict.rejected[0].reason and "v.jsonl:2" in verdict.rejected[2].reason


def test_a_chat_that_only_begins_like_a_validation_chat_is_no_leak():
    held, other = chat("user", "assistant", "user", "assistant"), chat("user", "assistant", "user", "assistant")
    other["messages"][2]["content"] = "something else"
    tables = {"train": table(other, pair("user 0")), "val": table(held)}
    assert not inspect(tables, {}, Validation()).rejected


def test_limits():
    few = gate(min_rows=6)
    assert few.reasons == ["min_rows: 5 rows left to train on, fewer than 6"]
    many = gate(pair("", ""), max_dropped=0.1)
    assert len(many.reasons) == 1
    assert many.reasons[0].startswith("max_dropped: 1 of 7 rows left out, more than 10% (empty 1, first a.jsonl:6: ")
    assert not gate(pair("", ""), max_dropped=0.2).closed


def test_nothing_left_closes_the_gate():
    verdict = inspect({"train": table(pair("", "")), "val": table()}, {}, Validation(max_dropped=1))
    assert verdict.reasons[0].startswith("min_rows: 0 rows left to train on, fewer than 1 (empty 1, first a.jsonl:1: ")


TEXT = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.strip)


@st.composite
def chats(draw: st.DrawFn) -> dict[str, Any]:
    roles = draw(st.sampled_from([[], ["system"]])) + ["user", "assistant"] * draw(st.integers(1, 3))
    return {"messages": [{"role": role, "content": draw(TEXT)} for role in roles]}


@given(st.lists(chats(), min_size=1, max_size=8, unique_by=lambda row: json.dumps(row)))
def test_valid_chats_go_through_unchanged(rows: list[dict[str, Any]]):
    verdict = inspect({"train": table(*rows)}, {}, Validation(on_duplicate="ignore"))
    assert not verdict.closed and not verdict.rejected
    assert [row.messages for row in verdict.clean] == [row["messages"] for row in rows]


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
)
KEYS = st.sampled_from(["instruction", "input", "output", "query", "response", "history", "system", "messages", "role"])


@given(st.lists(st.dictionaries(KEYS, ANYTHING | chats().map(lambda row: row["messages"]), max_size=5), max_size=10))
def test_rows_in_are_rows_out_and_rows_named(rows: list[dict[str, Any]]):
    verdict = inspect({"train": table(*rows)}, {}, Validation())
    named = [finding.row for finding in verdict.rejected] + [row.row for row in verdict.clean]
    assert sorted(named) == list(range(1, len(rows) + 1))
    assert verdict.closed == bool(verdict.reasons) and (verdict.closed or verdict.rows()["train"] >= 1)
