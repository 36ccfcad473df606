"""The plot of an evaluation: a bar for each candidate and question set. Equal scores give equal bytes."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from components.files import replacing

INK, GRID = "#1f2933", "#e4e7eb"
COLORS = ("#a9b4c0", "#1f5fa8", "#d9600f", "#2f8f5b", "#8b5fbf")
BAR_HEIGHT_INCHES = 0.32


def draw(sets: Mapping[str, Mapping[str, Any]], file: Path) -> None:
    """Write a PNG of accuracies with their 95 % intervals.

    Args:
        sets: by candidate, then by question set: `accuracy`, `low` and `high`, as `summary` returns them.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import PercentFormatter

    questions = list(dict.fromkeys(name for entries in sets.values() for name in entries))
    height = 1.4 + BAR_HEIGHT_INCHES * len(questions) * (len(sets) + 1)
    figure = Figure(figsize=(9, height), dpi=150, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    width = 1 / (len(sets) + 1)
    for number, (candidate, entries) in enumerate(sets.items()):
        places = [row + (number - (len(sets) - 1) / 2) * width for row in range(len(entries))]
        values = [entry["accuracy"] for entry in entries.values()]
        below = [entry["accuracy"] - entry["low"] for entry in entries.values()]
        above = [entry["high"] - entry["accuracy"] for entry in entries.values()]
        color = COLORS[number % len(COLORS)]
        axes.barh(places, values, width * 0.9, color=color, label=candidate)
        axes.errorbar(values, places, xerr=[below, above], fmt="none", ecolor=INK, elinewidth=1, capsize=2)
        for place, entry in zip(places, entries.values(), strict=True):
            axes.annotate(
                f"{entry['accuracy']:.1%}", (entry["high"], place), (5, 0), textcoords="offset points", va="center",
                color=INK, fontsize=8,
            )  # fmt: skip
    axes.set_title("Right answers by question set, with 95 % intervals", loc="left", color=INK, fontsize=13, pad=12)
    axes.set_yticks(range(len(questions)), [name.replace("$", r"\$") for name in questions])
    axes.set_ylim(max(len(questions), 1) - 0.5, -0.5)
    axes.set_xlim(0, 1.12)
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1])
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    axes.grid(color=GRID, axis="x")
    axes.set_axisbelow(True)
    axes.tick_params(colors=INK, length=0)
    axes.spines[["top", "right", "left", "bottom"]].set_visible(False)
    if questions:
        figure.legend(frameon=False, labelcolor=INK, loc="outside lower center", ncols=len(sets))
    else:
        axes.text(0.5, 0.5, "no question sets", color=INK, transform=axes.transAxes, ha="center")
    with replacing(file) as temporary:
        figure.savefig(temporary, format="png", metadata={"Software": None})
