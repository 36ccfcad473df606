"""Who becomes champion: the registry's candidate and champion, judged on their answers to the same questions."""

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
    """Judge a candidate against the champion, or against its base while there is no champion.

    The candidate is the merged model that was registered last, or version `number`. Quantized variants that were
    registered with it are judged against it; that is noted and does not decide about it. Answers that were stored with
    a version count when they are to today's questions; otherwise the model is asked again. Writes reports/gate.json.

    Raises:
        ConfigError: nothing has been registered.
    """
    candidate, champion = _candidate(params, paths, number), _champion(params, paths)
    today = _questions(_evaluations(paths) / f"{MERGED}.json")
    answers = _answers(candidate, today, params, paths)
    called = f"version {candidate.number}"
    if champion is None:
        base = read_records(_evaluations(paths) / "base.parquet")
        verdict = decide(answers, base, params.gate, (called, "the base model"))
    elif champion.number == candidate.number:
        names = (called, "itself")
        gate = params.gate
        verdict = Verdict("promote", "it is the champion already", names, gate.margin, gate.confidence, (), ())
    else:
        usual = _answers(champion, today, params, paths)
        verdict = decide(answers, usual, params.gate, (called, f"champion version {champion.number}"))
    registry.annotate(candidate, paths.workspace, _as_tags(verdict))
    variants = {} if number else _judge_variants(answers, today, params, paths)
    _write(verdict, variants, candidate, champion, params, paths)
    return verdict


def promote(
    params: Params, paths: Paths, force: bool = False, number: int | None = None, why: str = ""
) -> Entry | None:
    """Make the candidate champion if the gate opens, or by `force`; None when it is champion already.

    A verdict in reports/gate.json on the same candidate, champion and rules is taken as it is.

    Raises:
        EvaluationGateError: the gate stays closed, with its reason.
    """
    candidate, champion = _candidate(params, paths, number), _champion(params, paths)
    if champion and champion.number == candidate.number:
        return None
    if not force:
        known = _known(candidate, champion, params, paths)
        if not known:
            judge(params, paths, number)
            known = read_json(_file(paths))
        if known["decision"] != "promote":
            raise EvaluationGateError(
                f"{candidate.name} version {candidate.number} is not promoted: {known['decision']}: {known['reason']} "
                "(`martlet promote --force --why …` overrules the gate)"
            )
        why = why or f"against {known['names'][1]}: {known['reason']}"
    over = champion.number if champion else None
    entry = registry.promote(candidate.name, candidate.number, paths.workspace, why or "forced", over)
    if _known(candidate, champion, params, paths):
        write_json(_file(paths), {**read_json(_file(paths)), "promoted": True})
    return entry


def rollback(params: Params, paths: Paths, to: int | None = None, why: str = "") -> Entry:
    """Make the champion before this one champion again, or the former champion `to`."""
    return registry.rollback(params.registry.registered_model_name, paths.workspace, to, why)


def journal(params: Params, paths: Paths) -> list[Entry]:
    """All moves of the champion, the oldest first."""
    return registry.history(params.registry.registered_model_name, paths.workspace)


def _champion(params: Params, paths: Paths) -> Version | None:
    return registry.champion(params.registry.registered_model_name, paths.workspace)


def _candidate(params: Params, paths: Paths, number: int | None) -> Version:
    name = params.registry.registered_model_name
    if number:
        return registry.lookup(name, paths.workspace, number=number)
    return registry.lookup(name, paths.workspace, content=_registered(paths)[MERGED])


def _registered(paths: Paths) -> dict[str, str]:
    """Candidate to the hash of its weights, as the stage `register` left them."""
    try:
        versions = read_json(paths.reports / "registration.json")["versions"]
    except FileNotFoundError:
        raise ConfigError("no candidate has been registered here yet; `martlet run` makes one") from None
    return {version["candidate"]: version["content_sha256"] for version in versions}


def _evaluations(paths: Paths) -> Path:
    return paths.reports / "eval"


def _questions(report: Path) -> dict[str, str] | None:
    """Question set to the hash of its questions."""
    if not report.exists():
        return None
    return {name: entry["questions_sha256"] for name, entry in read_json(report)["sets"].items()}


def _answers(version: Version, today: dict[str, str] | None, params: Params, paths: Paths) -> list[Record]:
    """The answers of a version to today's questions: those stored with it, or new ones, which are then stored."""
    variant = version.tags["variant"]
    if _questions(version.reports / f"{variant}.json") != today:
        from tasks.stages.evaluate import evaluate_model

        files = {file.stem: file for file in sorted(paths.questions.glob("*.jsonl"))}
        records = evaluate_model(version.folder, f"version-{version.number}", files, params, paths)
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
    """What a verdict is about; another subject needs another verdict."""
    return {
        "version": candidate.number,
        "content_sha256": candidate.content,
        "champion": champion.number if champion else None,
        "gate": params.gate.model_dump(mode="json", exclude={"auto_promote"}),
    }


def _known(candidate: Version, champion: Version | None, params: Params, paths: Paths) -> dict[str, Any] | None:
    """The verdict in reports/gate.json, if it is on this candidate against this champion by these rules."""
    if not _file(paths).exists():
        return None
    known = read_json(_file(paths))
    return known if known.items() >= _subject(candidate, champion, params).items() else None
