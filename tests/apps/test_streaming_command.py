"""`martlet sft --streaming true`: what a user types, what is left on the disk, and what happens when it is killed."""

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from components.config import read_flags, resolve
from components.errors import ConfigError
from components.files import read_json, sha256
from tasks.stages import fetch
from tasks.stages.paths import Paths
from tests.commands import Command, martlet

WORDS = ["sft", "--streaming", "true", "--dataset", "a.jsonl.gz", "b.jsonl", "--interleave_prob", "0.7", "0.3",
         "--max_steps", "60", "--save_steps", "4", "--logging_steps", "1", "--per_device_train_batch_size", "2",
         "--gradient_accumulation_steps", "2", "--shuffle_buffer_size", "16", "--max_length", "64",
         "--val_dataset", "val.jsonl",
         "--packing", "true", "--lora_dropout", "0.1", "--report_to", "none", "--add_version", "false"]  # fmt: skip
WEIGHTS = "models/adapter/adapter_model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 texts, and 30 chats of which three cannot be learned from."""
    folder = tmp_path_factory.mktemp("work")
    write_data(folder, [f"the number {n} is followed by {n + 1}" for n in range(40)])
    return folder


def write_data(folder: Path, texts: list[str]) -> None:
    """Write a.jsonl.gz with the texts, b.jsonl with 30 chats, of which three cannot be learned from, and val.jsonl."""
    (folder / "a.jsonl.gz").write_bytes(
        gzip.compress("".join(json.dumps({"text": text}) + "\n" for text in texts).encode())
    )
    chats: list[dict[str, Any]] = [{"query": "empty", "response": ""}, {"foo": 1}]
    chats += [{"query": "long " * 99, "response": "x"}]
    chats += [{"query": f"number {n}?", "response": f"yes, {n}"} for n in range(27)]
    (folder / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats))
    (folder / "val.jsonl").write_text("".join(json.dumps({"text": f"validation {n}"}) + "\n" for n in range(5)))


def others(process: Command) -> list[int]:
    """The processes of a command's session that are alive."""
    import psutil

    found = []
    for other in psutil.process_iter():
        try:
            if os.getsid(other.pid) == process.pid and other.status() != psutil.STATUS_ZOMBIE:
                found.append(other.pid)
        except (ProcessLookupError, psutil.NoSuchProcess):
            continue
    return found


def nobody_is_left(process: Command) -> bool:
    deadline = time.monotonic() + 10
    while others(process) and time.monotonic() < deadline:
        time.sleep(0.02)
    return not others(process)


@pytest.fixture(scope="module")
def whole(folder: Path, tiny_model: Path) -> Path:
    """A run that nothing happened to."""
    said = martlet(folder, *WORDS, "--model", tiny_model, "--output_dir", "whole")
    assert "data: a.jsonl.gz is streamed" in said
    assert "rows were left out" in said
    return folder / "whole"


def test_nothing_of_the_data_is_on_the_disk_and_what_was_left_out_is_told(whole: Path) -> None:
    assert sorted(p.relative_to(whole).as_posix() for p in (whole / "data").rglob("*") if p.is_file()) == [
        "data/methods.json",
        "data/model.json",
        "data/stream/manifest.json",
    ]
    report = read_json(whole / "reports/stream.json")
    assert set(report["left_out"]) == {"empty", "schema", "template: longer than max_length"}
    assert report["first"]["schema"].startswith("b.jsonl:2: ")
    assert report["rows"] == report["samples"] + sum(report["left_out"].values())
    trained = read_json(whole / "reports/train.json")
    assert trained["epochs"] >= 1
    assert trained["eval_loss"] < trained["first_loss"] + 1


def test_a_refused_resume_and_a_run_that_has_ended_touch_nothing(whole: Path, folder: Path, tiny_model: Path) -> None:
    words = [*WORDS, "--model", tiny_model, "--output_dir", "whole"]
    before = {file: (file.stat().st_mtime_ns, file.is_file() and sha256(file)) for file in sorted(whole.rglob("*.*"))}
    (folder / "no.jsonl").write_text(json.dumps({"query": "q", "response": ""}) + "\n")
    for change, code, message in (
        (["--seed", 5], 2, "--seed was 42 and is 5"),
        (["--lora_rank", 4, "--resume_from_checkpoint", "whole/checkpoint-8"], 2, "--lora_rank was 8 and is 4"),
        (["--dataset", "c.jsonl"], 2, "c.jsonl"),
        (["--val_dataset", "no.jsonl"], 3, ".martlet/data.html"),
        ([], 0, "nothing to do"),
    ):
        assert message in martlet(folder, *words, *change, code=code)
        after = {file: (file.stat().st_mtime_ns, file.is_file() and sha256(file)) for file in before}
        assert after == before
        assert sorted(whole.rglob("*.*")) == list(before)


def test_whatever_happens_to_a_run_it_ends_with_the_weights_it_would_have_had(
    whole: Path, folder: Path, tiny_model: Path
) -> None:
    words = [*WORDS, "--model", tiny_model, "--output_dir", "tried"]

    orphaned = Command(folder, *words)
    orphaned.up_to("step 6/")
    (other,) = [pid for pid in others(orphaned) if pid != orphaned.pid]
    os.kill(other, signal.SIGKILL)
    ended = orphaned.wait(60)
    assert ended.returncode == 1
    assert "the process that reads and tokenises the data has died, perhaps because memory" in ended.stderr
    assert "Traceback" not in ended.stderr

    stopped = Command(folder, *words)
    stopped.up_to("  loss ")
    os.killpg(stopped.pid, signal.SIGINT)
    ended = stopped.wait(60)
    assert ended.returncode == 130
    assert "--resume_from_checkpoint tried/checkpoint-" in ended.stderr
    assert nobody_is_left(stopped)

    killed = Command(folder, *words)
    killed.up_to("  loss ")
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert nobody_is_left(killed)

    checkpoints = sorted((folder / "tried").glob("checkpoint-*"), key=lambda path: int(path.name[11:]))
    said = martlet(folder, *words, "--resume_from_checkpoint", checkpoints[-2])
    assert f"going on from {checkpoints[-2].name}" in said
    for file in (WEIGHTS, "reports/stream.json", "reports/train.csv"):
        assert sha256(folder / "tried" / file) == sha256(whole / file)


# The data alone, in a process without threads, which cannot be forked safely.
FLOW = """
import sys
from pathlib import Path
from components.config import read_flags, resolve
from components.errors import DataGateError
from tasks.stages import stream
from tasks.stages.paths import Paths
model, workspace, root = sys.argv[1:]
params = resolve(read_flags({"streaming": True, "dataset": ["bad.jsonl"], "model": model}))
paths = Paths(Path(root), Path(workspace))
try:
    with stream.flowing(params, paths, paths) as feed:
        next(feed.chunks(None))
except DataGateError as error:
    print(error, feed.process.is_alive())
"""


def test_a_gate_that_closes_ends_it_before_anything_is_trained(folder: Path, tiny_model: Path, tmp_path: Path) -> None:
    rows = [{"text": "good"}] * 4 + [{"text": ""}] * 6
    (folder / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [sys.executable, "-c", FLOW, str(tiny_model), str(folder), str(tmp_path)]
    root = Path(__file__).parents[2]
    said = subprocess.run(words, cwd=root, capture_output=True, text=True, timeout=180, check=True).stdout
    assert said.startswith("the data gate closed: max_dropped: 6 of the first 10 rows left out, more than 50%")
    assert said.endswith("False\n")
    assert read_json(tmp_path / "reports/stream.json")["left_out"] == {"empty": 6}


def test_everything_that_a_stream_cannot_do_is_told_at_once(folder: Path, tiny_model: Path) -> None:
    words = ["sft", "--streaming", "--model", tiny_model, "--dataset", "a.jsonl.gz", "--num_train_epochs", "2"]
    words += ["--split_dataset_ratio", "0.1", "--eval_dataset", "b.jsonl", "--group_by_length", "--interleave_prob",
              "0.1", "0.9", "--dataloader_num_workers", "2", "--packing", "--packing_length", "8"]  # fmt: skip
    said = martlet(folder, *words, code=2)
    for name in ("max_steps", "split_dataset_ratio", "eval_dataset", "group_by_length", "interleave_prob",
                 "dataloader_num_workers", "packing_length"):  # fmt: skip
        assert f"--streaming true: {name}" in said
    assert len(said.splitlines()) == 7


def test_a_workspace_refuses_it(folder: Path) -> None:
    params = resolve(read_flags({"streaming": True, "dataset": ["b.jsonl"], "model": "x"}))
    with pytest.raises(ConfigError, match="train on the stream with `martlet sft`"):
        fetch.rows(params, Paths(folder, folder))
