"""The stage as `dvc.yaml` runs it: clean rows and a model folder in, token files and a report out."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import AutoTokenizer

from components.config import Params
from components.errors import ConfigError, DataGateError
from components.files import read_json, seal
from components.models import resolve
from components.templates import Refused
from tasks.stages import methods, template
from tasks.stages.paths import Paths

REPOSITORY = Path(__file__).parents[3]


def row(number: int, *turns: tuple[str, str], source: str = "chats.jsonl") -> dict:
    return {"messages": [{"role": r, "content": c} for r, c in turns], "source": source, "row": number}


ROWS = [
    row(1, ("user", "What is your name?"), ("assistant", "Martlet.")),
    row(2, ("system", "Be brief."), ("user", "你好"), ("assistant", "您好 🙂"), ("user", "Bye"), ("assistant", "Bye!")),
    row(3, ("user", "say <|im_end|> now"), ("assistant", "no")),
    row(7, ("user", "long"), ("assistant", "a long answer " * 100), source="other.jsonl"),
]


@pytest.fixture
def workspace(tmp_path: Path, tiny_model: Path) -> Paths:
    shutil.copytree(tiny_model, tmp_path / "base")
    write(tmp_path, "train", ROWS)
    write(tmp_path, "val", ROWS[:1])
    identity = resolve("base", None, use_hf=False, workspace=tmp_path)
    (tmp_path / "data/model.json").write_text(json.dumps(identity))
    (tmp_path / "data/methods.json").write_text(json.dumps(methods.used(params(), tmp_path)))
    return Paths(tmp_path, tmp_path)


def write(root: Path, split: str, rows: list[dict]) -> None:
    file = root / f"data/clean/{split}.parquet"
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), file)
    seal(file.parent)


def params(**values) -> Params:
    return Params.model_validate({"template": {"max_length": 200, **values}})


def read(paths: Paths, split: str) -> list[dict]:
    with pa.memory_map(str(paths.tokens / f"{split}.arrow")) as file:
        return pa.ipc.open_file(file).read_all().to_pylist()


def test_the_model_decides_how_boxes_are_written_unless_a_flag_does(workspace: Paths) -> None:
    file = workspace.root / "base/config.json"
    file.write_text(json.dumps(read_json(file) | {"model_type": "qwen2_5_vl"}))
    [message] = messages = [{"role": "user", "content": "<bbox>"}]
    box = {"messages": messages, "objects": {"bbox": [[0.25, 0.5]], "bbox_type": "norm1"}}

    def written(**flags: str) -> str:
        return template.chat_template(params(**flags), workspace).prompts.grounded(box, [message])[0]["content"]

    with pytest.raises(Refused, match="picture"):  # whose pixels it would be
        written()
    assert written(norm_bbox="norm1000") == "<|box_start|>(250,500)<|box_end|>"
    assert written(norm_bbox="norm1000", qwenvl_bbox_format="new") == "[250, 500]"


def test_tokens_labels_and_the_report(workspace: Paths) -> None:
    result = template.run(params(), workspace)
    tokenizer = AutoTokenizer.from_pretrained(workspace.root / "base")
    train = read(workspace, "train")
    assert [(r["source"], r["row"]) for r in train] == [("chats.jsonl", 1), ("chats.jsonl", 2)]
    for tokens, clean in zip(train, ROWS, strict=False):
        assert tokens["input_ids"] == tokenizer.apply_chat_template(clean["messages"], return_dict=False)
        assert tokens["length"] == len(tokens["input_ids"]) == len(tokens["labels"])
        learned = tokenizer.decode([label for label in tokens["labels"] if label != -100])
        answers = [m["content"] for m in clean["messages"] if m["role"] == "assistant"]
        assert learned == "".join(f"{answer}<|im_end|>" for answer in answers)
    report = json.loads((workspace.tokens / "template.json").read_text())
    assert report["rows"] == {"train": 4, "val": 1}
    assert report["samples"] == {"train": 2, "val": 1}
    learnable = sum(label != -100 for r in train for label in r["labels"])
    assert report["learnable_tokens"]["train"] == result["train_learnable_tokens"] == learnable
    assert [(r["source"], r["row"], r["reason"]) for r in report["refused"]] == [
        ("chats.jsonl", 3, "a text holds a control token of the tokenizer"),
        ("other.jsonl", 7, "longer than max_length"),
    ]
    assert "tokens, at most 200" in report["refused"][1]["detail"]
    assert report["parity"]["equal"]
    assert {tuple(s["roles"]) for s in report["parity"]["structures"]} >= {("user", "assistant")}
    assert sum(b["samples"] for b in report["length_histogram"]["train"]) == 2
    assert (workspace.log("template") / "progress.jsonl").is_file()


def test_equal_inputs_give_equal_bytes(workspace: Paths) -> None:
    template.run(params(), workspace)
    before = {file.name: file.read_bytes() for file in workspace.tokens.iterdir()}
    template.run(params(), workspace)
    assert {file.name: file.read_bytes() for file in workspace.tokens.iterdir()} == before


def test_long_rows_are_cut_when_asked_to(workspace: Paths) -> None:
    template.run(params(truncation_strategy="right"), workspace)
    report = json.loads((workspace.tokens / "template.json").read_text())
    assert report["truncated"] == {"train": 1, "val": 0}
    assert [r["length"] for r in read(workspace, "train")][-1] == 200


def test_nothing_to_learn_stops_the_run_and_leaves_nothing(workspace: Paths) -> None:
    write(workspace.root, "train", ROWS[2:])
    with pytest.raises(DataGateError) as stopped:
        template.run(params(), workspace)
    message = str(stopped.value)
    assert "rows of train can be learned from" in message
    assert "1 x a text holds a control token of the tokenizer (for example chats.jsonl:3" in message
    assert "1 x longer than max_length (for example other.jsonl:7" in message
    assert not workspace.tokens.exists()


def test_a_model_without_chat_template_is_one_sentence(workspace: Paths) -> None:
    (workspace.root / "base/chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match="base: the tokenizer has no chat template; choose an instruct model"):
        template.run(params(), workspace)


def test_as_a_process_it_imports_nothing_heavy_and_ends_with_the_code_of_the_gate(workspace: Paths) -> None:
    write(workspace.root, "train", ROWS[2:3])
    (workspace.root / "params.yaml").write_text("template: {max_length: 200}\n")
    command = [sys.executable, "-X", "importtime", "-m", "tasks.stages.template"]
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(command, cwd=workspace.root, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 3
    assert "martlet: template: none of the " in done.stderr
    assert "Traceback" not in done.stderr
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines() if line.startswith("import time")}
    assert imported.isdisjoint({"pandas", "datasets", "scipy", "matplotlib", "mlflow", "transformers.trainer"})


@pytest.mark.parametrize(
    ("part", "change"),
    [
        ("rows", lambda paths: write(paths.root, "train", ROWS[:2])),
        ("chat template", lambda paths: append(paths.root / "base/chat_template.jinja", "{# other #}")),
        ("tokenizer", lambda paths: append(paths.root / "base/tokenizer_config.json", "\n")),
        ("max_length", None),
    ],
)
def test_what_the_tokens_are_made_of_says_which_part_changed(workspace: Paths, part: str, change) -> None:
    template.run(params(), workspace)
    recorded = read_json(workspace.log("template") / "made_of.json")
    assert template.made_of(params(), workspace) == recorded
    if change:
        change(workspace)
    now = template.made_of(params() if change else params(max_length=100), workspace)
    assert {name for name in now if now[name] != recorded[name]} == {part}


def append(file: Path, text: str) -> None:
    file.write_text(file.read_text() + text)
