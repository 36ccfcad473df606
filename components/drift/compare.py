"""The comparison of two profiles of rows, with the statistics that the field uses for drift."""

from collections import Counter
from pathlib import Path
from typing import Any

MODERATE_PSI, LARGE_PSI = 0.1, 0.25
"""Population stability indices from which a change counts as moderate and as large (Siddiqi, Credit Risk Scorecards,
2006)."""
MODERATE_SHARE, LARGE_SHARE = 0.1, 0.25
"""Shares of the rows that are new, or gone, from which a change counts as moderate and as large."""
MIN_SHARE = 1e-4
"""Share that stands for none in a population stability index, whose logarithm has no value at 0."""
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95, 1.0)
LENGTH_BINS = 10
"""Bins of the lengths, each with an equal share of the rows before."""


def compare(before: Path, now: Path) -> dict[str, Any]:
    """Return how the profile `now` differs from the profile `before`: rows, lengths in characters (quantiles, the
    two-sample Kolmogorov-Smirnov test, population stability index), shares of the sources and of the topics, and the
    rows that both have. `change` is none, small, moderate or large: the largest of what the indices and the shares of
    new and of gone rows say."""
    import pyarrow.parquet as pq

    old, new = (pq.read_table(file).to_pydict() for file in (before, now))
    lengths = _lengths(old["characters"], new["characters"])
    sources = _shares(old["source"], new["source"])
    has_topics = any(old["topic"]) or any(new["topic"])
    topics = _shares(*([topic or "none" for topic in table["topic"]] for table in (old, new))) if has_topics else None
    repeats = _repeats(old["hash"], new["hash"])
    psi = max(part["psi"] for part in (lengths, sources, topics) if part)
    replaced = max(repeats["new"] / len(new["hash"]), repeats["gone"] / len(old["hash"]))
    return {
        "change": "none" if replaced == 0 else _word(psi, replaced),
        "thresholds": {"psi": [MODERATE_PSI, LARGE_PSI], "share": [MODERATE_SHARE, LARGE_SHARE]},
        "rows": {"before": len(old["hash"]), "now": len(new["hash"])},
        "repeats": repeats,
        "lengths": lengths,
        "sources": sources,
        "topics": topics,
    }


def _word(psi: float, replaced: float) -> str:
    if psi >= LARGE_PSI or replaced >= LARGE_SHARE:
        return "large"
    return "moderate" if psi >= MODERATE_PSI or replaced >= MODERATE_SHARE else "small"


def _psi(before: list[float], now: list[float]) -> float:
    """Return the population stability index of two lists of shares."""
    import numpy as np

    old, new = (np.maximum(shares, MIN_SHARE) for shares in (before, now))
    return round(float(np.sum((new - old) * np.log(new / old))), 4)


def _lengths(before: list[int], now: list[int]) -> dict[str, Any]:
    import numpy as np
    from scipy.stats import ks_2samp

    inner = np.unique(np.quantile(before, np.linspace(0, 1, LENGTH_BINS + 1)[1:-1], method="nearest"))
    edges = [0, *inner.tolist(), max(*before, *now, inner[-1]) + 1]
    counts = [np.histogram(values, edges)[0] / len(values) for values in (before, now)]
    test: Any = ks_2samp(before, now)
    return {
        "psi": _psi(*(shares.tolist() for shares in counts)),
        "ks": {"statistic": round(float(test.statistic), 4), "p": float(f"{test.pvalue:.3g}")},
        "quantiles": {
            f"{share:.0%}": [int(np.quantile(values, share)) for values in (before, now)] for share in QUANTILES
        },
        "bins": [
            {"name": f"{int(low)} to {int(high) - 1}", "before": round(float(old), 4), "now": round(float(new), 4)}
            for low, high, old, new in zip(edges[:-1], edges[1:], *counts, strict=True)
            if high > low
        ],
    }


def _shares(before: list[str], now: list[str]) -> dict[str, Any]:
    """Return the share of each name among the rows, the most frequent of today first."""
    old, new = Counter(before), Counter(now)
    names = sorted(old | new, key=lambda name: (-new[name], -old[name], name))
    old_shares, new_shares = ([count[name] / count.total() for name in names] for count in (old, new))
    shares = [
        {"name": name, "before": round(old_share, 4), "now": round(new_share, 4)}
        for name, old_share, new_share in zip(names, old_shares, new_shares, strict=True)
    ]
    return {"psi": _psi(old_shares, new_shares), "shares": shares}


def _repeats(before: list[str], now: list[str]) -> dict[str, int]:
    """Return the numbers of rows of today that were there before and that are new, of rows that are gone, and of rows
    that stand more than once today."""
    old, new = set(before), set(now)
    return {
        "kept": sum(digest in old for digest in now),
        "new": sum(digest not in old for digest in now),
        "gone": sum(digest not in new for digest in before),
        "duplicates": len(now) - len(new),
    }
