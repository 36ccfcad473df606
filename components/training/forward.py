"""Forward passes that compute logits only where a token is learned."""

import inspect
from collections.abc import Generator
from contextlib import contextmanager, nullcontext
from typing import Any

import torch
from torch.nn.parallel import DistributedDataParallel

from components.tokens import IGNORED
from components.training.job import transformers_model
from components.training.media import PREFIX, media_inputs

PER_TOKEN = ("labels", "loss_scale", "owners")
"""Tensors of a batch that stand beside `input_ids`, and that no model takes."""

OF_MODEL = ("input_ids", "attention_mask", "position_ids", "owners")
"""Tensors of a batch that a forward pass reads, beside labels."""


def learned_logits(
    model: Any, inputs: dict[str, Any], value_head: Any = None
) -> tuple[torch.Tensor, dict[str, torch.Tensor], Any]:
    """Return the logits before each learned token [tokens, vocabulary], what the batch says of these tokens by name
    [tokens], with a `value_head` also their `values`, and the model's outputs.

    Logits are computed only at positions where, on some line, the next token is learned.
    """
    inputs = {name: value for name, value in inputs.items() if not name.startswith(PREFIX)} | media_inputs(inputs)
    columns = {name: inputs.pop(name)[:, 1:] for name in PER_TOKEN if name in inputs}
    if "position_ids" in inputs:
        # Restarting positions isolate documents only without a mask, and without a cache.
        del inputs["attention_mask"]
    learned = columns["labels"] != IGNORED
    if keeps := keeps_logits(model):
        positions = learned.any(0).nonzero()[:, 0]
        learned = learned[:, positions]
        columns = {name: column[:, positions] for name, column in columns.items()}
        inputs["logits_to_keep"] = positions
    with _last_states(model) if value_head else nullcontext([]) as states:
        outputs = model(**inputs, use_cache=False)
    logits = outputs["logits"][:, : learned.shape[1]]
    if value_head:
        columns["values"] = value_head(states[0])[:, : learned.shape[1], 0]
    # Of a single line, what was kept is what is learned; the selection would copy it.
    logits = logits[0] if keeps and len(logits) == 1 else logits[learned]
    if torch.is_grad_enabled() and not logits.requires_grad:  # texts, where towers or an aligner alone learn
        logits = logits + _zero(model)
    return logits, {name: column[learned] for name, column in columns.items()}, outputs


def _zero(model: Any) -> Any:
    """Return 0, with a gradient of 0 for every weight that learns."""
    return sum(weight.flatten()[:1].sum() * 0 for weight in model.parameters() if weight.requires_grad)


def of_model(inputs: dict[str, Any]) -> dict[str, Any]:
    """Return what of a batch goes into a model, and the numbers of its answers."""
    return {name: value for name, value in inputs.items() if name in OF_MODEL or name.startswith(PREFIX)}


@contextmanager
def _last_states(model: Any) -> Generator[list[torch.Tensor]]:
    """Enter with a list that a forward pass fills with the hidden states [lines, positions, hidden size] which its
    logits are computed from."""
    states: list[torch.Tensor] = []
    within = model.module if isinstance(model, DistributedDataParallel) else model
    layer = transformers_model(within).get_output_embeddings()
    hook = layer.register_forward_pre_hook(lambda _, arguments: states.append(arguments[0]))
    try:
        yield states
    finally:
        hook.remove()


def keeps_logits(model: Any) -> bool:
    """Return whether a model can be asked for the logits of some positions alone."""
    return "logits_to_keep" in inspect.signature(transformers_model(model).forward).parameters
