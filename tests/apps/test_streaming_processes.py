"""`martlet sft --streaming true --nproc_per_node 2`: the run of one process, whatever happens to the two."""

import gzip
import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.files import read_json, sha256
from tests.commands import Command, martlet

STEPS = 14
SAVED = (4, 8, 12, 14)
"""Steps with a checkpoint."""
WORDS = ["sft", "--streaming", "true", "--max_steps", STEPS, "--save_steps", "4", "--logging_steps", "1",
         "--per_device_train_batch_size", "3", "--gradient_accumulation_steps", "2", "--shuffle_buffer_size", "16",
         "--max_length", "64", "--learning_rate", "1e-3", "--lora_dropout", "0", "--report_to", "none",
         "--add_version", "false"]  # fmt: skip
MIXED = ["--dataset", "a.jsonl.gz", "b.jsonl", "--interleave_prob", "0.7", "0.3", "--val_dataset", "val.jsonl"]
PACKS = ["--packing", "true"]
TWO = ["--nproc_per_node", "2"]
WEIGHTS = "models/adapter/adapter_model.safetensors"
GONE_S = 5
"""Seconds after which no process of a run that was killed may be left."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """41 texts and 30 chats, of which three cannot be learned from: rows that divide by no batch."""
    folder = tmp_path_factory.mktemp("work")
    texts = [{"text": f"the number {n} is followed by {n + 1}" + " and so on" * (n % 5)} for n in range(41)]
    (folder / "a.jsonl.gz").write_bytes(gzip.compress("".join(json.dumps(row) + "\n" for row in texts).encode()))
    chats: list[dict[str, Any]] = [{"query": "empty", "response": ""}, {"foo": 1}]
    chats += [{"query": "long " * 99, "response": "x"}]
    chats += [{"query": f"number {n}?", "response": f"yes, {n}"} for n in range(27)]
    (folder / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in chats))
    (folder / "val.jsonl").write_text("".join(json.dumps({"text": f"validation {n}"}) + "\n" for n in range(5)))
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path, tiny_model: Path) -> Path:
    """A run of two processes that nothing happens to, on packs."""
    martlet(folder, *WORDS, *MIXED, *PACKS, *TWO, "--model", tiny_model, "--output_dir", "whole")
    return folder / "whole"


def figures(root: Path, name: str) -> list[float]:
    lines = [json.loads(line) for line in (root / "logs/train/progress.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


def require_equal(one: Path, two: Path) -> None:
    assert len(figures(two, "loss")) == STEPS
    for name in ("loss", "eval_loss"):
        assert figures(two, name) == pytest.approx(figures(one, name), abs=1e-5)
    for file in ("reports/stream.json", *(f"checkpoint-{step}/stream.json" for step in SAVED)):
        assert read_json(two / file) == read_json(one / file)


def test_two_processes_have_the_losses_of_one_on_packs(folder: Path, tiny_model: Path, whole: Path) -> None:
    martlet(folder, *WORDS, *MIXED, *PACKS, "--model", tiny_model, "--output_dir", "one")
    require_equal(folder / "one", whole)
    assert read_json(whole / "reports/train.json")["epochs"] >= 1  # passes end within a step


def test_two_processes_have_the_losses_of_one_on_rows(folder: Path, tiny_model: Path) -> None:
    for root, processes in (("rows-of-one", []), ("rows-of-two", TWO)):
        martlet(folder, *WORDS, *MIXED, *processes, "--model", tiny_model, "--output_dir", root)
    require_equal(folder / "rows-of-one", folder / "rows-of-two")


def ranks_of(command: Command) -> list[psutil.Process]:
    """Return the processes that train, each of which has a session of its own, rank 0 first."""
    children = psutil.Process(command.pid).children(recursive=True)
    return sorted((child for child in children if os.getsid(child.pid) == child.pid), key=lambda child: child.pid)


def require_gone(processes: list[psutil.Process]) -> None:
    assert processes
    assert not psutil.wait_procs(processes, timeout=GONE_S)[1]


def test_a_run_that_was_stopped_and_lost_a_process_ends_with_the_weights_it_would_have_had(
    whole: Path, folder: Path, tiny_model: Path
) -> None:
    words = [*WORDS, *MIXED, *PACKS, *TWO, "--model", tiny_model, "--output_dir", "tried"]
    stopped = Command(folder, *words)
    stopped.up_to("step 5/")
    processes = psutil.Process(stopped.pid).children(recursive=True)
    os.killpg(stopped.pid, signal.SIGINT)
    ended = stopped.wait()
    assert ended.returncode == 130, ended.stderr
    require_gone(processes)
    (start,) = re.findall(r"--resume_from_checkpoint (tried/checkpoint-\d+)", ended.stderr)

    killed = Command(folder, *words, "--resume_from_checkpoint", start, "--max_restarts", 1)
    killed.up_to("step 9/")
    processes = psutil.Process(killed.pid).children(recursive=True)
    ranks_of(killed)[0].kill()
    ended = killed.wait()
    assert ended.returncode == 0, ended.stderr
    assert re.search(r"rank 0 was killed .* start again from checkpoint-\d+, 1 of 1 times", ended.stdout)
    require_gone(processes)
    for file in (WEIGHTS, "reports/stream.json", "reports/train.csv"):
        assert sha256(folder / "tried" / file) == sha256(whole / file)


def test_a_gate_that_closes_ends_all_processes_with_its_reason(folder: Path, tiny_model: Path) -> None:
    rows = [{"query": f"number {n}?", "response": "" if n == 69 else f"yes, {n}"} for n in range(200)]
    (folder / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [*WORDS, *TWO, "--model", tiny_model, "--output_dir", "closed", "--on_empty", "block"]
    command = Command(folder, *words, "--dataset", "bad.jsonl")
    command.up_to("step 4/")
    processes = psutil.Process(command.pid).children(recursive=True)
    ended = command.wait()
    assert ended.returncode == 3
    assert ended.stderr.startswith("martlet: the data gate closed: empty: bad.jsonl:70: ")
    assert "Traceback" not in ended.stderr
    require_gone(processes)
    assert read_json(folder / "closed/reports/stream.json")["left_out"] == {"empty": 1}
    assert (folder / "closed/checkpoint-4").is_dir()
