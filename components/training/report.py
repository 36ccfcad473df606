"""Reports of a training: train.json, train.csv, train.png, for people, DVC and MLflow. Equal runs give equal bytes."""

import csv
from pathlib import Path
from typing import Any

from components.by_dataset import FIGURE
from components.files import replacing, write_json
from components.training.run import Outcome

INK, RAW, SMOOTH, EVAL, GRID = "#1f2933", "#a9c4e6", "#1f5fa8", "#d9600f", "#e4e7eb"
COLUMNS: tuple[str, ...] = ("step", "loss", "token_acc", "learning_rate", "eval_loss")
"""Of train.csv, which has the loss of each dataset behind them where the validation rows are of several."""


def write_reports(outcome: Outcome, reports: Path, **extra: Any) -> dict[str, Any]:
    """Write the three files into `reports`; return the content of train.json, with `extra` in it."""
    steps = [entry for entry in outcome.history if "loss" in entry]
    figures = {entry["step"]: _losses(entry) for entry in outcome.history if "eval_loss" in entry}
    evaluations = {step: losses["eval_loss"] for step, losses in figures.items()}
    best_step = int(outcome.best.rpartition("-")[2]) if outcome.best else None
    summary = {
        "steps": outcome.steps,
        "epochs": outcome.epochs,
        "tokens": outcome.tokens,
        "parameters": outcome.parameters,
        "trainable_parameters": outcome.trainable,
        "first_loss": steps[0]["loss"],
        "loss": _reported(steps, outcome.logging_steps)[-1]["loss"],
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
    _draw(reports / "train.png", steps, evaluations)
    return summary


def _losses(entry: dict[str, Any]) -> dict[str, float]:
    """Return the losses of an evaluation: of all rows, and of each dataset."""
    return {name: value for name, value in entry.items() if name == "eval_loss" or FIGURE.fullmatch(name)}


def _reported(steps: list[dict[str, Any]], every: int) -> list[dict[str, Any]]:
    """Return the lines of progress of the live run; the loss of a line is the mean since the line before."""
    from components.training.trainer import is_reported, mean_loss

    return [
        {**entry, "loss": mean_loss(steps[max(0, i - every) : i + 1], every)}
        for i, entry in enumerate(steps)
        if is_reported(entry["step"], every, steps[-1]["step"])
    ]


def _write_csv(file: Path, steps: list[dict[str, Any]], figures: dict[int, dict[str, float]], every: int) -> None:
    lines = {entry["step"]: entry for entry in _reported(steps, every)}
    columns = dict.fromkeys([*COLUMNS, *(name for losses in figures.values() for name in losses)])
    for step, losses in figures.items():
        lines[step] = {**lines.get(step, {"step": step}), **losses}
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


def _draw(file: Path, steps: list[dict[str, Any]], evaluations: dict[int, float]) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    x, losses = [entry["step"] for entry in steps], [entry["loss"] for entry in steps]
    figure = Figure(figsize=(9, 5), dpi=150, facecolor="white")
    figure.subplots_adjust(left=0.08, right=0.98, bottom=0.11, top=0.91)
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.plot(x, losses, color=RAW, linewidth=1, label="loss of each step")
    axes.plot(x, _smoothed(losses), color=SMOOTH, linewidth=2.2, label="smoothed")
    if evaluations:
        points = sorted(evaluations.items())
        axes.plot(
            *zip(*points, strict=True), color=EVAL, marker="o", markersize=6, linewidth=1.4, label="validation loss"
        )
        last_step, last_loss = points[-1]
        axes.annotate(
            f"{last_loss:.3f}", (last_step, last_loss), (-4, 9), textcoords="offset points", color=EVAL, ha="right"
        )
    axes.set_title("Training loss", loc="left", color=INK, fontsize=13, pad=12)
    axes.set_xlabel("optimizer step", color=INK)
    axes.set_ylabel("loss (sft, pt: nats per learned token)", color=INK)
    axes.set_ylim(bottom=0)
    axes.set_xlim(0, x[-1] * 1.02)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(color=GRID)
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    axes.legend(frameon=False, labelcolor=INK, loc="upper right")
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
