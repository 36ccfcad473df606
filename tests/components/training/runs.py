"""Small training runs, in this process or in one that comes to grief on purpose."""

import json
import multiprocessing
import os
import random
import resource
import signal
from pathlib import Path
from typing import Any

import peft  # noqa: F401  (imported once, by the server that processes are forked from)
import pyarrow as pa
import torch
from transformers import AutoTokenizer, Qwen3ForCausalLM
from transformers.trainer import Trainer  # noqa: F401

from components.config.groups.train import Train
from components.config.groups.tuner import Tuner
from components.errors import MartletError
from components.training import Outcome, settled, train
from components.tuners import lora

MASKED = [-100]
Row = dict[str, Any]


def some_rows(count: int, seed: int = 0) -> list[Row]:
    """Rows of 6 to 20 tokens; about the first half of each is not learned."""
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        ids = [rng.randrange(3, 300) for _ in range(rng.randint(6, 20))]
        start = len(ids) // 2
        rows.append({"input_ids": ids, "labels": MASKED * start + ids[start:]})
    return rows


def write_tokens(folder: Path, train: list[Row], val: list[Row] | None = None) -> Path:
    """Write rows as the stage `template` does; with the column `loss_scale` where the rows have it."""
    folder.mkdir(parents=True, exist_ok=True)
    kind, number = pa.list_(pa.int32()), pa.int32()
    columns = [("input_ids", kind), ("labels", kind), ("length", number), ("source", pa.string()), ("row", number)]
    for name, rows in (("train", train), ("val", val)):
        if rows is not None:
            weights = [("loss_scale", pa.list_(pa.float32()))] if rows and "loss_scale" in rows[0] else []
            schema = pa.schema([*columns, *weights])
            lines = [
                {**row, "length": len(row["input_ids"]), "source": "a.jsonl", "row": i}
                for i, row in enumerate(rows, start=1)
            ]
            with pa.OSFile(str(folder / f"{name}.arrow"), "wb") as sink, pa.ipc.new_file(sink, schema) as writer:
                for batch in pa.Table.from_pylist(lines, schema=schema).to_batches(max_chunksize=7):
                    writer.write_batch(batch)
    return folder


def learn(
    base: Path, tokens: Path, folder: Path, hazard: tuple[str, int] | None = None, run: str = "a", **params: Any
) -> Outcome:
    """Train LoRA on `base`; checkpoints go to `folder`/checkpoints, weights and history to `folder`/final.

    `hazard` is what goes wrong and when: `kill`, `interrupt` or `terminate` at a step; `kill_in_save`, `full_disk` in
    the n-th checkpoint.
    """
    what, when = hazard or ("", 0)
    torch.set_num_threads(1)
    defaults = {
        "num_train_epochs": 2, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "save_steps": 2,
        "learning_rate": 1e-2, "logging_steps": 1, "warmup_ratio": 0.1, "gradient_checkpointing": False,
    }  # fmt: skip
    settings = settled(Train(**{**defaults, **params}), 1e-4)
    dropout = 0.1 if hazard or params.get("dataloader_num_workers") is not None else 0.0
    model = lora.wrap(Qwen3ForCausalLM.from_pretrained(base), Tuner(lora_rank=4, lora_dropout=dropout), settings.seed)
    arguments = {"model": {"model": "base"}, "template": {}, "tuner": {}, "train": settings.model_dump()}
    saves = 0

    def save(model: Any, target: Path) -> None:
        nonlocal saves
        saves += 1
        lora.save(model, target, "base")
        if saves == when and what == "kill_in_save":
            os.kill(os.getpid(), signal.SIGKILL)
        if saves == when and what == "full_disk":
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))

    def report(line: dict[str, Any]) -> None:
        with (folder / "progress.jsonl").open("a") as stream:
            stream.write(json.dumps(line) + "\n")
        if line.get("step") == when and "loss" in line and what in SIGNALS:
            os.kill(os.getpid(), SIGNALS[what])

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = AutoTokenizer.from_pretrained(base)
    outcome = train(model, tokenizer, tokens, settings, folder / "checkpoints", save, arguments, report, run=run)
    lora.save(model, folder / "final", "base")
    (folder / "final/history.json").write_text(json.dumps(outcome.history))
    return outcome


SIGNALS = {"kill": signal.SIGKILL, "interrupt": signal.SIGINT, "terminate": signal.SIGTERM}


def learn_and_exit(folder: Path, *args: Any, **kwargs: Any) -> None:
    """In a process of its own: end it as the command line would, with the message in `folder`/error.txt."""
    multiprocessing.set_start_method("fork", force=True)  # so that a loader's workers are this process's children
    try:
        learn(*args, **kwargs)
    except MartletError as error:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        (folder / "error.txt").write_text(str(error))
        os._exit(error.exit_code)
