"""`martlet eval` and `martlet compare`, against servers that answer as the tests want and against a tiny model."""

import json
import time
from pathlib import Path
from typing import Any

import pytest

from components.evaluation import benchmarks, read_records
from components.files import read_json
from tests.commands import Command, martlet
from tests.components.evaluation.standin import answering

QUIET = {"HF_HUB_OFFLINE": "1"}
CITIES = {"France": "Paris", "Italy": "Rome", "Spain": "Madrid", "Norway": "Oslo"}


def write(file: Path, rows: list[dict[str, Any]]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def sums(text: str) -> str:
    """A model that adds, knows capitals and takes the second choice."""
    if "B. " in text or "B) " in text:
        return "The answer is B.\nANSWER: B"
    if "JSON" in text:
        return '{"age": 7}'
    country = next((name for name in CITIES if name in text), None)
    if country:
        return f"It is {CITIES[country]}."
    a, b = (int(word) for word in text.replace("?", " ").split() if word.isdecimal())
    return f"\\boxed{{{a + b}}}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rows = [{"Frage": f"What is the capital of {name}?", "response": city, "topic": "cities", "scorer": "regex"}
            for name, city in CITIES.items()]  # fmt: skip
    mixed = [
        {"Frage": "What is 2 and 3?", "response": 5, "topic": "sums"},
        {"Frage": "What is 2 and 4?", "response": 7, "topic": "sums"},
        {"Frage": "Which is right?", "choices": ["this", "that"], "answer": "that"},
        {"Frage": "JSON, please", "schema": {"type": "object", "required": ["age"]}},
    ]
    write(tmp_path / "cities.jsonl", rows)
    write(tmp_path / "mixed.jsonl", mixed)
    return tmp_path


def local_copies(folder: Path) -> dict[str, Any]:
    """Copies of three benchmarks in the layouts of their hubs, six items each, and their arguments."""
    rows = [{"question": f"What is {n} and 2?", "answer": f"It is {n + 2}\n#### {n + 2 + n // 5}"} for n in range(6)]
    for split in ("train", "test"):
        write(folder / f"gsm8k/main/{split}.jsonl", rows)
    choices = {"text": ["a", "b", "c", "d"], "label": ["A", "B", "C", "D"]}
    arc = [{"id": str(n), "question": f"Which, {n}?", "choices": choices, "answerKey": "BA"[n // 5]} for n in range(6)]
    for name in ("ARC-Easy", "ARC-Challenge"):
        for split in ("train", "test"):
            write(folder / f"arc/{name}/{split}.jsonl", arc)
    endings = ["a", "b", "c", "d"]
    story = {"activity_label": "x", "ctx_a": "He", "ctx_b": "then", "ctx": "He then", "endings": endings}
    write(folder / "hellaswag/validation.jsonl", [{**story, "ind": n, "label": "10"[n // 5]} for n in range(6)])
    configs = {"gsm8k": ["main"], "arc": ["ARC-Easy", "ARC-Challenge"]}
    for name, subsets in configs.items():
        lines = ["---", "configs:"]
        for subset in subsets:
            lines += [f"- config_name: {subset}", "  data_files:"]
            lines += [f"  - split: {split}\n    path: {subset}/{split}.jsonl" for split in ("train", "test")]
        (folder / name / "README.md").write_text("\n".join([*lines, "---", ""]))
    return {
        "gsm8k": {"local_path": "copies/gsm8k", "few_shot_num": 0},
        "arc": {"local_path": "copies/arc"},
        "hellaswag": {"local_path": "copies/hellaswag", "subset_list": ["default"]},
    }


def scores(printed: str) -> dict[str, float]:
    rows = (line.split() for line in printed.splitlines() if "%" in line)
    return {row[0]: float(row[1].rstrip("%")) for row in rows}


def test_questions_and_benchmarks_of_a_server(folder: Path) -> None:
    arguments = json.dumps(local_copies(folder / "copies"))
    words = [
        "eval", "--eval_dataset", "mixed.jsonl", "gsm8k", "arc", "hellaswag", "--eval_dataset_args", arguments,
        "--columns", '{"Frage": "question"}', "--eval_scorer", "accuracy", "--eval_num_proc", 2, "--eval_output_dir",
        "results", "--eval_generation_config", '{"max_tokens": 9}', "--served_model_name", "two",
    ]  # fmt: skip
    with answering(sums, ("one", "two")) as (url, requests):
        printed = martlet(folder, *words, "--eval_url", url, **QUIET)
        assert scores(printed) == {"mixed": 75.0, "gsm8k": 83.3, "arc": 83.3, "hellaswag": 83.3}
        assert {request["max_tokens"] for request in requests} == {9}
        assert {request["model"] for request in requests} == {"two"}
        count = len(requests)
        assert martlet(folder, *words, "--eval_url", url, **QUIET) == printed
        assert len(requests) == count  # the same evaluation is not run twice
        for file in (folder / "copies/gsm8k/main").iterdir():  # the library datasets would take its cache for the file
            file.write_text(file.read_text().replace("#### ", "#### 9"))
        words[2:6] = ["gsm8k"]
        words[words.index(arguments)] = json.dumps({"gsm8k": json.loads(arguments)["gsm8k"]})
        assert scores(martlet(folder, *words, "--eval_url", url, **QUIET)) == {"gsm8k": 0.0}
    page = folder / printed.splitlines()[-1].partition(": ")[2]
    records = read_records(page.with_name("two.parquet"))
    assert [record["scorer"] for record in records[:4]] == ["accuracy", "accuracy", "choice", "json_schema"]
    assert {record["topic"] for record in records if record["set"] == "arc"} == {"ARC-Easy", "ARC-Challenge"}
    html = page.read_text()
    assert "http" not in html.replace("http-equiv", "") and "What is 2 and 3?" in html
    assert page.is_relative_to(folder / "results")


def test_of_two_equal_evaluations_at_once_one_waits_for_the_other(folder: Path) -> None:
    words = ["eval", "--eval_dataset", "cities.jsonl", "--columns", '{"Frage": "question"}', "--eval_num_proc", 1]

    def slowly(text: str) -> str:
        time.sleep(0.2)
        return sums(text)

    with answering(slowly, ("one",)) as (url, requests):
        both = [Command(folder, *words, "--eval_url", url, **QUIET) for _ in range(2)]
        ended = [command.wait() for command in both]
    assert [each.returncode for each in ended] == [0, 0], ended
    assert ended[0].stdout == ended[1].stdout
    assert len({json.dumps(request) for request in requests}) == len(requests)


def test_two_servers_are_compared_question_by_question(folder: Path) -> None:
    def forgetful(text: str) -> str:
        return "I am sorry, I do not know." if "Spain" in text else sums(text)

    words = ["--eval_dataset", "cities.jsonl", "--columns", '{"Frage": "question"}', "--eval_limit", 3]
    (folder / "params.yaml").write_text("gate: {margin: 0.4, min_items: 1}\n")
    with answering(forgetful, ("new",)) as (new, _), answering(sums, ("old",)) as (old, requests):
        printed = martlet(folder, "compare", new, old, *words, "--confidence", 0.9, **QUIET)
    assert len(requests) == 3 and "40 points may be lost, 90 % confidence per bound" in printed
    row = next(line for line in printed.splitlines() if line.startswith("cities")).split("  ")
    assert [cell.strip() for cell in row if cell.strip()][:5] == ["cities", "3", "100.0 %", "66.7 %", "-33.3"]
    assert "guard FAILS: refusals: 0.333" in printed
    page = folder / printed.splitlines()[-1].partition(": ")[2]
    assert read_json(page.with_name("verdicts.json"))[old]["sets"][0]["lost"] == 1
    assert "It is Madrid." in page.read_text() and "I am sorry" in page.read_text()


def test_a_model_of_this_machine(folder: Path, tiny_model: Path) -> None:
    words = ["eval", "--model", tiny_model, "--eval_dataset", "cities.jsonl", "--columns", '{"Frage": "question"}']
    printed = martlet(folder, *words, "--eval_limit", 2, **QUIET)
    assert scores(printed) == {"cities": 0.0}
    assert (folder / "eval_output").is_dir()


BAD = {
    "no questions": ([], "which questions?"),
    "no such file": (["--eval_dataset", "nowhere.jsonl"], "nowhere.jsonl"),
    "no such scorer": (
        ["--eval_dataset", "plain.jsonl", "--eval_scorer", "rogue"],
        "eval_scorer: there is no scorer 'rogue' (did you mean 'rouge'",
    ),
    "no such benchmark": (["--list", "nosuch"], "no benchmark has 'nosuch'"),
    "nothing to compare": (["--eval_dataset", "plain.jsonl", "--eval_scorer", "regexp"], "regexp"),
    "no judge": (["--eval_dataset", "plain.jsonl", "--eval_scorer", "judge"], "the reward judge needs it"),
    "an argument of none": (
        ["--eval_dataset", "plain.jsonl", "--eval_dataset_args", '{"gsm8k": {}}'],
        "'gsm8k' is not among the benchmarks",
    ),
    "a misspelt argument": (
        ["--eval_dataset", "gsm8k", "--eval_dataset_args", '{"gsm8k": {"few_shots_num": 1, "local_path": "nowhere"}}'],
        "unknown argument 'few_shots_num' (did you mean 'few_shot_num'",
    ),
    "an empty set": (["--eval_dataset", "plain.jsonl", "empty.jsonl"], "the dataset is empty"),
    "a null answer": (["--eval_dataset", "null.jsonl"], "null.jsonl:1: there is no answer to compare with"),
    "a model beside a server": (
        ["--eval_dataset", "plain.jsonl", "--eval_url", "http://127.0.0.1:9/v1", "--model", "x"],
        "--model has no effect with --eval_url",
    ),
    "no server": (["--eval_dataset", "plain.jsonl", "--eval_url", "http://127.0.0.1:9/v1"], "--eval_url http://127.0.0.1:9"),
}  # fmt: skip


@pytest.mark.parametrize(("words", "message"), BAD.values(), ids=BAD)
def test_mistakes_are_answered_in_words(words: list[str], message: str, tmp_path: Path) -> None:
    write(tmp_path / "plain.jsonl", [{"query": "Who?", "response": "Me."}])
    write(tmp_path / "empty.jsonl", [])
    write(tmp_path / "null.jsonl", [{"query": "Who?", "response": None}])
    code = 3 if "empty" in message or "null" in message else 1 if message.startswith(("--eval_url", "no bench")) else 2
    assert message in martlet(tmp_path, "eval", *words, code=code)


def test_every_benchmark_is_listed_and_its_arguments_are_checked_without_a_network(tmp_path: Path) -> None:
    printed = martlet(tmp_path, "eval", "--list", "gsm8k")
    assert "gsm8k " in printed and "1,319" in printed and f"of {len(benchmarks.names())} benchmarks" in printed
    listed = benchmarks.catalogue()
    assert len(listed) == len(benchmarks.names()) > 250
    for entry in listed:
        assert entry.title and entry.tags, entry
        benchmarks.require_arguments([entry.name], {entry.name: {"few_shot_num": 0} if "few" in entry.name else {}})
