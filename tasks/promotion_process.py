"""Gate, promotion and rollback as programs: `python -m tasks.promotion_process gate '{}'`.

The flows start them as child processes. They open the registry and may serve and ask a model, which takes libraries,
threads and minutes: none of that is in the process of a flow, where Prefect has its own threads and its own logging,
and a child can be ended at any time.
"""

import json
import sys
from functools import partial

from components.config import Params
from tasks import promotion
from tasks.stages.paths import Paths
from tasks.stages.runner import Result, main


def gate(params: Params, paths: Paths) -> Result:
    """Judge the candidate of the last run, unless its verdict is known.

    A version is promoted once: one that was champion before is `settled`, and needs no other verdict.
    """
    version, over = promotion.candidate(params, paths), promotion.champion(params, paths)
    settled = over is not None and promotion.was_promoted(version, params, paths)
    earlier = promotion.earlier_verdict(version, over, params, paths, any_champion=settled)
    verdict = earlier or promotion.judge(params, paths)
    return {
        "version": version.number,
        "promote": verdict.promote,
        "text": f"{verdict.decision}: {verdict.reason}",
        "markdown": verdict.markdown(),
        "reused": earlier is not None,
        "settled": settled,
        "champion": over.number if over else None,
    }


def promote(params: Params, paths: Paths, force: bool = False, number: int | None = None, why: str = "") -> Result:
    """Make version `number`, or the newest candidate, champion if the gate opens or by `force`."""
    number = number or promotion.newest(params, paths).number
    entry = promotion.promote(params, paths, force, number, why)
    if entry is None:
        return {"outcome": "Unchanged", "text": f"version {number} is champion already"}
    return {"outcome": "Promoted", "text": f"version {entry.version} is champion: {entry.why}"}


def rollback(params: Params, paths: Paths, to: int | None, why: str) -> Result:
    """Make a former champion champion again."""
    return {"text": f"version {promotion.rollback(params, paths, to, why).version} is champion again"}


PROGRAMS = {"gate": gate, "promote": promote, "rollback": rollback}

if __name__ == "__main__":
    name, options = sys.argv[1], json.loads(sys.argv[2])
    main(name, partial(PROGRAMS[name], **options))
