"""The page of the gate, reports/gate.html: the decision in words, and the answers that it was made on."""

from components.evaluation import Headline, Verdict, read_records, write_page
from components.registry import Version
from tasks.stages.paths import Paths

OVERRULE = "`martlet promote --force --why …` overrules the gate."


def write_gate_page(
    verdict: Verdict, version: Version, over: Version | None, paths: Paths, is_promoted: bool = False
) -> None:
    """Write reports/gate.html from the answers that are stored with the versions and with the last run.

    Args:
        over: the champion that `version` was judged against, or None: then it was judged against its base.

    Raises:
        MartletError: answers are gone or damaged.
    """
    base = read_records(paths.reports / "eval/base.parquet")
    candidate, baseline = verdict.names
    answers = {candidate: _stored(version), **({baseline: _stored(over)} if over else {}), "the base model": base}
    headline = _headline(verdict, version.number, over, is_promoted)
    write_page(paths.reports / "gate.html", answers, {baseline: verdict}, headline)


def _stored(version: Version) -> list[dict[str, object]]:
    return read_records(version.reports / f"{version.tags['variant']}.parquet")


def _headline(verdict: Verdict, number: int, over: Version | None, is_promoted: bool) -> Headline:
    stays = f"version {over.number} stays champion" if over else "there is no champion yet"
    if is_promoted:
        decision = f"promoted: version {number} is champion"
        reason = verdict.reason if verdict.promote else f"forced, although the gate said: {verdict.reason}"
        return Headline(
            decision, "good", reason, "`martlet deploy` serves it, and `martlet rollback` takes the promotion back."
        )
    if verdict.promote:
        decision = f"passed: version {number} may become champion"
        return Headline(decision, "good", verdict.reason, f"`martlet promote` makes it champion; until then {stays}.")
    if verdict.decision == "refuse":
        advice = "Look at the regressions below, change the data or the training, and run again; "
        return Headline(f"refused: {stays}", "bad", verdict.reason, f"{advice}{OVERRULE}")
    advice = "Add questions to the sets that do not decide, and run again; "
    return Headline(f"not enough evidence: {stays}", "warn", verdict.reason, f"{advice}{OVERRULE}")
