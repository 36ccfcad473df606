"""What is ours in transformers' Trainer: token-exact losses, sealed checkpoints, progress. Imported when training."""

import math
import shutil
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from threading import Event
from typing import Any

import psutil
import torch
from torch import nn
from torch.utils.data import SequentialSampler
from transformers.trainer import Trainer
from transformers.trainer_callback import PrinterCallback, TrainerCallback
from transformers.trainer_pt_utils import LengthGroupedSampler

from components.errors import MartletError
from components.files import seal, write_json
from components.training.checkpoints import all_in, rotate, step_of
from components.training.rows import IGNORED
from components.training.stream import Stream


class TokenTrainer(Trainer):
    """Losses are sums over learnable tokens, divided by how many there are: in a step, and in an evaluation."""

    def __init__(
        self, *, save_weights: Callable[[Any, Path], None], seal_with: dict[str, Any], weighted: bool, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.remove_callback(PrinterCallback)
        self.save_weights = save_weights
        self.arguments, self.run = seal_with["arguments"], seal_with["run"]
        self.save_total_limit = seal_with["save_total_limit"]
        if weighted or not self.model_accepts_loss_kwargs:
            self.compute_loss_func = token_loss

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        # A step in which nothing is learned has a loss of zero rather than 0 / 0.
        if torch.is_tensor(num_items_in_batch):
            num_items_in_batch = num_items_in_batch.clamp(min=1)
        if "position_ids" in inputs:
            # Restarting positions isolate documents only without a mask, and without a cache: the trainer has none.
            inputs = {name: value for name, value in inputs.items() if name != "attention_mask"}
        weights = inputs.pop("loss_scale", None)
        if self.compute_loss_func:
            self.compute_loss_func = partial(token_loss, loss_scale=weights)
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        if isinstance(self.train_dataset, Stream):
            return SequentialSampler(self.train_dataset)
        if self.args.train_sampling_strategy != "group_by_length":
            return super()._get_train_sampler(train_dataset)
        data: Any = self.train_dataset
        together = self.args.train_batch_size * self.args.gradient_accumulation_steps
        return GroupedByLength(data.lengths.tolist(), together, self.args.seed)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:  # noqa: ARG002
        """Without a start there are no timings in the history, and equal runs have equal ones."""
        super().log(logs)

    @torch.no_grad()
    def evaluate(self, *args: Any, **kwargs: Any) -> dict[str, float]:  # noqa: ARG002
        model: Any = self.model
        model.eval()
        total, count = 0.0, 0
        for batch in self.get_eval_dataloader():
            inputs: dict[str, Any] = self._prepare_inputs(batch)
            learnable = (inputs["labels"][:, 1:] != IGNORED).sum()
            total += float(self.compute_loss(model, inputs, num_items_in_batch=learnable) * learnable)
            count += int(learnable)
        metrics = {"eval_loss": total / max(count, 1)}
        self.log(metrics)
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        """The tuner's own format, and neither a pickle of the arguments nor a question to the hub."""
        folder = Path(str(output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        self.save_weights(self.model, folder)
        tokenizer: Any = self.processing_class
        tokenizer.save_pretrained(str(folder))
        write_json(folder / "args.json", self.arguments)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        root, step = Path(str(self.args.output_dir)), self.state.global_step
        folder = root / f"checkpoint-{step}"
        try:
            shutil.rmtree(folder, ignore_errors=True)
            super()._save_checkpoint(model, trial)
            seal(folder, run=self.run, step=step)
        except Exception as error:
            shutil.rmtree(folder, ignore_errors=True)
            raise MartletError(_why_not_saved(root, step, error)) from error
        rotate(root, self.state.log_history, self.save_total_limit)


def token_loss(
    outputs: Any,
    labels: torch.Tensor,
    num_items_in_batch: torch.Tensor | None = None,
    loss_scale: torch.Tensor | None = None,
) -> torch.Tensor:
    """Next-token cross entropy; logits [rows, length, vocabulary], labels and their weights [rows, length].

    With weights it is `sum(loss_scale * cross_entropy) / learnable tokens`, as in ms-swift: a weight of 2 counts a
    token twice above the line, and once below it.
    """
    logits, targets = outputs["logits"][:, :-1].float().flatten(0, 1), labels[:, 1:].flatten()
    if loss_scale is None:
        total = nn.functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="sum")
    else:
        each = nn.functional.cross_entropy(logits, targets, ignore_index=IGNORED, reduction="none")
        total = (each * loss_scale[:, 1:].flatten()).sum()
    return total / (num_items_in_batch if num_items_in_batch is not None else (targets != IGNORED).sum())


class GroupedByLength(LengthGroupedSampler):
    """transformers' sampler, with an order that depends on (seed, epoch) alone, so that a run can be resumed."""

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self.order = torch.Generator()
        super().__init__(batch_size, lengths=lengths, generator=self.order)
        self.seed = seed

    def set_epoch(self, epoch: int) -> None:
        """Called by accelerate's loader before each pass."""
        self.order.manual_seed(self.seed + epoch)


def _why_not_saved(root: Path, step: int, error: Exception) -> str:
    free = shutil.disk_usage(root).free / 1e6
    kept = [p for p in all_in(root) if step_of(p) != step]
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    return (
        f"the checkpoint at step {step} could not be written to {root} ({free:.0f} MB free): {reason}. Make room and "
        f"run again: it goes on from {kept[-1].name if kept else 'the beginning'}"
    )


class Watch(TrainerCallback):
    """Reports each logging step, stops when asked to, and refuses to go on with a loss that is no number.

    The trainer logs every step, and its history is part of each checkpoint. So the mean over the steps since the last
    report does not depend on whether the run was interrupted in between.
    """

    def __init__(self, report: Callable[[dict[str, Any]], None], every: int, stop: Event) -> None:
        self.report, self.every, self.stop = report, every, stop
        self.began = self.last_time = 0.0
        self.first_step = self.first_tokens = self.last_tokens = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        self.began = self.last_time = time.monotonic()
        self.first_step, self.first_tokens = state.global_step, state.num_input_tokens_seen
        self.last_tokens = self.first_tokens

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        if self.stop.is_set():
            control.should_save = control.should_training_stop = True

    def on_log(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        logs: dict[str, Any] = kwargs["logs"]
        step = state.global_step
        if "eval_loss" in logs:
            self.report({"step": step, "total_steps": state.max_steps, "eval_loss": logs["eval_loss"]})
        if "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise MartletError(
                f"the loss at step {step} is {logs['loss']}: lower --learning_rate, or use --torch_dtype float32"
            )
        if is_reported(step, self.every, state.max_steps):
            self.report(self._line(state, logs))

    def _line(self, state: Any, logs: dict[str, Any]) -> dict[str, Any]:
        now, step = time.monotonic(), state.global_step
        tokens, seconds = state.num_input_tokens_seen - self.last_tokens, max(now - self.last_time, 1e-9)
        self.last_time, self.last_tokens = now, state.num_input_tokens_seen
        per_step = (now - self.began) / (step - self.first_step)
        return {
            "step": step,
            "total_steps": state.max_steps,
            "epoch": round(logs["epoch"], 4),
            "loss": mean_loss(state.log_history, self.every),
            "learning_rate": logs["learning_rate"],
            "grad_norm": logs.get("grad_norm"),
            "tokens_per_second": round(tokens / seconds, 1),
            "memory": _memory(),
            "eta": round(per_step * (state.max_steps - step), 1),
        }


def is_reported(step: int, every: int, last: int) -> bool:
    """True for the first step, each `every`-th and the last."""
    return step == 1 or step % every == 0 or step == last


def mean_loss(history: list[dict[str, Any]], every: int) -> float:
    """Mean loss over the steps since the one reported before the newest in `history`."""
    losses: list[float] = []
    for entry in reversed(history):
        if "loss" in entry:
            if losses and is_reported(entry["step"], every, -1):
                break
            losses.append(entry["loss"])
    return sum(losses) / len(losses)


def _memory() -> int:
    """Bytes: the accelerator's peak, or what the process holds."""
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    return psutil.Process().memory_info().rss
