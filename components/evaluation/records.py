"""Evaluation reports of one candidate: every answer in Parquet, and a summary in JSON."""

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import NormalDist, fmean
from typing import Any

from components.errors import MartletError
from components.evaluation.ask import Answer
from components.files import read_json, replacing, sha256_of, write_json
from components.media import COLUMNS

Record = dict[str, Any]
"""One judged answer; the columns of `SCHEMA`, of which those that say nothing are absent."""
CONFIDENCE = 0.95
SCHEMA = {
    "set": "string", "item": "int64", "query": "string", "answer": "string", "reference": "string", "score": "float64",
    "answer_tokens": "int64", "latency_s": "float64", "scorer": "string", "topic": "string", "source": "string",
    "history": "string", "media": "string",
}  # fmt: skip
"""Columns of a report and their Arrow types: `item` is the question's index in its set from 0, `topic` and `source` the
question's columns of these names, `history` the messages before the question and `media` its references, as JSON."""
GROUPS = ("topic", "source")


def record_of(answer: Answer, score: float, scorer: str) -> Record:
    """Return a judged answer as a record."""
    question, columns = answer.question, answer.question.get("columns", {})
    media = {name: question[name] for name in COLUMNS.values() if question.get(name)}
    text, calls = answer.message["content"], answer.message.get("tool_calls")
    record = {
        "set": answer.set_name,
        "item": answer.item,
        "query": question["query"],
        "answer": text or (json.dumps([call["function"] for call in calls], ensure_ascii=False) if calls else ""),
        "reference": question["response"] or _expectation(columns),
        "score": score,
        "answer_tokens": answer.tokens,
        "latency_s": round(answer.latency_s, 6),
        "scorer": scorer,
    }
    groups = {name: str(columns[name]) for name in GROUPS if columns.get(name) is not None}
    beside = {"history": question.get("history"), "media": media}
    return record | groups | {name: json.dumps(value, ensure_ascii=False) for name, value in beside.items() if value}


def _expectation(columns: dict[str, Any]) -> str:
    """Return as JSON what a question without reference is judged by."""
    return json.dumps({name: value for name, value in columns.items() if name not in GROUPS}, ensure_ascii=False)


def wilson(accuracy: float, items: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Return the two-sided score interval of a proportion (Wilson 1927), which lies inside [0, 1]."""
    z2 = NormalDist().inv_cdf((1 + confidence) / 2) ** 2
    centre = (accuracy + z2 / (2 * items)) / (1 + z2 / items)
    half = (z2 * (accuracy * (1 - accuracy) / items + z2 / (4 * items**2))) ** 0.5 / (1 + z2 / items)
    return max(0.0, centre - half), min(1.0, centre + half)


def summary(candidate: str, records: Iterable[Record]) -> dict[str, Any]:
    """Return accuracy (the mean score) with its interval, answer length, latency and a hash of the questions, per
    set."""
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
            "mean_latency_s": round(fmean(row.get("latency_s") or 0.0 for row in rows), 6),
            "questions_sha256": sha256_of([_identity(row) for row in rows]),
        }
    return {"candidate": candidate, "sets": sets}


def _identity(record: Record) -> list[str]:
    """Return what tells one question from another, and how its answers are judged."""
    return [str(record.get(name) or "") for name in ("query", "reference", "scorer", "history", "media")]


def write_report(folder: Path, candidate: str, records: list[Record]) -> dict[str, Any]:
    """Write `<candidate>.parquet` with every record and `<candidate>.json` with the summary; return the summary."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([(column, pa.type_for_alias(kind)) for column, kind in SCHEMA.items()])
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
        rows = pq.read_table(path).to_pylist()
    except (OSError, pa.ArrowException) as error:
        raise MartletError(f"{path} is gone or damaged, and with it the answers; `martlet run` asks again") from error
    return [{name: value for name, value in row.items() if name in SCHEMA and value is not None} for row in rows]


def read_questions_sha256(path: Path) -> dict[str, str]:
    """Return the hash of the questions by question set of a `<candidate>.json`.

    Raises:
        MartletError: the file is gone, or is not a report.
    """
    try:
        return {name: entry["questions_sha256"] for name, entry in read_json(path)["sets"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise MartletError(f"{path} is gone or damaged, and with it the scores; `martlet run` asks again") from error
