"""`martlet sft --task_type seq_cls`: from labelled texts to a classifier that transformers loads."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from components.classes import SINGLE, Classes
from components.files import read_json, write_json
from components.models import copy_companions, load_model
from tests.apps.test_plugins import SHORT, write_rows
from tests.commands import deployed, martlet

WORDS = {
    "fruit": ["apple", "pear", "plum", "cherry"],
    "metal": ["iron", "zinc", "gold", "lead"],
    "tree": ["oak", "elm", "ash", "fir"],
}


def texts(label: Any) -> list[dict[str, Any]]:
    return [
        {"text": f"{word} {count}", "label": label(name, count)}
        for name, words in WORDS.items()
        for word in words
        for count in range(1, 9)
    ]


def lines(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "logs/train/progress.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> Path:
    """A folder with labelled texts, a base whose configuration names no padding, and with `run`, in which a classifier
    was trained on them."""
    folder = tmp_path_factory.mktemp("classes")
    shutil.copytree(tiny_model, folder / "base")
    config = read_json(folder / "base/config.json")
    write_json(folder / "base/config.json", {**config, "pad_token_id": None})
    write_rows(folder / "texts.jsonl", texts(lambda name, _: name))
    said = train(folder, folder / "base", "run", "--lora_dropout", 0, "--gradient_accumulation_steps", 2)
    (folder / "said.txt").write_text(said)
    return folder


def train(folder: Path, base: Path, run: str, *words: object, code: int = 0) -> str:
    return martlet(
        folder, "sft", "--task_type", "seq_cls", "--model", base, "--dataset", "texts.jsonl", "--learning_rate", 1e-2,
        "--num_train_epochs", 5, "--split_dataset_ratio", 0.125, "--eval_strategy", "epoch",
        *SHORT, *words, "--output_dir", run, code=code,
    )  # fmt: skip


def test_a_classifier_learns_evaluates_and_tells_classes_as_transformers_does(workspace: Path) -> None:
    report = lines(workspace / "run")
    last = [line for line in report if "eval_acc" in line][-1]
    assert last["eval_acc"] >= 0.9
    assert last["eval_f1"] >= 0.85
    said = martlet(workspace, "infer", "--adapters", "run", text="zinc 3\nelm 5\n")
    assert [line.split()[0] for line in said.splitlines()] == ["metal", "tree"]
    martlet(workspace, "infer", "--adapters", "run", "--val_dataset", "texts.jsonl", "--result_path", "answers.jsonl")
    answers = [json.loads(line) for line in (workspace / "answers.jsonl").read_text().splitlines()]
    assert sum(row["response"] == row["labels"] for row in answers) >= 0.9 * len(answers)

    martlet(workspace, "export", "--adapters", "run", "--merge_lora", "true", "--output_dir", "merged")
    model = AutoModelForSequenceClassification.from_pretrained(workspace / "merged").eval()
    tokenizer = AutoTokenizer.from_pretrained(workspace / "merged")
    assert model.config.id2label == {0: "fruit", 1: "metal", 2: "tree"}
    chats = [
        tokenizer.apply_chat_template(row["messages"], tokenize=False, add_generation_prompt=True) for row in answers
    ]
    batch = tokenizer(chats[:6], return_tensors="pt", padding=True)
    with torch.no_grad():
        shares = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits.softmax(-1)
    for row, share in zip(answers, shares.tolist(), strict=False):
        assert row["probabilities"] == pytest.approx(
            dict(zip(("fruit", "metal", "tree"), share, strict=True)), abs=1e-4
        )
    assert martlet(workspace, "infer", "--model", "merged", text="zinc 3\n").split()[0] == "metal"
    error = martlet(workspace, "app", "--model", "merged", code=2)
    assert "a page to chat on needs a model that writes text; " in error
    assert "merged is a classifier" in error
    with deployed(workspace, "--adapters", "run") as url:
        texts = {"input": ["zinc 3", "elm 5"]}
        served = httpx.post(f"{url.removesuffix('/v1')}/classify", json=texts, timeout=60).json()["data"]
    assert [row["label"] for row in served] == ["metal", "tree"]


def test_a_run_says_classes_and_what_it_needs_and_nothing_of_chats(workspace: Path) -> None:
    said = (workspace / "said.txt").read_text()
    assert re.search(r"^classes: (fruit|metal|tree) \d+, ", said, re.MULTILINE)
    assert re.search(r"^texts\.jsonl:\d+: \d+ tokens, label (fruit|metal|tree)$", said, re.MULTILINE)
    assert re.search(r"^memory: about .* at most 4 × \d+ tokens\)$", said, re.MULTILINE)
    assert "classify texts:  martlet infer --adapters run/" in said
    for word in ("learned", "learnable", "talk to it"):
        assert word not in said


def test_a_classifier_is_trained_further_or_its_other_classes_are_named(workspace: Path, tmp_path: Path) -> None:
    """The head is kept, whose classes are in another order than that of the alphabet."""
    classes = Classes(["tree", "metal", "fruit"], SINGLE)
    model = load_model(workspace / "base", classes=classes)
    model.save_pretrained(tmp_path / "base")
    copy_companions(workspace / "base", tmp_path / "base")
    shutil.copy(workspace / "texts.jsonl", tmp_path)
    train(tmp_path, tmp_path / "base", "run", "--learning_rate", 1e-9, "--max_steps", 1)
    adapter = load_file(tmp_path / "run/models/adapter/adapter_model.safetensors")
    [head] = [value for name, value in adapter.items() if "score" in name]
    assert torch.allclose(head, model.score.weight, atol=1e-6)
    assert read_json(tmp_path / "run/models/adapter/args.json")["classes"]["names"] == classes.names
    write_rows(tmp_path / "texts.jsonl", [{"text": f"{n} x", "label": "abcd"[n % 4]} for n in range(16)])
    error = train(tmp_path, tmp_path / "base", "other", code=2)
    assert "tells 3 classes (tree, metal, fruit), and the rows have 4 classes (a, b, c, d)" in error
    assert "--ignore_mismatched_sizes true" in error
    train(tmp_path, tmp_path / "base", "other", "--ignore_mismatched_sizes", True, "--max_steps", 1)
    assert read_json(tmp_path / "other/models/adapter/args.json")["classes"]["names"] == [*"abcd"]


def test_a_text_beyond_the_models_positions_is_refused_and_the_others_are_answered(workspace: Path) -> None:
    write_rows(workspace / "long.jsonl", [{"text": "zinc " * 2000}, {"text": "elm 5"}])
    martlet(
        workspace, "infer", "--adapters", "run", "--val_dataset", "long.jsonl", "--result_path", "long-answers.jsonl"
    )
    long, short = [json.loads(line) for line in (workspace / "long-answers.jsonl").read_text().splitlines()]
    assert "the model reads 1024" in long["error"]
    assert short["response"] == "tree"


def test_weights_of_other_classes_begin_no_run(workspace: Path) -> None:
    write_rows(workspace / "others.jsonl", [{"text": f"{n} x", "label": "abc"[n % 3]} for n in range(12)])
    checkpoint = next((workspace / "run").glob("checkpoint-*"))
    error = train(
        workspace, workspace / "base", "new", "--dataset", "others.jsonl", "--resume_from_checkpoint", checkpoint,
        "--resume_only_model", "true", code=2,
    )  # fmt: skip
    assert "names was fruit metal tree" in error


def test_batch_and_accumulation_change_no_loss_and_a_run_goes_on_to_the_same_weights(workspace: Path) -> None:
    base = workspace / "base"
    whole = [line["loss"] for line in lines(workspace / "run") if "loss" in line]
    words = ["--lora_dropout", 0, "--per_device_train_batch_size", 8, "--max_steps", 12, "--save_steps", 5]
    train(workspace, base, "other", *words)
    other = [line["loss"] for line in lines(workspace / "other") if "loss" in line]
    assert whole[:2] == pytest.approx(other[:2], abs=1e-4)
    weights = (workspace / "other/models/adapter/adapter_model.safetensors").read_bytes()
    train(workspace, base, "other", *words, "--resume_from_checkpoint", "other/checkpoint-5")
    assert (workspace / "other/models/adapter/adapter_model.safetensors").read_bytes() == weights


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    ("label", "words", "figure"),
    [
        (lambda name, count: [name] * (count > 1) + ["many"] * (count > 4), (), "eval_f1"),
        (lambda _, count: count + 0.5, (), "eval_mae"),
        (lambda _, count: count, ("--problem_type", "regression"), "eval_mae"),
        (lambda _, count: count % 2, ("--num_labels", 3, "--tuner_type", "full"), "eval_acc"),
    ],
    ids=["several classes", "decimal numbers", "whole numbers as values", "all weights"],
)
def test_other_labels(tiny_model: Path, tmp_path: Path, label: Any, words: tuple[object, ...], figure: str) -> None:
    write_rows(tmp_path / "texts.jsonl", texts(label))
    train(tmp_path, tiny_model, "run", *words, "--learning_rate", 3e-3)
    report = lines(tmp_path / "run")
    losses = [line["loss"] for line in report if "loss" in line]
    assert losses[-1] < losses[0]
    assert any(figure in line for line in report)
    said = martlet(tmp_path, "infer", "--adapters", "run", text="zinc 3\n")
    assert said.strip()


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "x"}], (), "every training row is of one class"),
        ([{"text": "a", "label": 0}, {"text": "b", "label": 4}], ("--num_labels", 3), "a row has 4"),
        ([{"text": "a", "label": 0}, {"text": "b", "label": 10**9}], (), "cannot show so many classes"),
        ([{"text": "a", "label": -1}, {"text": "b", "label": 1}], (), "a row has -1"),
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], ("--problem_type", "regression"), "is no number"),
        ([{"text": "a", "label": 1}, {"text": "b", "label": 1}], (), "every training row is of one class (1)"),
        ([{"text": "a", "label": -100.0}, {"text": "b", "label": 1.0}], (), "means no label to PyTorch"),
        ([{"text": "a", "label": []}, {"text": "b", "label": []}], (), "no training row has a class"),
        ([{"text": "a", "label": ["x"]}, {"text": "b", "label": "y"}], (), "the others one class"),
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], ("--num_labels", 3), "leave it out"),
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], ("--packing", "true"), "leave --packing out"),
        ([{"text": "a", "label": "x"}, {"text": "b", "label": "y"}], ("--loss_type", "dft"), "no effect"),
        ([{"text": "a", "label": "x"}], ("--tuner_type", "prefix_tuning"), "use lora for --task_type seq_cls"),
        ([{"text": "a", "label": "x"}], ("--task_type", "reranker"), "a label of 0 or 1 for query and document"),
    ],
)
def test_labels_that_do_not_go_together_are_named(
    tiny_model: Path, tmp_path: Path, rows: list[dict[str, Any]], words: tuple[object, ...], message: str
) -> None:
    write_rows(tmp_path / "texts.jsonl", rows)
    error = martlet(
        tmp_path, "sft", "--task_type", "seq_cls", "--model", tiny_model, "--dataset", "texts.jsonl", *SHORT, *words,
        code=2,
    )  # fmt: skip
    assert message in error


def test_answers_are_classified_with_their_questions(tiny_model: Path, tmp_path: Path) -> None:
    """Labels of 0 and 1 beside an answer are judgements, which a classifier reads as the classes 0 and 1."""
    chat = [{"role": "user", "content": "zinc?"}, {"role": "assistant", "content": "a metal"}]
    rows = [{"messages": [*chat[:1], {**chat[1], "content": f"{n}"}], "label": n % 3} for n in range(24)]
    write_rows(tmp_path / "texts.jsonl", rows)
    said = train(tmp_path, tiny_model, "run", "--max_steps", 1, "--split_dataset_ratio", 0, "--eval_strategy", "no")
    [line] = [line for line in said.splitlines() if line.startswith("classes: ")]
    assert sorted(line.removeprefix("classes: ").split(", ")) == ["0 8", "1 8", "2 8"]


def test_rows_without_a_label_that_can_be_learned_are_refused_with_the_reason(tiny_model: Path, tmp_path: Path) -> None:
    write_rows(
        tmp_path / "texts.jsonl", [{"query": "a", "response": "b"}, {"text": "a", "label": {"x": 1}}, {"query": "c"}]
    )
    error = train(tmp_path, tiny_model, "run", "--split_dataset_ratio", 0, "--eval_strategy", "no", code=3)
    for reason in ("a conversation is not learned by a classifier", "neither a number nor a name", "no label says"):
        assert reason in error


def test_labels_are_nothing_without_the_task(tiny_model: Path, tmp_path: Path) -> None:
    write_rows(tmp_path / "texts.jsonl", texts(lambda name, _: name))
    error = martlet(tmp_path, "sft", "--model", tiny_model, "--dataset", "texts.jsonl", *SHORT, code=3)
    assert "--task_type seq_cls" in error
    assert read_json(tiny_model / "config.json")["architectures"] == ["Qwen3ForCausalLM"]
