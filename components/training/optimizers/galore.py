"""GaLore (Zhao et al. 2024, arXiv 2403.03507): AdamW whose moments live in a low-rank projection of the gradients.

Q-GaLore (Zhang et al. 2024, arXiv 2407.08296) makes a projection anew the more seldom the less it changes, and keeps it
in a few bits.

Written here because the package galore-torch keeps an object in the optimizer's state, which a checkpoint without
pickles cannot hold.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer

from components.config import Params
from components.errors import ConfigError
from components.training.optimizers._groups import decay_groups

TUNERS = ("full", "llamapro")


def build(model: Any, params: Params) -> "GaloreAdamW":
    """Return GaLore over the matrices of the target layers, and AdamW over the other trainable weights.

    Raises:
        ConfigError: no trainable matrix belongs to `galore_target_modules`.
    """
    train, galore = params.train, params.galore
    targets = _matrices(model, galore.galore_target_modules)
    if not targets:
        raise ConfigError(
            f"galore_target_modules: no trainable matrix of the model is in {', '.join(galore.galore_target_modules)}; "
            "name linear layers that learn"
        )
    projection = {
        "rank": galore.galore_rank,
        "gap": galore.galore_update_proj_gap,
        "scale": galore.galore_scale,
        "side": galore.galore_proj_type,
        "lazy": (galore.galore_queue_size, galore.galore_cos_threshold, galore.galore_gamma_proj)
        if galore.galore_quantization
        else None,
        "quantized": (galore.galore_proj_bits, galore.galore_proj_group_size)
        if galore.galore_quantization and galore.galore_proj_quant
        else None,
    }
    groups: list[dict[str, Any]] = []
    for group in decay_groups(model, params):
        projected = [weight for weight in group["params"] if id(weight) in targets]
        others = [weight for weight in group["params"] if id(weight) not in targets]
        groups += [{**group, "params": projected, **projection}, {**group, "params": others, "rank": None}]
    return GaloreAdamW(
        [group for group in groups if group["params"]],
        lr=train.learning_rate or 0.0,
        betas=(train.adam_beta1, train.adam_beta2),
        eps=train.adam_epsilon,
    )


def _matrices(model: Any, names: list[str]) -> set[int]:
    """Return the ids of the trainable weights of the linear layers that `names` mean."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    return {
        id(module.weight)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | Conv1D)
        and module is not head
        and module.weight.requires_grad
        and any(target in ("all-linear", name) or name.endswith(f".{target}") for target in names)
    }


class GaloreAdamW(Optimizer):
    """AdamW; in groups with a `rank`, gradients are projected before the moments and updates are projected back."""

    def __init__(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], eps: float) -> None:
        super().__init__(groups, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": 0.0})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Take one step."""
        loss = closure() if closure else None
        for group in self.param_groups:
            for weight in group["params"]:
                if weight.grad is not None:
                    self._update(weight, group)
        return loss

    def _update(self, weight: torch.Tensor, group: dict[str, Any]) -> None:
        state, gradient = self.state[weight], weight.grad
        assert gradient is not None
        step = state["step"] = state.get("step", 0) + 1
        left = bool(group["rank"]) and _is_left(weight, group["side"])
        projection = _projection_of(state, gradient, group, left) if group["rank"] else None
        if projection is not None:
            gradient = _down(gradient, projection, left)
        if "exp_avg" not in state:
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(gradient), torch.zeros_like(gradient)
        beta1, beta2 = group["betas"]
        mean, variance = state["exp_avg"], state["exp_avg_sq"]
        mean.lerp_(gradient, 1 - beta1)
        variance.mul_(beta2).addcmul_(gradient, gradient, value=1 - beta2)
        update = (mean / (1 - beta1**step)) / ((variance / (1 - beta2**step)).sqrt_().add_(group["eps"]))
        if projection is not None:
            update = group["scale"] * _up(update, projection, left)
        weight.mul_(1 - group["lr"] * group["weight_decay"]).sub_(group["lr"] * update)


def _is_left(matrix: torch.Tensor, side: str) -> bool:
    """Return whether the rows of a matrix are projected rather than its columns."""
    rows, columns = matrix.shape
    return {"left": True, "right": False, "std": rows < columns, "reverse_std": rows >= columns}[side]


def _projection_of(state: dict[str, Any], gradient: torch.Tensor, group: dict[str, Any], left: bool) -> torch.Tensor:
    """Return the projection of a matrix at this step, made anew where that is due."""
    if state["step"] >= state.get("due", 1):
        _renew(state, gradient, group, left)
    if "scales" not in state:
        return state["projection"]
    state["projection"] = state["projection"].to(torch.uint8)  # a checkpoint that was loaded has made it floats
    numbers = (state["projection"] * state["scales"] + state["lowest"]).flatten()
    rows, columns = gradient.shape
    rank = min(group["rank"], rows, columns)
    shape = (rows, rank) if left else (rank, columns)
    return numbers[: shape[0] * shape[1]].view(shape)


def _renew(state: dict[str, Any], gradient: torch.Tensor, group: dict[str, Any], left: bool) -> None:
    """Make the projection of a matrix anew, and set the step at which the next one is `due`."""
    projection = _projection(gradient, group["rank"], left)
    gap = state.get("gap", group["gap"])
    if group["lazy"]:
        first, (size, threshold, factor) = projection[:, 0] if left else projection[0], group["lazy"]
        if "first" in state:  # a singular vector has no sign of its own
            similarity = torch.cosine_similarity(first, state["first"], 0).abs()[None]
            state["similarities"] = torch.cat([state.get("similarities", similarity[:0]), similarity])[-size:]
            if len(state["similarities"]) == size and state["similarities"].mean() >= threshold:
                gap = int(gap * factor)
        state["first"] = first.clone()
    state["gap"], state["due"] = gap, state["step"] + gap
    if group["quantized"]:
        state["projection"], state["scales"], state["lowest"] = _quantized(projection, *group["quantized"])
    else:
        state["projection"] = projection


def _quantized(matrix: torch.Tensor, bits: int, size: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return the codes [groups, size] of a matrix, a byte each, and the scale and the lowest number of each group
    [groups, 1]."""
    flat = matrix.flatten()
    groups = torch.nn.functional.pad(flat, (0, -len(flat) % size)).view(-1, size)
    lowest, highest = groups.aminmax(dim=1, keepdim=True)
    scales = ((highest - lowest) / (2**bits - 1)).clamp(min=torch.finfo(matrix.dtype).tiny)
    codes = ((groups - lowest) / scales).round().clamp(0, 2**bits - 1)
    return codes.to(torch.uint8), scales, lowest


def _projection(gradient: torch.Tensor, rank: int, left: bool) -> torch.Tensor:
    """Return the leading singular vectors of a gradient: [rows, rank] for its left side, else [rank, columns]."""
    u, _, vh = torch.linalg.svd(gradient.float(), full_matrices=False)
    return (u[:, :rank] if left else vh[:rank]).to(gradient.dtype)


def _down(gradient: torch.Tensor, projection: torch.Tensor, left: bool) -> torch.Tensor:
    return projection.T @ gradient if left else gradient @ projection.T


def _up(update: torch.Tensor, projection: torch.Tensor, left: bool) -> torch.Tensor:
    return projection @ update if left else update @ projection
