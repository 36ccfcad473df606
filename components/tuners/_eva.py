"""EVA (Paischer et al. 2024, arXiv 2410.07170), by peft: LoRA's first values are the directions in which what a layer
reads varies most, and ranks go to the layers whose directions explain most."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config import Params
from components.errors import ConfigError
from components.tuners import _peft
from components.tuners._files import require_files
from components.tuners._layers import targets

if TYPE_CHECKING:
    import torch
    from peft import PeftModel
    from transformers import PreTrainedModel

Batch = dict[str, "torch.Tensor"]

RHO = 2
"""A layer gets at most so many times its rank; peft's default."""
MOST_PASSES = 500
"""Batches after which the directions must stand still."""


def require_room(model: "PreTrainedModel", params: Params) -> None:
    """Raise ConfigError where a target has too few inputs for EVA's choice of directions."""
    inputs = tokens_per_batch(params.lora.lora_rank)
    for name in sorted(targets(model, params)):
        layer: Any = model.get_submodule(name)
        size = getattr(layer, "in_features", getattr(layer, "nx", 0))
        if size < inputs:
            raise ConfigError(
                f"init_weights: eva needs {inputs} inputs for --lora_rank {params.lora.lora_rank}, and {name} has "
                f"{size}; lower --lora_rank, or name other --target_modules"
            )


def tokens_per_batch(rank: int) -> int:
    """Return how many learned tokens, and inputs of a layer, peft's SVD needs: twice the largest rank of a layer."""
    return 2 * RHO * rank


def initialise(model: "PeftModel", rows: Sequence[Mapping[str, Any]]) -> None:
    """Set LoRA's A, and the rank of each layer, by what the layers of an EVA adapter read at the learned tokens of
    `rows` (`input_ids` and `labels`).

    Raises:
        ConfigError: the rows have too few learned tokens, the directions do not settle, or a layer reads none of them.
    """
    from peft import initialize_lora_eva_weights

    config: Any = model.peft_config["default"]
    tokens = tokens_per_batch(config.r)
    batches = list(_batches(rows, tokens))
    if not batches:
        raise ConfigError(
            f"init_weights: eva reads {tokens} learned tokens at a time, and its sample of {len(rows)} rows has fewer; "
            "lower --lora_rank, or use another --init_weights"
        )
    try:
        initialize_lora_eva_weights(
            model,
            _Passes(batches),
            forward_fn=_read,
            prepare_model_inputs_fn=_learned,
            prepare_layer_inputs_fn=_inputs,
            gather_distributed_inputs=False,
            show_progress_bar=False,
        )
    except (ValueError, IndexError) as error:
        raise ConfigError(f"init_weights: eva does not fit the model: {error}; use another --init_weights") from error


def restore(model: "PeftModel", folder: Path) -> None:
    """Read a saved adapter into a model that has one of the same kind, each layer with the rank that was saved; raises
    as `_peft.restore`."""
    if model.peft_config["default"].init_lora_weights == "eva":  # type: ignore[union-attr]
        _take_ranks(model, folder)
    _peft.restore(model, folder)


def _take_ranks(model: "PeftModel", folder: Path) -> None:
    import torch
    from peft import PeftConfig, initialize_lora_eva_weights
    from peft.tuners.lora import LoraLayer
    from peft.tuners.tuners_utils import check_target_module_exists

    require_files(folder)
    saved: Any = PeftConfig.from_pretrained(str(folder))
    shapes = {}
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer):
            own = name.removeprefix("base_model.model.")
            rank = saved.rank_pattern.get(own, saved.r) if check_target_module_exists(saved, own) else 0
            shapes[name] = torch.zeros(rank, int(layer.in_features or 0))
    initialize_lora_eva_weights(model, eva_state_dict=shapes)


def _batches(rows: Sequence[Mapping[str, Any]], tokens: int) -> Iterator[Batch]:
    """Yield padded batches of rows that each have at least so many learned `tokens`."""
    import torch
    from torch.nn.utils.rnn import pad_sequence

    batch: list[tuple[torch.Tensor, torch.Tensor]] = []
    for row in rows:
        batch.append((torch.tensor(row["input_ids"]).long(), torch.tensor(row["labels"]).long()))
        if sum(int((labels >= 0).sum()) for _, labels in batch) >= tokens:
            ids, labels = ([pair[place] for pair in batch] for place in (0, 1))
            yield {
                "input_ids": pad_sequence(ids, batch_first=True),
                "attention_mask": pad_sequence([torch.ones_like(row) for row in ids], batch_first=True),
                "labels": pad_sequence(labels, batch_first=True, padding_value=-100),
            }
            batch = []


def _learned(batch: Batch, config: Any) -> "torch.Tensor":  # noqa: ARG001
    """Return which of a batch's tokens are learned [rows * length]."""
    return batch["labels"].flatten() >= 0


def _inputs(states: Any, learned: "torch.Tensor", name: str) -> "torch.Tensor":  # noqa: ARG001
    """Return what a layer reads at the learned tokens [tokens, width]; all that it reads where it does not read every
    token, as an expert."""
    states = (states[0] if isinstance(states, tuple) else states).flatten(0, -2)
    return states[learned] if len(states) == len(learned) else states


def _read(model: "PeftModel", batch: Batch) -> None:
    """Go forward, without the logits of all tokens unless the head has an adapter."""
    base: Any = model.get_base_model()
    reader = base if hasattr(base.get_output_embeddings(), "base_layer") else base.base_model
    reader(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"], use_cache=False)


class _Passes:
    """Batches again and again, as the data loader that peft asks for: it would go on for ever where the directions do
    not settle (0.21)."""

    def __init__(self, batches: list[Batch]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[Batch]:
        for number in range(MOST_PASSES):
            yield self.batches[number % len(self.batches)]
        raise ConfigError(
            f"init_weights: the directions of eva do not settle within {MOST_PASSES} batches; lower --lora_rank, or "
            "use another --init_weights"
        )
