"""How many threads train a model on a CPU: measured once for a kind of work, and kept to."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from components import cache
from components.files import read_json, write_json

ENOUGH_SECONDS = 1.0
"""A pass that takes longer gains from every thread, and is not worth measuring."""
GAIN = 1.1
"""How much faster several threads must be: they wait for each other, and more so beside other processes."""


def is_measurable(model: Any) -> bool:
    """Return whether the number of threads is ours to choose: on a CPU, and where OMP_NUM_THREADS says nothing."""
    return model.device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ


def settle_threads(model: Any, tokens: int, forward_and_backward: Callable[[], object]) -> int:
    """Set the threads that PyTorch computes with to one or to all, whichever trains faster; return their number.

    The number is part of the arithmetic: sums are split otherwise among other threads. So the choice for a machine, a
    model and a size of batch is kept beside the cached data, and a run that goes on, or runs again, makes the same one.

    Args:
        tokens: of a forward pass.
        forward_and_backward: one pass, without an optimizer step.
    """
    import torch

    cores = torch.get_num_threads()
    file = cache.root() / "threads.json"
    work = f"{cores} cores, {model.num_parameters()} parameters, {1 << (tokens - 1).bit_length()} tokens, {model.dtype}"
    choices: dict[str, int] = {}
    with suppress(OSError, ValueError):
        choices = read_json(file)
    if work not in choices:
        choices[work] = _fastest(cores, forward_and_backward)
        with suppress(OSError):  # a cache that may only be read
            write_json(file, choices)
    torch.set_num_threads(choices[work])
    return choices[work]


def _fastest(cores: int, forward_and_backward: Callable[[], object]) -> int:
    """Return 1 or `cores`, from passes with each in turn after one of each that warms up."""
    import torch

    seconds: dict[int, float] = {cores: float("inf"), 1: float("inf")}
    for turn in range(3):
        for threads in seconds:
            torch.set_num_threads(threads)
            began = time.perf_counter()
            forward_and_backward()
            took = time.perf_counter() - began
            if turn:
                seconds[threads] = min(seconds[threads], took)
            elif threads == cores and took > ENOUGH_SECONDS:
                return cores
    return cores if seconds[1] > GAIN * seconds[cores] else 1
