"""The page of a training, `train.html`: written while the run goes on, from the lines of its progress alone.

The page is one file that loads nothing and runs no script.
"""

import json
import math
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, NamedTuple

from components import by_dataset
from components.figures import is_number, label, names_in, of_evaluation, panels
from components.files import write_text
from components.texts import duration, number

if TYPE_CHECKING:
    import jinja2

INTERVAL_S = 2.0
"""Least time between two writings of the page."""
WIDTH, HEIGHT, LEFT, BOTTOM = 460, 190, 46, 22
"""Size of a chart, and the room for the numbers beside and below it."""
MAX_POINTS = 400
"""Points of a curve; of a longer run, evenly spaced ones."""
GRID_LINES = 4
COLORS = 6
"""Of the curves of a chart."""
FROM_ZERO = ("tokens per second", "memory, GB")
"""Charts whose axis begins at 0, so that a small change looks small."""


class Chart(NamedTuple):
    """A chart: its title, what its axis measures, the last values of training as texts (class, name, value), grid lines
    (y and label), labels on the x axis, and curves: class, points as SVG has them, and the last point."""

    title: str
    axis: str
    last: list[tuple[str, str, str]]
    grid: list[tuple[float, str]]
    steps: list[tuple[float, str]]
    curves: list[tuple[str, str, tuple[float, float]]]


@contextmanager
def live_page(progress: Path, page: Path) -> Generator[None]:
    """Keep `page` up to date with the file `progress` while the block runs, every `INTERVAL_S`, and write it once more
    at the end."""
    ended = Event()
    thread = Thread(target=_follow, args=(progress, page, ended), name="page", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _follow(progress: Path, page: Path, ended: Event) -> None:
    entries: list[dict[str, Any]] = []
    position, is_last = 0, False
    while not is_last:
        is_last = ended.wait(INTERVAL_S)
        if not progress.is_file():
            continue
        with progress.open("rb") as stream:
            stream.seek(position)
            lines = [line for line in stream if line.endswith(b"\n")]
        position += sum(map(len, lines))
        new = [json.loads(line) for line in lines]
        if any("rollouts" in entry for entry in new):  # the newest ones are shown
            entries = [entry for entry in entries if "rollouts" not in entry]
        entries += new
        if lines or is_last:
            with suppress(OSError):  # a full disk: the training itself says so where it matters
                write_text(page, render(entries, is_running=not is_last))


def render(entries: list[dict[str, Any]], is_running: bool) -> str:
    """Return the page of a run from the lines of its progress."""
    steps = [entry for entry in entries if "loss" in entry]
    last = steps[-1] if steps else {"step": 0, "total_steps": 0}
    evaluations = [entry for entry in entries if of_evaluation(entry)]
    return _template().render(
        last=last,
        share=last["step"] / max(1, last["total_steps"]),
        state="running" if is_running else "finished" if 0 < last["step"] == last["total_steps"] else "stopped",
        updated=time.strftime("%H:%M:%S", time.localtime(entries[-1]["time"])) if entries else "",
        eval_loss=next((entry["eval_loss"] for entry in reversed(evaluations) if "eval_loss" in entry), None),
        charts=_charts(steps, evaluations),
        rollouts=next((entry for entry in reversed(entries) if "rollouts" in entry), None),
        saved=[entry for entry in entries if "checkpoint" in entry],
        losses={entry["step"]: entry["eval_loss"] for entry in evaluations if "eval_loss" in entry},
        datasets=_of_datasets(evaluations),
        messages=[entry["message"] for entry in entries if "message" in entry],
        settings=next((entry["settings"] for entry in entries if "settings" in entry), {}),
        number=number,
        duration=duration,
    )


def _of_datasets(evaluations: list[dict[str, Any]]) -> list[tuple[str, float, float]]:
    """Return name, last and lowest loss of each dataset of the validation rows, if there are several."""
    of_each = [by_dataset.losses(entry) for entry in evaluations]
    return [(name, last, min(losses[name] for losses in of_each)) for name, last in (of_each or [{}])[-1].items()]


def _charts(steps: list[dict[str, Any]], evaluations: list[dict[str, Any]]) -> list[Chart]:
    of_method = [(title[0].lower() + title[1:], axis, names) for title, axis, names in panels(names_in(steps))]
    charts: list[Chart] = []
    for title, axis, names in (
        ("loss", "", ["loss"]),
        ("token accuracy", "", ["token_acc"]),
        *of_method,
        ("learning rate", "", ["learning_rate"]),
        ("gradient norm", "", ["grad_norm"]),
        ("tokens per second", "", ["tokens_per_second"]),
        ("memory, GB", "", ["memory"]),
    ):
        scale = 1e-9 if title.startswith("memory") else 1.0
        of_steps = [(name, _points(steps, name, scale)) for name in names]
        of_steps = [(name, points) for name, points in of_steps if points]
        curves = [(f"train c{n % COLORS}", points) for n, (_, points) in enumerate(of_steps)]
        curves += [("eval", points) for name, _ in of_steps if (points := _points(evaluations, f"eval_{name}"))]
        if curves:
            last = [
                (css, label(name) if len(of_steps) > 1 else "", number(points[-1][1]))
                for (name, points), (css, _) in zip(of_steps, curves, strict=False)
            ]
            charts.append(_chart(title, axis, last, [(css, _thinned(points)) for css, points in curves]))
    return charts


def _points(entries: list[dict[str, Any]], name: str, scale: float = 1.0) -> list[tuple[int, float]]:
    return [(entry["step"], entry[name] * scale) for entry in entries if is_number(entry.get(name))]


def _thinned(points: list[tuple[int, float]]) -> list[tuple[int, float]]:
    every = math.ceil(len(points) / MAX_POINTS)
    return points if every <= 1 else [*points[:-1:every], points[-1]]


def _chart(
    title: str, axis: str, last: list[tuple[str, str, str]], curves: list[tuple[str, list[tuple[int, float]]]]
) -> Chart:
    values = [value for _, points in curves for _, value in points]
    values += [0.0] * (title in FROM_ZERO)
    ticks = _ticks(min(values), max(values))
    bottom, top = ticks[0], ticks[-1]
    first = min(points[0][0] for _, points in curves)
    final = max(points[-1][0] for _, points in curves)

    def x(step: int) -> float:
        return round(LEFT + (WIDTH - LEFT - 8) * (step - first) / max(1, final - first), 1)

    def y(value: float) -> float:
        return round(8 + (HEIGHT - BOTTOM - 8) * (top - value) / (top - bottom), 1)

    drawn = [
        (css, " ".join(f"{x(step)},{y(value)}" for step, value in points), (x(points[-1][0]), y(points[-1][1])))
        for css, points in curves
    ]
    middle = (first + final) // 2
    labels = [(x(step), f"{step:,}") for step in sorted({first, middle, final})]
    return Chart(title, axis, last, [(y(t), number(t)) for t in ticks], labels, drawn)


def _ticks(low: float, high: float) -> list[float]:
    """Return round numbers that enclose both: multiples of 1, 2 or 5 times a power of ten."""
    if low == high:
        low, high = (low - abs(low) / 2, high + abs(high) / 2) if low else (0.0, 1.0)
    rough = (high - low) / GRID_LINES
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough)
    return [n * step for n in range(math.floor(low / step), math.ceil(high / step) + 1)]


@cache
def _template() -> "jinja2.Template":
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.undefined = jinja2.StrictUndefined
    return environment.from_string((Path(__file__).parent / "page.html.jinja").read_text(encoding="utf-8"))
