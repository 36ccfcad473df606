"""The pipeline as a Prefect flow: the stages of `dvc.yaml`, then the gate, then the promotion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import flow
from prefect.futures import PrefectFuture
from prefect.states import State

from components.config import load
from flows.approval import require_approval
from flows.notify import HOOKS, require_block
from flows.parameters import NO_OVERRIDES, Overrides
from flows.run import errors_as_states, recorded, run_folder, supervised, tracked, wait_for_all
from tasks import gate
from tasks.outcomes import ended
from tasks.plan import Pipeline, workspace_of
from tasks.reproduce import create_limits, submit
from tasks.stages.paths import Paths
from tasks.watch import Event


@flow(name="finetune", log_prints=True, validate_parameters=False, **HOOKS)  # `run_folder` names every problem at once
@errors_as_states
def finetune(params: Overrides = NO_OVERRIDES, recipe: str | None = None, notify: str | None = None) -> State[Any]:
    """Run the stages that changed, judge the candidate, promote it.

    Args:
        params: parameters over `params.yaml` and the recipe, such as `{"lora": {"lora_rank": 16}}`.
        recipe: a YAML file with parameters, relative to the workspace.
        notify: the notification block that is told the outcome, such as `custom-webhook/team`.
    """
    require_block(notify)
    with run_folder(workspace_of(Path.cwd()), params, recipe) as (paths, lock), recorded(paths) as record:
        return record.end(run_pipeline(paths, lock, record))


def run_pipeline(paths: Paths, lock: int, watch: Callable[[Event], None]) -> State[Any]:
    """Run the stages of a run's folder that changed, judge the candidate, and promote it if `auto_promote` says so.

    Raises:
        MartletError: a stage failed, or a gate closed.
    """
    params = load(paths.root / "params.yaml")
    pipeline = Pipeline(paths.root, paths.workspace)
    steps = pipeline.plan()
    for step in steps:
        watch(Event(step.name, "waiting", "; ".join(step.why)))
    if any(step.changed for step in steps):
        create_limits(steps)
    with tracked(params, paths, steps), supervised(paths, lock) as supervisor:
        supervisor.warm_up(steps)
        futures = submit(steps, pipeline, supervisor, watch)
        wait_for_all(futures.values())
        name, text = _work_of(futures)
        if gate.registration(paths).is_file():
            verdict = gate.judge.submit(supervisor, watch)
            wait_for_all([verdict])
            result: Any = verdict.result()
            outcome = f"gate: {verdict.state.message}"
            if params.gate.auto_promote:
                approval = require_approval(result, params.gate, supervisor, watch)
                promotion = gate.promote.submit(result, approval, supervisor, watch)
                wait_for_all([promotion])
                outcome = str(promotion.state.message)
            text += f"; {outcome}"
    return ended(name, text)


def _work_of(futures: dict[str, PrefectFuture[Any]]) -> tuple[str, str]:
    """Return `Ran`, `Restored` or `Reused`, and which stages ran and which were restored."""
    stages = {
        kind: ", ".join(name for name, future in futures.items() if future.state.name == kind)
        for kind in ("Ran", "Restored")
    }
    texts = [f"{names} {'ran' if kind == 'Ran' else 'restored'}" for kind, names in stages.items() if names]
    return next((kind for kind, names in stages.items() if names), "Reused"), "; ".join(texts) or "nothing changed"
