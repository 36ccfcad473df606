"""How many threads train: from as few passes as tell."""

import time

import pytest
import torch

from components.training.threads import _fastest


@pytest.mark.parametrize(
    ("of_one", "of_all", "chosen", "passes"),
    [
        (0.9, 0.6, 2, 1),  # long enough to gain from all
        (0.3, 0.2, 2, 3),  # clear at once
        (0.1, 0.2, 1, 3),
        (0.12, 0.1, 2, 7),  # measured again
        (0.105, 0.1, 1, 7),  # not worth two
    ],
)
def test_the_number_of_threads_is_the_faster_one(monkeypatch, of_one, of_all, chosen, passes):
    threads, clock, took = torch.get_num_threads(), [0.0], []

    def forward_and_backward() -> None:
        took.append(of_one if torch.get_num_threads() == 1 else of_all)
        clock[0] += took[-1]

    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    try:
        assert _fastest(2, forward_and_backward) == chosen
    finally:
        torch.set_num_threads(threads)
    assert len(took) == passes
