"""One training run, from wherever it stands to its end."""

import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from components import figures
from components.errors import ConfigError, InterruptedRunError
from components.files import remove
from components.sharded import is_any_divided, is_partitioned, numel, writable
from components.towers import keep_averages
from components.training import checkpoints as store
from components.training import ranks
from components.training.datasets import Packs, sample_rows
from components.training.documents import NAME as DOCUMENTS
from components.training.engines import engine_of
from components.training.engines._absent import without_deepspeed
from components.training.estimate import steps
from components.training.features import FOLDER as FEATURES
from components.training.job import Job, transformers_model
from components.training.media import check_media
from components.training.methods import METHODS
from components.training.preload import preload
from components.training.sequence_parallel import divided_rows
from components.training.sharding import plan_of
from components.training.signals import stopping
from components.training.stream import Stream
from components.training.threads import is_measurable, settle_threads
from components.training.trackers import tracked

SAMPLE_ROWS = 32
"""Rows that a tuner takes its first values from."""
TIMED_PASSES = 4
"""Passes that are timed to tell how long a run will take."""


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
    """The checkpoint with the best figure in its evaluation, by default the lowest loss."""
    last: str
    logging_steps: int
    learns_tokens: bool
    """Whether the loss is that of a token, as with sft and pt."""
    packing: dict[str, Any] | None
    """With packing: number of `packs`, their `length` in tokens, and the share of it that rows `fill`."""
    history: list[dict[str, Any]] = field(repr=False)
    """The trainer's log: `step` with `loss`, `learning_rate` and `grad_norm`, or with `eval_loss`; beside them the
    method's figures."""


def train(job: Job) -> Outcome:
    """Train the job's model in place, from `job.start` or from the beginning.

    Each checkpoint holds the weights in the tuner's format, the tokenizer, the arguments as args.json, and what exact
    resume needs. The caller holds the folder of checkpoints (`held`).

    Raises:
        ConfigError: the parameters do not go together, or the model mixes documents that share a line.
        InterruptedRunError: SIGINT or SIGTERM came; a checkpoint is written.
        MartletError: a checkpoint could not be written, or the loss is no number.
    """
    preload().join()
    if ranks.is_writer():
        remove(job.checkpoints / FEATURES)
    parameters, trainable = _sizes(job)
    keep_averages(job.model)
    check_media(job)
    if isinstance(job.rows, Stream):
        _follow_stream(job, job.rows)
    method: Any = METHODS.load(job.params.method.name, job.external)
    if answers := method.reference(job.params) if hasattr(method, "reference") else ():
        from components.training.reference import add_reference

        add_reference(job, answers)
    if job.initialise:
        if job.start:
            job.restore(job.model, job.start)
        else:
            job.initialise(job.model, sample_rows(job.rows, SAMPLE_ROWS))
        parameters, trainable = _sizes(job)
    if job.train.packing and ranks.is_writer():
        job.report({"message": job.rows.packed if isinstance(job.rows, Stream) else str(job.rows)})
    from components.training.low_rank import one_operation

    # No graph has room for the operation, and the hooks of ZeRO-3 do not see that it reads weights.
    is_plain = not job.train.torch_compile and not any(map(is_partitioned, job.model.parameters()))
    lora = one_operation(job.model) if is_plain else nullcontext()
    rows = divided_rows(job)
    is_deepspeed = plan_of(job.params.distributed).engine == "deepspeed"
    with nullcontext() if is_deepspeed else without_deepspeed(), stopping(job.stop), lora, tracked(job), rows:
        trainer: Any = method.trainer(job)
        if ranks.is_writer():
            job.report({"message": _about(job, str(trainer.args.device.type), parameters, trainable)})
        _settle_threads(job, trainer)
        began = time.monotonic()
        trainer.train(resume_from_checkpoint=str(job.start) if job.start else None)
        trainer.accelerator.unwrap_model(job.model, keep_fp32_wrapper=False)  # ends accelerate's autocast
    seconds, state = time.monotonic() - began, trainer.state
    if job.stop.is_set() and state.global_step < state.max_steps:
        raise InterruptedRunError(
            f"train: stopped at step {state.global_step} of {state.max_steps}; checkpoint-{state.global_step} is "
            "written, to go on from"
        )
    if ranks.is_writer():  # a run that was killed after its last checkpoint has not removed the others yet
        remove(job.checkpoints / FEATURES)
        store.rotate(job.checkpoints, state.log_history, job.train.save_total_limit, job.measure)
    steps = [store.step_of(folder) for folder in store.all_in(job.checkpoints)]
    best = job.measure.best_step(state.log_history, steps)
    if best is not None and job.train.load_best_model_at_end:
        _restore(job, job.checkpoints / f"checkpoint-{best}")
    engine_of(job.params).end(trainer)
    packs = job.rows if isinstance(job.rows, Packs) else None
    return Outcome(
        steps=state.global_step,
        epochs=float(job.rows.epoch) if isinstance(job.rows, Stream) else round(state.epoch or 0.0, 4),
        tokens=state.num_input_tokens_seen,
        seconds=round(seconds, 2),
        tokens_per_second=round((state.num_input_tokens_seen - trainer.progress.first_tokens) / seconds, 1),
        parameters=parameters,
        trainable=trainable,
        best=f"checkpoint-{best}" if best is not None else None,
        last=f"checkpoint-{state.global_step}",
        logging_steps=job.train.logging_steps,
        learns_tokens=_learns_tokens(job),
        packing={"packs": len(packs), "length": packs.length, "fill": round(packs.fill, 5)} if packs else None,
        history=[entry for entry in state.log_history if "loss" in entry or figures.of_evaluation(entry)],
    )


def _restore(job: Job, checkpoint: Path) -> None:
    """Read the weights of a checkpoint back; those of an adapter are small enough to be whole in every process."""
    is_adapter = job.params.tuner.tuner_type != "full"
    with writable([weight for weight in job.model.parameters() if weight.requires_grad] if is_adapter else []):
        job.restore(job.model, checkpoint)


def _sizes(job: Job) -> tuple[int, int]:
    """Return how many parameters the model has, and how many of them are trained.

    Raises:
        ConfigError: the tuner gives no model, or one in which nothing learns.
    """
    from torch import nn

    tuner = f"tuner_type: {job.params.tuner.tuner_type}"
    if not isinstance(job.model, nn.Module):
        raise ConfigError(f"{tuner}: `wrap(model, params, seed)` returns the model, not {job.model!r}")
    if not any(weight.requires_grad for weight in job.model.parameters()):
        raise ConfigError(f"{tuner} leaves no weight of the model that learns")
    model: Any = job.model
    if hasattr(model, "get_nb_trainable_parameters"):  # of peft, whose prompts are no part of the model below
        trainable, every = model.get_nb_trainable_parameters()
        return every, trainable
    if is_any_divided(model):
        sizes = [(numel(weight), weight.requires_grad) for weight in model.parameters()]
        return sum(size for size, _ in sizes), sum(size for size, learns in sizes if learns)
    return model.num_parameters(), model.num_parameters(only_trainable=True)


def _about(job: Job, device: str, parameters: int, trainable: int) -> str:
    """Return what is trained, and where, in one line."""
    model = transformers_model(job.model)
    quantization = getattr(model, "quantization_method", None)
    by = f", quantized by {getattr(quantization, 'value', quantization)}" if quantization else ""
    devices = device if ranks.world_size() == 1 else f"{ranks.world_size()} × {device}"
    attention = model.config._attn_implementation
    attention = "sdpa attention in each document" if attention == DOCUMENTS else f"{attention} attention"
    parts = job.params.distributed.sequence_parallel_size
    attention += f" over rows that {parts} processes divide" if parts > 1 else ""
    return (
        f"model: {str(model.dtype).removeprefix('torch.')}{by} on {devices}, {attention}; "
        f"{job.params.tuner.tuner_type}: {trainable:,} of {parameters:,} parameters learn "
        f"({100 * trainable / parameters:.3g} %)"
    )


def _follow_stream(job: Job, stream: Stream) -> None:
    """Move the stream to the position of `job.start`, and write the position into every later checkpoint."""
    save = job.save

    def save_with_position(model: Any, folder: Any, **weights: Any) -> None:
        save(model, folder, **weights)
        stream.write_position(folder)

    job.save = save_with_position
    stream.begin(job.start)


def _settle_threads(job: Job, trainer: Any) -> None:
    """Measure on the first rows how many threads train fastest; weights, gradients and random numbers stay.

    Only for sft and pt: a step of another method is long enough to gain from every thread.
    """
    if not is_measurable(job.model) or not _learns_tokens(job):
        return
    dataset = job.rows.samples if isinstance(job.rows, Stream) else job.rows
    batch = _batch(trainer, [dataset[i] for i in range(min(job.train.per_device_train_batch_size, len(dataset)))])
    settle_threads(job.model, batch["input_ids"].numel(), lambda: _pass(job, trainer, batch))


def _learns_tokens(job: Job) -> bool:
    """Return whether the method learns from single rows of tokens alone, as sft and pt do."""
    return not job.teacher and METHODS.load(job.params.method.name, job.external).SHAPE in ("sft", "text")


def _batch(trainer: Any, items: list[Any]) -> dict[str, Any]:
    return trainer._prepare_inputs(trainer.data_collator(items))


def _pass(job: Job, trainer: Any, batch: dict[str, Any]) -> None:
    """Go forward and backward; weights, gradients and random numbers stay."""
    import torch

    with torch.random.fork_rng(devices=[]):
        job.model.train()
        trainer.compute_loss(job.model, batch, num_items_in_batch=1).backward()
        job.model.zero_grad(set_to_none=True)


def seconds_of(job: Job) -> float | None:
    """Return how long the training passes of a run take, from a few of them on rows in random order; what optimizer,
    evaluations and checkpoints take is not in it. None for methods that learn from other rows than tokens."""
    import numpy as np
    import torch

    if not _learns_tokens(job):
        return None
    trainer: Any = METHODS.load(job.params.method.name, job.external).trainer(job)
    _settle_threads(job, trainer)
    rows, size = job.rows, job.train.per_device_train_batch_size
    order = np.random.default_rng(0).permutation(len(rows))[: size * (1 + TIMED_PASSES)]
    seconds, tokens = 0.0, 0
    for start in range(0, len(order), size):
        chosen = order[start : start + size]
        batch = _batch(trainer, [rows[int(i)] for i in chosen])
        began = time.perf_counter()
        _pass(job, trainer, batch)
        if torch.accelerator.is_available():
            torch.accelerator.synchronize()
        if start or len(order) <= size:  # the first pass warms up
            seconds, tokens = seconds + time.perf_counter() - began, tokens + int(rows.lengths[chosen].sum())
    of_run = steps(job.params, getattr(rows, "rows", rows)) * size * (job.train.gradient_accumulation_steps or 1)
    return seconds / tokens * float(rows.lengths.mean()) * of_run
