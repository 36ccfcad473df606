"""The page of an evaluation: scores with their intervals, two models compared, every answer side by side.

The page is one file that loads nothing. Its script filters and marks what is in the file already.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import quantiles
from typing import Any, NamedTuple

from components.config.groups.gate import Gate
from components.evaluation.records import GROUPS, Record, wilson
from components.evaluation.verdict import SetVerdict, Verdict, points
from components.files import write_text

MAX_ITEMS = 3000
"""Questions on the page; of more, those on which the models differ most come first."""
MAX_TEXT = 4000
"""Characters of a text on the page."""
COLOURS = {"promote": "good", "refuse": "bad", "not enough evidence": "warn"}
"""Colour of a verdict's decision."""
Answers = Mapping[str, Sequence[Record]]


class Headline(NamedTuple):
    """What a page begins with: the decision, its colour (`good`, `bad` or `warn`), the reason, and what to do next."""

    decision: str
    colour: str
    reason: str
    next: str


def write_page(
    file: Path, answers: Answers, verdicts: Mapping[str, Verdict] | None = None, headline: Headline | None = None
) -> None:
    """Write the page of several models' answers to the same questions.

    Args:
        answers: the judged answers by model; the first model is the one that the others are compared with.
        verdicts: by the other model's name, the verdict on the first model against it.
        headline: the decision that was made, on the page of the gate.
    """
    first = next(iter(answers), "")
    values = {
        "models": list(answers),
        "first": first,
        "headline": headline,
        "sets": _scores(answers),
        "groups": {name: rows for name in GROUPS if (rows := _scores(answers, name))},
        "sizes": {name: _sizes(records) for name, records in answers.items()},
        "verdicts": [_comparison(name, verdict) for name, verdict in (verdicts or {}).items()],
        **_items(answers),
    }
    write_text(file, _template().render(**values, data=_as_script(values)))


def comparisons(answers: Answers, gate: Gate) -> dict[str, Verdict]:
    """Return the verdict on the first model against each other one, by the other's name. Sets with scores outside of
    [0, 1] are left out, and margins of sets that are not there.

    Raises:
        MartletError: the models were asked different questions.
    """
    from components.evaluation.gate import decide

    (first, candidate), *others = answers.items()
    bounded = {record["set"] for record in candidate} - {
        record["set"] for records in answers.values() for record in records if not 0 <= record["score"] <= 1
    }

    def of(records: Sequence[Record]) -> list[Record]:
        return [record for record in records if record["set"] in bounded]

    gate = gate.model_copy(update={"margins": {name: gate.margins[name] for name in gate.margins if name in bounded}})
    return {name: decide(of(candidate), of(records), gate, (first, name)) for name, records in others}


def _template() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    loader = FileSystemLoader(Path(__file__).parent)
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["points"] = points
    return environment.get_template("page.html.jinja")


def _as_script(values: Mapping[str, Any]) -> str:
    """Return JSON that can stand in a script element."""
    shown = {name: values[name] for name in ("models", "items")}
    return json.dumps(shown, ensure_ascii=False).replace("<", "\\u003c").replace("\u2028", " ").replace("\u2029", " ")


def _scores(answers: Answers, group: str | None = None) -> list[dict[str, Any]]:
    """Return for each set, or for each value of `group`, the mean score of each model with its interval."""
    rows: dict[str, dict[str, list[float]]] = {}
    for model, records in answers.items():
        for record in records:
            name = record["set"] if group is None else record.get(group)
            if name is not None:
                rows.setdefault(name, {}).setdefault(model, []).append(record["score"])
    return [{"name": name, "scores": {model: _score(values) for model, values in by_model.items()}}
            for name, by_model in rows.items()]  # fmt: skip


def _score(values: Sequence[float]) -> dict[str, Any]:
    mean = sum(values) / len(values)
    low, high = wilson(mean, len(values)) if all(0 <= value <= 1 for value in values) else (mean, mean)
    return {"mean": mean, "low": low, "high": high, "items": len(values)}


def _sizes(records: Sequence[Record]) -> dict[str, list[float]]:
    """Return the 10 %, 50 % and 90 % quantiles of a model's answers, in tokens and in seconds."""
    return {
        name: _deciles([record[name] for record in records if name in record])
        for name in ("answer_tokens", "latency_s")
    }


def _deciles(values: Sequence[float]) -> list[float]:
    if len(values) < 2:
        return [*values] * 3
    parts = quantiles(values, n=10, method="inclusive")
    return [parts[0], parts[4], parts[8]]


def _comparison(name: str, verdict: Verdict) -> dict[str, Any]:
    guards = [{"reason": guard.reason, "passed": guard.passed} for guard in verdict.guards]
    return {"name": name, "summary": _summary(verdict), "reason": verdict.reason, "guards": guards,
            "colour": COLOURS[verdict.decision], "sets": [*map(_bar, verdict.sets)]}  # fmt: skip


def _summary(verdict: Verdict) -> str:
    if verdict.promote:
        return f"no set lost more than {100 * verdict.margin:g} points"
    if verdict.decision == "refuse":
        return "worse" if any(of_set.decision == "fail" for of_set in verdict.sets) else "a guard fails"
    return verdict.decision


def _bar(of_set: SetVerdict) -> dict[str, Any]:
    """Return what the page shows of a set: green is what was gained, no colour what is the same or lost within the
    margin."""
    is_loss = of_set.decision == "pass" and of_set.difference < 0
    colour = {"pass": "good" if of_set.difference > 0 else "", "fail": "bad"}.get(of_set.decision, "warn")
    figures = {name: getattr(of_set, name) for name in ("name", "items", "difference", "low", "high", "lost", "gained")}
    return {**figures, "colour": colour, "note": "within the margin" if is_loss else ""}


def _items(answers: Answers) -> dict[str, Any]:
    """Return the questions with every model's answer, those with the greatest difference first, and their number."""
    by_question: dict[tuple[str, int], dict[str, Any]] = {}
    for number, records in enumerate(answers.values()):
        for record in records:
            key = (record["set"], record["item"])
            item = by_question.setdefault(
                key,
                {"set": record["set"], "item": record["item"] + 1, "query": _conversation(record)[:MAX_TEXT],
                 "reference": record["reference"][:MAX_TEXT], **{group: record.get(group, "") for group in GROUPS},
                 "answers": [None] * len(answers)},
            )  # fmt: skip
            item["answers"][number] = [
                record["answer"][:MAX_TEXT], record["score"], record["answer_tokens"], record.get("latency_s", 0)
            ]  # fmt: skip
    items = sorted(by_question.values(), key=lambda item: -_spread(item["answers"]))
    return {"items": items[:MAX_ITEMS], "total_items": len(items)}


def _conversation(record: Record) -> str:
    """Return the question, behind the messages before it where there are any."""
    history = [
        f"{message['role']}: {message.get('content', '')}" for message in json.loads(record.get("history", "[]"))
    ]
    return "\n\n".join([*history, f"user: {record['query']}"]) if history else record["query"]


def _spread(answers: Sequence[list[Any] | None]) -> float:
    scores = [answer[1] for answer in answers if answer]
    return max(scores) - min(scores)
