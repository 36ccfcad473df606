"""What a training will need, before a weight is loaded; and what to change where the machine does not have it."""

import math
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from components import hardware, models, training, tuners
from components.classes import Classes
from components.config import Params
from components.errors import ConfigError, MartletError
from components.files import read_json
from components.texts import size
from components.tokens import TokenRows
from components.training.estimate import Batch, Memory, largest_batch, memory
from tasks.stages.paths import Paths, plugin_files
from tasks.stages.setup import Setup

CHECKPOINT_FILES = 2**20
"""Bytes of a checkpoint's small files."""
JOINED = ("sft", "text")
"""Shapes of rows that may share a line of a batch."""
ESTIMATED = (*JOINED, "classification", "pair")
"""Shapes of rows of whose method the largest forward pass is known."""
SHORT_ROW = 128
"""Tokens below which no shorter rows are advised."""
ENOUGH = 0.8
"""Share of the need that a change must lead below, where the memory was used up."""


class Rows(NamedTuple):
    """What of the rows decides a batch.

    Attributes:
        lengths: tokens of each row, of several sequences those of the longest [rows].
        learned: tokens of each row that are learned [rows].
        steps: optimizer steps of the run.
        sequences: lines of a batch that each row takes where it is padded [rows].
        classes: what a classifier tells.
    """

    lengths: Any
    learned: Any
    steps: int
    sequences: Any = None
    classes: Classes | None = None


class Change(NamedTuple):
    """Flags that make a training smaller, and what they set, by group."""

    flags: str
    values: dict[str, dict[str, Any]]


class Estimate(NamedTuple):
    """What a training needs and what there is: bytes of memory and disk, and the number of checkpoints kept."""

    batch: Batch
    memory: Memory
    limit: int
    in_use: int
    """Memory that the process has before anything is loaded: libraries."""
    checkpoints: int
    disk: int
    least_disk: int
    """Bytes of one checkpoint's weights and of the result's."""
    free: int

    def lines(self) -> list[str]:
        """Return the estimate in two lines of text."""
        parts = ("weights", "gradients", "optimizer", "activations")
        shares = ", ".join(f"{name} {size(getattr(self.memory, name))}" for name in parts)
        rows = f"{self.batch.lines} × {self.batch.length:,} tokens"
        about = "about" if self.memory.whole else "more than"
        count = f"{self.checkpoints} checkpoint{'' if self.checkpoints == 1 else 's'} and the result"
        return [
            f"memory: {about} {size(self.memory.peak)} of {size(self.limit - self.in_use)} ({shares}; at most {rows})",
            f"disk: about {size(self.disk)} of {size(self.free)} free, for {count}",
        ]


def estimate(params: Params, paths: Paths, rows: Rows) -> Estimate | None:
    """Return what training on `rows` with the settled `params` needs, or None for a model or a tuner that cannot be
    made without values, and for methods of preferences, judged answers or prompts: such a training is begun without an
    estimate."""
    if _shape(params, paths) not in ESTIMATED:
        return None
    try:
        need, batch = _need(params, paths, rows)
    except Exception:  # code of any model and of users' tuners
        return None
    folder = models.folder(read_json(paths.model), paths.workspace)
    whole = params.tuner.tuner_type == "full"
    companions = sum(file.stat().st_size for file in folder.glob("*token*") if file.is_file())
    checkpoint = need.learning + need.optimizer + companions + CHECKPOINT_FILES
    saves = _saves(params, rows.steps)
    kept = min(saves, (params.train.save_total_limit or saves) + 1)
    result = need.learning + companions
    if not paths.checkpoints and not whole:  # in a workspace the adapter is merged
        result += sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return Estimate(
        batch, need, hardware.memory_limit(), _in_use(), kept, kept * checkpoint + result,
        2 * need.learning, shutil.disk_usage(_existing(paths.checkpoints or paths.root)).free,
    )  # fmt: skip


def _saves(params: Params, steps: int) -> int:
    """Return how many checkpoints a run writes."""
    train = params.train
    if train.save_strategy == "steps":
        return math.ceil(steps / train.save_steps)
    return math.ceil(train.num_train_epochs) if train.save_strategy == "epoch" and train.max_steps <= 0 else 1


def require(params: Params, paths: Paths, rows: Rows) -> list[str]:
    """Check that a training on `rows` can fit into memory and disk; return the estimate in lines, and advice where it
    is close.

    Raises:
        ConfigError: it cannot, for certain; the message has the cheapest changes that would make it fit.
    """
    need = estimate(params, paths, rows)
    if need is None:
        return ["memory: not estimated, because this model, tuner or method is not known without its values"]
    available, lines = need.limit - need.in_use, need.lines()
    problems: list[str] = []
    if need.memory.peak > available:
        sentence = f"the training needs about {size(need.memory.peak)} of memory, and there are {size(available)}; "
        sentence += advice(params, paths, rows, available)
        (problems if need.memory.least > need.limit else lines).append(sentence)
    if need.disk > need.free:
        sentence = (
            f"the training writes about {size(need.disk)}, and {size(need.free)} are free on the disk; make room, or "
            "keep fewer checkpoints: --save_total_limit 1"
        )
        (problems if need.least_disk > need.free else lines).append(sentence)
    if problems:
        raise ConfigError("\n".join(problems))
    return lines


def advice(params: Params, paths: Paths, rows: Rows, available: int) -> str:
    """Return the three cheapest changes with which a training fits into `available` bytes, or several together."""
    changes = _changes(params, int(rows.lengths.max()))
    fits: list[str] = []
    for change in changes:
        peak = _peak(_changed(params, change), paths, rows)
        if peak <= available:
            fits.append(f"{change.flags} (about {size(peak)})")
        if len(fits) == 3:
            break
    if fits:
        return f"less is needed with {', or with '.join(fits)}"
    together = params
    for n, change in enumerate(changes, 1):
        together = _changed(together, change)
        peak = _peak(together, paths, rows)
        if peak <= available:
            return f"less is needed with {' '.join(c.flags for c in changes[:n])} (about {size(peak)})"
    return "no setting makes it fit; take a smaller model, or a larger machine"


def _shape(params: Params, paths: Paths) -> str:
    """Return the shape of the rows that the method learns from."""
    return training.METHODS.load(params.method.name, plugin_files(params, paths.workspace)).SHAPE


def rows_of(setup: Setup) -> Rows:
    """Return what of the rows decides a batch; of a stream nothing is known, and short rows stand for its own."""
    import numpy as np

    params = setup.params
    if setup.feed:
        short = np.full(params.train.per_device_train_batch_size, min(SHORT_ROW, params.template.max_length))
        return Rows(short, short, max(1, params.train.max_steps))
    table = TokenRows(setup.paths.tokens / "train.arrow")
    sequences, lengths = table.sequences()
    return Rows(lengths, table.learned(), training.steps(params, table), sequences, setup.classes)


@contextmanager
def advised(setup: Setup) -> Generator[None]:
    """Turn an error of memory that is used up into one that says what needs less.

    Raises:
        MartletError: with the message.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if not (isinstance(error, MemoryError) or "out of memory" in str(error) or "allocate memory" in str(error)):
            raise
        params, paths, rows = setup.params, setup.paths, rows_of(setup)
        if not (need := estimate(params, paths, rows)):
            raise MartletError("the memory is used up; lower --per_device_train_batch_size or --max_length") from error
        peak = need.memory.peak
        raise MartletError(
            f"the memory is used up; the training was to need about {size(peak)}, and other programs may hold the "
            f"rest. {advice(params, paths, rows, round(peak * ENOUGH))}"
        ) from error


def _peak(params: Params, paths: Paths, rows: Rows) -> float:
    """Return bytes of memory at the fullest moment, infinity where that is not known."""
    try:
        return _need(params, paths, rows)[0].peak
    except Exception:  # as in `estimate`
        return math.inf


def _need(params: Params, paths: Paths, rows: Rows) -> tuple[Memory, Batch]:
    """Return the memory of one process that trains with `params`, and its largest batch."""
    import numpy as np
    import torch

    files = plugin_files(params, paths.workspace)
    folder = models.folder(read_json(paths.model), paths.workspace)
    implementation = "sdpa" if "flash" in (params.train.attn_impl or "") else params.train.attn_impl
    task, dtype = params.method.task_type, params.train.torch_dtype
    outline = models.skeleton(folder, dtype, implementation, task, rows.classes)
    wrapped = tuners.TUNERS.load(params.tuner.tuner_type, files).wrap(outline, params, params.train.seed).to("meta")
    accelerated, flash = torch.accelerator.is_available(), "flash" in (params.train.attn_impl or "")
    joins = _shape(params, paths) in JOINED and (
        params.train.packing
        or (params.train.padding_free if params.train.padding_free is not None else flash or not accelerated)
    )
    longest = params.template.max_length
    batch = largest_batch(
        np.minimum(rows.lengths, longest),
        np.minimum(rows.learned, longest),
        params,
        joins=joins,
        masked=joins and accelerated and not flash,
        sequences=rows.sequences,
    )
    stored = sum(f.stat().st_size for f in folder.glob("*.safetensors")) if models.stored_quantization(folder) else 0
    return memory(wrapped, params, batch, files, stored), batch


def _changes(params: Params, longest: int) -> list[Change]:
    """Return what makes a training smaller, that which costs least first: nothing, time, precision, rows."""
    import torch

    train, accelerated = params.train, torch.accelerator.is_available()
    changes: list[Change] = []
    least = 2 if params.method.name == "embedding" else 1  # the rows of a batch are compared with each other
    if (rows := train.per_device_train_batch_size) > least:
        passes = (train.gradient_accumulation_steps or 1) * rows // least
        flags = f"--per_device_train_batch_size {least} --gradient_accumulation_steps {passes}"
        values = {"per_device_train_batch_size": least, "gradient_accumulation_steps": passes}
        changes.append(Change(flags, {"train": values}))
    if not (accelerated if train.gradient_checkpointing is None else train.gradient_checkpointing):
        changes.append(Change("--gradient_checkpointing true", {"train": {"gradient_checkpointing": True}}))
    if train.torch_dtype == "float32" or (train.torch_dtype is None and not accelerated):
        changes.append(Change("--torch_dtype bfloat16", {"train": {"torch_dtype": "bfloat16"}}))
    is_adapter = params.tuner.tuner_type not in ("full", "llamapro")
    if not is_adapter:
        values = {"tuner": {"tuner_type": "lora"}, "train": {"optimizer": "adamw", "callbacks": []}}
        changes.append(Change("--tuner_type lora", values))
    elif not params.quantization.quant_method:
        changes.append(Change("--quant_method bnb", {"quantization": {"quant_method": "bnb"}}))
    length = max(SHORT_ROW, 2 ** ((longest - 1).bit_length() - 1))
    while length >= SHORT_ROW and length < longest:
        values = {"template": {"max_length": length}, "train": {"packing_length": length if train.packing else None}}
        changes.append(Change(f"--max_length {length}", values))
        length //= 2
    return changes


def _changed(params: Params, change: Change) -> Params:
    groups = {name: getattr(params, name).model_copy(update=values) for name, values in change.values.items()}
    return params.model_copy(update=groups)


def _in_use() -> int:
    """Return bytes that this process holds on the device before anything is loaded; a CUDA context is not seen."""
    import psutil
    import torch

    return 0 if torch.accelerator.is_available() else psutil.Process().memory_info().rss


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
