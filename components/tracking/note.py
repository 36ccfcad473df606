"""The description of a run on its page in MLflow."""

from pathlib import Path
from typing import Any

from components.files import read_json

STATUS_MARKS = {"done": "✓", "failed": "✗", "running": "…"}


def describe(root: Path, run: dict[str, Any], stages: list[dict[str, Any]]) -> str:
    """Return Markdown: base, data and outcome, the gate's verdict, the next command, scores, times."""
    base = run["params"].get("model", {}).get("model") or "no model named"
    datasets = ", ".join(run["params"].get("data", {}).get("dataset", [])) or "no data named"
    is_done = run.get("outcome") == "done"
    parts = [
        f"**{_outcome(run)}**: {base}, on {datasets}, by `{run['command']}`",
        f"> {run['message']}" if run.get("message") else "",
        _verdict(root) if is_done else "",
        f"Next: `{_next(root, run)}`. Files: `{root.resolve()}`",
        _scores(root) if is_done else "",
        _stages(stages),
    ]
    return "\n\n".join(part for part in parts if part)


def _outcome(run: dict[str, Any]) -> str:
    if "ended" not in run:
        return "Running"
    return f"{run['outcome'].capitalize()} after {run['ended'] - run['began']:.0f} s"


def _stages(stages: list[dict[str, Any]]) -> str:
    if not stages:
        return "No stage had anything to do."
    rows = [
        f"| {stage['stage']} | {STATUS_MARKS[stage['status']]} {stage['status']} | {stage.get('seconds', 0):.1f} |"
        for stage in stages
    ]
    return "\n".join(["| stage | | seconds |", "|---|---|--:|", *rows])


def _scores(root: Path) -> str:
    if not (root / "metrics.json").exists():
        return ""
    scores: dict[str, dict[str, float]] = read_json(root / "metrics.json")
    sets = sorted({name for by_set in scores.values() for name in by_set})
    rows = [
        f"| {candidate} | " + " | ".join(f"{by_set[name]:.1%}" if name in by_set else "" for name in sets) + " |"
        for candidate, by_set in scores.items()
    ]
    return "\n".join([f"| right answers | {' | '.join(sets)} |", f"|---|{'--:|' * len(sets)}", *rows])


def gate_verdict(root: Path) -> dict[str, Any] | None:
    """Return the gate's verdict on the versions registered now, or None without such a verdict."""
    try:
        gate, registered = read_json(root / "reports/gate.json"), read_json(root / "reports/registration.json")
    except FileNotFoundError:
        return None
    contents = {version["content_sha256"] for version in registered["versions"]}
    return gate if gate["content_sha256"] in contents else None


def _verdict(root: Path) -> str:
    gate = gate_verdict(root)
    return f"Gate, against {gate['names'][1]}: **{gate['decision']}** ({gate['reason']})" if gate else ""


def _next(root: Path, run: dict[str, Any]) -> str:
    if run.get("outcome", "done") != "done":
        return run["command"]
    if not (root / "reports/registration.json").exists():
        return f"martlet infer --adapters {root / 'models/adapter'}"
    gate = gate_verdict(root)
    return "martlet deploy" if gate and gate["promoted"] else "martlet promote"
