"""What a training will need, before a weight is loaded; and what to change where the machine does not have it."""

import math
import shutil
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from components import models, training, tuners
from components.classes import Classes
from components.config import Params
from components.errors import ConfigError, MartletError
from components.files import read_json
from components.texts import size
from components.tokens import TokenRows
from components.training.estimate import Batch, Memory, largest_batch, memory
from tasks.stages.changes import SHORT_ROW, changed, changes_of
from tasks.stages.devices import Devices, devices_of
from tasks.stages.paths import Paths, plugin_files
from tasks.stages.setup import Setup

CHECKPOINT_FILES = 2**20
"""Bytes of a checkpoint's small files."""
JOINED = ("sft", "text", "preference", "label")
"""Shapes of rows that may share a line of a batch."""
ESTIMATED = (*JOINED, "classification", "pair")
"""Shapes of rows of whose method the largest forward pass is known."""
ENOUGH = 0.8
"""Share of the need that a change must lead below, where the memory was used up."""


class Rows(NamedTuple):
    """What of the rows decides a batch.

    Attributes:
        lengths: tokens of each row, of several sequences those of the longest [rows].
        learned: tokens of each row that are learned [rows].
        steps: optimizer steps of the run.
        sequences: lines of a batch that each row takes where it is padded [rows].
        totals: tokens of all of them, which a row takes where rows share a line [rows].
        classes: what a classifier tells.
        have_media: some have pictures, videos or sounds; such batches are padded.
    """

    lengths: Any
    learned: Any
    steps: int
    sequences: Any = None
    totals: Any = None
    classes: Classes | None = None
    have_media: bool = False


class Estimate(NamedTuple):
    """What a training needs and what there is: bytes of memory and disk, and the number of checkpoints kept."""

    batch: Batch
    memory: Memory
    devices: Devices
    machines: int
    checkpoints: int
    disk: int
    least_disk: int
    """Bytes of one checkpoint's weights and of the result's."""
    free: int

    @property
    def peak(self) -> int:
        """Bytes of each device at the fullest moment; the memory of a CPU holds what is offloaded to it, too."""
        return self.memory.peak + (0 if self.devices.accelerated else self.memory.offloaded)

    @property
    def offloaded(self) -> int:
        """Bytes that all processes of a machine put into its memory, beside accelerators."""
        return self.devices.processes * self.memory.offloaded if self.devices.accelerated else 0

    def lines(self) -> list[str]:
        """Return the estimate in two lines of text, and one for each place where something is offloaded."""
        devices, need = self.devices, self.memory
        parts = ["weights", "gradients", "optimizer", "activations", *["exchange"] * (need.exchange > 0)]
        shares = ", ".join(f"{name} {size(getattr(need, name))}" for name in parts)
        rows = f"{self.batch.lines} × {self.batch.length:,} tokens"
        of, none = (f" of {size(devices.available)}", "") if devices.are_here else ("", f"; {self._lack()}")
        lines = [
            f"memory: {'about' if need.whole else 'more than'} {size(self.peak)}{of}{self._each()} ({shares}; at most "
            f"{rows}){none}"
        ]
        if self.offloaded:
            of = f" of {size(devices.machine)}" if devices.are_here else ""
            lines.append(f"memory: about {size(self.offloaded)}{of} in each machine itself, for what is offloaded")
        if need.on_disk:
            lines.append(f"disk: about {size(devices.processes * need.on_disk)} in each machine, for what is offloaded")
        count = f"{self.checkpoints} checkpoint{'' if self.checkpoints == 1 else 's'} and the result"
        of = f" of {size(self.free)} free" if devices.are_here else ""
        return [*lines, f"disk: about {size(self.disk)}{of}, for {count}"]

    def _each(self) -> str:
        """Return for which devices the figures are, where there are several."""
        count = self.devices.processes * self.machines
        if count == 1:
            return ""
        kind = "devices" if self.devices.accelerated else "processes"
        return f" on each of {count} {kind}" + (f" of {self.machines} machines" if self.machines > 1 else "")

    def _lack(self) -> str:
        import torch

        here = self.devices.here if torch.accelerator.is_available() else "none"
        return f"this machine has {here}, so nothing is compared"


def estimate(params: Params, paths: Paths, rows: Rows, devices: Devices | None = None) -> Estimate | None:
    """Return what training on `rows` with the settled `params` needs, by default on this machine, or None for a model
    or a tuner that cannot be made without values, and for methods of prompts: such a training is begun without an
    estimate."""
    if _shape(params, paths) not in ESTIMATED:
        return None
    devices = devices or devices_of(params)
    try:
        need, batch = _need(params, paths, rows, devices)
    except Exception:  # code of any model and of users' tuners
        return None
    folder = models.folder(read_json(paths.model), paths.workspace)
    whole = params.tuner.tuner_type == "full"
    companions = sum(file.stat().st_size for file in folder.glob("*token*") if file.is_file())
    checkpoint = need.learning + need.state + companions + CHECKPOINT_FILES
    saves = _saves(params, rows.steps)
    kept = min(saves, (params.train.save_total_limit or saves) + 1)
    result = need.learning + companions
    if not paths.checkpoints and not whole:  # in a workspace the adapter is merged
        result += sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    return Estimate(
        batch, need, devices, params.distributed.nnodes or 1, kept, kept * checkpoint + result,
        2 * need.learning, shutil.disk_usage(_existing(paths.checkpoints or paths.root)).free,
    )  # fmt: skip


def _saves(params: Params, steps: int) -> int:
    """Return how many checkpoints a run writes."""
    train = params.train
    if train.save_strategy == "steps":
        return math.ceil(steps / train.save_steps)
    return math.ceil(train.num_train_epochs) if train.save_strategy == "epoch" and train.max_steps <= 0 else 1


def require(params: Params, paths: Paths, rows: Rows, devices: Devices | None = None) -> list[str]:
    """Check that a training on `rows` can fit into memory and disk, by default this machine's; return the estimate in
    lines, and advice where it is close. Nothing is compared for devices that are not here.

    Raises:
        ConfigError: it cannot, for certain; the message has the cheapest changes that would make it fit.
    """
    need = estimate(params, paths, rows, devices)
    if need is None:
        return ["memory: not estimated, because this model, tuner or method is not known without its values"]
    lines, devices = need.lines(), need.devices
    if not devices.are_here:
        return lines
    problems: list[str] = []
    if need.peak > devices.available:
        where = " of each device" if devices.processes > 1 else ""
        sentence = f"the training needs about {size(need.peak)} of memory{where}, and there are "
        sentence += f"{size(devices.available)}; {advice(params, paths, rows, devices)}"
        least = need.memory.least + need.peak - need.memory.peak
        (problems if least > devices.limit else lines).append(sentence)
    if need.offloaded > devices.machine:
        problems.append(
            f"the training puts about {size(need.offloaded)} into the machine's memory, and there are "
            f"{size(devices.machine)}; take more machines, or train an adapter: --tuner_type lora"
        )
    if need.disk > need.free:
        fewer = ", or keep fewer checkpoints: --save_total_limit 1" if need.checkpoints > 2 else ""
        sentence = (
            f"the training writes about {size(need.disk)}, and {size(need.free)} are free on the disk; make room{fewer}"
        )
        (problems if need.least_disk > need.free else lines).append(sentence)
    if problems:
        raise ConfigError("\n".join(problems))
    return lines


def advice(params: Params, paths: Paths, rows: Rows, devices: Devices) -> str:
    """Return the three cheapest changes with which a training fits into the devices, or several together."""
    changes = changes_of(params, int(rows.lengths.max()), devices, plugin_files(params, paths.workspace))
    fits: list[str] = []
    for change in changes:
        peak = _peak(changed(params, change), paths, rows, devices)
        if peak <= devices.available:
            fits.append(f"{change.flags} (about {size(peak)})")
        if len(fits) == 3:
            break
    if fits:
        return f"less is needed with {', or with '.join(fits)}"
    together = params
    for n, change in enumerate(changes, 1):
        together = changed(together, change)
        peak = _peak(together, paths, rows, devices)
        if peak <= devices.available:
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
    learned = np.zeros(len(table), np.int64) if setup.classes else table.learned()  # a head reads no token alone
    return Rows(
        lengths, learned, training.steps(params, table), sequences, table.totals(), setup.classes, table.has_media
    )


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
        smaller = need.devices._replace(limit=round(need.peak * ENOUGH), in_use=0)
        raise MartletError(
            f"the memory is used up; the training was to need about {size(need.peak)}, and other programs may hold the "
            f"rest. {advice(params, paths, rows, smaller)}"
        ) from error


def _peak(params: Params, paths: Paths, rows: Rows, devices: Devices) -> float:
    """Return bytes of memory at the fullest moment, infinity where that is not known."""
    try:
        need = _need(params, paths, rows, devices)[0]
    except Exception:  # as in `estimate`
        return math.inf
    return need.peak + (0 if devices.accelerated else need.offloaded)


def _need(params: Params, paths: Paths, rows: Rows, devices: Devices) -> tuple[Memory, Batch]:
    """Return the memory of one process that trains with `params`, and its largest batch."""
    import numpy as np

    files = plugin_files(params, paths.workspace)
    folder = models.folder(read_json(paths.model), paths.workspace)
    flash, accelerated = "flash" in (params.train.attn_impl or ""), devices.accelerated
    implementation = "sdpa" if flash else params.train.attn_impl
    dtype = params.train.torch_dtype or ("bfloat16" if not devices.are_here else None)
    outline = models.skeleton(folder, dtype, implementation, params.method.task_type, rows.classes)
    wrapped = tuners.TUNERS.load(params.tuner.tuner_type, files).wrap(outline, params, params.train.seed).to("meta")
    joins = (
        _shape(params, paths) in JOINED
        and not (rows.classes or rows.have_media)
        and (
            params.train.packing
            or (params.train.padding_free if params.train.padding_free is not None else flash or not accelerated)
        )
    )
    longest, sequences = params.template.max_length, 1 if rows.sequences is None else rows.sequences
    totals = rows.lengths if rows.totals is None else rows.totals
    batch = largest_batch(
        np.minimum(totals, sequences * longest) if joins else np.minimum(rows.lengths, longest),
        np.minimum(rows.learned, sequences * longest),
        params,
        joins=joins,
        masked=joins and accelerated and not flash,
        sequences=rows.sequences,
    )
    stored = sum(f.stat().st_size for f in folder.glob("*.safetensors")) if models.stored_quantization(folder) else 0
    held = _held(params, paths, batch, dtype)
    return memory(wrapped, params, batch, files, stored, accelerated, **held), batch


def _held(params: Params, paths: Paths, batch: Batch, dtype: str | None) -> dict[str, int]:
    """Return bytes of a teacher and its logits, which stand `beside` the model, or of another reference model, which
    does so `before` the first step; methods on prompts are not estimated."""
    module = import_module("tasks.stages.beside")  # named, not imported: see `train`
    for flag, name in module.names(params):
        target = module.find(name, flag, params, paths.workspace, lambda _: None)
        outline, is_quantized = models.skeleton(target.model, dtype), models.stored_quantization(target.model)
        files = [*target.model.glob("*.safetensors")] if is_quantized else []
        files += [*target.adapter.glob("*.safetensors")] if target.adapter else []
        weights = sum(file.stat().st_size for file in files)
        weights += 0 if is_quantized else sum(weight.nbytes for weight in outline.parameters())
        if flag == "ref_model":
            return {"before": weights}
        width = outline.config.get_text_config().vocab_size
        return {"beside": weights + batch.learned * width * outline.dtype.itemsize}
    return {}


def _existing(folder: Path) -> Path:
    return next(path for path in (folder, *folder.parents) if path.exists())
