"""Gate, promotion and rollback as programs: `python -m tasks.promotion_process gate '{}'`.

The flows start them as child processes. They open the registry and may serve and ask a model, which takes libraries,
threads and minutes: none of that is in the process of a flow, where Prefect has its own threads and its own logging,
and a child can be ended at any time.
"""

import json
import sys
from functools import partial
from typing import Any

from components.config import Params
from tasks import promotion
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main


def gate(params: Params, paths: Paths, number: int | None = None, newest: bool = False) -> Result:
    """Judge the candidate of the last run, version `number`, or the newest candidate, unless its verdict is known.

    A run promotes a version once: one that was champion before is `settled`, and needs no other verdict. Who names a
    version or the newest wants it promoted again.
    """
    if newest:
        number = number or promotion.newest(params, paths).number
    version, over = promotion.candidate(params, paths, number), promotion.champion(params, paths)
    settled = not newest and over is not None and promotion.was_promoted(version, params, paths)
    earlier = promotion.earlier_verdict(version, over, params, paths, any_champion=settled)
    verdict = earlier or promotion.judge(params, paths, number)
    return {
        "version": version.number,
        "promote": verdict.promote,
        "text": f"{verdict.decision}: {verdict.reason}",
        "markdown": verdict.markdown(),
        "reused": earlier is not None,
        "settled": settled,
        "former": _former(version.number, over.number, params, paths) if settled and over else "",
        "champion": over.number if over else None,
        "refusal": promotion.refusal(version),
    }


def _former(number: int, champion: int, params: Params, paths: Paths) -> str:
    """Return what became of a version that was promoted before."""
    if number == champion:
        return f"version {number} is champion already"
    ends = [entry for entry in promotion.journal(params, paths) if entry.before == number]
    is_back = bool(ends) and ends[-1].action == "rollback"
    end = f" and {'rolled back' if is_back else 'replaced'} on {ends[-1].time[:10]}" if ends else ""
    return f"version {number} was promoted before{end}; version {champion} stays champion"


def promote(
    params: Params,
    paths: Paths,
    force: bool = False,
    number: int | None = None,
    why: str = "",
    approval: dict[str, Any] | None = None,
) -> Result:
    """Make version `number`, or the newest candidate, champion if the gate opens or by `force`."""
    number = number or promotion.newest(params, paths).number
    by_person = promotion.Approval(**approval) if approval else None
    entry = promotion.promote(params, paths, force, number, why, by_person)
    if entry is None:
        return {"outcome": "Unchanged", "text": f"version {number} is champion already"}
    place = f" in place of version {entry.before}" if entry.before else ""
    return {"outcome": "Promoted", "text": f"version {entry.version} is champion{place}: {entry.why}"}


def rollback(params: Params, paths: Paths, to: int | None, why: str) -> Result:
    """Make a former champion champion again."""
    return {"text": f"version {promotion.rollback(params, paths, to, why).version} is champion again"}


def refuse(params: Params, paths: Paths, number: int, by: str, why: str) -> Result:
    """Note with a version that a person refused it."""
    promotion.refuse(params, paths, number, by, why)
    return {}


PROGRAMS = {"gate": gate, "promote": promote, "refuse": refuse, "rollback": rollback}

if __name__ == "__main__":
    name, options = sys.argv[1], json.loads(sys.argv[2])
    main(name, partial(PROGRAMS[name], **options))
