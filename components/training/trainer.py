"""The mixin that every trainer of ours sits on, transformers' or TRL's: sealed checkpoints, progress, an orderly end.

Imported when training starts: it needs transformers' Trainer, which takes seconds to import.
"""

import shutil
import time
from collections import deque
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import nn
from transformers.trainer_callback import PrinterCallback, TrainerCallback

from components.errors import ConfigError, MartletError
from components.figures import OWN, is_reported, means
from components.files import MANIFEST, read_json, seal
from components.sharded import numel, reshard
from components.training import divergence, ranks
from components.training.callbacks import CALLBACKS
from components.training.checkpoints import all_in, rotate, set_aside_later, step_of
from components.training.engines import engine_of
from components.training.job import Job, transformers_model
from components.training.judging import Judge
from components.training.optimizers import OPTIMIZERS
from components.training.recompute import settle_parts
from components.training.resuming import check_length, fingerprint
from components.training.saving import write_model
from components.training.sharding import plan_of
from components.training.symptoms import Watch

SAVE_REQUEST = "save"
"""A file in the folder of the checkpoints that asks for one after the current step."""
TIMINGS = ("_runtime", "_per_second", "_preparation_time")
"""Ends of the names of what transformers times."""


class JobTrainer:
    """Mixin for a transformers Trainer that trains a job: `class MyTrainer(JobTrainer, Trainer)`.

    Checkpoints are written in the tuner's format and sealed by one process; each number that is logged reaches the
    run's history and progress; the optimizer and the callbacks are those that the parameters name.
    """

    def __init__(self, job: Job, **kwargs: Any) -> None:
        self.job, self.progress = job, Progress(job)
        self.losses: deque[torch.Tensor] = deque(maxlen=job.accumulation)
        """Of the last forward passes of this process."""
        dtypes = {name: learning_dtype(w.dtype) for name, w in job.model.named_parameters() if w.requires_grad}
        users = [_callback(name, job) for name in job.train.callbacks]
        tuner = [TunerStep(job)] if job.tuner_step else []
        callbacks = [self.progress, SetEpoch(), *tuner, *users, Judge(job), SaveWhenStopped()]
        super().__init__(model=job.model, callbacks=callbacks, **kwargs)  # type: ignore[call-arg]
        for name, dtype in dtypes.items():  # also, TRL 1.16 rounds the adapters of 4-bit models to bfloat16
            weight = job.model.get_parameter(name)
            if weight.dtype != dtype:
                weight.data = weight.data.to(dtype)
        trainer: Any = self
        trainer.remove_callback(PrinterCallback)

    def create_optimizer(self, model: Any = None) -> Any:
        """Return the optimizer that `--optimizer` names, made once."""
        trainer: Any = self
        if trainer.optimizer is None:
            name = self.job.train.optimizer
            optimizer = OPTIMIZERS.load(name, self.job.external).build(model or self.job.model, self.job.params)
            if not isinstance(optimizer, torch.optim.Optimizer):
                raise ConfigError(f"optimizer: {name}: `build(model, params)` returns an Optimizer, not {optimizer!r}")
            weights = {id(weight) for weight in self.job.model.parameters()}
            if not any(id(weight) in weights for group in optimizer.param_groups for weight in group["params"]):
                raise ConfigError(f"optimizer: {name}: the Optimizer that `build` returns holds no weight of the model")
            trainer.optimizer = optimizer
        return trainer.optimizer

    def create_scheduler(self, *args: Any, **kwargs: Any) -> Any:
        """Return transformers' schedule of the learning rate.

        Raises:
            ConfigError: transformers refuses the parameters beside the learning rate.
        """
        try:
            return super().create_scheduler(*args, **kwargs)  # type: ignore[misc]
        except ValueError as error:
            raise ConfigError(f"lr_scheduler_kwargs: {error}") from error

    def set_initial_training_values(self, args: Any, dataloader: Any) -> Any:
        """Return transformers' numbers of the run, with no pass over the data where the last step is done.

        transformers 5.23 takes one more step where the checkpoint of the last step lies within a pass.

        Raises:
            ConfigError: the checkpoint to go on from lies after the last step.
        """
        passes, *others, total = super().set_initial_training_values(args, dataloader)  # type: ignore[misc]
        if start := self.job.start:
            check_length(start, total)
        return 0 if start and (step_of(start) == total or _was_last(start, self.job)) else passes, *others, total

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        settle_parts(self.job)
        prepared = super()._prepare_for_training(*args, **kwargs)  # type: ignore[misc]
        engine, plan = engine_of(self.job.params), plan_of(self.job.params.distributed)
        if not engine.is_running(self):
            raise MartletError(f"{plan.engine} is not what the processes train by; please report this, with the log")
        return prepared

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        """Return the loss of one forward pass, whose gradients are added."""
        self.losses.append(super().training_step(*args, **kwargs))  # type: ignore[misc]
        return self.losses[-1]

    def items_of(self, step: int) -> list[int]:  # noqa: ARG002
        """Return the numbers of the items of the dataset that a step learns from, if their order is known."""
        return []

    def floating_point_ops(self, inputs: Any) -> int:  # noqa: ARG002
        """Return 0: transformers counts all parameters anew in each step for its estimate, which nobody reads."""
        return 0

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:  # noqa: ARG002
        """Log without timings, so that equal runs have equal histories.

        Raises:
            MartletError: the loss or the gradient is no number.
        """
        divergence.check_step(self, logs)
        for name in [name for name in logs if name.endswith(TIMINGS)]:
            del logs[name]
        super().log(logs)  # type: ignore[misc]

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """Write the tuner's own format, and neither a pickle of the arguments nor a question to the hub."""
        trainer: Any = self
        reshard(trainer.model_wrapped)
        write_model(self.job, Path(str(output_dir)), self.job.save)
        ranks.barrier()

    # transformers 5.23 has no public hook round a whole checkpoint, nor for the weights of a checkpoint.
    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        trainer: Any = self
        root, step = self.job.checkpoints, trainer.state.global_step
        divergence.check_weights(self.job.model, step)
        folder = root / f"checkpoint-{step}"
        try:
            if ranks.is_writer():
                shutil.rmtree(folder, ignore_errors=True)
            ranks.barrier()
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
            if trainer.args.save_only_model:
                trainer._save_optimizer_and_scheduler(str(folder))
                trainer._save_rng_state(str(folder))
            ranks.barrier()
            if ranks.is_writer():
                is_last = trainer.control.should_training_stop and not self.progress.interrupted
                made_of = self.job.made_of
                seal(folder, run=fingerprint(made_of), step=step, last=is_last, made_of=made_of)
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise MartletError(_why_not_saved(root, step, error)) from error
        if ranks.is_writer():
            rotate(root, trainer.state.log_history, self.job.train.save_total_limit, self.job.measure)
        ranks.barrier()

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        trainer: Any = self
        if not engine_of(self.job.params).save_optimizer(trainer, Path(output_dir)):
            super()._save_optimizer_and_scheduler(output_dir)  # type: ignore[misc]
        elif ranks.is_writer():
            torch.save(trainer.lr_scheduler.state_dict(), Path(output_dir) / "scheduler.pt")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        trainer: Any = self
        if not checkpoint or not engine_of(self.job.params).load_optimizer(trainer, Path(checkpoint)):
            super()._load_optimizer_and_scheduler(checkpoint)  # type: ignore[misc]
        else:
            trainer.lr_scheduler.load_state_dict(torch.load(Path(checkpoint) / "scheduler.pt", weights_only=True))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        self.job.restore(model or self.job.model, Path(resume_from_checkpoint))


def _was_last(checkpoint: Path, job: Job) -> bool:
    """Return whether this very run ended with `checkpoint`; a callback may end a run before its last step."""
    manifest = read_json(checkpoint / MANIFEST)
    return manifest.get("last", False) and manifest["run"] == fingerprint(job.made_of)


def _callback(name: str, job: Job) -> TrainerCallback:
    callback = CALLBACKS.load(name, job.external).callback(job)
    if not isinstance(callback, TrainerCallback):
        raise ConfigError(f"callbacks: {name}: `callback(job)` returns a TrainerCallback, not {callback!r}")
    return callback


def _why_not_saved(root: Path, step: int, error: Exception) -> str:
    free = shutil.disk_usage(root).free / 1e6
    earlier = [checkpoint for checkpoint in all_in(root) if step_of(checkpoint) != step]
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"the checkpoint at step {step} could not be written to {root} ({free:.0f} MB free): {reason}. Make room, and "
        f"{f'go on from {earlier[-1].name}' if earlier else 'begin anew'}"
    )


class Progress(TrainerCallback):
    """Reports each logging step, and stops, or asks for a checkpoint, when the user does.

    The trainer logs every step, and its history is part of each checkpoint. So the mean over the steps since the last
    report does not depend on whether the run was interrupted in between.
    """

    def __init__(self, job: Job) -> None:
        self.job, self.every, self.watch = job, job.train.logging_steps, Watch()
        self.began = self.last_time = 0.0
        self.first_step = self.first_tokens = self.last_tokens = 0
        self.interrupted = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        if ranks.is_writer():  # only now is it known that the run can go on
            set_aside_later(self.job.checkpoints, self.job.start, lambda message: self.job.report({"message": message}))
        for entry in state.log_history:
            self.watch.see(entry)  # what the run before the checkpoint has told
        state.compute_steps(args, state.max_steps)  # a checkpoint's state has the intervals of its own run
        _follow_schedule(kwargs["optimizer"], kwargs["lr_scheduler"])
        self.began = self.last_time = time.monotonic()
        self.first_step, self.first_tokens = state.global_step, state.num_input_tokens_seen
        self.last_tokens = self.first_tokens

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        # All processes stop after the same step, whichever of them got the signal first.
        stops, saves = ranks.total([self.job.stop.is_set(), self._takes_request()])
        control.should_save |= bool(stops or saves)
        if saves:
            self._report({"message": f"checkpoint asked for: written after step {state.global_step}"})
        if stops:
            self.interrupted = control.should_training_stop = True

    def _takes_request(self) -> bool:
        """Return whether the user asked for a checkpoint by a file, and remove the file."""
        if not ranks.is_writer() or not (file := self.job.checkpoints / SAVE_REQUEST).is_file():
            return False
        file.unlink()
        return True

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        logs: dict[str, Any] = kwargs["logs"]
        step = state.global_step
        if any(name.startswith("eval_") for name in logs):
            self._report({"step": step, "total_steps": state.max_steps, **_numbers(logs, "epoch")})
        if "loss" in logs and is_reported(step, self.every, state.max_steps):
            self._report(self._line(state, logs))
        for sentence in self.watch.see(state.log_history[-1]):
            self._report({"message": sentence})

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        step = state.global_step
        self._report({"step": step, "total_steps": state.max_steps, "checkpoint": f"checkpoint-{step}"})

    def _report(self, line: dict[str, Any]) -> None:
        if ranks.is_writer():
            self.job.report(line)

    def _line(self, state: Any, logs: dict[str, Any]) -> dict[str, Any]:
        now, step = time.monotonic(), state.global_step
        tokens, seconds = state.num_input_tokens_seen - self.last_tokens, max(now - self.last_time, 1e-9)
        self.last_time, self.last_tokens = now, state.num_input_tokens_seen
        speed = tokens / seconds
        peak = (self.job.peak_flops or 0.0) * ranks.world_size()
        per_step = (now - self.began) / (step - self.first_step)
        return {
            "step": step,
            "total_steps": state.max_steps,
            **{name: value for name, value in _numbers(logs).items() if name in OWN},
            **means(state.log_history, self.every),
            "epoch": round(logs["epoch"], 4),
            "tokens_per_second": round(speed, 1),
            **({"mfu": round(speed * flops_per_token(self.job.model) / peak, 4)} if peak else {}),
            "memory": _memory(),
            "eta": round(per_step * (state.max_steps - step), 1),
        }


def learning_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the precision that weights of `dtype` learn in: in float16 a gradient is scaled, and its scaler takes
    weights in float32 alone; the passes are in float16 all the same."""
    return torch.float32 if dtype == torch.float16 else dtype


def _follow_schedule(optimizer: Any, schedule: Any) -> None:
    """Set the learning rates to those of the schedule; a checkpoint has those of a run of perhaps another length."""
    rates = [
        base * share(schedule.last_epoch) for base, share in zip(schedule.base_lrs, schedule.lr_lambdas, strict=True)
    ]
    for group, rate in zip(optimizer.param_groups, rates, strict=True):
        group["lr"] = rate
    schedule.load_state_dict({**schedule.state_dict(), "_last_lr": rates})


def _numbers(logs: dict[str, Any], *without: str) -> dict[str, float]:
    without = (*without, "num_input_tokens_seen")
    return {name: value for name, value in logs.items() if isinstance(value, int | float) and name not in without}


class TunerStep(TrainerCallback):
    """Lets the tuner act on each optimizer step while the gradients are there."""

    def __init__(self, job: Job) -> None:
        self.job = job

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        assert self.job.tuner_step
        self.job.tuner_step(self.job.model, state.global_step + 1, state.max_steps)


class SetEpoch(TrainerCallback):
    """Tells the sampler which pass over the data begins.

    The trainer tells the loader, but where a run of several processes resumes within a pass, that loader skips batches,
    and accelerate's `set_epoch` (1.15) does not reach the sampler below `SkipBatchSampler` and `BatchSamplerShard`. The
    loader that skips nothing has the same sampler, and reaches it.
    """

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        kwargs["train_dataloader"].set_epoch(int(state.epoch or 0))


class SaveWhenStopped(TrainerCallback):
    """Writes a checkpoint, once, of the step or pass after which the training ends; the checkpoint says so."""

    saved = False

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        if "epoch" not in (args.save_strategy, args.eval_strategy):  # else the end of the pass has more to save
            control.should_save |= control.should_training_stop and not self.saved

    def on_epoch_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        control.should_save |= control.should_training_stop and not self.saved

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self.saved = control.should_training_stop


def flops_per_token(model: Any) -> int:
    """Return the operations of a training step for each token, without those of attention between tokens: two for each
    weight forward, two back to the activations, and two more where the weight learns. An embedding only looks up."""
    plain = transformers_model(model)
    tied = plain.get_output_embeddings() is not None and plain.config.tie_word_embeddings
    lookup = 0 if tied else numel(plain.get_input_embeddings().weight)
    sizes = [(numel(weight), weight.requires_grad) for weight in plain.parameters()]
    return 4 * (sum(size for size, _ in sizes) - lookup) + 2 * sum(size for size, learns in sizes if learns)


def _memory() -> int:
    """Return bytes: the accelerator's peak, or what the process holds."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return psutil.Process().memory_info().rss
