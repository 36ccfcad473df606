"""Token statistics of a dataset: on a terminal, as a plot, and as JSON."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from apps.cli.summaries import gate_summary, result_summary

if TYPE_CHECKING:
    from tasks.looking import Stats

PERCENTILES = (0, 25, 50, 75, 90, 99, 100)
HISTOGRAM_BARS = 16
BAR_WIDTH_CHARS = 32


def _percentiles(stats: "Stats") -> dict[str, int]:
    import numpy as np

    values = np.percentile(stats.lengths, PERCENTILES, method="nearest").tolist()
    return {f"p{p}": int(value) for p, value in zip(PERCENTILES, values, strict=True)}


def as_json(stats: "Stats") -> str:
    """Return one JSON object."""
    import json

    figures: dict[str, Any] = stats._asdict() | {"lengths": _percentiles(stats) | {"mean": float(stats.lengths.mean())}}
    return json.dumps(figures, indent=2)


def write_terminal(stats: "Stats") -> None:
    """Print the counts, a histogram of lengths, the share that is learned by source, and the fill of batches."""
    import numpy as np
    from rich.console import Console
    from rich.table import Table

    console = Console(highlight=False, soft_wrap=True)
    rows, tokens = result_summary(stats.checked), result_summary(stats.tokens)
    console.print(f"rows {stats.fetched['train']:,}; after the gate: {rows}; {tokens}")
    if findings := gate_summary(stats.checks):
        console.print(f"  [red]{findings}[/]")
    for reason, count in stats.reasons.items():
        console.print(f"  [red]{count:,} refused[/]: {reason}")
    percentiles = ", ".join(f"{name} {value:,}" for name, value in _percentiles(stats).items())
    console.print(f"\n[bold]tokens a sample[/]: mean {stats.lengths.mean():,.1f}, {percentiles}")
    first, last = int(stats.lengths.min()), int(stats.lengths.max())
    step = -(-(last - first + 1) // HISTOGRAM_BARS)
    counts = np.bincount((stats.lengths - first) // step)
    for n, count in enumerate(counts):
        bar = "█" * round(BAR_WIDTH_CHARS * count / counts.max()) or ("▏" if count else "")
        low, high = first + n * step, first + (n + 1) * step - 1
        console.print(f"{low:7,} – {high:7,} [green]{bar}[/] {count:,}")
    table = Table("source", "samples", "tokens", "learned", "share", box=None, title="by source", title_justify="left")
    for column in table.columns[1:]:
        column.justify = "right"
    for name, c in stats.sources.items():
        table.add_row(
            name, *(f"{c[k]:,}" for k in ("samples", "tokens", "learned")), f"{c['learned'] / c['tokens']:.1%}"
        )
    console.print()
    console.print(table)
    if stats.longer_wins is not None:
        console.print(f"\n[bold]the longer answer is the chosen one[/] in {stats.longer_wins:.1%} of the pairs")
    console.print("\n[bold]share of a batch that is no padding[/]")
    for name, fill in stats.fill.items():
        console.print(f"  {name:<32} {fill:6.1%} [green]{'█' * round(BAR_WIDTH_CHARS * fill)}[/]")


def write_plot(path: Path, stats: "Stats") -> None:
    """Draw the histogram of lengths, with the median and the 99th percentile."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4), layout="constrained")
    axes.hist(stats.lengths, bins=60, color="#2f81f7")
    for name, value in _percentiles(stats).items():
        if name in ("p50", "p99"):
            axes.axvline(value, color="#57606a", linestyle="--", linewidth=1)
            axes.text(value, axes.get_ylim()[1], f" {name} {value:,}", va="top", fontsize=9)
    axes.set(xlabel="tokens a sample", ylabel="samples", title=f"{len(stats.lengths):,} samples")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=120)
