"""Reports of stages as Prefect artifacts, the data report and the scores; and the line about rows left out."""

from collections.abc import Callable, Sequence
from pathlib import Path

from prefect.artifacts import create_markdown_artifact

from components.files import read_json
from tasks.plan import Step
from tasks.stages.paths import Paths


def publish(step: Step, paths: Paths) -> None:
    """Publish the reports of a step, also of a failed one."""
    for out in step.outs:
        if out in _REPORTS and (paths.root / out).exists():
            key, render = _REPORTS[out]
            create_markdown_artifact(render(paths.root / out), key=key)


def rows_left_out(step: Step, paths: Paths) -> str:
    """Return how many rows the data gate left out, by check, where the step has written the report; else nothing."""
    if "reports/data.json" not in step.outs:
        return ""
    report = read_json(paths.root / "reports/data.json")
    dropped, total = report["rows"]["dropped"], sum(report["rows"].values())
    checks = ", ".join(f"{check['left_out']:,} {check['name']}" for check in report["checks"] if check["left_out"])
    return f"{dropped:,} of {total:,} rows left out: {checks}; see reports/data.html" if dropped else ""


def _data(file: Path) -> str:
    """Return the data report as Markdown: the counts of each check, and the first rejected rows."""
    report = read_json(file)
    rows = ", ".join(f"{count} {name}" for name, count in report["rows"].items())
    checks = [(c["name"], c["action"], c["count"], "closed" if c["closed"] else "open") for c in report["checks"]]
    rejected = [(f"{r['source']}:{r['row']}", r["check"], r["reason"]) for r in report["rejected"][:20]]
    return "\n\n".join(
        [
            f"Rows: {rows}",
            _table(("check", "action", "rows", "gate"), checks),
            _table(("row", "check", "reason"), rejected) if rejected else "No row was rejected.",
        ]
    )


def _scores(folder: Path) -> str:
    """Return the accuracies as a Markdown table: a row for each candidate and question set."""
    rows = []
    for file in sorted(folder.glob("*.json")):
        report = read_json(file)
        for name, score in report.get("sets", {}).items():
            interval = f"{score['low']:.1%} to {score['high']:.1%}"
            rows.append((report["candidate"], name, score["items"], f"{score['accuracy']:.1%}", interval))
    return _table(("candidate", "questions", "items", "accuracy", "95 % interval"), rows)


def _table(head: tuple[str, ...], rows: Sequence[tuple[object, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join("| " + " | ".join(str(cell).replace("|", "\\|") for cell in line) + " |" for line in lines)


_REPORTS: dict[str, tuple[str, Callable[[Path], str]]] = {
    "reports/data.json": ("data-report", _data),
    "reports/eval": ("scores", _scores),
}
