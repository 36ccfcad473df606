"""The lines at the foot of a terminal during a training."""

import io
from collections import deque

import pytest
from rich.console import Console

from apps.cli.live import LiveLines, sparkline
from apps.cli.training import _Screen  # pyright: ignore[reportPrivateUsage]


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


def test_a_method_has_a_line_of_its_main_figures() -> None:
    console = Console(width=80, file=io.StringIO(), record=True)
    live = LiveLines(console)
    figures = {"reward": 0.51234, "kl": 0.0123, "completions/mean_length": 1234.5, "rewards/exact/mean": 0.777}
    live.update({"step": 1, "total_steps": 3, "loss": 0.1, **figures, "memory": 2.1e9, "eta": 2.0})
    live.update({"step": 1, "rollouts": []})
    live.stop()
    console.print(live.rendered())
    lines = console.export_text().splitlines()[-4:]
    assert lines[1].startswith("loss 0.1000")
    assert lines[2].rstrip() == "reward 0.5123   kl 0.0123   length 1,234"


def test_a_sparkline_is_as_high_as_its_values() -> None:
    assert sparkline(deque([1.0, 8.0, 4.5, 1.0])) == "▁█▅▁"
    assert sparkline(deque([3.0, 3.0])) == "▁▁"


def test_answers_of_a_step_are_printed_where_they_are_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    rollout = {"prompt": "2+2?", "completion": "4", "rewards": {}, "reward": 1.0, "advantage": 0.0}
    for screen in (_Screen("causal_lm"), _Screen("causal_lm", shows_rollouts=True)):
        screen.progress({"step": 3, "rollouts": [rollout]})
    assert capsys.readouterr().out == "step 3  2+2? → 4  reward 1\n"
