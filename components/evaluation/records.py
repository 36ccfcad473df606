"""Evaluation reports of one candidate: every answer in Parquet, and a summary in JSON."""

from collections.abc import Iterable
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any

from components.errors import MartletError
from components.evaluation.ask import Record
from components.files import read_json, replacing, sha256_of, write_json

CONFIDENCE = 0.95
SCHEMA = {
    "set": "string", "item": "int64", "query": "string", "answer": "string", "reference": "string", "score": "float64",
    "answer_tokens": "int64",
}  # fmt: skip
"""Columns of a report and their Arrow types."""
OPTIONAL = ("system", "media")
"""Columns of texts, of a report with questions that have these."""


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
            "questions_sha256": sha256_of([_identity(row) for row in rows]),
        }
    return {"candidate": candidate, "sets": sets}


def _identity(record: Record) -> list[str]:
    return [record["query"], record["reference"], *([record["media"]] if record.get("media") else [])]


def write_report(folder: Path, candidate: str, records: list[Record]) -> dict[str, Any]:
    """Write `<candidate>.parquet` with every record and `<candidate>.json` with the summary; return the summary."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = SCHEMA | {name: "string" for name in OPTIONAL if any(name in record for record in records)}
    schema = pa.schema([(column, pa.type_for_alias(kind)) for column, kind in columns.items()])
    with replacing(folder / f"{candidate}.parquet") as temporary:
        pq.write_table(pa.Table.from_pylist(records, schema=schema), temporary)
    report = summary(candidate, records)
    write_json(folder / f"{candidate}.json", report)
    return report


def read_records(path: Path) -> list[Record]:
    """Return the records of a `<candidate>.parquet`.

    Raises:
        MartletError: the file is gone, or is not a report.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        columns = [*SCHEMA, *(name for name in OPTIONAL if name in pq.read_schema(path).names)]
        return pq.read_table(path, columns=columns).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise MartletError(f"{path} is gone or damaged, and with it the answers; `martlet run` asks again") from error


def read_questions_sha256(path: Path) -> dict[str, str]:
    """Return the hash of the questions by question set of a `<candidate>.json`.

    Raises:
        MartletError: the file is gone, or is not a report.
    """
    try:
        return {name: entry["questions_sha256"] for name, entry in read_json(path)["sets"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MartletError(f"{path} is gone or damaged, and with it the scores; `martlet run` asks again") from error
