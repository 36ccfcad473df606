"""Evaluation reports of one candidate: every answer in Parquet, and a summary in JSON."""

from collections.abc import Iterable
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any

from components.evaluation.ask import Record
from components.files import replacing, sha256_of, write_json

CONFIDENCE = 0.95


def wilson(accuracy: float, items: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the two-sided score interval of a proportion (Wilson 1927), which lies inside [0, 1]."""
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (accuracy + z2 / (2 * items)) / (1 + z2 / items)
    half = (z2 * (accuracy * (1 - accuracy) / items + z2 / (4 * items**2))) ** 0.5 / (1 + z2 / items)
    return max(0.0, centre - half), min(1.0, centre + half)


def summary(candidate: str, records: Iterable[Record]) -> dict[str, Any]:
    """Return accuracy with its interval, answer length and a hash of the questions, per set."""
    by_set: dict[str, list[Record]] = {}
    for record in records:
        by_set.setdefault(record["set"], []).append(record)
    sets = {}
    for name, rows in by_set.items():
        accuracy = fmean(row["score"] for row in rows)
        low, high = wilson(accuracy, len(rows))
        sets[name] = {
            "items": len(rows),
            "accuracy": round(accuracy, 6),
            "low": round(low, 6),
            "high": round(high, 6),
            "mean_answer_tokens": round(fmean(row["answer_tokens"] for row in rows), 6),
            "questions_sha256": sha256_of([[row["query"], row["reference"]] for row in rows]),
        }
    return {"candidate": candidate, "sets": sets}


def write_report(folder: Path, candidate: str, records: list[Record]) -> dict[str, Any]:
    """Write `<candidate>.parquet` with every record and `<candidate>.json` with the summary; return the summary."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema(
        [
            ("set", pa.string()),
            ("item", pa.int64()),
            ("query", pa.string()),
            ("answer", pa.string()),
            ("reference", pa.string()),
            ("score", pa.float64()),
            ("answer_tokens", pa.int64()),
        ]
    )
    with replacing(folder / f"{candidate}.parquet") as temporary:
        pq.write_table(pa.Table.from_pylist(records, schema=schema), temporary)
    report = summary(candidate, records)
    write_json(folder / f"{candidate}.json", report)
    return report


def read_records(path: Path) -> list[Record]:
    """Return the records of a `<candidate>.parquet`."""
    import pyarrow.parquet as pq

    return pq.read_table(path).to_pylist()
