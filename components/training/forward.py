"""Forward passes that compute logits only where a token is learned."""

import inspect
from typing import Any

import torch

from components.tokens import IGNORED
from components.training.job import transformers_model

PER_TOKEN = ("labels", "loss_scale", "owners")
"""Tensors of a batch that stand beside `input_ids`, and that no model takes."""


def learned_logits(model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, dict[str, torch.Tensor], Any]:
    """Return the logits before each learned token [tokens, vocabulary], what the batch says of these tokens by name
    [tokens], and the model's outputs.

    Logits are computed only at positions where, on some line, the next token is learned.
    """
    inputs = dict(inputs)
    columns = {name: inputs.pop(name)[:, 1:] for name in PER_TOKEN if name in inputs}
    if "position_ids" in inputs:
        # Restarting positions isolate documents only without a mask, and without a cache.
        del inputs["attention_mask"]
    learned = columns["labels"] != IGNORED
    if keeps := keeps_logits(model):
        positions = learned.any(0).nonzero()[:, 0]
        learned = learned[:, positions]
        columns = {name: column[:, positions] for name, column in columns.items()}
        outputs = model(**inputs, use_cache=False, logits_to_keep=positions)
        logits = outputs["logits"]
    else:
        outputs = model(**inputs, use_cache=False)
        logits = outputs["logits"][:, : learned.shape[1]]
    # Of a single line, what was kept is what is learned; the selection would copy it.
    logits = logits[0] if keeps and len(logits) == 1 else logits[learned]
    return logits, {name: column[learned] for name, column in columns.items()}, outputs


def keeps_logits(model: Any) -> bool:
    """Return whether a model can be asked for the logits of some positions alone."""
    return "logits_to_keep" in inspect.signature(transformers_model(model).forward).parameters
