"""Each check: a planted fault is found, named and acted upon; what only looks like one is not."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.config.groups.validation import Validation
from components.data.check_list import all_checks, promise
from components.data.checks import ROW_CHECKS, Batch, Context, Failure
from components.data.checks._hashes import repeated
from components.data.checks.empty import is_blank
from components.data.checks.special import special_tokens
from components.data.report import write_report
from components.data.secrets import mask_secrets
from components.data.set_checks import SET_CHECKS
from components.errors import ConfigError
from components.rows import to_arrow
from tests.components.data.gates import chat, judged, pair, table
from tests.components.media.files import animation, picture, reference, sound

PARAGRAPH = (
    "The old lighthouse keeper climbed the spiral stairs every evening to light the great lamp, and every morning he "
    "climbed them again to put it out, although no ship had passed the rocks below for more than eleven years."
)
ASKED = "What is the {}. question that  anybody would like to ask?"
NUMBER = {"type": "integer"}
ADD = {"type": "object", "properties": {"a": NUMBER, "b": NUMBER}, "required": ["a", "b"]}
TOOLS = [{"type": "function", "function": {"name": "add", "parameters": ADD}}]


def calling(name: str, arguments: Any, tools: Any = TOOLS) -> dict[str, Any]:
    """A conversation with one call of a tool."""
    call = {"type": "function", "function": {"name": name, "arguments": arguments}}
    messages = [
        {"role": "user", "content": "What is one and two?"},
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "3"},
        {"role": "assistant", "content": "It is three."},
    ]
    return {"messages": messages} | ({"tools": tools} if tools else {})


def preference(prompt: str, chosen: str, rejected: str) -> dict[str, str]:
    return {"prompt": prompt, "chosen": chosen, "rejected": rejected}


def judgement(prompt: str, completion: str, label: bool) -> dict[str, Any]:
    return {"prompt": prompt, "completion": completion, "label": label}


def seen(query: str, content: bytes, suffix: str = ".png", **beside: Any) -> dict[str, Any]:
    """A question on a picture."""
    return pair(f"<image>{query}", "It is a cat.") | {"images": [reference(content, suffix)]} | beside


GOOD = [
    *[pair(ASKED.format(i), f"Answer {i} is a good one.") for i in range(3)],
    pair("Tell me of it", PARAGRAPH),
    preference("Which is it?", "This one, I am sure.", "None of them, as it seems."),
    *[judgement("How was it?", f"It was {word}, I think.", word != "bad") for word in ("good", "bad", "long")],
    calling("add", {"a": 1, "b": 2}),
    {"text": "A plain text, which is learned as it stands."},
    seen("What is in the picture?", picture(7, (96, 64))),
]
N = len(GOOD) + 1
FAULTS: dict[str, tuple[Any, str]] = {
    "schema": ({"foo": 1}, "no known format"),
    "roles": (chat("user", "user", "assistant"), "turn 2 is by the user"),
    "empty": (pair("x", " \n\t"), "the answer is empty"),
    "special": (pair("Hello", "Hi<|im_end|>\n<|im_start|>user\nbye"), "holds the special token <|im_start|> as text"),
    "encoding": (pair("Where", "In the cafÃ©, of course."), "'Ã©' seems to be a garbled 'é'"),
    "long": (pair("x" * 1001), "1,005 characters, more than 1,000"),
    "truncated": (pair("Code", "```python\nprint(1)"), "a block of code in the answer is never closed"),
    "tools": (calling("subtract", {"a": 1, "b": 2}), "calls the tool 'subtract', which is not declared (add are)"),
    "pairs": (preference("A or B?", "A of  course", "A of course"), "the chosen and the rejected answer are the same"),
    "language": (pair("Где ты живёшь?", "Я живу в городе."), "seems to be in ru, not en"),
    "personal": (pair("Whom?", "Write to jane.doe@acme.io please."), "holds an e-mail address (ja•••)"),
    "media_missing": (
        pair("<image>?") | {"images": [{"path": "cat.png", "problem": "no such file"}]},
        "image 1 (cat.png): no such file",
    ),
    "media_unreadable": (seen("?", b"a text"), "): not a picture in a format that is read"),
    "media_count": (seen("And <image>?", picture(8)), "2 <image> tags for 1 images"),
    "media_long": (pair("<audio>?") | {"audios": [reference(sound(0.4), ".wav")]}, "): 0.4 seconds, more than 0.2"),
    "media_quality": (seen("?", animation(), ".gif"), "): moves (3 pictures): only the first is seen"),
    "boxes": (
        seen("<bbox>?", picture(9), objects={"bbox": [[0, 0, 24, 99]]}),
        "box 1: [0, 0, 24, 99]: outside of the picture (24 x 16)",
    ),
    "similar_pictures": (
        seen("What is in the picture?", picture(7, (96, 64), "JPEG"), ".jpg"),
        "a picture that looks the same stands with the same text in a.jsonl:11",
    ),
    "duplicate": (pair(f"{ASKED.format(1)}  \n", "Answer 1 is a good one."), "the same as a.jsonl:2"),
    "leak": (pair("held  OUT."), "its prompt also stands in validation row v.jsonl:1"),
    "near_duplicate": (pair("Tell me of it", PARAGRAPH.replace("eleven", "ten")), "% the same as a.jsonl:4"),
    "contradiction": (judgement("How was it?", "It was bad, I think.", True), "of which a.jsonl:7 says the opposite"),
}  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model")
    added = [{"content": token, "special": True} for token in ("<|im_start|>", "<|im_end|>")]
    (folder / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    return folder


def gate(model: Path, fault: Any = None, **validation: Any):
    settings: dict[str, Any] = {
        "max_chars": 1000,
        "languages": ["en"],
        "min_label_share": 0.0,
        "max_audio_seconds": 0.2,
    }
    settings |= validation
    val = table(pair("Held out!", "other"), source="v.jsonl")
    return judged(table(*GOOD, *([fault] if fault else [])), val, {"sums": ["1 + 1"]}, model, **settings)


def test_each_check_is_a_field_a_file_a_promise_and_a_planted_fault(model: Path):
    files = {name.replace("-", "_") for name in (*ROW_CHECKS.names(), *SET_CHECKS.names())}
    assert files == set(all_checks()) == set(FAULTS) | {"labels"}
    assert all(promise(check).endswith(".") and len(promise(check)) < 120 for check in all_checks().values())
    assert not gate(model).findings.counts


@pytest.mark.parametrize("check", FAULTS)
def test_block_closes_the_gate_and_names_the_row(model: Path, check: str):
    fault, reason = FAULTS[check]
    verdict = gate(model, fault, **{f"on_{check}": "block"})
    (told,) = verdict.reasons
    assert told.startswith(f"{check}: 1 row, first a.jsonl:{N}: ") and reason in told and '{"' in told
    assert [entry["name"] for entry in verdict.checks if entry["closed"]] == [check]
    (found,) = verdict.findings.of("rejected")
    assert (found.split, found.source, found.row, found.check) == ("train", "a.jsonl", N, check)


@pytest.mark.parametrize("check", FAULTS)
def test_drop_leaves_the_row_out_and_names_it(model: Path, check: str):
    verdict = gate(model, FAULTS[check][0], **{f"on_{check}": "drop"})
    assert not verdict.closed and verdict.rows() == {"train": len(GOOD), "val": 1, "dropped": 1}
    (found,) = verdict.findings.of("rejected")
    assert (found.row, found.check) == (N, check) and FAULTS[check][1] in found.reason


@pytest.mark.parametrize("check", [name for name in FAULTS if name != "schema"])
def test_warn_names_the_row_and_ignore_does_not_look(model: Path, check: str):
    verdict = gate(model, FAULTS[check][0], **{f"on_{check}": "warn"})
    assert not verdict.closed and verdict.rows()["train"] == N
    assert [f.row for f in verdict.findings.of("warned") if f.check == check] == [N]
    ignored = gate(model, FAULTS[check][0], **{f"on_{check}": "ignore"})
    assert check not in {f.check for level in ("rejected", "warned") for f in ignored.findings.of(level)}


def found(check: str, *rows: Any, **more: Any) -> dict[int, str]:
    """The rows that one check alone names, and why."""
    actions: dict[str, Any] = {f"on_{name}": "ignore" for name in all_checks()} | {f"on_{check}": "warn"}
    verdict = judged(table(*rows), **actions | more)
    assert not verdict.findings.of("rejected")
    return {f.row: f.reason for f in verdict.findings.of("warned")}


WRONG_ROLES = {
    "no answer": (["user", "assistant", "user"], "ends without an answer"),
    "answer first": (["assistant"], "turn 1 is by the assistant"),
    "system only": (["system"], "no question and no answer"),
    "system late": (["user", "assistant", "system", "user", "assistant"], "a system message stands after"),
    "two systems": (["system", "system", "user", "assistant"], "a system message stands after"),
    "answered twice": (["user", "assistant", "assistant"], "turn 3 is by the assistant"),
    "a tool not called": (["user", "tool", "assistant"], "turn 2 is a tool's, and no tool was called"),
}


@pytest.mark.parametrize(("roles", "told"), WRONG_ROLES.values(), ids=WRONG_ROLES)
def test_roles(roles: list[str], told: str):
    assert told in found("roles", chat(*roles))[1]


def test_roles_of_tools_and_preferences():
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "add", "arguments": {}}}]}
    user, tool, answer = ({"role": role, "content": "x"} for role in ("user", "tool", "assistant"))
    fine = [
        [user, call, tool, tool, call, tool, answer],
        [user, answer, user, call],
    ]
    wrong = [[user, call, answer], [user, call, user, answer], [user, answer, tool, answer], [user, call, tool]]
    told = found("roles", *[{"messages": messages} for messages in (*fine, *wrong)])
    assert sorted(told) == [3, 4, 5, 6]
    assert "the tool that was called has not answered" in told[3]
    prompts = [{"prompt": [user]}, {"prompt": [user, answer, user]}, {"text": "x"}, preference("a", "b", "c")]
    assert not found("roles", *prompts)


def test_empty_knows_who_may_be_silent():
    silent = {"messages": [{"role": "system", "content": ""}, *pair_messages("q", "a")]}
    assert not found("empty", silent, calling("add", {}))
    told = found("empty", preference("q", "", "b"), {"text": " "}, pair("", "a"))
    assert told == {1: "the answer is empty", 2: "the text is empty", 3: "the question is empty"}


def pair_messages(question: str, answer: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]


def test_special_tokens_are_those_that_the_tokenizer_files_call_special(tmp_path: Path):
    added = [{"content": "<|end|>", "special": True}, {"content": "<think>", "special": False}]
    (tmp_path / "tokenizer.json").write_text(json.dumps({"added_tokens": added}))
    config = {
        "eos_token": {"content": "</s>"}, "pad_token": None, "additional_special_tokens": ["<image>", " "],
        "added_tokens_decoder": {"1": {"content": "[INST]", "special": True}},
    }  # fmt: skip
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    assert special_tokens(tmp_path) == ["</s>", "<image>", "<|end|>", "[INST]"]
    rows = [
        pair("<image> what?", "<think>x</think> fine"),
        pair("q", "a</s>"),
        pair("[INST]", "a"),
        {"text": "<|end|>"},
    ]
    assert sorted(found("special", *rows, model=tmp_path)) == [2, 3, 4]
    (tmp_path / "tokenizer.json").write_text("{")
    (tmp_path / "tokenizer_config.json").unlink()
    assert special_tokens(tmp_path) == []


def test_special_tokens_hide_in_tool_calls_and_thoughts(model: Path):
    thinking = {"messages": [*pair_messages("q", "a")]}
    thinking["messages"][1]["reasoning_content"] = "hm <|im_end|>"  # type: ignore[index]
    assert sorted(found("special", calling("add", {"a": "<|im_end|>"}), thinking, model=model)) == [1, 2]


@pytest.mark.parametrize(
    "text", ["Ã©", "â€™", "Â\xa0", "ï»¿"[1:] + "Ã¼", "\ufffd", "\x00", "\x1b[0m", "\x85", "\ufeffx"]
)
def test_encoding_damage(text: str):
    assert found("encoding", pair("q", f"so {text} it"))


def test_letters_with_accents_and_line_ends_are_no_damage():
    fine = "Â question, Ã sim, âge, “quoted” … — 100 € \t\r\n naïve São Tomé NÃO Ângela ação 你好 🙂 ½ Ð"
    assert not found("encoding", pair("q", fine))


@settings(max_examples=50)  # a gate each
@given(st.text(st.characters(exclude_categories=("Cs",), min_codepoint=0xA1), min_size=1, max_size=8))
def test_text_read_as_latin_1_is_found(text: str):
    garbled = text.encode().decode("latin-1")
    if any(ord(c) in range(0xC2, 0xC4) or ord(c) in (0xE2, 0xF0) for c in garbled):
        assert found("encoding", pair("q", garbled))


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("A sentence that goes on for some time, as sentences in answers do, and then is cut off in the", "in the”"),
        ("First we take the eggs and the flour, stir them well in a large bowl until smooth, and then,", "and then,”"),
        ("The list:\n```\n1\n```\nand\n```\n2", "never closed"),
        ("Die Antwort ist recht lang und würde noch weitergehen, wäre sie nicht: cut und", "cut und”"),
    ],
)  # fmt: skip
def test_truncated(answer: str, told: str):
    assert told in found("truncated", pair("q", answer))[1]


def test_an_answer_may_end_without_a_full_stop():
    fine = [
        "Paris",
        "1. apples\n2. pears",
        PARAGRAPH[:-1],
        "```\nx\n```",
        "Use ``` to quote",
        "It is what it is of",
        "on and on " * 20,
    ]
    assert not found("truncated", *[pair("q", answer) for answer in fine], preference("q", "fine.", "```\nx"))


def test_tools():
    told = found(
        "tools",
        calling("add", {"a": 1, "b": 2}),
        calling("add", {"a": 1}),
        calling("add", {"a": 1, "b": "two"}),
        calling("add", {"a": 1, "b": True}),
        calling("add", {"a": 1, "b": None}),
        calling("add", {}, [{"name": "add"}]),
    )
    assert set(told) == {2, 3, 4}
    assert told[2] == "calls 'add' without 'b', which it requires"
    assert told[3] == "calls 'add' with 'b' as str, not integer"


def test_a_call_without_declared_tools_is_never_more_than_a_warning():
    verdict = judged(table(calling("add", {}, None)), on_tools="block")
    (warned,) = verdict.findings.of("warned")
    assert not verdict.closed and warned.reason == "calls a tool, and declares none"


def test_pairs_of_very_different_length():
    rows = [
        preference("q", "x" * 500, "y"),
        preference("q", "y", "x" * 500),
        preference("q", "Yes.", "No, never ever."),
    ]
    assert sorted(found("pairs", *rows)) == [1, 2] and not found("pairs", *rows, max_pair_ratio=100)


def test_how_often_the_longer_answer_is_chosen(tmp_path: Path):
    lengths = [(9, 5), (5, 5), (9, 5), (5, 9), (9, 900)]  # the last one is dropped
    rows = [preference(f"q{n}", "x" * a, "y" * b) for n, (a, b) in enumerate(lengths)]
    for name, of, share in (("pairs", rows, 2 / 3), ("equal", rows[1:2], None), ("none", [pair("q")], None)):
        verdict = judged(table(*of), folder=tmp_path / name, on_pairs="drop", group_rows=2)
        write_report(tmp_path / name, verdict)
        assert json.loads((tmp_path / name / "data.json").read_text())["longer_wins"] == share
        page = (tmp_path / name / "data.html").read_text()
        assert ("<b>66.7%</b>" in page) == ("the longer answer chosen" in page) == (share is not None)


LANGUAGES = {
    "en": "This is the house that we are going to buy with the money",
    "de": "Das ist nicht der Hund, der die Katze jagt",
    "fr": "Les enfants sont dans le jardin avec une amie",
    "es": "El perro está con los niños en la casa para jugar",
    "zh": "今天的天气很好，我们一起去公园吧",
    "ja": "今日はとても良い天気ですね",
    "ko": "오늘은 날씨가 아주 좋습니다",
    "ru": "Сегодня очень хорошая погода",
    "ar": "الطقس جميل جدا اليوم",
    "he": "מזג האוויר היום יפה מאוד",
    "el": "Ο καιρός είναι πολύ καλός",
    "hi": "आज मौसम बहुत अच्छा है",
    "th": "วันนี้อากาศดีมาก",
}


@pytest.mark.parametrize("language", LANGUAGES)
def test_languages(language: str):
    others = [name for name in LANGUAGES if name != language]
    rows = [pair(text, text) for text in LANGUAGES.values()]
    told = found("language", *rows, languages=[language])
    assert [f"seems to be in {name}, not {language}" for name in others] == list(told.values())


APOLOGY = '''"""No answer begins with an apology."""

import polars as pl

from components.data.checks import Failure


def check_rows(batch, context):
    answers = batch.turns.filter(pl.col("role") == "assistant", pl.col("content").str.starts_with("I'm sorry"))
    for row in answers["row"].unique(maintain_order=True):
        yield Failure(row, "the answer begins with an apology", "I'm sorry")
'''


def test_a_check_in_a_users_file_is_loaded_like_ours(tmp_path: Path):
    file = tmp_path / "apology.py"
    file.write_text(APOLOGY)
    check = ROW_CHECKS.load("apology", external=[file])
    rows = [chat("user", "assistant"), {"messages": [{"role": "assistant", "content": "I'm sorry"}]}]
    batch = Batch("train", 0, rows, to_arrow(rows, ["a.jsonl"] * 2, [1, 2]))
    failures = list(check.check_rows(batch, Context(Validation())))
    assert failures == [Failure(1, "the answer begins with an apology", "I'm sorry")]
    assert promise(check) == "No answer begins with an apology."
    assert "apology" in ROW_CHECKS.names([file]) and "apology" not in SET_CHECKS.names([file])
    with pytest.raises(ConfigError, match="not a complete set check: `RECORD`, `check_set`, `records` missing"):
        SET_CHECKS.load("apology", external=[file])


def test_what_has_no_words_is_in_no_language():
    assert not found("language", pair("1 + 1", "2"), pair("🙂", "…"), languages=["ko"])


SECRETS = {
    "an e-mail address": "jane.doe+x@mail.acme.co.uk",
    "a phone number": "+49 170 123 45 67",
    "a card number": "4111 1111 1111 1111",
    "an account number": "DE89 3704 0044 0532 0130 00",
    "an AWS key": "AKIAIOSFODNN7ABCDEFG",
    "a Hugging Face token": "hf_" + "aB3" * 12,
    "a GitHub token": "ghp_" + "aB3" * 12,
    "an API key": "sk-proj-" + "aB3" * 12,
    "a private key": "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\n-----END RSA PRIVATE KEY-----",
    "a JSON web token": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w",
}


@pytest.mark.parametrize("kind", SECRETS)
def test_personal(kind: str):
    secret = SECRETS[kind]
    told = found("personal", pair("q", f"It is {secret}, keep it."))
    assert told == {1: f"holds {kind} ({secret[:2]}•••)"}
    written = json.dumps(pair("q", f"It is {secret}, keep it."))
    assert mask_secrets(written) == json.dumps(pair("q", f"It is {secret[:2]}•••, keep it."), ensure_ascii=False)


def test_numbers_are_not_personal():
    fine = (
        "4111 1111 1111 1112, DE89 3704 0044 0532 0130 01, 2 + 3456 = 3458, 1234567890123456, 192.168.100.200, v1.2.3, "
    )
    fine += "user@example.com, @name, 2024-01-15, 3.14159265358979, 10,000,000, 555 1234, git@localhost, x += 12345678"
    assert not found("personal", pair("q", fine))


def test_a_row_repeated_on_purpose_is_no_duplicate_of_itself():
    rows = table(pair("a"), pair("b"), pair("a"), pair("a"), pair("a"), numbers=[1, 2, 1, 3, 3])
    verdict = judged(rows, max_dropped=1, on_near_duplicate="drop", near_threshold=0.9)
    assert [(f.row, f.check) for f in verdict.findings.of("rejected")] == [(3, "duplicate")] * 2


def test_duplicates_are_within_a_split_and_all_that_a_row_holds_counts():
    val = table(pair("b", "x"), pair("b", "x"), source="v.jsonl")
    assert [f.split for f in judged(table(pair("a", "1"), pair("a", "2")), val).findings.of("rejected")] == ["val"]
    shown = [{**pair("<image> what?", PARAGRAPH), "images": [name]} for name in ("a.png", "b.png", "a.png")]
    assert list(found("duplicate", *shown)) == [3] and list(found("near_duplicate", *shown)) == [3]
    labelled = [judgement("q", PARAGRAPH, label) for label in (True, False)]
    assert not found("duplicate", *labelled) and not found("near_duplicate", *labelled)
    system = [{**pair("q"), "system": name} for name in ("x", "y")]
    assert not found("duplicate", *system, pair("fine", "q"), preference("q", "a", "b"), preference("q", "b", "a"))


def test_leak_sees_question_sets_every_prompt_of_a_chat_and_validation_rows():
    long_chat = chat("user", "assistant", "user", "assistant")
    long_chat["messages"][0]["content"] = "1 +  1"
    train = table(
        pair("1 + 1"), long_chat, pair("2 + 2?"), pair("3 + 3"), {**pair("1 + 1"), "system": "be brief"}, pair("1 - 1"),
        preference("1 + 1", "2", "3"), pair("Is it 11", "no"),
    )  # fmt: skip
    val = table(pair("1 + 1"), pair("2 + 2"), source="v.jsonl")
    found = judged(train, val, {"sums": ["1 + 1"]}, max_dropped=1).findings.of("rejected")
    assert [(f.split, f.row) for f in found] == [("train", n) for n in (1, 2, 3, 5, 7)] + [("val", 1)]
    assert "question set sums" in found[0].reason and "v.jsonl:2" in found[2].reason


QUESTION = "What sound does a dog make in 12 towns?"
COPIES = {
    "case, marks, spaces": ' "WHAT sound  does a\tdog make in 12 towns" ',
    "full width": "Ｗｈａｔ ｓｏｕｎｄ ｄｏｅｓ ａ ｄｏｇ ｍａｋｅ ｉｎ １２ ｔｏｗｎｓ？",
    "zero width": "What so\u200bund do\u00ades a dog\ufeff make in 12\u2060 towns?",
    "other spaces": "What\u00a0sound\u3000does\u2003a dog make in 12 towns?",
    "label": "Question: What sound does a dog make in 12 towns?",
    "label and cue": "**Q1:** What sound does a dog make in 12 towns?\nAnswer:",
    "lines round it": "Answer in one word.\n\n- What sound does a dog make in 12 towns?\n\nThink first.",
    "template": "### Instruction:\nWhat sound does a dog make in 12 towns?\n\n### Response:\n",
    "tags": "<question>What sound does a dog make in 12 towns?</question>",
}


@pytest.mark.parametrize("copy", COPIES.values(), ids=COPIES)
def test_leak_sees_what_a_lazy_copy_of_a_question_looks_like(copy: str):
    later = chat("user", "assistant", "user", "assistant")
    later["messages"][2]["content"] = copy
    rows = [pair(copy), later, {"text": f"Some facts.\n{copy}\nWoof."}, pair(QUESTION.replace("12", "13"))]
    for held_out in ({"questions": {"sums": [QUESTION]}}, {"val": table(pair(QUESTION), source="v.jsonl")}):
        verdict = judged(table(*rows), **held_out)
        assert [finding.row for finding in verdict.findings.of("rejected")] == [1, 2, 3]
    if "Think" not in copy:
        assert judged(table(pair(QUESTION)), questions={"sums": [copy]}).findings.counts["rejected", "leak"] == 1


def test_leak_takes_no_other_question_and_no_small_talk_for_a_copy():
    questions = {"q": ["-5 + 3 is what number?", "What does <b> stand for?", "Thank you!", "2^3 = what?"]}
    later = chat("user", "assistant", "user", "assistant")
    later["messages"][2]["content"] = "Thanks!"
    rows = [pair("5 + 3 is what number?"), pair("What does <i> stand for?"), pair("2 * 3 = what?"), later]
    assert not judged(table(*rows), questions=questions).findings.of("rejected")


@pytest.mark.parametrize(
    "text", ["", " \n", "\u200b", "\u3164\u2800", "\ufeff\u00ad\u2060", "\u0301", "\ufe0f", "\u200e\u202c"]
)
def test_a_text_of_which_nothing_is_seen_is_empty(text: str):
    verdict = judged(table(pair("q", text), pair(text), {"text": f"\u200b{text}"}, pair("燕", "…")), min_rows=1)
    assert len(verdict.findings.of("rejected")) == 3 and verdict.rows()["train"] == 1
    assert is_blank(text) and not any(map(is_blank, ("燕", "…", "1", "\ue000", "🙂", "e\u0301")))


def test_a_chat_that_only_begins_like_a_validation_chat_is_no_leak():
    held, other = chat("user", "assistant", "user", "assistant"), chat("user", "assistant", "user", "assistant")
    other["messages"][2]["content"] = "something else"
    assert not judged(table(other, pair("user 0")), table(held)).findings.of("rejected")


def changed(text: str, words: int) -> str:
    """The text with this many of its words, evenly spaced, replaced."""
    parts = text.split()
    for i in range(words):
        parts[i * len(parts) // words] = f"changed{i}"
    return " ".join(parts)


def test_near_duplicates_are_found_from_the_threshold_on():
    shingles = [
        {text[k : k + 8] for k in range(len(text) - 7)}
        for text in (PARAGRAPH.lower(), changed(PARAGRAPH, 1).lower(), changed(PARAGRAPH, 6).lower())
    ]
    near, far = (len(shingles[0] & other) / len(shingles[0] | other) for other in shingles[1:])
    rows = [{"text": text} for text in (PARAGRAPH, changed(PARAGRAPH, 1), changed(PARAGRAPH, 6), "Something else.")]
    assert near > 0.9 > 0.6 > far
    assert list(found("near_duplicate", *rows)) == [2]
    assert list(found("near_duplicate", *rows, near_threshold=far - 0.12)) == [2, 3]
    assert list(found("near_duplicate", *rows, near_threshold=0.99)) == []
    assert found("near_duplicate", rows[0], {"text": PARAGRAPH.upper()}) == {2: "100% the same as a.jsonl:1"}


def test_short_rows_are_left_to_the_exact_check():
    assert not found("near_duplicate", *[pair(f"question {i}") for i in range(200)], {"text": "x"}, {"text": "x"})


def test_a_long_text_is_hashed_in_pieces():
    long = "".join(f"sentence number {i} of many. " for i in range(20_000))
    assert list(found("near_duplicate", {"text": long}, {"text": long[5000:]}, {"text": "x"})) == [2]


@given(st.lists(st.integers(0, 9)))
def test_repeated_keys(keys: list[int]):
    later, earlier = repeated(np.array(keys, np.uint64))
    expected = [(i, keys.index(key)) for i, key in enumerate(keys) if keys.index(key) != i]
    assert list(zip(later.tolist(), earlier.tolist(), strict=True)) == expected


def test_contradictions_among_preferences():
    rows = [preference("q", "a", "b"), preference("q", "b", "a"), preference("r", "b", "a"), preference("q", "a", "c")]
    assert list(found("contradiction", *rows)) == [2]


def test_contradictions_among_classes():
    """Of one text, of a question with its answer, and of two texts; a decimal number is an estimate, not a class."""
    for same in ({"text": "a  b"}, {"query": "a", "response": "b"}, {"sentence1": "a", "sentence2": "b"}):
        labels = ["x", "y", "x", 1, ["x", "y"], ["y", "x"], 2.5, 3.5, "x", 0]
        rows = [same | {"label": label} for label in labels]
        others = [{"text": "a"} | {"label": "y"}, {"sentence1": "a", "sentence2": "c", "label": "y"}]
        reasons = found("contradiction", *rows, *others)
        assert list(reasons) == [2, 4, 5, 6, 10]
        assert reasons[2] == "its text is of another class in a.jsonl:1"
    same = [{"text": "a", "label": ["x", "y"]}, {"text": "a", "label": ["y", "x"]}, {"text": "b", "label": "x"}]
    assert not found("contradiction", *same)


@pytest.mark.parametrize(("good", "closed"), [(1, True), (2, False), (18, False), (19, True)])
def test_labels_close_the_gate_without_dropping_a_row(good: int, closed: bool):
    rows = [judgement(f"q{i}", f"a{i}", i < good) for i in range(20)]
    verdict = judged(table(*rows), on_labels="block", on_near_duplicate="ignore")
    assert verdict.closed == closed and verdict.rows()["dropped"] == 0
    if closed:
        assert verdict.reasons == [
            f"labels: all of train: {good} answers are good and {20 - good} bad: one of both has less than 10%"
        ]


@pytest.mark.parametrize("kind", sorted(SECRETS))
@pytest.mark.parametrize("before", ["\n", "\t", "see: ", '"'])
def test_a_secret_is_masked_wherever_it_stands(kind: str, before: str, tmp_path: Path):
    row = pair("q", f"it is{before}{SECRETS[kind]}\nkeep it")
    for action in ("warn", "block"):
        verdict = judged(table(row, pair("other")), folder=tmp_path / action, on_personal=action)
        write_report(tmp_path / action, verdict)
        written = "".join((tmp_path / action / name).read_text() for name in ("data.json", "data.html"))
        for shown in (written, *verdict.reasons):
            assert SECRETS[kind] not in shown
            assert json.dumps(SECRETS[kind])[1:-1] not in shown
