"""How many threads train a model on a CPU: measured once for a kind of work, and kept to."""

import os
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from components import cache
from components.files import read_json, write_json

ENOUGH_SECONDS = 0.5
"""A pass that takes longer gains from every thread, and is not worth measuring."""
ENOUGH_OPERATIONS = 1e11
"""Floating-point operations of a pass that takes one thread longer than that."""
GAIN = 1.1
"""How much faster several threads must be: they wait for each other, and more so beside other processes."""
CLEAR_GAIN = 1.3
"""A difference that is not measured again."""
TURNS = 3


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
    if 4 * model.num_parameters() * tokens > ENOUGH_OPERATIONS:
        return cores
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
    """Return 1 or `cores`: the best of up to three passes with each in turn, after one that warms up."""
    import torch

    def seconds_of_a_pass(threads: int) -> float:
        torch.set_num_threads(threads)
        began = time.perf_counter()
        forward_and_backward()
        return time.perf_counter() - began

    if cores == 1 or seconds_of_a_pass(cores) > ENOUGH_SECONDS:
        return cores
    gain, of_one, of_all = 1.0, float("inf"), float("inf")
    for _ in range(TURNS):
        of_all = min(of_all, seconds_of_a_pass(cores))
        of_one = min(of_one, seconds_of_a_pass(1))
        gain = of_one / of_all
        if not 1 / CLEAR_GAIN < gain < CLEAR_GAIN:
            break
    return cores if gain > GAIN else 1
