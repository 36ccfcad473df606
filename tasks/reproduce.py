"""The stages of `dvc.yaml` as Prefect tasks."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import Any

from prefect import allow_failure, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.concurrency.sync import concurrency
from prefect.futures import PrefectFuture
from prefect.states import State

from components.errors import MartletError
from tasks import outcomes
from tasks.plan import Pipeline, Step
from tasks.reports import publish, rows_left_out
from tasks.supervise import Supervisor
from tasks.watch import Event

MIN_LEASE_S = 60
"""Seconds after which Prefect frees the slot of a run that was killed; Prefect allows no less."""
SLOT_WAIT_S = 2
"""Seconds to wait for a slot before looking whether the run was stopped."""


def submit(
    steps: list[Step], pipeline: Pipeline, supervisor: Supervisor, watch: Callable[[Event], None]
) -> dict[str, PrefectFuture[Any]]:
    """Submit every step to Prefect and return the futures by stage name. A step starts when its upstream steps, as far
    as they are among `steps`, are done; independent steps run side by side."""
    futures: dict[str, PrefectFuture[Any]] = {}
    for step in steps:
        options = reproduce.with_options(
            name=step.name,
            retries=step.wishes.retries,
            retry_condition_fn=_is_retryable,
            tags=["stage", *([step.wishes.limit] if step.wishes.limit else [])],
        )
        upstream = [allow_failure(futures[name]) for name in step.upstream if name in futures]
        futures[step.name] = options.submit(step, pipeline, supervisor, watch, wait_for=upstream)  # type: ignore[call-overload]
    return futures


@task(cache_policy=NO_CACHE)
def reproduce(step: Step, pipeline: Pipeline, supervisor: Supervisor, watch: Callable[[Event], None]) -> State[Any]:
    """Run a stage if it has work. DVC is asked again, because upstream stages may have rewritten the same outputs."""
    if missing := [name for name in step.upstream if name not in supervisor.finished]:
        text = f"{' and '.join(missing)} did not finish"
        watch(Event(step.name, "skipped", text))
        return outcomes.skipped(text)
    try:
        why = "; ".join(pipeline.why(step.name)) if step.changed else ""
        if not why:
            supervisor.finished.add(step.name)
            watch(Event(step.name, "reused"))
            return outcomes.ended("Reused", "nothing changed")
        with _limit_slot(step.wishes.limit, supervisor):
            watch(Event(step.name, "running", why, log=supervisor.paths.log(step.name)))
            outcome = supervisor.run(step, get_run_logger().info)
    except MartletError as error:
        watch(Event(step.name, outcomes.word(error), str(error)))
        publish(step, supervisor.paths)
        return outcomes.state_of(error)
    state = "restored" if outcome.restored else "ran"
    watch(Event(step.name, state, rows_left_out(step, supervisor.paths), outcome.seconds))
    publish(step, supervisor.paths)
    if outcome.restored:
        return outcomes.ended("Restored", f"restored from DVC's cache: {why}")
    return outcomes.ended("Ran", f"ran in {outcome.seconds:.1f} s: {why}")


@contextmanager
def _limit_slot(limit: str | None, supervisor: Supervisor) -> Generator[None]:
    """Hold one slot of a Prefect concurrency limit; wait for a slot until the run is stopped."""
    with ExitStack() as stack:
        while limit and not supervisor.stopping.is_set():
            slot = concurrency(
                limit,
                timeout_seconds=SLOT_WAIT_S,
                lease_duration=MIN_LEASE_S,
                strict=True,
                raise_on_lease_renewal_failure=False,
            )
            try:
                stack.enter_context(slot)
                break
            except TimeoutError:
                continue
        yield


def create_limits(steps: list[Step]) -> None:
    """Create the concurrency limits that the steps name, with one slot each; existing limits keep their size."""
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import GlobalConcurrencyLimitCreate
    from prefect.exceptions import ObjectAlreadyExists

    with get_client(sync_client=True) as client:
        for name in sorted({step.wishes.limit for step in steps if step.wishes.limit}):
            try:
                client.create_global_concurrency_limit(GlobalConcurrencyLimitCreate(name=name, limit=1))
            except ObjectAlreadyExists:
                continue


def _is_retryable(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Return False for a wrong configuration: a retry would end the same way. Refusals are not asked about."""
    return getattr(state.data, "exit_code", 1) == 1
