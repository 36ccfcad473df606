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
from components.tokens import TokenRows
from components.training.datasets import Packs, Shuffled
from components.training.job import settled, transformers_model
from components.training.optimizers import OPTIMIZERS
from components.training.world import world_size

if TYPE_CHECKING:
    import numpy as np
    import torch

ATTENTION = "martlet_shapes"
"""Name among transformers' implementations of the attention that stands in for fused ones."""
MAX_CHECKED_PARAMETERS = 1_000_000_000
"""Size of models up to which the saved weights are loaded onto a second copy of the base and compared."""
FLOAT = 4
"""Bytes of a float32."""
CERTAIN = 0.7
"""Share of the computed activations that a pass keeps for certain, in any architecture and with any kernels."""
LOGITS = 2
"""Tensors as large as the logits of all positions at once, or the hidden states of an embedding: themselves, and the
gradient that is computed with the loss."""
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
        learning: the weights that learn, which a checkpoint holds.
        activations: what a forward pass keeps, and what the first steps back from the loss add.
        peak: at the fullest moment; less than the sum where gradients replace activations.
        least: what the training takes for certain, at most `peak`.
        whole: False where the model's forward pass needs values, so that activations are missing.
    """

    weights: int
    learning: int
    gradients: int
    optimizer: int
    activations: int
    peak: int
    least: int
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
        lengths: tokens of each row, of several sequences those of the longest.
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
        return Batch(1, int(np.add.reduceat(lengths, starts).max()), most_learned, masked and size > 1)
    lines = np.add.reduceat(np.ones_like(order) if sequences is None else sequences[order], starts)
    longest = np.maximum.reduceat(lengths, starts)
    largest = int((lines * longest).argmax())
    return Batch(int(lines[largest]), int(longest[largest]), most_learned)


def steps(params: Params, rows: TokenRows) -> int:
    """Return the optimizer steps of a run, as transformers counts them."""
    train = settled(params, default_learning_rate=1e-4).train
    if train.max_steps > 0:
        return train.max_steps
    items = len(Packs(rows, train.packing_length, train.packing_strategy)) if train.packing else len(rows)
    per_pass = train.per_device_train_batch_size * world_size(params)
    passes = (train.gradient_accumulation_steps or 1) // world_size(params)
    return math.ceil(train.num_train_epochs * math.ceil(math.ceil(items / per_pass) / passes))


def memory(model: Any, params: Params, batch: Batch, external: Sequence[Path] = (), stored: int = 0) -> Memory:
    """Return what training `model`, which lies on the device meta and is changed, takes for `batch`.

    Args:
        params: those of training settled.
        external: the user's plugin files.
        stored: bytes of the files, of a base whose weights are quantized there; 0 for any other.
    """
    from components.training.trainer import learning_dtype

    precision = transformers_model(model).dtype
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    for weight in learning:
        weight.data = weight.data.to(learning_dtype(weight.dtype))
    weights = _weights(model, params.quantization, stored)
    size, state = sum(map(_bytes, learning)), _state(model, learning, params, external)
    if "lisa" in params.train.callbacks:
        from components.training.callbacks.lisa import Lisa, layers_of

        layers, count = layers_of(model), params.lisa.lisa_activated_layers
        Lisa(layers, count, 1, 0).activate(set(range(count)))
    processes = world_size(params)
    gradients = sum(_bytes(weight) for weight in learning if weight.requires_grad) * min(processes, 2)
    complete = _activations(model, params, batch, precision)
    activations = complete or 0
    accumulates = (params.train.gradient_accumulation_steps or 1) > processes
    at_once = activations + gradients if accumulates else max(activations, gradients)
    # What was saved is loaded at the end beside what was trained, to compare them.
    checked = 2 * weights if model.num_parameters() <= MAX_CHECKED_PARAMETERS else 0
    optimizer = 2 * size if state is None else state
    peak = max(weights + optimizer + at_once, checked)
    # Whether kernels keep a mask of their own for each layer is not known.
    certain = _activations(model, params, batch._replace(masked=False), precision) if batch.masked else complete
    least = weights + (state or 0) + max(gradients // min(processes, 2), round(CERTAIN * (certain or 0)))
    return Memory(weights, size, gradients, optimizer, activations, peak, least, complete is not None)


def _bytes(tensor: "torch.Tensor") -> int:
    return tensor.numel() * tensor.element_size()


def _weights(model: Any, quantization: Quantization, stored: int) -> int:
    """Return bytes of the weights; frozen linear layers are quantized, and bitsandbytes' others are kept in float32."""
    from torch import nn

    tensors = {id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}
    if stored:
        return stored + sum(_bytes(t) for t in tensors.values() if t.requires_grad)
    if not quantization.quant_method:
        return sum(map(_bytes, tensors.values()))
    head = model.get_output_embeddings()
    linear = (m for m in model.modules() if isinstance(m, nn.Linear) and m is not head and not m.weight.requires_grad)
    quantized = {id(module.weight): module.weight.numel() for module in linear}
    bits = quantization.quant_bits
    scales = BYTES_OF_SCALES[quantization.bnb_4bit_use_double_quant] if bits == 4 else 0.0
    wide = FLOAT if quantization.quant_method == "bnb" else 0
    others = sum(t.numel() * max(wide, t.element_size()) for key, t in tensors.items() if key not in quantized)
    return others + round(sum(quantized.values()) * (bits / 8 + scales))


def _state(model: Any, learning: "list[torch.Tensor]", params: Params, external: Sequence[Path]) -> int | None:
    """Return bytes of the optimizer's state after a step, or None where its kernels need values."""
    import torch

    for weight in learning:
        weight.grad = torch.empty_like(weight)
    try:
        optimizer = OPTIMIZERS.load(params.train.optimizer, external).build(model, params)
        optimizer.step()
        tensors = [value for state in optimizer.state.values() for value in state.values()]
        return sum(_bytes(tensor) for tensor in tensors if isinstance(tensor, torch.Tensor))
    except (RuntimeError, NotImplementedError):
        return None
    finally:
        for weight in learning:
            weight.grad = None


def _activations(model: Any, params: Params, batch: Batch, precision: "torch.dtype") -> int | None:
    """Return bytes that a forward pass in `precision` keeps, and that the first steps back from the loss add, or None
    where the model's forward pass needs values."""
    import torch

    from components.training.methods._token_trainer import keeps_logits

    base = transformers_model(model)
    model.train()
    model.to(precision)  # as autocast computes
    if base.config._attn_implementation in ("sdpa", "flash_attention_2", "documents", ATTENTION):
        _register(batch.masked)
        base.set_attn_implementation(ATTENTION)
    inputs: dict[str, Any] = {"input_ids": torch.empty(batch.lines, batch.length, dtype=torch.long, device="meta")}
    base.config.get_text_config().pad_token_id = 0  # a classifier asks for one
    count = batch.lines * batch.length
    if keeps_logits(model):
        count = batch.learned
        inputs["logits_to_keep"] = torch.empty(count, dtype=torch.long, device="meta")
    saved = SavedTensors(model)
    try:
        with saved:
            outputs = model(**inputs, use_cache=False)
            last = outputs["logits"] if "logits" in outputs else outputs["last_hidden_state"]  # of an embedding
    except Exception:  # code of any architecture, which may look at values
        return None
    accelerated = torch.accelerator.is_available()
    recomputes = accelerated if params.train.gradient_checkpointing is None else params.train.gradient_checkpointing
    return saved.bytes(recomputes) + LOGITS * count * last.shape[-1] * last.element_size()


class SavedTensors:
    """Counts, in a context, the tensors that operations keep for the backward pass, by the block that they belong to.

    Weights are left out, and views of one tensor count once.
    """

    def __init__(self, model: Any) -> None:
        from transformers.modeling_layers import GradientCheckpointingLayer

        weights = (tensor.untyped_storage() for tensor in (*model.parameters(), *model.buffers()))
        self._storages = {storage._cdata: storage for storage in weights}
        self._block, self._sizes, self._inputs = 0, [0], 0
        """The number of the block at work, 0 outside of all; bytes kept by each; bytes of what goes into blocks."""
        self._handles: list[Any] = []
        self._blocks = [module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)]

    def __enter__(self) -> None:
        import torch

        for block in self._blocks:
            self._handles += [
                block.register_forward_pre_hook(self._begin),
                block.register_forward_hook(self._end, prepend=True),
            ]
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._keep, lambda tensor: tensor)
        self._hooks.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._hooks.__exit__(*error)
        for handle in self._handles:
            handle.remove()

    def bytes(self, recomputes: bool) -> int:
        """Return all that is kept; with gradient checkpointing the inputs of the blocks and what one block keeps."""
        outside, *blocks = self._sizes
        return outside + (self._inputs + max(blocks) if recomputes and blocks else sum(blocks))

    def _begin(self, block: Any, inputs: tuple[Any, ...]) -> None:  # noqa: ARG002
        self._block = len(self._sizes)
        self._sizes.append(0)
        self._inputs += _bytes(inputs[0])

    def _end(self, *_: Any) -> None:
        self._block = 0

    def _keep(self, tensor: "torch.Tensor") -> "torch.Tensor":
        storage = tensor.untyped_storage()
        if storage._cdata not in self._storages:
            self._storages[storage._cdata] = storage
            self._sizes[self._block] += storage.nbytes()
        return tensor


def _register(masked: bool) -> None:
    """Offer an attention to transformers that keeps what fused attentions keep: its inputs, its output, a float32 for
    each query, and a mask if there is one."""
    import torch
    from transformers import AttentionInterface

    class Attention(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *states: torch.Tensor) -> torch.Tensor:
            query, _, value = states
            lines, heads, length, _ = query.shape
            output = query.new_empty(lines, length, heads, value.shape[-1]).transpose(1, 2)
            mask = query.new_empty(lines, length, length if masked else 0)
            ctx.save_for_backward(*states, output, query.new_empty(query.shape[:-1], dtype=torch.float32), mask)
            return output

    def attention(module: Any, query: Any, key: Any, value: Any, *_: Any, **__: Any) -> tuple[Any, None]:  # noqa: ARG001
        groups = query.shape[1] // key.shape[1]
        repeated = [states.repeat_interleave(groups, 1) if groups > 1 else states for states in (key, value)]
        return Attention.apply(query, *repeated).transpose(1, 2).contiguous(), None

    AttentionInterface.register(ATTENTION, attention)
