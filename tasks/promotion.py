"""Promotion: candidate and champion of the registry, judged on their answers to the same questions."""

from pathlib import Path
from typing import Any

from components import registry
from components.config import Params
from components.errors import ConfigError, EvaluationGateError
from components.evaluation import Record, Verdict, decide, read_records, write_report
from components.files import read_json, write_json
from components.registry import Entry, Version
from tasks.stages.paths import Paths

MERGED = "merged"


def judge(params: Params, paths: Paths, number: int | None = None) -> Verdict:
    """Return the verdict on a candidate against the champion, or against its base without a champion.

    The candidate is the merged model registered last, or version `number`. Its quantized variants are judged against
    the candidate; their verdicts are recorded and do not decide about the candidate. Answers stored with a version are
    used if they are answers to today's questions; otherwise the model is evaluated again. Writes reports/gate.json.

    Raises:
        ConfigError: no candidate is registered.
    """
    candidate, champion = _candidate(params, paths, number), _champion(params, paths)
    today = _questions(_evaluations(paths) / f"{MERGED}.json")
    answers = _answers(candidate, today, params, paths)
    title = f"version {candidate.number}"
    if champion is None:
        base = read_records(_evaluations(paths) / "base.parquet")
        verdict = decide(answers, base, params.gate, (title, "the base model"), must_gain=True)
    elif champion.number == candidate.number:
        names = (title, "itself")
        gate = params.gate
        verdict = Verdict("promote", "it is the champion already", names, gate.margin, gate.confidence, (), ())
    else:
        champion_answers = _answers(champion, today, params, paths)
        verdict = decide(answers, champion_answers, params.gate, (title, f"champion version {champion.number}"))
    registry.annotate(candidate, paths.workspace, _as_tags(verdict))
    variants = {} if number else _judge_variants(answers, today, params, paths)
    _write(verdict, variants, candidate, champion, params, paths)
    return verdict


def promote(
    params: Params, paths: Paths, force: bool = False, number: int | None = None, why: str = ""
) -> Entry | None:
    """Make the candidate champion if the gate opens, or by `force`; return the move, or None for the champion itself.

    A verdict in reports/gate.json on the same candidate, champion and rules is used again.

    Raises:
        EvaluationGateError: the gate stays closed; the message has the reason.
    """
    candidate, champion = _candidate(params, paths, number), _champion(params, paths)
    if champion and champion.number == candidate.number:
        return None
    if not force:
        verdict = _earlier_verdict(candidate, champion, params, paths)
        if not verdict:
            judge(params, paths, number)
            verdict = read_json(_file(paths))
        if verdict["decision"] != "promote":
            raise EvaluationGateError(
                f"{candidate.name} version {candidate.number} is not promoted: "
                f"{verdict['decision']}: {verdict['reason']} (`martlet promote --force --why …` overrules the gate)"
            )
        why = why or f"against {verdict['names'][1]}: {verdict['reason']}"
    over = champion.number if champion else None
    entry = registry.promote(candidate.name, candidate.number, paths.workspace, why or "forced", over)
    if _earlier_verdict(candidate, champion, params, paths):
        write_json(_file(paths), {**read_json(_file(paths)), "promoted": True})
    return entry


def rollback(params: Params, paths: Paths, to: int | None = None, why: str = "") -> Entry:
    """Make the champion before the present one, or the former champion `to`, champion again; return the move."""
    return registry.rollback(params.registry.registered_model_name, paths.workspace, to, why)


def journal(params: Params, paths: Paths) -> list[Entry]:
    """Return all moves of the champion, the oldest first."""
    return registry.history(params.registry.registered_model_name, paths.workspace)


def _champion(params: Params, paths: Paths) -> Version | None:
    return registry.champion(params.registry.registered_model_name, paths.workspace)


def _candidate(params: Params, paths: Paths, number: int | None) -> Version:
    name = params.registry.registered_model_name
    if number:
        return registry.lookup(name, paths.workspace, number=number)
    return registry.lookup(name, paths.workspace, content=_registered(paths)[MERGED])


def _registered(paths: Paths) -> dict[str, str]:
    """Return the hash of the weights by candidate, as the stage `register` wrote them."""
    try:
        versions = read_json(paths.reports / "registration.json")["versions"]
    except FileNotFoundError:
        raise ConfigError("no candidate has been registered here yet; `martlet run` makes one") from None
    return {version["candidate"]: version["content_sha256"] for version in versions}


def _evaluations(paths: Paths) -> Path:
    return paths.reports / "eval"


def _questions(report: Path) -> dict[str, str] | None:
    """Return the hash of the questions by question set, or None without a report."""
    if not report.exists():
        return None
    return {name: entry["questions_sha256"] for name, entry in read_json(report)["sets"].items()}


def _answers(version: Version, today: dict[str, str] | None, params: Params, paths: Paths) -> list[Record]:
    """Return the answers of a version to today's questions: stored with the version, or new and then stored."""
    variant = version.tags["variant"]
    if _questions(version.reports / f"{variant}.json") != today:
        from tasks.stages.evaluate import evaluate_model

        questions = {file.stem: file for file in sorted(paths.questions.glob("*.jsonl"))}
        records = evaluate_model(version.folder, f"version-{version.number}", questions, params, paths)
        write_report(version.reports, variant, records)
    return read_records(version.reports / f"{variant}.parquet")


def _judge_variants(
    answers: list[Record], today: dict[str, str] | None, params: Params, paths: Paths
) -> dict[str, Verdict]:
    verdicts = {}
    for variant, content in _registered(paths).items():
        if variant != MERGED:
            version = registry.lookup(params.registry.registered_model_name, paths.workspace, content=content)
            verdict = decide(_answers(version, today, params, paths), answers, params.gate, (variant, MERGED))
            registry.annotate(version, paths.workspace, _as_tags(verdict))
            verdicts[variant] = verdict
    return verdicts


def _as_tags(verdict: Verdict) -> dict[str, str]:
    return {"gate": verdict.decision, "gate.against": verdict.names[1], "gate.reason": verdict.reason}


def _file(paths: Paths) -> Path:
    return paths.reports / "gate.json"


def _write(
    verdict: Verdict,
    variants: dict[str, Verdict],
    candidate: Version,
    champion: Version | None,
    params: Params,
    paths: Paths,
) -> None:
    write_json(
        _file(paths),
        {
            **verdict.to_dict(),
            **_subject(candidate, champion, params),
            "variants": {name: variant.to_dict() for name, variant in variants.items()},
            "promoted": bool(champion and champion.number == candidate.number),
        },
    )


def _subject(candidate: Version, champion: Version | None, params: Params) -> dict[str, Any]:
    """Return the subject of a verdict: candidate, champion and rules."""
    return {
        "version": candidate.number,
        "content_sha256": candidate.content,
        "champion": champion.number if champion else None,
        "gate": params.gate.model_dump(mode="json", exclude={"auto_promote"}),
    }


def _earlier_verdict(
    candidate: Version, champion: Version | None, params: Params, paths: Paths
) -> dict[str, Any] | None:
    """Return the verdict in reports/gate.json if its subject is this candidate, champion and rules; else None."""
    if not _file(paths).exists():
        return None
    verdict = read_json(_file(paths))
    return verdict if verdict.items() >= _subject(candidate, champion, params).items() else None
