"""LISA (Pan et al. 2024, arXiv 2403.17919): full training of a few layers at a time, drawn anew every few steps."""

from typing import Any

import torch
from torch import nn
from transformers.trainer_callback import TrainerCallback

from components.errors import ConfigError
from components.training.job import Job

TUNERS = ("full",)


def callback(job: Job) -> "Lisa":
    """Return LISA for a job whose weights all learn.

    Raises:
        ConfigError: the model is not trained in full, or has fewer layers than are to learn at a time.
    """
    if job.params.tuner.tuner_type != "full":
        raise ConfigError("callbacks: lisa trains whole layers; use it with --tuner_type full")
    layers = layers_of(job.model)
    if job.params.lisa.lisa_activated_layers > len(layers):
        raise ConfigError(
            f"lisa_activated_layers: {job.params.lisa.lisa_activated_layers} is more than the model's {len(layers)} "
            "layers; lower it"
        )
    return Lisa(layers, job.params.lisa.lisa_activated_layers, job.params.lisa.lisa_step_interval, job.train.seed)


def layers_of(model: nn.Module) -> list[nn.Module]:
    """Return the decoder's layers: the longest list of modules in the model."""
    lists = [module for module in model.modules() if isinstance(module, nn.ModuleList)]
    return list(max(lists, key=len, default=[]))


class Lisa(TrainerCallback):
    """Lets `count` of the layers learn, others every `interval` steps; embeddings, norms and head always learn."""

    def __init__(self, layers: list[nn.Module], count: int, interval: int, seed: int) -> None:
        self.layers, self.count, self.interval, self.seed = layers, count, interval, seed
        self.period = -1

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:  # noqa: ARG002
        period = state.global_step // self.interval
        if period != self.period:
            self.period = period
            self.activate(self.layers_of(period))

    def layers_of(self, period: int) -> set[int]:
        """Return the numbers of the layers that learn in a period, from (seed, period) alone."""
        order = torch.Generator().manual_seed(self.seed + period)
        return set(torch.randperm(len(self.layers), generator=order)[: self.count].tolist())

    def activate(self, active: set[int]) -> None:
        """Let the weights of the layers `active` learn, and no others' among the layers."""
        for number, layer in enumerate(self.layers):
            for weight in layer.parameters():
                weight.requires_grad_(number in active)
                if number not in active:
                    weight.grad = None
