"""What a training will need of memory and disk, worked out before any weight is loaded.

The model is one without values, on torch's device `meta`, with its tuner. A forward pass through it computes shapes
alone, and shows each tensor that is kept for the backward pass, of any architecture and tuner: no figure is fitted to a
machine.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.config import Params
from components.config.groups.quantization import Quantization
from components.sharded import block_sizes, numel
from components.tokens import TokenRows
from components.towers import Parts
from components.training.activations import activations
from components.training.datasets import Packs, Shuffled
from components.training.job import generations, iterations, settled, transformers_model
from components.training.optimizers import OPTIMIZERS
from components.training.sharding import Plan, plan_of
from components.training.shares import Sizes, share
from components.training.world import data_parallel_size, world_size

if TYPE_CHECKING:
    import numpy as np
    import torch

MAX_CHECKED_PARAMETERS = 1_000_000_000
"""Size of models up to which the saved weights are loaded onto a second copy of the base and compared."""
FLOAT = 4
"""Bytes of a float32."""
MAX_LIVE_PARAMETERS = 1_000_000_000
"""Weights that DeepSpeed keeps whole by default, while they may be used again."""
CERTAIN = 0.7
"""Share of the computed activations that a pass keeps for certain, in any architecture and with any kernels."""
BYTES_OF_SCALES = {True: 1 / 64, False: 1 / 16}
"""Bytes for the scales of a 4-bit weight: a float32 for 64 weights, or with double quantization a byte."""


class Batch(NamedTuple):
    """The largest forward pass of a run: lines, tokens on each, tokens of all that are learned, and whether several
    documents on a line are kept apart by a mask of length x length."""

    lines: int
    length: int
    learned: int
    masked: bool = False


class Memory(NamedTuple):
    """Bytes of one process on its device at the most.

    Attributes:
        exchange: weights and gradients that are whole for a moment while processes exchange them.
        activations: what a forward pass keeps, and what the first steps back from the loss add.
        peak: at the fullest moment; less than the sum where gradients replace activations.
        least: what the training takes for certain, at most `peak`.
        offloaded: what lies in the machine's memory instead.
        on_disk: what lies on the machine's disk instead.
        learning: the weights of all processes that learn, which a checkpoint holds.
        state: the optimizer's state of all processes, which a checkpoint holds, too.
        whole: False where the model's forward pass needs values, so that activations are missing.
    """

    weights: int
    gradients: int
    optimizer: int
    exchange: int
    activations: int
    peak: int
    least: int
    offloaded: int
    on_disk: int
    learning: int
    state: int
    whole: bool


def largest_batch(
    lengths: "np.ndarray",
    learned: "np.ndarray",
    params: Params,
    joins: bool,
    masked: bool,
    sequences: "np.ndarray | None" = None,
) -> Batch:
    """Return the largest forward pass of a run's first pass over the rows.

    Args:
        lengths: tokens of each row; of several sequences those of the longest, or of all where rows share a line.
        learned: of them, those that are learned.
        sequences: lines that a row takes where it is padded, by default one.
        joins: rows share a line, rather than being padded.
        masked: a line of several documents is masked.
    """
    import numpy as np

    train, size = params.train, params.train.per_device_train_batch_size
    if train.packing:
        length = train.packing_length or params.template.max_length
        share = float(learned.sum() / max(1, lengths.sum()))
        return Batch(size, length, round(size * length * share), masked)
    if train.group_by_length:
        order = np.argsort(-lengths, kind="stable")
    else:
        order = np.fromiter(Shuffled(len(lengths), train.seed), np.int64)
        if train.max_steps > 0:
            order = order[: train.max_steps * size * (train.gradient_accumulation_steps or 1)]
    lengths, learned = lengths[order], learned[order]
    starts = np.arange(0, len(order), size)
    most_learned = int(np.add.reduceat(learned, starts).max())
    if joins:
        several = size > 1 or (sequences is not None and int(sequences.max()) > 1)
        return Batch(1, int(np.add.reduceat(lengths, starts).max()), most_learned, masked and several)
    lines = np.add.reduceat(np.ones_like(order) if sequences is None else sequences[order], starts)
    longest = np.maximum.reduceat(lengths, starts)
    largest = int((lines * longest).argmax())
    return Batch(int(lines[largest]), int(longest[largest]), most_learned)


def steps(params: Params, rows: TokenRows) -> int:
    """Return the optimizer steps of a run, as transformers counts them."""
    train = settled(params, default_learning_rate=1e-4).train
    if train.max_steps > 0:
        return train.max_steps
    if rows.shape == "prompt":  # a step has whole groups of answers
        items_per_step = train.per_device_train_batch_size * (train.gradient_accumulation_steps or 1)
        prompts = max(1, items_per_step // generations(params))
        return math.ceil(train.num_train_epochs * math.ceil(len(rows) / prompts) * iterations(params))
    items = len(Packs(rows, train.packing_length, train.packing_strategy)) if train.packing else len(rows)
    per_pass = train.per_device_train_batch_size * data_parallel_size(params)
    passes = (train.gradient_accumulation_steps or 1) // data_parallel_size(params)
    return math.ceil(train.num_train_epochs * math.ceil(math.ceil(items / per_pass) / passes))


def memory(
    model: Any,
    params: Params,
    batch: Batch,
    external: Sequence[Path] = (),
    stored: int = 0,
    accelerated: bool = False,
    beside: int = 0,
    before: int = 0,
) -> Memory:
    """Return what training `model`, which lies on the device meta and is changed, takes for `batch`.

    Args:
        params: those of training settled.
        external: the user's plugin files.
        stored: bytes of the files, of a base whose weights are quantized there; 0 for any other.
        accelerated: the devices are accelerators, on which activations are recomputed by default.
        beside: bytes of a model that stands beside the one that is trained.
        before: bytes of a model that does so before the first step alone.
    """
    precision, train = transformers_model(model).dtype, params.train
    batch, processes = _part(batch, params.distributed.sequence_parallel_size), world_size(params)
    sizes, is_state_known = _sizes(model, params, external, stored)
    own = share(sizes, plan_of(params.distributed), processes, params.distributed.nnodes or 1)
    recomputes = accelerated if train.gradient_checkpointing is None else train.gradient_checkpointing
    complete = activations(model, batch, precision, recomputes)
    accumulates = (train.gradient_accumulation_steps or 1) > data_parallel_size(params)
    pass_bytes = complete or 0
    at_once = pass_bytes + own.gradients if accumulates else max(pass_bytes, own.gradients)
    # What was saved is loaded whole at the end beside what was trained, to compare them.
    checks = model.num_parameters() <= MAX_CHECKED_PARAMETERS
    checked = own.weights + sizes.frozen + sizes.learning if checks else 0
    peak = beside + max(own.weights + own.optimizer + own.exchange + at_once, checked, own.weights + before)
    # Whether kernels keep a mask of their own for each layer is not known.
    certain = activations(model, batch._replace(masked=False), precision, recomputes) if batch.masked else complete
    passes = own.optimizer * is_state_known + max(own.gradients, round(CERTAIN * (certain or 0)))
    least = beside + own.weights + max(passes, before)
    return Memory(
        beside + own.weights, own.gradients, own.optimizer, own.exchange, pass_bytes, peak, least, own.memory, own.disk,
        sizes.learning, sizes.optimizer, whole=complete is not None,
    )  # fmt: skip


def _part(batch: Batch, parts: int) -> Batch:
    """Return the largest part of a batch whose rows `parts` processes divide."""
    length = math.ceil(batch.length / parts)
    return batch._replace(length=length, learned=min(batch.learned, batch.lines * length))


def _sizes(model: Any, params: Params, external: Sequence[Path], stored: int) -> tuple[Sizes, bool]:
    """Return what a training takes on one device, with weights in the precision that they learn in, and whether the
    size of the optimizer's state is known."""
    from components.training.trainer import learning_dtype

    plan = plan_of(params.distributed)
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in learning:
        weight.data = weight.data.to(learning_dtype(weight.dtype))
    weights, size = _weights(model, params.quantization, stored), sum(weight.nbytes for weight in learning)
    gathered = _gathered(model, plan, weights)
    state = _state(model, learning, params, external, has_copies=plan.engine == "deepspeed")
    if "lisa" in params.train.callbacks:
        from components.training.callbacks.lisa import Lisa, layers_of

        layers, count = layers_of(model), params.lisa.lisa_activated_layers
        Lisa(layers, count, 1, 0).activate(set(range(count)))
    gradients = sum(weight.nbytes for weight in learning if weight.requires_grad)
    is_adapter = params.tuner.tuner_type != "full"
    optimizer = 2 * size if state is None else state
    return Sizes(weights - size, size, gradients, optimizer, gathered, is_adapter), state is not None


def _weights(model: Any, quantization: Quantization, stored: int) -> int:
    """Return bytes of the weights; frozen linear layers are quantized, and bitsandbytes' others are kept in float32."""
    from torch import nn

    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    if stored:
        return stored + sum(t.nbytes for t in tensors.values() if t.requires_grad)
    if not quantization.quant_method:
        return sum(tensor.nbytes for tensor in tensors.values())
    plain = transformers_model(model)
    head, parts = plain.get_output_embeddings(), Parts(plain)
    quantized = {
        id(module.weight): module.weight.numel()
        for name, module in plain.named_modules()
        if isinstance(module, nn.Linear)
        and module is not head
        and not module.weight.requires_grad
        and parts.of(name) == "llm"
    }
    bits = quantization.quant_bits
    scales = BYTES_OF_SCALES[quantization.bnb_4bit_use_double_quant] if bits == 4 else 0.0
    wide = FLOAT if quantization.quant_method == "bnb" else 0
    others = sum(t.numel() * max(wide, t.element_size()) for key, t in tensors.items() if key not in quantized)
    return others + round(sum(quantized.values()) * (bits / 8 + scales))


def _gathered(model: Any, plan: Plan, weights: int) -> int:
    """Return bytes of the layers that are whole at once where `weights` bytes are divided: two blocks, of which one is
    on its way, and what lies outside of blocks; with a file of DeepSpeed's settings as many as they allow."""
    total, blocks = sum(map(numel, model.parameters())), sorted(block_sizes(model))
    layers = total - sum(blocks) + sum(blocks[-2:])
    if zero := plan.settings.get("zero_optimization"):
        layers = max(layers, min(total, zero.get("stage3_max_live_parameters", MAX_LIVE_PARAMETERS)))
    return round(weights * layers / total)


def _state(
    model: Any, learning: "list[torch.Tensor]", params: Params, external: Sequence[Path], has_copies: bool
) -> int | None:
    """Return bytes of the optimizer's state after a step, with float32 copies of the weights where it `has_copies`, or
    None where its kernels need values."""
    import torch

    values = [weight.data for weight in learning]
    for weight in learning:
        if has_copies:
            weight.data = weight.data.float()
        weight.grad = torch.empty_like(weight)
    try:
        optimizer = OPTIMIZERS.load(params.train.optimizer, external).build(model, params)
        optimizer.step()
        tensors = [value for state in optimizer.state.values() for value in state.values()]
        copies = sum(weight.nbytes for weight in learning) if has_copies else 0
        return copies + sum(tensor.nbytes for tensor in tensors if isinstance(tensor, torch.Tensor))
    except (RuntimeError, NotImplementedError):
        return None
    finally:
        for weight, value in zip(learning, values, strict=True):
            weight.data, weight.grad = value, None
