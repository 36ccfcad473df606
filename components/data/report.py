"""What the gate found, for programs (`data.json`) and for people (`data.html`)."""

import bisect
from collections import Counter
from pathlib import Path
from typing import Any

from components.data.checks import CHECKS, Row
from components.data.gate import Finding, Verdict
from components.files import write_json, write_text

SHOWN = 50
"""Rows quoted on the page; data.json names all of them."""
SAMPLES = 4
_EDGES = (1, 2, 5)


def write_report(folder: Path, verdict: Verdict) -> None:
    """Write `data.json` and `data.html` into `folder`; equal verdicts give equal bytes."""
    document = {
        "verdict": "closed" if verdict.closed else "open",
        "reasons": verdict.reasons,
        "rows": verdict.rows(),
        "checks": verdict.checks,
        "rejected": [finding._asdict() for finding in verdict.rejected],
        "warned": [finding._asdict() for finding in verdict.warned],
        "expectations": verdict.expectations,
    }
    write_json(folder / "data.json", document)
    write_text(folder / "data.html", _page(verdict))


def _page(verdict: Verdict) -> str:
    import jinja2

    template = (Path(__file__).parent / "report.html.jinja").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.undefined = jinja2.StrictUndefined
    sizes = [sum(len(message["content"]) for message in row.messages) for row in verdict.clean]
    return environment.from_string(template).render(
        verdict=verdict,
        rows=verdict.rows(),
        helps={name: (check.__doc__ or "").partition("\n")[0] for name, check in CHECKS.items()},
        sources=_by_source(verdict),
        bars=_histogram(sizes),
        median=sorted(sizes)[len(sizes) // 2] if sizes else 0,
        rejected=_spread(verdict.rejected),
        warned=_spread(verdict.warned),
        samples=_samples(verdict.clean),
    )


def _by_source(verdict: Verdict) -> list[dict[str, Any]]:
    """Rows by source: in training, in validation, left out; the largest source first."""
    counts: Counter[tuple[str, str]] = Counter((row.source, row.split) for row in verdict.clean)
    counts.update((finding.source, "dropped") for finding in verdict.rejected)
    names = {source: sum(n for (s, _), n in counts.items() if s == source) for source, _ in counts}
    return [
        {"name": name, **{kind: counts[name, kind] for kind in ("train", "val", "dropped")}}
        for name in sorted(names, key=lambda name: (-names[name], name))
    ]


def _histogram(sizes: list[int]) -> list[dict[str, Any]]:
    """Rows by characters between the edges 1, 2, 5, 10, 20, 50 …: label, count, share of the highest bar."""
    if not sizes:
        return []
    edges = [0]
    while edges[-1] <= max(sizes):
        edges.append(_EDGES[(len(edges) - 1) % 3] * 10 ** ((len(edges) - 1) // 3))
    counts = Counter(bisect.bisect_right(edges, size) - 1 for size in sizes)
    present = range(min(counts), max(counts) + 1)
    top = max(counts.values())
    return [{"label": f"{edges[i]:,}", "count": counts[i], "share": counts[i] / top} for i in present]


def _spread(findings: list[Finding]) -> list[Finding]:
    """At most `SHOWN` findings, with each check getting its turn."""
    seen: Counter[str] = Counter()
    ranked = []
    for position, finding in enumerate(findings):
        ranked.append((seen[finding.check], position, finding))
        seen[finding.check] += 1
    kept = sorted(ranked)[:SHOWN]
    return [finding for _, _, finding in sorted(kept, key=lambda item: item[1])]


def _samples(rows: list[Row]) -> list[Row]:
    """A few training rows, evenly spaced."""
    train = [row for row in rows if row.split == "train"]
    step = max(1, len(train) // SAMPLES)
    return train[::step][:SAMPLES]
