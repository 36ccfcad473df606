"""Reports of a training: train.json, train.csv, train.png, for people, DVC and MLflow. Equal runs give equal bytes."""

import csv
from itertools import cycle
from math import ceil
from pathlib import Path
from typing import Any

from components.figures import Panel, is_reported, label, means, names_in, of_evaluation, of_step, panels
from components.files import replacing, write_json
from components.training.run import Outcome

INK, RAW, SMOOTH, EVAL, GRID = "#1f2933", "#a9c4e6", "#1f5fa8", "#d9600f", "#e4e7eb"
COLUMNS: tuple[str, ...] = ("step", "loss", "token_acc", "learning_rate", "eval_loss")
"""Of train.csv; behind them are the method's figures, and the other figures of the evaluations."""
COLORS = (SMOOTH, "#2b8a5b", "#8a4fb0", "#7a6a1d", "#b0305c", "#4f6472")
"""Of the curves of a panel; orange is for evaluations."""
MAX_PANELS = 6
"""Below the loss; train.csv and train.html have all figures."""


def write_reports(outcome: Outcome, reports: Path, **extra: Any) -> dict[str, Any]:
    """Write the three files into `reports`; return the content of train.json, with `extra` in it."""
    steps = [entry for entry in outcome.history if "loss" in entry]
    figures = {entry["step"]: found for entry in outcome.history if (found := of_evaluation(entry))}
    evaluations = {step: found["eval_loss"] for step, found in figures.items() if "eval_loss" in found}
    final = _reported(steps, outcome.logging_steps)[-1]
    best_step = int(outcome.best.rpartition("-")[2]) if outcome.best else None
    summary = {
        "steps": outcome.steps,
        "epochs": outcome.epochs,
        "tokens": outcome.tokens,
        "parameters": outcome.parameters,
        "trainable_parameters": outcome.trainable,
        "first_loss": steps[0]["loss"],
        "loss": final["loss"],
        **{name: final[name] for name in names_in(steps) if name in final},
        "eval_loss": None,
        **(figures[max(figures)] if figures else {}),
        "best_eval_loss": evaluations.get(best_step, min(evaluations.values(), default=None)),
        "best_checkpoint": outcome.best,
        "last_checkpoint": outcome.last,
        **({"packing": outcome.packing} if outcome.packing else {}),
        **extra,
    }
    write_json(reports / "train.json", summary)
    _write_csv(reports / "train.csv", steps, figures, outcome.logging_steps)
    unit = " (sft, pt: nats per learned token)" if outcome.learns_tokens else ""
    _draw(reports / "train.png", steps, figures, f"loss{unit}")
    return summary


def _reported(steps: list[dict[str, Any]], every: int) -> list[dict[str, Any]]:
    """Return the lines of progress of the live run; the loss and the method's figures in a line are
    means since the line before."""
    return [
        {**entry, **means(steps[max(0, i - every) : i + 1], every)}
        for i, entry in enumerate(steps)
        if is_reported(entry["step"], every, steps[-1]["step"])
    ]


def _write_csv(file: Path, steps: list[dict[str, Any]], figures: dict[int, dict[str, float]], every: int) -> None:
    lines = {entry["step"]: entry for entry in _reported(steps, every)}
    columns = dict.fromkeys([*COLUMNS, *names_in(steps), *(name for found in figures.values() for name in found)])
    for step, found in figures.items():
        lines[step] = {**lines.get(step, {"step": step}), **found}
    with replacing(file) as temporary, temporary.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, columns, extrasaction="ignore", lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines[step] for step in sorted(lines))


def _smoothed(losses: list[float]) -> list[float]:
    """Return the local means of losses, weighted by a Gaussian over about a twentieth of the run; they do not lag."""
    import numpy as np

    width = max(1.0, len(losses) / 40)
    radius = min(int(3 * width), (len(losses) - 1) // 2)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / width) ** 2)
    means = np.convolve(losses, kernel, "same") / np.convolve(np.ones(len(losses)), kernel, "same")
    return means.tolist()


def _draw(file: Path, steps: list[dict[str, Any]], figures: dict[int, dict[str, float]], unit: str) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = panels(names_in(steps))[:MAX_PANELS]
    rows = ceil(len(shown) / 2)
    height = 5 + 2.8 * rows
    figure = Figure(figsize=(9, height), dpi=150, facecolor="white")
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.55 / height, top=1 - 0.45 / height, hspace=0.42, wspace=0.2)
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(rows + 1, 2, height_ratios=[4.0] + [1.9] * rows)
    _draw_loss(figure.add_subplot(grid[0, :]), steps, figures, unit)
    for number, panel in enumerate(shown):
        _draw_panel(figure.add_subplot(grid[1 + number // 2, number % 2]), panel, steps, figures)
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})


def _draw_loss(axes: Any, steps: list[dict[str, Any]], figures: dict[int, dict[str, float]], unit: str) -> None:
    x, losses = [entry["step"] for entry in steps], [entry["loss"] for entry in steps]
    axes.plot(x, losses, color=RAW, linewidth=1, label="loss of each step")
    axes.plot(x, _smoothed(losses), color=SMOOTH, linewidth=2.2, label="smoothed")
    if points := _points(figures, "eval_loss"):
        axes.plot(
            *zip(*points, strict=True), color=EVAL, marker="o", markersize=6, linewidth=1.4, label="validation loss"
        )
        last_step, last_loss = points[-1]
        axes.annotate(
            f"{last_loss:.3f}", (last_step, last_loss), (-4, 9), textcoords="offset points", color=EVAL, ha="right"
        )
    axes.set_title("Training loss", loc="left", color=INK, fontsize=13, pad=12)
    axes.set_ylabel(unit, color=INK)
    if min(losses) >= 0:  # as sums of rewards are not
        axes.set_ylim(bottom=0)
    _finish(axes, x[-1])
    axes.legend(frameon=False, labelcolor=INK, loc="upper right")


def _draw_panel(axes: Any, panel: Panel, steps: list[dict[str, Any]], figures: dict[int, dict[str, float]]) -> None:
    """Draw each figure of a panel, as it was in each step and smoothed, and in the evaluations in orange."""
    for name, color, marker in zip(panel.names, cycle(COLORS), cycle("os^Dv")):
        x, values = zip(*[(entry["step"], entry[name]) for entry in steps if name in of_step(entry)], strict=True)
        own = "training" if len(panel.names) == 1 else label(name)
        axes.plot(x, values, color=color, linewidth=0.8, alpha=0.35)
        axes.plot(x, _smoothed(list(values)), color=color, linewidth=1.8, label=own)
        if points := _points(figures, f"eval_{name}"):
            text = "validation" if len(panel.names) == 1 else f"{own}, validation"
            axes.plot(*zip(*points, strict=True), color=EVAL, marker=marker, markersize=4, linewidth=1, label=text)
    axes.set_title(panel.title, loc="left", color=INK, fontsize=11, pad=8)
    axes.set_ylabel(panel.axis, color=INK, fontsize=9)
    _finish(axes, steps[-1]["step"])
    axes.tick_params(labelsize=8)
    axes.xaxis.label.set_size(9)
    if len(axes.lines) > 2:
        axes.legend(frameon=False, labelcolor=INK, fontsize=7.5)


def _points(figures: dict[int, dict[str, float]], name: str) -> list[tuple[int, float]]:
    return [(step, found[name]) for step, found in sorted(figures.items()) if name in found]


def _finish(axes: Any, last_step: int) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("optimizer step", color=INK)
    axes.set_xlim(0, last_step * 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
