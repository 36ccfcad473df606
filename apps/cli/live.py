"""The lines at the foot of a terminal that tell how a training goes."""

from collections import deque
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from components.figures import SHORT
from components.texts import duration, size

BARS = "▁▂▃▄▅▆▇█"
SHOWN_LOSSES = 16
"""Lines of progress whose losses are drawn."""


class LiveLines:
    """A bar with the time left, what is learned, and what it costs; each line of progress brings them up to date."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._losses: deque[float] = deque(maxlen=SHOWN_LOSSES)
        self._last: dict[str, Any] = {}
        self._eval: float | None = None
        self._live = Live(console=self.console, get_renderable=self.rendered, refresh_per_second=4)

    def update(self, entry: dict[str, Any]) -> None:
        """Take a line of progress with a step."""
        self._eval = entry.get("eval_loss", self._eval)
        if "loss" in entry:
            self._last = entry
            self._losses.append(entry["loss"])
            self._live.start()

    def stop(self) -> None:
        """Leave the lines as they are."""
        self._live.stop()

    def rendered(self) -> Group:
        """Return the lines."""
        last = self._last
        step, steps = last.get("step", 0), last.get("total_steps", 0)
        head = Table.grid(padding=(0, 1), expand=True)
        head.add_column(ratio=1)
        head.add_column(no_wrap=True, justify="right")
        left = f"{duration(last['eta'])} left" if step < steps else "done"
        head.add_row(ProgressBar(max(steps, 1), step), Text(f"{step:,}/{steps:,}  {left}"))
        method = [_line(self._figures())] if any(name in last for name in SHORT) else []
        return Group(head, _line(self._learned()), *method, _line(self._costs()))

    def _learned(self) -> list[tuple[str, str]]:
        last = self._last
        shown = [("loss", f"{last['loss']:.4f} {sparkline(self._losses)}")] if "loss" in last else []
        shown += [("eval loss", f"{self._eval:.4f}")] if self._eval is not None else []
        return shown + ([("token acc", f"{last['token_acc']:.3f}")] if "token_acc" in last else [])

    def _figures(self) -> list[tuple[str, str]]:
        texts = [text.format(self._last[name]) for name, text in SHORT.items() if name in self._last]
        return [(name, figure) for name, _, figure in (text.rpartition(" ") for text in texts)]

    def _costs(self) -> list[tuple[str, str]]:
        last = self._last
        forms = {"learning_rate": ("lr", "{:.2e}"), "grad_norm": ("grad norm", "{:.3g}"),
                 "tokens_per_second": ("tok/s", "{:,.0f}"), "mfu": ("MFU", "{:.0%}")}  # fmt: skip
        shown = [(name, form.format(last[key])) for key, (name, form) in forms.items() if last.get(key) is not None]
        return shown + ([("memory", size(last["memory"]))] if "memory" in last else [])


def _line(figures: list[tuple[str, str]]) -> Text:
    """Return names and figures on one line of the terminal, cut at its end."""
    line = Text(no_wrap=True, overflow="ellipsis")
    for name, figure in figures:
        line.append(f"{name} ", "dim").append(f"{figure}   ")
    return line


def sparkline(values: "deque[float]") -> str:
    """Return values as bars of eight heights, the highest value full."""
    low, high = min(values), max(values)
    span = (high - low) or 1.0
    return "".join(BARS[round((value - low) / span * (len(BARS) - 1))] for value in values)
