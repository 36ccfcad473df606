"""The evaluation gate and the promotion as Prefect tasks; no DVC stages, because they depend on today's champion."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.states import State

from components.errors import EvaluationGateError, MartletError
from tasks import outcomes
from tasks.stages.paths import Paths
from tasks.supervise import Supervisor
from tasks.watch import Event


@task(name="gate", cache_policy=NO_CACHE)
def judge(supervisor: Supervisor, watch: Callable[[Event], None]) -> State[Any]:
    """Return the state `Passed` with the result of `promotion_process.gate` if the candidate passes, else `Refused`
    with an `EvaluationGateError`. A verdict on the same candidate, champion and rules is used again."""
    watch(Event("gate", "running", log=supervisor.paths.log("gate")))
    try:
        result = supervisor.run_promotion("gate", get_run_logger().info)
    except MartletError as error:
        watch(Event("gate", outcomes.word(error), str(error)))
        return outcomes.state_of(error)
    text, is_reused = result["text"], result["reused"]
    if not is_reused:
        create_markdown_artifact(result["markdown"], key="verdict")
    if not result["promote"]:
        watch(Event("gate", "reused" if is_reused else "refused", text))
        return outcomes.state_of(EvaluationGateError(_refusal(result)))
    watch(Event("gate", "reused" if is_reused else "ran", text))
    return outcomes.ended("Reused" if is_reused else "Passed", text, result)


@task(name="promote", cache_policy=NO_CACHE)
def promote(
    verdict: dict[str, Any], approval: dict[str, Any] | None, supervisor: Supervisor, watch: Callable[[Event], None]
) -> State[Any]:
    """Make the candidate of a verdict champion, which a person has approved where there is an `approval`; a version is
    promoted once, even if it was rolled back."""
    if verdict["settled"]:
        watch(Event("promote", "reused", verdict["former"]))
        return outcomes.ended("Reused", verdict["former"])
    try:
        say, number = get_run_logger().info, verdict["version"]
        result = supervisor.run_promotion("promote", say, number=number, approval=approval)
    except MartletError as error:
        watch(Event("promote", outcomes.word(error), str(error)))
        return outcomes.state_of(error)
    watch(Event("promote", "ran", result["text"]))
    return outcomes.ended(result["outcome"], result["text"])


def _refusal(result: dict[str, Any]) -> str:
    """Return which version is not promoted and why, and who stays champion."""
    champion = f"version {result['champion']} stays champion" if result["champion"] else "there is no champion yet"
    return f"version {result['version']} is not promoted: {result['text']}; {champion}"


def registration(paths: Paths) -> Path:
    """Return the file that the stage `register` writes; without the file there is no candidate to judge."""
    return paths.reports / "registration.json"
