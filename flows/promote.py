"""The promotion as a Prefect flow: a registered candidate becomes champion if the gate opens."""

from pathlib import Path
from typing import Any

from prefect import flow
from prefect.states import State

from components.config import load
from components.errors import EvaluationGateError
from flows.approval import require_approval
from flows.run import errors_as_states, supervised
from tasks.outcomes import ended
from tasks.plan import workspace_of
from tasks.stages.paths import Paths
from tasks.watch import watching


@flow(name="promote", log_prints=True)
@errors_as_states
def promote(number: int | None = None, force: bool = False, why: str = "") -> State[Any]:
    """Promote the newest candidate, or version `number`; `force` overrules the gate, `why` goes into the
    journal."""
    workspace = workspace_of(Path.cwd())
    gate = load(workspace / "params.yaml").gate
    with supervised(Paths(workspace, workspace)) as supervisor:
        approval = None
        if gate.needs_approval and not force:
            verdict = supervisor.run_promotion("gate", number=number, newest=True)
            if not verdict["promote"]:
                raise EvaluationGateError(f"version {verdict['version']} is not promoted: {verdict['text']}")
            number = verdict["version"]
            approval = require_approval(verdict, gate, supervisor, watching.get())
        result = supervisor.run_promotion("promote", force=force, number=number, why=why, approval=approval)
    return ended(result["outcome"], result["text"])
