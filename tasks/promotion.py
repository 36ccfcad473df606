"""Promotion: candidate and champion of the registry, judged on their answers to the same questions.

What the workspace remembers (reports/registration.json, reports/gate.json) is believed as far as the registry agrees:
models that the registry has lost are registered again, and a verdict holds for the versions that it names.
"""

import shutil
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from components import registry
from components.config import Params
from components.config.groups.gate import OF_RUNS
from components.errors import ConfigError, EvaluationGateError, MartletError
from components.evaluation import (
    GuardVerdict,
    Record,
    Verdict,
    decide,
    read_questions_sha256,
    read_records,
    write_report,
)
from components.files import read_json, replacing, sha256, sha256_tree, write_json
from components.registry import Entry, Version
from tasks.gate_page import write_gate_page
from tasks.stages import register
from tasks.stages.paths import Paths, plugin_files

MERGED = "merged"
APPROVAL = "approval"
"""Tag of a version that a person approved or refused: who, and why."""


def candidate(params: Params, paths: Paths, number: int | None = None) -> Version:
    """Return version `number`, or by default the merged model that the last run here registered.

    Raises:
        ConfigError: no run has registered one, or the registry has lost it and models/merged is another by now.
    """
    contents = _registered(params, paths)
    if number:
        return registry.lookup(params.registry.registered_model_name, paths.workspace, number)
    return _with_content(contents[MERGED], params, paths)


def newest(params: Params, paths: Paths) -> Version:
    """Return the merged model that was registered last, by a run here or in a work tree.

    Raises:
        ConfigError: as `candidate`.
    """
    _registered(params, paths)
    version = registry.find(params.registry.registered_model_name, paths.workspace, variant=MERGED)
    assert version
    return version


def champion(params: Params, paths: Paths) -> Version | None:
    """Return the champion, or None."""
    return registry.champion(params.registry.registered_model_name, paths.workspace)


def was_promoted(version: Version, params: Params, paths: Paths) -> bool:
    """Return whether the journal knows of a promotion of the version, even if it was rolled back."""
    return any(entry.action == "promote" and entry.version == version.number for entry in journal(params, paths))


def judge(params: Params, paths: Paths, number: int | None = None) -> Verdict:
    """Return the verdict on a candidate against the champion, or against its base without a champion.

    The candidate is the merged model registered last here, or version `number`. Quantized variants of the last run are
    judged against their merged model; their verdicts are recorded and do not decide about the candidate. Answers stored
    with a version are used if they are answers to today's questions; otherwise the model is evaluated again. Writes
    reports/gate.json and reports/gate.html.

    Raises:
        ConfigError: as `candidate`.
    """
    version, over = candidate(params, paths, number), champion(params, paths)
    today = read_questions_sha256(_evaluations(paths) / f"{MERGED}.json")
    answers = _answers(version, today, params, paths)
    title = f"version {version.number}"
    if over and over.number == version.number:
        gate = params.gate
        verdict = Verdict("promote", "it is champion already", (title, "itself"), gate.margin, gate.confidence, (), ())
    else:
        base = read_records(_evaluations(paths) / "base.parquet")
        baseline = _answers(over, today, params, paths) if over else base
        names = (title, f"champion version {over.number}" if over else "the base model")
        external = plugin_files(params, paths.workspace)
        verdict = decide(answers, baseline, params.gate, names, over is None, _findings(params, paths), external)
        write_gate_page(verdict, version, over, paths)
    registry.annotate(version, paths.workspace, _as_tags(verdict))
    variants = _judge_variants(version, answers, today, params, paths)
    _write(verdict, variants, version, over, params, paths)
    return verdict


def _findings(params: Params, paths: Paths) -> list[GuardVerdict]:
    """Return the guards on what the data gate found: questions that stand among the training rows."""
    file = paths.reports / "data.json"
    checks = read_json(file)["checks"] if file.is_file() else []
    leak = next((check for check in checks if check["name"] == "leak" and check["action"] == "warn"), None)
    count, limit = leak["count"] if leak else 0, params.gate.max_leaked
    return [GuardVerdict("prompts of questions among the training rows", count <= limit, count, limit)] if leak else []


def earlier_verdict(
    version: Version, over: Version | None, params: Params, paths: Paths, any_champion: bool = False
) -> Verdict | None:
    """Return the verdict in reports/gate.json if it is on this version with its answers, this champion and these rules;
    otherwise None.

    With `any_champion` it may have been judged against another champion.
    """
    try:
        written = read_json(_file(paths))
        subject = _subject(version, over, params)
        is_same = all(written[key] == subject[key] for key in subject if not (any_champion and key == "champion"))
        return Verdict.from_dict(written) if is_same else None
    except (OSError, ValueError, KeyError, TypeError):  # no verdict yet, or a damaged one
        return None


class Approval(NamedTuple):
    """What a person said about a verdict: who, why, and the number of the champion that the verdict names, or None."""

    by: str
    why: str
    champion: int | None


def promote(
    params: Params,
    paths: Paths,
    force: bool = False,
    number: int | None = None,
    why: str = "",
    approval: Approval | None = None,
) -> Entry | None:
    """Make the candidate champion if the gate opens, or by `force`; return the move, or None for the champion itself.

    A verdict in reports/gate.json on the same candidate, champion and rules is used again. The verdict is kept with the
    version's reports.

    Raises:
        EvaluationGateError: the gate stays closed, or another version has become champion since the approval.
    """
    version, over = candidate(params, paths, number), champion(params, paths)
    over_number = over.number if over else None
    if over_number == version.number:
        return None
    if approval and approval.champion != over_number:
        raise EvaluationGateError(
            f"{version.name} version {version.number} was approved over another champion than today's; judge it again "
            "with `martlet run` or `martlet promote`"
        )
    verdict = earlier_verdict(version, over, params, paths) or (None if force else judge(params, paths, number))
    if verdict and not (verdict.promote or force):
        raise EvaluationGateError(
            f"{version.name} version {version.number} is not promoted: "
            f"{verdict.decision}: {verdict.reason} (`martlet promote --force --why …` overrules the gate)"
        )
    reason = why or ("forced" if force or not verdict else f"against {verdict.names[1]}: {verdict.reason}")
    if approval:
        approved = ": ".join(filter(None, [f"approved by {approval.by}", approval.why]))
        registry.annotate(version, paths.workspace, {APPROVAL: approved})
        reason = f"{approved}; {reason}"
    text = f"{verdict.decision}: {verdict.reason}" if verdict else ""
    saved = _keep_verdict(version, paths) if verdict else ""
    entry = registry.promote(version.name, version.number, paths.workspace, reason, over_number, text, saved)
    if verdict:
        write_json(_file(paths), {**read_json(_file(paths)), "promoted": True})
        with suppress(MartletError):  # answers that are gone by now: the page of the verdict stays
            write_gate_page(verdict, version, over, paths, is_promoted=True)
    return entry


def refuse(params: Params, paths: Paths, number: int, by: str, why: str) -> None:
    """Note with a version that a person refused it."""
    version = candidate(params, paths, number)
    registry.annotate(version, paths.workspace, {APPROVAL: ": ".join(filter(None, [f"refused by {by}", why]))})


def refusal(version: Version) -> str:
    """Return who refused a version and why, or nothing."""
    text = version.tags.get(APPROVAL, "")
    return text if text.startswith("refused") else ""


def _keep_verdict(version: Version, paths: Paths) -> str:
    """Copy reports/gate.json to the reports of the version, and return its hash."""
    content = sha256(_file(paths))
    with replacing(version.reports / registry.verdict_file(content)) as temporary:
        shutil.copyfile(_file(paths), temporary)
    return content


def rollback(params: Params, paths: Paths, to: int | None = None, why: str = "") -> Entry:
    """Make the champion before the present one, or the former champion `to`, champion again; return the move.

    Raises:
        MartletError: as `registry.rollback`; also where somebody else moves the champion at the same time.
    """
    name = params.registry.registered_model_name
    moves = registry.history(name, paths.workspace)  # read without waiting for another writer
    entry = registry.rollback(name, paths.workspace, to, why, over=moves[-1].version if moves else None)
    registry.renew_challenger(name, paths.workspace)
    return entry


def journal(params: Params, paths: Paths) -> list[Entry]:
    """Return all moves of the champion, the oldest first."""
    return registry.history(params.registry.registered_model_name, paths.workspace)


def _registered(params: Params, paths: Paths) -> dict[str, str]:
    """Return the hash of the weights by candidate, as the stage `register` wrote them; the registry has all of them.

    Models that it has not, after a version or all of mlruns was removed, a backup was put back, or another server was
    named, are registered again.
    """
    file = paths.reports / "registration.json"
    try:
        contents = {version["candidate"]: version["content_sha256"] for version in read_json(file)["versions"]}
        merged = contents[MERGED]
    except FileNotFoundError:
        raise ConfigError("no candidate has been registered here yet; `martlet run` makes one") from None
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{file} is damaged, so the candidate is not known; `martlet run` writes it anew") from error
    if not all(_has(content, params, paths) for content in contents.values()):
        if not paths.merged.is_dir() or sha256_tree(paths.merged) != merged:
            raise ConfigError(
                f"{params.registry.registered_model_name}: the registry has lost the last candidate (content "
                f"{merged[:16]}), and models/merged is another by now; `martlet run` makes and registers it"
            )
        register.run(params, paths)
    return contents


def _has(content: str, params: Params, paths: Paths) -> bool:
    name = params.registry.registered_model_name
    version = registry.find(name, paths.workspace, content_sha256=content)
    return version is not None and version.folder.is_dir()


def _with_content(content: str, params: Params, paths: Paths) -> Version:
    version = registry.find(params.registry.registered_model_name, paths.workspace, content_sha256=content)
    assert version
    return version


def _evaluations(paths: Paths) -> Path:
    return paths.reports / "eval"


def _answers(version: Version, today: dict[str, str], params: Params, paths: Paths) -> list[Record]:
    """Return the answers of a version to today's questions: stored with the version, or new and then stored."""
    variant = version.tags["variant"]
    try:
        if read_questions_sha256(version.reports / f"{variant}.json") == today:
            return read_records(version.reports / f"{variant}.parquet")
    except MartletError:  # gone or damaged: the version is asked again
        pass
    from tasks.stages.evaluate import evaluate_model  # takes seconds
    from tasks.stages.question_sets import sets_of

    name = f"version-{version.number}"
    records = evaluate_model(version.folder, name, sets_of(params, paths), params, paths, stage="gate")
    write_report(version.reports, variant, records)
    return records


def _judge_variants(
    version: Version, answers: list[Record], today: dict[str, str], params: Params, paths: Paths
) -> dict[str, Verdict]:
    """Return the verdicts on the quantized variants of the last run, if `version` is its merged model."""
    contents = _registered(params, paths)
    verdicts: dict[str, Verdict] = {}
    for variant, content in contents.items():
        if variant != MERGED and version.content == contents[MERGED]:
            quantized = _with_content(content, params, paths)
            verdict = decide(_answers(quantized, today, params, paths), answers, params.gate, (variant, MERGED))
            registry.annotate(quantized, paths.workspace, _as_tags(verdict))
            verdicts[variant] = verdict
    return verdicts


def _as_tags(verdict: Verdict) -> dict[str, str]:
    return {"gate": verdict.decision, "gate.against": verdict.names[1], "gate.reason": verdict.reason}


def _file(paths: Paths) -> Path:
    return paths.reports / "gate.json"


def _write(
    verdict: Verdict,
    variants: dict[str, Verdict],
    version: Version,
    over: Version | None,
    params: Params,
    paths: Paths,
) -> None:
    write_json(
        _file(paths),
        {
            **verdict.to_dict(),
            **_subject(version, over, params),
            "variants": {name: variant.to_dict() for name, variant in variants.items()},
            "promoted": bool(over and over.number == version.number),
        },
    )


def _subject(version: Version, over: Version | None, params: Params) -> dict[str, Any]:
    """Return the subject of a verdict: candidate with its answers, champion and rules."""
    return {
        "version": version.number,
        "content_sha256": version.content,
        "champion": over.number if over else None,
        "answers_sha256": sha256(version.reports / f"{version.tags['variant']}.parquet"),
        "gate": params.gate.model_dump(mode="json", exclude=set(OF_RUNS)),
    }
