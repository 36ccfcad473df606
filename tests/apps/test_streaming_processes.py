"""`martlet sft --streaming true --nproc_per_node 2`: the run of one process, whatever happens to the two."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.files import read_json, sha256
from tests.apps.test_streaming_command import write_data
from tests.commands import Command, martlet
from tests.tasks.stages.test_launch import free_port

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
DISTURBED = """\
import os, signal
from pathlib import Path
import psutil
from transformers import TrainerCallback

def callback(job):
    return Disturbed(job)

class Disturbed(TrainerCallback):
    def __init__(self, job):
        self.job = job

    def on_step_end(self, args, state, control, **kwargs):
        if os.environ["RANK"] == "0" and self.is_first("stopped", state.global_step == 6):
            os.kill(psutil.Process().parents()[1].pid, signal.SIGINT)  # as the terminal does to the command
            assert self.job.stop.wait(60)
        if os.environ["RANK"] == "0" and self.is_first("killed", state.global_step == 10):
            os.kill(os.getpid(), signal.SIGKILL)

    def is_first(self, name, happens):
        mark = Path(__file__).with_name(name)
        is_new = happens and not mark.exists()
        if is_new:
            mark.touch()
        return is_new
"""
WEIGHTS = "models/adapter/adapter_model.safetensors"
GONE_S = 5
"""Seconds after which no process of a run that was killed may be left."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """41 texts and 30 chats, of which three cannot be learned from: rows that divide by no batch."""
    folder = tmp_path_factory.mktemp("work")
    write_data(folder, [f"the number {n} is followed by {n + 1}" + " and so on" * (n % 5) for n in range(41)])
    return folder


@pytest.fixture(scope="module")
def whole(folder: Path, tiny_model: Path) -> Path:
    """A run of two processes that nothing happens to, on packs."""
    martlet(folder, *WORDS, *MIXED, *PACKS, *TWO, "--model", tiny_model, "--output_dir", "whole")
    return folder / "whole"


def figures(root: Path, name: str) -> list[Any]:
    lines = [json.loads(line) for line in (root / "logs/train/progress.jsonl").read_text().splitlines()]
    return [line[name] for line in lines if name in line]


def messages(root: Path) -> list[str]:
    return [message for message in figures(root, "message") if message.startswith(("packs", "model"))]


def require_equal(one: Path, two: Path) -> None:
    assert len(figures(two, "loss")) == STEPS
    for name in ("loss", "eval_loss"):
        assert figures(two, name) == pytest.approx(figures(one, name), abs=1e-5)
    assert messages(two) == [message.replace("on cpu", "on 2 × cpu") for message in messages(one)]
    for file in ("reports/stream.json", *(f"checkpoint-{step}/stream.json" for step in SAVED)):
        assert read_json(two / file) == read_json(one / file)


@pytest.mark.slow  # a minute; rows are above
def test_two_processes_have_the_losses_of_one_on_packs(folder: Path, tiny_model: Path, whole: Path) -> None:
    martlet(folder, *WORDS, *MIXED, *PACKS, "--model", tiny_model, "--output_dir", "one")
    require_equal(folder / "one", whole)
    assert read_json(whole / "reports/train.json")["epochs"] >= 1  # passes end within a step


@pytest.mark.parametrize(
    "engine",
    [
        [],
        pytest.param(["--fsdp", "full_shard"], marks=pytest.mark.slow),
        pytest.param(["--deepspeed", "zero3"], marks=pytest.mark.slow),
    ],
    ids=["ddp", "fsdp", "zero3"],
)
def test_two_processes_have_the_losses_of_one_on_rows(
    folder: Path, tiny_model: Path, tmp_path: Path, engine: list[str]
) -> None:
    for root, processes in ((tmp_path / "one", []), (tmp_path / "two", [*TWO, *engine])):
        martlet(folder, *WORDS, *MIXED, *processes, "--model", tiny_model, "--output_dir", root)
    require_equal(tmp_path / "one", tmp_path / "two")


def test_one_process_goes_on_from_a_checkpoint_of_two(
    folder: Path, tiny_model: Path, tmp_path: Path, whole: Path
) -> None:
    shutil.copytree(whole / "checkpoint-8", tmp_path / "checkpoint-8")
    words = [*WORDS, *MIXED, *PACKS, "--model", tiny_model, "--resume_from_checkpoint", tmp_path / "checkpoint-8"]
    martlet(folder, *words)
    assert figures(tmp_path, "loss") == pytest.approx(figures(whole, "loss")[8:], abs=1e-5)


def require_nobody(folder: Path) -> None:
    """Require that no process of a command in `folder` is left after a while."""
    processes = [process for process in psutil.process_iter(["cwd"]) if process.info["cwd"] == str(folder)]
    assert not psutil.wait_procs(processes, timeout=GONE_S)[1]


@pytest.mark.slow  # two minutes; of one process it is in test_streaming_command.py
def test_a_run_that_was_stopped_and_lost_a_process_ends_with_the_weights_it_would_have_had(
    whole: Path, folder: Path, tiny_model: Path
) -> None:
    (folder / "disturbed.py").write_text(DISTURBED)
    words = [*WORDS, *MIXED, *PACKS, *TWO, "--model", tiny_model, "--output_dir", "tried", "--callbacks", "disturbed",
             "--external_plugins", "disturbed.py"]  # fmt: skip
    assert "--resume_from_checkpoint tried/checkpoint-7" in martlet(folder, *words, code=130)
    require_nobody(folder)
    said = martlet(folder, *words, "--resume_from_checkpoint", "tried/checkpoint-7", "--max_restarts", 1)
    assert re.search(r"rank 0 was killed .* start again from checkpoint-8, 1 of 1 times", said)
    require_nobody(folder)
    for file in (WEIGHTS, "reports/stream.json", "reports/train.csv"):
        assert sha256(folder / "tried" / file) == sha256(whole / file)


def test_a_gate_that_closes_ends_all_processes_with_its_reason(folder: Path, tiny_model: Path) -> None:
    rows = [{"query": f"number {n}?", "response": "" if n == 69 else f"yes, {n}"} for n in range(200)]
    (folder / "bad.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = [*WORDS, *TWO, "--model", tiny_model, "--output_dir", "closed", "--on_empty", "block"]
    error = martlet(folder, *words, "--dataset", "bad.jsonl", code=3)
    assert error.startswith("martlet: the data gate closed: empty: bad.jsonl:70: ")
    require_nobody(folder)
    assert read_json(folder / "closed/reports/stream.json")["left_out"] == {"empty": 1}
    assert (folder / "closed/checkpoint-4").is_dir()


@pytest.mark.slow
def test_machines_may_have_other_files_of_a_stream_but_not_other_validation_rows(
    folder: Path, tiny_model: Path, tmp_path: Path
) -> None:
    commands: list[Command] = []
    meeting = ["--nnodes", 2, "--nproc_per_node", 1, "--master_addr", "127.0.0.1", "--master_port", free_port()]
    for rank in (0, 1):
        machine = tmp_path / str(rank)
        shutil.copytree(folder, machine, ignore=shutil.ignore_patterns("whole", "one", "tried", "closed"))
        os.utime(machine / "b.jsonl", (rank, rank))
        (machine / "val.jsonl").write_text(json.dumps({"text": f"validation {rank}"}) + "\n")
        commands.append(Command(machine, *WORDS, *MIXED, *meeting, "--node_rank", rank, "--model", tiny_model))
    for ended in [command.wait() for command in commands]:
        assert ended.returncode == 2
        assert ended.stderr.endswith("trains something else than machine 0: val_dataset changed; give both the same\n")
