"""What a forward pass keeps for the backward pass, from shapes alone."""

from typing import TYPE_CHECKING, Any

from components.training.job import transformers_model

if TYPE_CHECKING:
    import torch

    from components.training.estimate import Batch

ATTENTION = "martlet_shapes"
"""Name among transformers' implementations of the attention that stands in for fused ones."""
LOGITS = 2
"""Tensors as large as the logits of all positions at once, or the hidden states of an embedding: themselves, and the
gradient that is computed with the loss."""


def activations(model: Any, batch: "Batch", precision: "torch.dtype", recomputes: bool) -> int | None:
    """Return bytes that a forward pass of a model on the device meta keeps, and that the first steps back from the loss
    add, or None where the forward pass needs values.

    Args:
        precision: of the pass.
        recomputes: blocks keep what goes into them alone (gradient checkpointing).
    """
    import torch

    from components.training.forward import keeps_logits

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
        self._inputs += inputs[0].nbytes

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
