"""The stage on tiny models: served, asked, reported."""

import csv
import json
from pathlib import Path

import pytest
import torch

from components import models
from components.config import load, read_overrides
from components.evaluation import decide, read_records
from components.files import read_json, write_json
from tasks.stages.evaluate import run
from tasks.stages.paths import Paths


@pytest.fixture
def paths(tiny_model: Path, tmp_path: Path) -> Paths:
    """A workspace where the base, the merged model and a variant are the same tiny model."""
    paths = Paths(tmp_path, tmp_path)
    (tmp_path / "base").symlink_to(tiny_model)
    write_json(paths.model, models.resolve("base", None, False, tmp_path))
    paths.quantized.mkdir(parents=True)
    paths.merged.symlink_to(tiny_model)
    (paths.quantized / "bnb-int8").symlink_to(tiny_model)
    paths.questions.mkdir(parents=True)
    return paths


def test_every_candidate_is_asked_and_reported(paths: Paths, tmp_path: Path) -> None:
    lines = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r"  # Python's splitlines() splits a text at each of them
    rows = [{"query": f"What{lines}is {number}?", "response": "nobody knows"} for number in range(6)]
    for name in ("one", "two"):
        content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (paths.questions / f"{name}.jsonl").write_text(content, "utf-8")
    (tmp_path / "params.yaml").write_text("quantize: {variants: [bnb-int8]}\n")
    params = load(
        tmp_path / "params.yaml",
        read_overrides(['eval_generation_config={"max_tokens": 4, "temperature": 0.0}', "eval_limit=4"]),
    )
    threads = torch.get_num_threads()
    result = run(params, paths)

    assert result["sets"] == 2 and result["questions"] == 8
    assert torch.get_num_threads() == threads
    candidates = ["base", "merged", "bnb-int8"]
    assert sorted(file.name for file in (paths.reports / "eval").iterdir()) == sorted(
        f"{name}.{kind}" for name in candidates for kind in ("json", "parquet")
    )
    answers = {name: read_records(paths.reports / f"eval/{name}.parquet") for name in candidates}
    assert [record["query"] for record in answers["base"][:4]] == [row["query"] for row in rows[:4]]
    assert all(0 < record["answer_tokens"] <= 4 for record in answers["base"])
    report = read_json(paths.reports / "eval/merged.json")["sets"]["one"]
    assert report["items"] == 4 and report["accuracy"] == 0 and report["low"] == 0 and 0.4 < report["high"] < 0.6
    assert read_json(tmp_path / "metrics.json") == {name: {"one": 0.0, "two": 0.0} for name in candidates}
    lines = list(csv.DictReader((paths.reports / "eval.csv").open()))
    assert [(line["candidate"], line["questions"]) for line in lines[:3]] == [
        ("base", "one"),
        ("base", "two"),
        ("merged", "one"),
    ]
    assert (paths.reports / "eval.png").read_bytes().startswith(b"\x89PNG")
    assert decide(answers["merged"], answers["base"], params.gate).decision == "not enough evidence"
    progress = [json.loads(line) for line in (paths.log("evaluate") / "progress.jsonl").read_text().splitlines()]
    assert list(dict.fromkeys(p["candidate"] for p in progress if p["step"] == p["total_steps"] == 8)) == candidates


def test_without_question_sets_the_reports_are_empty_and_say_so(paths: Paths, tmp_path: Path) -> None:
    (tmp_path / "params.yaml").write_text("")
    result = run(load(tmp_path / "params.yaml"), paths)
    assert result["sets"] == 0
    assert read_json(tmp_path / "metrics.json") == {"base": {}, "merged": {}}
    assert (paths.reports / "eval.csv").read_text() == "candidate,questions,accuracy,low,high\n"
    assert read_json(paths.reports / "eval/base.json") == {"candidate": "base", "sets": {}}


def test_the_pipeline_asks_a_benchmark_and_own_questions_by_their_scorers(paths: Paths, tmp_path: Path) -> None:
    (paths.questions / "own.jsonl").write_text('{"query": "What?", "response": "a b"}\n')
    (paths.questions / "benchmarks.json").write_text('{"hellaswag": {}}')
    story = {"activity_label": "x", "ctx_a": "He", "ctx_b": "then", "ctx": "He then", "endings": ["a", "b", "c", "d"]}
    copies = tmp_path / "copies"
    copies.mkdir()
    (copies / "validation.jsonl").write_text(
        "".join(json.dumps({**story, "ind": n, "label": "1"}) + "\n" for n in "ab")
    )
    (tmp_path / "params.yaml").write_text("quantize: {variants: []}\n")
    arguments = json.dumps({"hellaswag": {"local_path": str(copies), "subset_list": ["default"]}})
    settings = ['eval_generation_config={"max_tokens": 4}', "eval_scorer=token_f1", f"eval_dataset_args={arguments}"]
    run(load(tmp_path / "params.yaml", read_overrides(settings)), paths)
    records = read_records(paths.reports / "eval/merged.parquet")
    assert [(record["set"], record["scorer"]) for record in records] == [
        ("own", "token_f1"), ("hellaswag", "accuracy"), ("hellaswag", "accuracy"),
    ]  # fmt: skip
    assert "He Then" in records[1]["query"]
    assert "hellaswag" in (paths.reports / "eval.html").read_text()
