"""What depends on the device that a model lies on: threads, and sequences that are computed together."""

import os
from typing import Any

import torch

SINGLE_THREAD_MAX_PARAMS = 50_000_000
CPU_BATCH_SIZE, BATCH_SIZE = 64, 128


def batch_size(model: Any) -> int:
    """Return how many sequences are computed together: on a GPU a pass takes as long for many as for one."""
    return CPU_BATCH_SIZE if model.device.type == "cpu" else BATCH_SIZE


def spare_threads(model: Any) -> None:
    """Let a small model on a CPU compute with one thread, unless the user chose a number.

    Such a model gains next to nothing from a second one (5 M parameters: -5 % for one request, +20 % for 16), and loses
    20 to 30 times when another process holds one of the cores that the threads must meet on.
    """
    is_small = model.device.type == "cpu" and model.num_parameters() < SINGLE_THREAD_MAX_PARAMS
    if is_small and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)
