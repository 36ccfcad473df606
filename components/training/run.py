"""One training run, from wherever it stands to its end."""

import math
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config.groups.train import Train
from components.errors import ConfigError, InterruptedRunError
from components.training import checkpoints as store
from components.training.batches import Isolated, Padded
from components.training.checks import check_isolation
from components.training.preload import preload
from components.training.rows import Packs, Rows
from components.training.signals import stopping
from components.training.stream import Stream

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase, TrainingArguments

ROWS_PER_STEP = 16
"""Rows, or packs of them, in an optimizer step where nobody says how many."""


@dataclass
class Outcome:
    """What a run left: its history, step by step, and its key figures."""

    steps: int
    epochs: float
    """Passes over the data; of a stream, those that were finished."""
    tokens: int
    """Tokens seen, padding aside."""
    seconds: float
    """Of this session only."""
    tokens_per_second: float
    parameters: int
    trainable: int
    best: str | None
    """The checkpoint with the lowest eval loss."""
    last: str
    logging_steps: int
    packing: dict[str, Any] | None
    """With packing: number of `packs`, their `length` in tokens, and the share of it that rows `fill`."""
    history: list[dict[str, Any]] = field(repr=False)
    """The trainer's log: `step` with `loss`, `learning_rate` and `grad_norm`, or with `eval_loss`."""


SMALL = 50_000_000
"""Parameters below which one thread trains on a CPU."""


def train(
    model: Any,
    tokenizer: "PreTrainedTokenizerBase",
    tokens: Path | Stream,
    params: Train,
    checkpoints: Path,
    save: Callable[[Any, Path], None],
    arguments: dict[str, Any],
    on_progress: Callable[[dict[str, Any]], None],
    run: str = "",
    resume_from: Path | None = None,
) -> Outcome:
    """Train `model` in place on `tokens`/train.arrow, evaluating on the rows of val.arrow where there is one.

    A stream of tokens is trained on as it comes.

    Goes on from the newest complete checkpoint in the folder `checkpoints` that was made under the same fingerprint
    `run`, or from `resume_from`. Each checkpoint holds the weights as `save` writes them, the tokenizer, `arguments` as
    args.json, and what exact resume needs. `params` must have a learning rate and accumulation (see `settled`).

    Raises:
        ConfigError: `resume_from` is incomplete or of another run, the parameters do not go together, or the model
            mixes documents that share a line.
        InterruptedRunError: SIGINT or SIGTERM came; a checkpoint is written.
        MartletError: a checkpoint could not be written, the loss is no number, or there are no rows.
    """
    preload().join()
    from components.training.loop import TokenTrainer, Watch

    def say(message: str) -> None:
        print(message, flush=True)
        on_progress({"message": message})

    _settle_threads(model)
    stream = tokens if isinstance(tokens, Stream) else None
    rows = tokens if isinstance(tokens, Stream) else Rows(tokens / "train.arrow")
    validation = tokens.validation if isinstance(tokens, Stream) else tokens / "val.arrow"
    val_rows = Rows(validation) if validation and validation.is_file() else None
    packs = None
    if params.packing and isinstance(rows, Rows):
        packs = Packs(rows, params.packing_length, params.packing_strategy)
        on_progress({"message": _packed(rows, packs)})

    def save_all(model: Any, folder: Path) -> None:
        save(model, folder)
        if stream:
            stream.write_position(folder)

    with store.held(checkpoints):
        if resume_from:
            store.check_given(resume_from, arguments)
        start = resume_from or store.newest_intact(checkpoints, run, say)
        if start:
            say(f"going on from {start.name}")
            store.drop_later(checkpoints, start, say)
        if stream:
            stream.begin(start)
            if params.packing:
                on_progress({"message": stream.packed})
        with stopping() as stop:
            watch = Watch(on_progress, params.logging_steps, stop)
            trainer = TokenTrainer(
                model=model,
                args=_training_arguments(model, params, checkpoints, val_rows is not None),
                data_collator=_collator(model, params, _pad_token_id(tokenizer)),
                train_dataset=packs or rows,
                eval_dataset=val_rows,
                processing_class=tokenizer,
                callbacks=[watch],
                save_weights=save_all,
                weighted=rows.weighted or (val_rows is not None and val_rows.weighted),
                seal_with={"arguments": arguments, "run": run, "save_total_limit": params.save_total_limit},
            )
            if params.packing or params.padding_free:
                check_isolation(model, rows.samples if isinstance(rows, Stream) else rows)
            began = time.monotonic()
            trainer.train(resume_from_checkpoint=str(start) if start else None)
    seconds, seen = time.monotonic() - began, trainer.state
    if stop.is_set() and seen.global_step < seen.max_steps:
        raise InterruptedRunError(
            f"train: stopped at step {seen.global_step} of {seen.max_steps}; checkpoint-{seen.global_step} is written, "
            "to go on from"
        )
    best = store.best_step(seen.log_history, [store.step_of(p) for p in store.all_in(checkpoints)])
    return Outcome(
        steps=seen.global_step,
        epochs=float(stream.epoch) if stream else round(seen.epoch or 0.0, 4),
        tokens=seen.num_input_tokens_seen,
        seconds=round(seconds, 2),
        tokens_per_second=round((seen.num_input_tokens_seen - watch.first_tokens) / seconds, 1),
        parameters=sum(p.numel() for p in model.parameters()),
        trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        best=f"checkpoint-{best}" if best is not None else None,
        last=f"checkpoint-{seen.global_step}",
        logging_steps=params.logging_steps,
        packing={"packs": len(packs), "length": packs.length, "fill": round(packs.fill, 5)} if packs else None,
        history=[entry for entry in seen.log_history if "loss" in entry or "eval_loss" in entry],
    )


def settled(params: Train, default_learning_rate: float, max_length: int | None = None) -> Train:
    """Fill in what depends on other things: the tuner's learning rate, accumulation, how often to evaluate, and the
    length of packs, which is the `max_length` of rows."""
    accumulation = params.gradient_accumulation_steps or math.ceil(ROWS_PER_STEP / params.per_device_train_batch_size)
    return params.model_copy(
        update={
            "learning_rate": params.learning_rate or default_learning_rate,
            "gradient_accumulation_steps": accumulation,
            "eval_steps": params.eval_steps or params.save_steps,
            "packing_length": params.packing_length or (max_length if params.packing else None),
        }
    )


def _training_arguments(model: Any, params: Train, output: Path, evaluates: bool) -> "TrainingArguments":
    import torch
    from transformers import TrainingArguments

    accelerated = torch.accelerator.is_available()
    if model.dtype == torch.float16 and not accelerated:
        raise ConfigError("torch_dtype: float16 needs an accelerator; on a CPU use float32 or bfloat16")
    warmup = params.warmup_steps or params.warmup_ratio
    schedule = params.lr_scheduler_type
    checkpointing = params.gradient_checkpointing
    return TrainingArguments(
        output_dir=str(output),
        num_train_epochs=params.num_train_epochs,
        max_steps=params.max_steps,
        per_device_train_batch_size=params.per_device_train_batch_size,
        per_device_eval_batch_size=params.per_device_eval_batch_size,
        gradient_accumulation_steps=params.gradient_accumulation_steps or 1,
        learning_rate=params.learning_rate or 0.0,
        lr_scheduler_type="constant_with_warmup" if schedule == "constant" and warmup else schedule,
        warmup_steps=warmup,
        weight_decay=params.weight_decay,
        adam_beta1=params.adam_beta1,
        adam_beta2=params.adam_beta2,
        adam_epsilon=params.adam_epsilon,
        max_grad_norm=params.max_grad_norm,
        bf16=model.dtype == torch.bfloat16,
        fp16=model.dtype == torch.float16,
        activation_checkpointing=accelerated if checkpointing is None else checkpointing,
        train_sampling_strategy="group_by_length" if params.group_by_length else "random",
        logging_steps=1,
        logging_nan_inf_filter=False,
        eval_strategy="steps" if evaluates else "no",
        eval_steps=params.eval_steps,
        save_steps=params.save_steps,
        dataloader_num_workers=params.dataloader_num_workers,
        dataloader_pin_memory=accelerated,
        remove_unused_columns=False,
        label_names=["labels"],
        include_num_input_tokens_seen="non_padding",
        seed=params.seed,
        report_to="none",
        disable_tqdm=True,
    )


def _packed(rows: Rows, packs: Packs) -> str:
    """What the user must know to choose the batch: a step takes packs, not rows."""
    return (
        f"{len(rows)} rows in {len(packs)} packs of {packs.length} tokens, {packs.fill:.1%} full; a pack has "
        f"{len(rows) / len(packs):.0f} rows on average"
    )


def _collator(model: Any, params: Train, pad_token_id: int) -> Isolated | Padded:
    if not (params.packing or params.padding_free):
        return Padded(pad_token_id)
    return Isolated(pad_token_id, one_line="flash" in model.config._attn_implementation)


def _pad_token_id(tokenizer: Any) -> int:
    """Padding is masked, so any token will do where the tokenizer has none of its own."""
    return next(t for t in (tokenizer.pad_token_id, tokenizer.eos_token_id, 0) if t is not None)


def _settle_threads(model: Any) -> None:
    """Train a small model on a CPU with one thread, unless OMP_NUM_THREADS says otherwise.

    Two threads are up to 1.4 times as fast while nothing else runs. But they wait for each other by spinning, and as
    soon as another process holds a core, a step takes twenty times as long. It also makes the result independent of
    the number of cores.
    """
    import torch

    if model.device.type == "cpu" and model.num_parameters() < SMALL and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
