"""The lines at the foot of a terminal during a training."""

import io
from collections import deque

import pytest
from rich.console import Console

from apps.cli.live import LiveLines, sparkline


@pytest.mark.parametrize("width", [80, 120])
def test_the_figures_of_a_step_fit_three_lines(width: int) -> None:
    console = Console(width=width, file=io.StringIO(), record=True)
    live = LiveLines(console)
    for step in range(1, 31):
        live.update({
            "step": step, "total_steps": 300, "loss": 2 - step / 100, "token_acc": 0.5, "learning_rate": 1e-4,
            "grad_norm": 0.8125, "tokens_per_second": 12345.6, "mfu": 0.413, "memory": 2.1e9, "eta": 200.0,
        })  # fmt: skip
    live.update({"step": 30, "total_steps": 300, "eval_loss": 1.3})
    live.stop()
    console.print(live.rendered())
    lines = console.export_text().splitlines()[-3:]
    for figure in ("30/300", "3 min 20 s left", "loss 1.7000 █", "eval loss 1.3000", "token acc 0.500", "lr 1.00e-04",
                   "grad norm 0.812", "tok/s 12,346", "MFU 41%", "memory 2.1 GB"):  # fmt: skip
        assert figure in "\n".join(lines)


def test_a_sparkline_is_as_high_as_its_values() -> None:
    assert sparkline(deque([1.0, 8.0, 4.5, 1.0])) == "▁█▅▁"
    assert sparkline(deque([3.0, 3.0])) == "▁▁"
