"""Tokens of every shape: the ids are the chat template's, the labels are the answers, what does not fit is refused."""

from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from components.errors import ConfigError
from components.rows import rows_writer, to_arrow
from components.templates import ChatTemplate, Encoder, Refused, TokenBatch, strategy, tokenize
from components.tokens import IGNORED, SHAPES, TokenRow, TokenRows, schema
from tests.components.templates.families import FAMILIES
from tests.components.templates.styles import STYLES, tokenizer
from tests.components.templates.test_families import (
    A1,
    A2,
    CALL,
    Q1,
    Q2,
    RESULT,
    SYSTEM,
    T1,
    T2,
    TOOLS,
    family_tokenizer,
    said,
)  # fmt: skip

CHATML = STYLES["chatml"]
END = "<|im_end|>"
PREFERENCE = {"prompt": [Q1, A1, Q2], "chosen": [A2], "rejected": [A1]}
LABEL = {"prompt": [SYSTEM, Q1], "completion": [A1], "label": False}
PROMPT = {"prompt": [Q1, A1, Q2], "extra": {"solution": "42", "tests": [1, 2]}}
ROWS: dict[str, dict[str, Any]] = {
    "sft": {"messages": [Q1, A1]},
    "text": {"text": "The sky."},
    "preference": PREFERENCE,
    "label": LABEL,
    "prompt": PROMPT,
    "classification": {"prompt": [Q1], "extra": {"label": "blue"}},
    "pair": {"prompt": [Q1], "extra": {"positive": "The sky.", "negative": ["A tree.", "Rain."], "score": 0.5}},
}


def encoded(shape: Any, rows: list[dict[str, Any]], tok: Any = None, *settings: Any, **options: Any) -> TokenBatch:
    chat = ChatTemplate(tok or tokenizer(CHATML), **options)
    return Encoder(chat, shape, *settings)(rows, ["my.jsonl"] * len(rows), range(len(rows)))


def only(shape: Any, row: dict[str, Any], tok: Any = None, *settings: Any, **options: Any) -> TokenRow:
    batch = encoded(shape, [row], tok, *settings, **options)
    assert batch.refused == {}, str(batch.refused[0])
    (token_row,) = list(TokenRows(batch.tokens))
    return {name: value.tolist() if hasattr(value, "tolist") else value for name, value in token_row.items()}


def refusal(shape: Any, row: dict[str, Any], tok: Any = None, *settings: Any, **options: Any) -> Refused:
    batch = encoded(shape, [row], tok, *settings, **options)
    assert (batch.owners, len(batch.tokens)) == ([], 0)
    return batch.refused[0]


def learned(tok: Any, row: TokenRow, name: str) -> str:
    """The learned tokens of an answer, decoded."""
    ids, labels = row[f"{name}_ids"], row[f"{name}_labels"]
    assert all(label in (IGNORED, token) for token, label in zip(ids, labels, strict=True))
    return tok.decode([label for label in labels if label != IGNORED])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_batch_has_the_schema_of_its_shape_and_the_places_of_its_rows(shape: Any) -> None:
    other = {"text": " "} if shape in ("sft", "text", "pair") else {"messages": [Q1, A1]}
    batch = encoded(shape, [other, ROWS[shape]])
    assert batch.tokens.schema.equals(schema(shape), check_metadata=True)
    assert (batch.owners, list(batch.refused)) == ([1], [0])
    rows = TokenRows(batch.tokens)
    assert rows.origin(0) == "my.jsonl, row 1"
    assert batch.counts["learnable"] == rows.learned()[0]
    every = [row for name, row in rows[0].items() if name.endswith("_ids")]
    assert rows.lengths[0] == sum(map(len, every))


@pytest.mark.parametrize("shape", ["sft", "text", "preference", "label", "prompt"])
@pytest.mark.parametrize("kind", ["sft", "text", "preference", "label", "prompt"])
def test_a_row_of_another_kind_is_refused_by_its_name(shape: Any, kind: str) -> None:
    if kind == shape or {kind, shape} == {"sft", "text"}:
        assert not encoded(shape, [ROWS[kind]]).refused
        return
    noun = {
        "sft": "a conversation", "text": "a plain text", "preference": "a preference pair",
        "label": "an unpaired preference", "prompt": "a prompt without an answer",
    }[kind]  # fmt: skip
    reason = refusal(shape, ROWS[kind]).reason
    assert reason.startswith(f"{noun} is not learned by ")
    command = {"sft": "sft", "text": "pt", "preference": "rlhf --rlhf_type dpo", "label": "rlhf --rlhf_type kto"}
    assert (f"`martlet {command.get(kind)}` learns from it" in reason) == (kind in command)
    assert shape in ("sft", "text") or "its rows have " in reason


def test_a_classifier_reads_prompts_and_judged_answers_with_their_labels() -> None:
    tok = tokenizer(CHATML)
    row = only("classification", ROWS["classification"], tok)
    assert row["target"] == "blue"
    assert row["input_ids"] == tok.apply_chat_template([Q1], return_dict=False, add_generation_prompt=True)
    row = only("classification", LABEL, tok)
    assert row["target"] == 0
    assert A1["content"] in tok.decode(row["input_ids"])
    assert refusal("classification", PROMPT).reason == "no label says which class the text is of"
    assert refusal("classification", ROWS["sft"]).reason.startswith("a conversation is not learned by a classifier")


def test_labels_of_other_columns_and_pairs_are_targets() -> None:
    for extra, target in (
        ({"labels": ["a", 1]}, ["a", 1]),
        ({"anchor": "a", "positive": "b", "score": 0.5}, 0.5),
        ({"anchor": "a", "positive": "b", "label": 2}, 2),
    ):
        assert only("classification", {"prompt": [Q1], "extra": extra})["target"] == target
    for extra in ({"label": ""}, {"score": 1}, {"positive": "b", "score": 1}):
        assert refusal("classification", {"prompt": [Q1], "extra": extra}).reason.startswith("no label says which")


def test_scores_of_judged_pairs() -> None:
    tok = tokenizer(CHATML)
    pair = {"anchor": "One.", "positive": "Two."}
    for judgement, score in (({"score": 0.5, "label": 1}, 0.5), ({"label": True}, 1.0), ({"label": "0.25"}, 0.25)):
        row = only("pair", {"prompt": [Q1], "extra": pair | judgement}, tok)
        assert (row["score"], row["anchor_ids"]) == (score, tok.encode("One."))
    for label in ("entailment", "nan", [1]):
        told = refusal("pair", {"prompt": [Q1], "extra": pair | {"label": label}})
        assert "no number, how alike they are" in told.reason


def test_a_class_or_a_pair_is_sent_to_the_task_that_learns_it() -> None:
    named = {"prompt": [Q1, A1], "extra": {"label": "rude"}}
    assert "--task_type seq_cls" in refusal("sft", named).reason
    assert """--columns '{"label": "_"}'""" in refusal("sft", named).reason
    told = "--task_type seq_cls learns; a judgement is true or false: the label rude"
    assert str(refusal("label", named)).endswith(told)
    assert "--task_type embedding" in refusal("sft", {"prompt": [Q1], "extra": {"positive": "b"}}).reason


def test_an_embedding_reads_texts_as_the_tokenizer_encodes_them() -> None:
    tok = tokenizer(CHATML)
    row = only("pair", ROWS["pair"], tok)
    assert (row["anchor_ids"], row["positive_ids"]) == (tok.encode(Q1["content"]), tok.encode("The sky."))
    assert row["negative_ids"] == tok.encode("A tree.") + tok.encode("Rain.")
    assert row["negative_lengths"] == [len(tok.encode("A tree.")), len(tok.encode("Rain."))]
    assert row["score"] == 0.5
    single = {**PREFERENCE, "prompt": [Q1]}
    row = only("pair", single, tok)
    assert tok.decode(row["negative_ids"]) == A1["content"]
    assert only("pair", {**LABEL, "prompt": [Q1]}, tok)["score"] == 0.0
    assert only("pair", ROWS["sft"], tok)["score"] is None
    assert refusal("pair", PREFERENCE).reason == "a side of a pair is one text, and this is a conversation"
    row = only("pair", ROWS["pair"], tok, 2, "right")
    assert row["anchor_ids"] == tok.encode(Q1["content"])[:2]


def test_text_is_learned_whole_whatever_the_template() -> None:
    tok = tokenizer(CHATML)
    row = only("text", {"messages": [SYSTEM, Q1, A1]}, tok)
    whole = SYSTEM["content"] + Q1["content"] + A1["content"]
    assert row["input_ids"] == row["labels"] == [*tok.encode(whole), tok.eos_token_id]
    assert row == only("sft", {"messages": [SYSTEM, Q1, A1]}, tok, use_chat_template=False, loss_scale=strategy("all"))


@pytest.mark.parametrize("style", ["chatml", "llama3", "mistral", "default system", "channels", "phi"])
@pytest.mark.parametrize("kind", ["byte level", "metaspace"])
def test_the_ids_of_a_preference_are_the_template_s(style: str, kind: str) -> None:
    tok = tokenizer(STYLES[style], kind)
    row = only("preference", PREFERENCE, tok)
    for name in ("chosen", "rejected"):
        expected = tok.apply_chat_template([*PREFERENCE["prompt"], *PREFERENCE[name]], return_dict=False)
        assert row["prompt_ids"] + row[f"{name}_ids"] == expected
    prompt = tok.apply_chat_template(PREFERENCE["prompt"], return_dict=False, add_generation_prompt=True)
    assert row["prompt_ids"] == prompt
    assert A2["content"] in learned(tok, row, "chosen")
    assert A1["content"].strip() in learned(tok, row, "rejected")


def test_the_labels_of_a_preference_are_its_answers_alone() -> None:
    tok = tokenizer(CHATML)
    row = only("preference", PREFERENCE, tok, system="Be kind.")
    assert tok.decode(row["prompt_ids"]) == (
        f"<|im_start|>system\nBe kind.{END}\n<|im_start|>user\n{Q1['content']}{END}\n<|im_start|>assistant\n"
        f"{A1['content']}{END}\n<|im_start|>user\n{Q2['content']}{END}\n<|im_start|>assistant\n"
    )
    assert learned(tok, row, "chosen") == A2["content"] + END
    assert learned(tok, row, "rejected") == A1["content"] + END
    assert tok.decode(row["chosen_ids"]) == f"{A2['content']}{END}\n"


@pytest.mark.parametrize(
    ("shape", "answers", "families"),
    [
        ("preference", {"chosen": A1, "rejected": A2}, 22),
        ("preference", {"chosen": T1, "rejected": A2}, 4),
        ("label", {"completion": A1}, 22),
    ],
)
def test_every_family_teaches_the_answers_or_says_why_not(
    shape: str, answers: dict[str, Any], families: int, tmp_path: Path
) -> None:
    reached = []
    for name, family in FAMILIES.items():
        tok = family_tokenizer(family, tmp_path)
        row = {"prompt": [Q1], "label": True, **{column: [message] for column, message in answers.items()}}
        batch = encoded(shape, [row], tok)
        if batch.refused:
            assert "thought" in batch.refused[0].reason or "generation prompt" in batch.refused[0].reason
            continue
        reached.append(name)
        (token_row,) = list(TokenRows(batch.tokens))
        for column, message in answers.items():
            ids, labels = token_row[f"{column}_ids"], token_row[f"{column}_labels"]
            text = tok.decode([label for label in labels if label != IGNORED])
            assert text in (family.writes(message), family.writes(message).removeprefix("<think>\n"))
            whole = tok.decode([*token_row["prompt_ids"], *ids])
            assert whole.index(text) >= len(tok.decode(token_row["prompt_ids"]))  # one answer may close a thought
    assert len(reached) == families, reached


def test_the_prompt_ends_before_the_first_learned_token_of_either_answer() -> None:
    tok = tokenizer(CHATML)
    row = only(
        "preference", {"prompt": [Q1], "chosen": [said("The sky is blue.")], "rejected": [said("The sky is red.")]}, tok
    )
    assert tok.decode(row["prompt_ids"]).endswith("<|im_start|>assistant\n")
    assert learned(tok, row, "chosen") == "The sky is blue." + END
    tok.add_tokens(["\n\n"])  # in one token with the prompt's last character, so that this one is not in the prompt
    row = only("preference", {"prompt": [Q1], "chosen": [said("\nBlue.")], "rejected": [said("Red.")]}, tok)
    assert tok.decode(row["prompt_ids"]).endswith("<|im_start|>assistant")
    assert (tok.decode(row["chosen_ids"]), learned(tok, row, "chosen")) == (f"\n\nBlue.{END}\n", "Blue." + END)
    assert (tok.decode(row["rejected_ids"]), learned(tok, row, "rejected")) == (f"\nRed.{END}\n", "Red." + END)


def test_answers_of_several_turns_with_tools() -> None:
    tok = tokenizer(FAMILIES["Qwen2.5 with tools"].template)
    call = said("", tool_calls=[CALL])
    content = {"prompt": [Q1], "chosen": [call, RESULT, A1], "rejected": [A2], "tools": TOOLS}
    row = only("preference", content, tok)
    writes = FAMILIES["Qwen2.5 with tools"].writes
    assert learned(tok, row, "chosen") == writes(call) + writes(A1)
    assert learned(tok, row, "rejected") == writes(A2)
    whole = tok.apply_chat_template([Q1, call, RESULT, A1], tools=TOOLS, return_dict=False)
    assert row["prompt_ids"] + row["chosen_ids"] == whole


def test_an_answer_whose_turns_need_a_sample_each_is_refused() -> None:
    content = {"prompt": [Q1], "chosen": [T1, Q2, T2], "rejected": [A1]}
    reason = refusal("preference", content, tokenizer(FAMILIES["Qwen3"].template)).reason
    assert reason == "the template changes an earlier turn of the answer once a later one is there"


def test_two_answers_of_the_same_tokens_are_refused() -> None:
    row = {"prompt": [Q1], "chosen": [said("Blue. ")], "rejected": [said("Blue.")]}
    assert refusal("preference", row, tokenizer(STYLES["llama3"])).reason == "chosen and rejected are the same tokens"
    assert only("preference", row)


def test_a_judged_answer_has_its_label() -> None:
    tok = tokenizer(CHATML)
    rows = [LABEL, LABEL | {"label": True, "completion": [A2]}]
    first, second = list(TokenRows(encoded("label", rows, tok).tokens))
    assert (first["label"], second["label"]) == (False, True)
    for row, answer in ((first, A1), (second, A2)):
        ids = [*row["prompt_ids"].tolist(), *row["completion_ids"].tolist()]
        assert ids == tok.apply_chat_template([SYSTEM, Q1, answer], return_dict=False)
        assert learned(tok, {k: v.tolist() for k, v in row.items() if k != "label"}, "completion") == (
            answer["content"] + END
        )


@pytest.mark.parametrize("name", FAMILIES)
def test_a_prompt_asks_for_an_answer_as_a_server_does(name: str, tmp_path: Path) -> None:
    tok = family_tokenizer(FAMILIES[name], tmp_path)
    row = only("prompt", PROMPT, tok, enable_thinking=False)
    template = ChatTemplate(tok).samples({"messages": [Q1, A1]})[0].row.get("chat_template")  # with its fixed date
    arguments = {"enable_thinking": False, "chat_template": template, "return_dict": False}
    messages = PROMPT["prompt"]
    if "parts" in name:
        messages = [m | {"content": [{"type": "text", "text": m["content"]}]} for m in messages]
    assert row["prompt_ids"] == tok.apply_chat_template(messages, add_generation_prompt=True, **arguments)
    assert (row["prompt"], row["extra"]) == (PROMPT["prompt"], PROMPT["extra"])


def test_a_prompt_with_system_tools_and_variables() -> None:
    tok = tokenizer(FAMILIES["Qwen3"].template)
    content = {"prompt": [Q1], "tools": TOOLS, "chat_template_kwargs": {"enable_thinking": False}}
    row = only("prompt", content, tok, system="Be kind.")
    messages = [{"role": "system", "content": "Be kind."}, Q1]
    arguments = {"tools": TOOLS, "enable_thinking": False, "return_dict": False}
    assert row["prompt_ids"] == tok.apply_chat_template(messages, add_generation_prompt=True, **arguments)
    assert (row["prompt"], row["extra"]) == (
        messages,
        {"tools": TOOLS, "chat_template_kwargs": {"enable_thinking": False}},
    )


@pytest.mark.parametrize(
    ("shape", "row", "reason"),
    [
        ("preference", PREFERENCE | {"images": ["sky.png"]}, "the model takes no images"),
        ("preference", PREFERENCE | {"chosen": [said("a<|im_end|>b")]}, "a text holds a control token"),
        ("preference", PREFERENCE | {"rejected": [said("")]}, "an assistant's text is empty"),
        ("preference", PREFERENCE | {"chosen": [A1 | {"loss_scale": 0.5}]}, "a weight of loss_scale is neither 0 nor"),
        ("preference", PREFERENCE | {"chosen": [A1 | {"loss_scale": 0.0}]}, "no assistant turn is learned"),
        ("label", LABEL | {"completion": [said("a<|im_end|>b")]}, "a text holds a control token"),
        ("prompt", {"prompt": [Q1 | {"content": "a<|im_end|>b"}]}, "a text holds a control token"),
        ("prompt", {"prompt": [Q1], "tools": TOOLS}, "the template does not show the tools"),
    ],
)
def test_what_cannot_be_learned_is_named(shape: str, row: dict[str, Any], reason: str) -> None:
    assert refusal(shape, row).reason.startswith(reason)


def test_a_prompt_of_which_the_template_leaves_a_text_out_is_refused() -> None:
    template = CHATML.replace("messages %}", "messages if m.role != 'system' %}")
    assert refusal("prompt", {"prompt": [SYSTEM, Q1]}, tokenizer(template)).detail == "the system's"


def test_without_a_chat_template_the_question_is_the_prompt() -> None:
    tok = tokenizer(CHATML)
    content = {"prompt": [SYSTEM, Q1], "chosen": [A1], "rejected": [A2]}
    row = only("preference", content, tok, use_chat_template=False)
    question = SYSTEM["content"] + Q1["content"]
    assert tok.decode(row["prompt_ids"]) == question
    assert learned(tok, row, "chosen") == A1["content"] + "</s>"
    assert learned(tok, row, "rejected") == A2["content"] + "</s>"
    assert only("prompt", {"prompt": [SYSTEM, Q1]}, tok, use_chat_template=False)["prompt_ids"] == tok.encode(question)
    assert "one question" in refusal("prompt", PROMPT, tok, use_chat_template=False).reason


@pytest.mark.parametrize(("shape", "names"), [("preference", ("chosen", "rejected")), ("label", ("completion",))])
def test_too_long_answers_lose_of_their_prompt_or_are_left_out(shape: str, names: tuple[str, ...]) -> None:
    tok = tokenizer(CHATML)
    whole = only(shape, ROWS[shape], tok)
    longest = max(len(whole[f"{name}_ids"]) for name in names)
    size = len(whole["prompt_ids"]) + longest
    assert only(shape, ROWS[shape], tok, size) == whole
    refused = refusal(shape, ROWS[shape], tok, size - 1)
    assert (refused.reason, refused.detail) == ("longer than max_length", f"{size} tokens, at most {size - 1}")
    for limit in (size - 1, longest + 1):
        cut = only(shape, ROWS[shape], tok, limit, "left")
        assert cut == whole | {"prompt_ids": whole["prompt_ids"][size - limit :]}
        assert encoded(shape, [ROWS[shape]], tok, limit, "left").counts["truncated"] == 1
    refused = refusal(shape, ROWS[shape], tok, longest, "left")
    assert refused.detail == f"the answer alone is {longest} tokens, at most {longest}"


def test_too_long_prompts_lose_their_beginning_or_are_left_out() -> None:
    tok = tokenizer(CHATML)
    whole = only("prompt", PROMPT, tok)
    size = len(whole["prompt_ids"])
    assert only("prompt", PROMPT, tok, size) == whole
    assert refusal("prompt", PROMPT, tok, size - 1).reason == "longer than max_length"
    assert only("prompt", PROMPT, tok, 5, "left") == whole | {"prompt_ids": whole["prompt_ids"][-5:]}


@pytest.mark.parametrize("shape", ["preference", "label", "prompt"])
@pytest.mark.parametrize("truncation_strategy", ["right", "split"])
def test_answers_are_not_cut(shape: Any, truncation_strategy: Any) -> None:
    with pytest.raises(ConfigError, match=f"^truncation_strategy: {truncation_strategy} .*choose delete, or left"):
        Encoder(ChatTemplate(tokenizer(CHATML)), shape, 512, truncation_strategy)


@pytest.mark.parametrize("shape", ["preference", "label"])
def test_prompts_are_not_learned_where_answers_are_compared(shape: Any) -> None:
    with pytest.raises(ConfigError, match=r"^loss_scale: all "):
        Encoder(ChatTemplate(tokenizer(CHATML), loss_scale=strategy("all")), shape)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_token_file_of_every_shape(shape: Any, tmp_path: Path) -> None:
    clean, out = tmp_path / "clean", tmp_path / "out"
    clean.mkdir()
    out.mkdir()
    rows = [ROWS[shape], {"text": ""}, ROWS[shape]]
    with rows_writer(clean / "train.parquet") as writer:
        writer.write_batch(to_arrow(rows, ["my.jsonl"] * 3, range(1, 4)))
    report = tokenize(clean, out, ChatTemplate(tokenizer(CHATML)), shape, 512)
    assert (report["shape"], report["samples"], report["rows"]) == (shape, {"train": 2}, {"train": 3})
    assert [refused["row"] for refused in report["refused"]] == [2]
    assert pa.ipc.open_file(out / "train.arrow").schema.equals(schema(shape), check_metadata=True)
    tokens = TokenRows(out / "train.arrow")
    assert (tokens.shape, tokens.origin(1)) == (shape, "my.jsonl, row 3")
    assert report["learnable_tokens"]["train"] == tokens.learned().sum()
    assert (report["learnable_tokens"]["train"] > 0) == (shape not in ("prompt", "classification", "pair"))
