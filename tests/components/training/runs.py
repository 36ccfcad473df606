"""Small training runs, in this process or in one that comes to grief on purpose."""

import gc
import json
import multiprocessing
import os
import random
import resource
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, Qwen3ForCausalLM

from components.classes import REGRESSION, Classes
from components.config import Params, read_mapping, resolve
from components.config.groups.quantization import Quantization
from components.errors import MartletError
from components.models import load_model, prepared, stored_quantization
from components.tokens import BESIDE, IGNORED, Ragged, TokenRows, schema, to_batch, tokens_writer
from components.training import Job, Outcome, Packs, choose_start, held, preload, settled, train
from components.tuners import TUNERS
from tasks.stages import reward_models
from tasks.stages.rollouts import LocalRollouts

preload().join()  # once, by the server that processes are forked from
gc.freeze()  # each training looks for garbage, which among all that was imported takes longer than its steps

MASKED = [IGNORED]
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


def labelled_rows(count: int, seed: int = 0) -> list[Row]:
    """Texts of two classes."""
    return [{"input_ids": row["input_ids"], "target": n % 2} for n, row in enumerate(some_rows(count, seed))]


def paired_rows(count: int, seed: int = 0) -> list[Row]:
    """Anchors, each with a text that belongs to it and one that does not."""
    texts = [row["input_ids"] for row in some_rows(3 * count, seed)]
    names = ("anchor_ids", "positive_ids", "negative_ids")
    return [
        dict(zip(names, three, strict=True)) | {"negative_lengths": [len(three[2])], "score": None}
        for three in zip(texts[::3], texts[1::3], texts[2::3], strict=True)
    ]


def preference_rows(count: int, seed: int = 0) -> list[Row]:
    """Prompts, each with two answers of different lengths."""
    rng, rows = random.Random(seed), []
    for _ in range(count):
        prompt, chosen, rejected = ([rng.randrange(3, 300) for _ in range(rng.randint(3, 9))] for _ in range(3))
        answers = {"chosen_ids": chosen, "chosen_labels": chosen, "rejected_ids": rejected, "rejected_labels": rejected}
        rows.append({"prompt_ids": prompt, **answers, "margin": rng.choice([None, 0.5])})
    return rows


def judged_rows(count: int, seed: int = 0) -> list[Row]:
    """Prompts, each with an answer that is good or bad."""
    names = {"prompt_ids": "prompt_ids", "chosen_ids": "completion_ids", "chosen_labels": "completion_labels"}
    pairs = preference_rows(count, seed)
    return [{new: row[old] for old, new in names.items()} | {"label": n % 3 != 1} for n, row in enumerate(pairs)]


def prompt_rows(count: int, seed: int = 0) -> list[Row]:
    """Prompts, each with a column for rewards."""
    rows = preference_rows(count, seed)
    return [
        {"prompt_ids": row["prompt_ids"], "prompt": [{"role": "user", "content": f"{n}?"}], "extra": {"number": n}}
        for n, row in enumerate(rows)
    ]


def batch(rows: list[Row], shape: str = "sft", first: int = 1):
    """Rows as one batch of a token file, numbered from `first`."""
    columns = {
        name: Ragged(np.concatenate([row[name] for row in rows]), np.cumsum([0, *(len(row[name]) for row in rows)]))
        for name in rows[0]
        if name != "source" and name not in BESIDE.get(shape, ())
    }
    whole = schema(shape)
    beside = {
        name: [json.dumps(row[name]) if whole.field(name).type == "string" else row[name] for row in rows]
        for name in BESIDE.get(shape, ())
    }
    sources = [row.get("source", "a.jsonl") for row in rows]
    return to_batch(shape, columns, sources, range(first, first + len(rows)), beside)


def write_tokens(folder: Path, train: list[Row], val: list[Row] | None = None, shape: str = "sft") -> Path:
    """Write rows as the stage `template` does, in batches of seven."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", train), ("val", val)):
        if rows is not None:
            whole = schema(shape, bool(rows) and "loss_scale" in rows[0])
            with tokens_writer(folder / f"{name}.arrow", whole) as writer:
                for start in range(0, len(rows), 7):
                    writer.write_batch(batch(rows[start : start + 7], shape, start + 1))
    return folder


def learn(
    base: Path,
    tokens: Path,
    folder: Path,
    hazard: tuple[str, int] | None = None,
    run: str = "a",
    external: Sequence[Path] = (),
    teacher: Any = None,
    reference: Any = None,
    **params: Any,
) -> Outcome:
    """Train on `base`, by default LoRA; checkpoints go to `folder`/checkpoints, weights and history to `folder`/final.

    `params` are parameters of any group by their names. `hazard` is what goes wrong and when: `kill`, `interrupt` or
    `terminate` at a step; `kill_in_save`, `full_disk` in the n-th checkpoint.
    """
    what, when = hazard or ("", 0)
    torch.set_num_threads(1)
    defaults = {
        "num_train_epochs": 2, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "save_steps": 2,
        "learning_rate": 1e-2, "logging_steps": 1, "warmup_ratio": 0.1, "gradient_checkpointing": False,
    }  # fmt: skip
    dropout = 0.1 if hazard or params.get("dataloader_num_workers") is not None else 0.0
    settings = learn_params({**defaults, "lora_dropout": dropout, **params})
    tuner = TUNERS.load(settings.tuner.tuner_type)
    loaded = reward_model(base) if settings.method.name == "rm" else _base(base, settings.quantization)
    model = tuner.wrap(loaded, settings, settings.train.seed)
    arguments = {"model": {"model": "base"}, "template": {}, "tuner": {}, "train": settings.train.model_dump()}
    saves = 0

    def save(model: Any, target: Path) -> None:
        nonlocal saves
        saves += 1
        tuner.save(model, target, "base")
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
    rows: Any = TokenRows(tokens / "train.arrow")
    if settings.train.packing:
        rows = Packs(rows, settings.train.packing_length, settings.train.packing_strategy)
    val = tokens / "val.arrow"
    job = Job(
        params=settings, model=model, tokenizer=AutoTokenizer.from_pretrained(base), rows=rows,
        val_rows=TokenRows(val) if val.is_file() else None, checkpoints=folder / "checkpoints", save=save,
        restore=tuner.restore, arguments=arguments, report=report, made_of={"run": run}, external=list(external),
        tuner_step=getattr(tuner, "step", None), penalty=getattr(tuner, "penalty", None),
        initialise=getattr(tuner, "initialise", None),
    )  # fmt: skip
    if settings.reward.reward_funcs or settings.reward.reward_model:
        judges = reward_models.rewards_of(settings, Path(), print)
        job.rollouts = LocalRollouts(settings, job.tokenizer, job.external, judges)
    if reference:
        job.reference = lambda: reference
    if teacher:
        job.teacher, job.rollouts, job.teacher_rollouts = (
            teacher,
            *(LocalRollouts(settings, job.tokenizer, []) for _ in range(2)),
        )
    outcome = go_on(job)
    (folder / "final").mkdir(exist_ok=True)
    tuner.save(model, folder / "final", "base")
    (folder / "final/history.json").write_text(json.dumps(outcome.history))
    return outcome


def other_weights(base: Path, vocabulary: int | None = None) -> Any:
    """A model that does not learn: the base with other weights, and with a wider embedding where it is given."""
    torch.manual_seed(1)
    model = Qwen3ForCausalLM.from_pretrained(base)
    if vocabulary:
        model.resize_token_embeddings(vocabulary)
    for weight in model.parameters():
        weight.data += 0.05 * torch.randn_like(weight)
    return model.eval().requires_grad_(False)


def _base(folder: Path, quantization: Quantization) -> Any:
    if not (quantization.quant_method or stored_quantization(folder)):
        return Qwen3ForCausalLM.from_pretrained(folder)
    return prepared(load_model(folder, "float32", quantization=quantization), quantization)


def reward_model(folder: Path) -> Any:
    """A reward model on the base; the first values of its head are random."""
    torch.manual_seed(0)
    return load_model(folder, "float32", classes=Classes(["reward"], REGRESSION))


def learn_params(values: dict[str, Any]) -> Params:
    """Settled parameters of a small run; packs are as long as the longest row unless `packing_length` says."""
    params = settled(resolve(read_mapping({"lora_rank": 4, **values}, "test")), 1e-4)
    length = {"packing_length": values.get("packing_length")}
    return params.model_copy(update={"train": params.train.model_copy(update=length)})


def go_on(job: Job) -> Outcome:
    """Train a job from its newest checkpoint, as the stage does."""
    with held(job.checkpoints):
        job.start = choose_start(
            job.checkpoints, job.made_of, job.arguments, None, lambda message: job.report({"message": message})
        )
        return train(job)


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
