"""What surrounds a flow: where it works, what stops with it, what MLflow is told, how it fails."""

import sys
from collections.abc import Callable, Generator, Iterable
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from prefect.futures import PrefectFuture
from prefect.runtime import deployment, flow_run
from prefect.states import Cancelled, Failed

from components.config import Params, load, read_mapping, read_yaml
from components.errors import InterruptedRunError, MartletError
from components.tracking import begin, end, finish, follow
from tasks.plan import Step
from tasks.stages.paths import Paths
from tasks.supervise import Supervisor
from tasks.watch import Event, watching
from tasks.workspace import Place, apart, changes_of, in_place

Arguments = ParamSpec("Arguments")


def in_a_sentence(body: Callable[Arguments, Any]) -> Callable[Arguments, Any]:
    """Let a flow fail with the message of what went wrong as its state, and no traceback; who called gets the error."""

    @wraps(body)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Any:
        try:
            return body(*args, **kwargs)
        except InterruptedRunError as error:
            return Cancelled(message=str(error), data=error)
        except MartletError as error:
            return Failed(message=str(error), data=error)
        except KeyboardInterrupt:
            stopped = InterruptedRunError("interrupted; the same command goes on from where it stopped")
            return Cancelled(message=str(stopped), data=stopped)

    return wrapper


def place(workspace: Path, params: dict[str, Any], recipe: str | None) -> AbstractContextManager[Place]:
    """The workspace itself for a plain run by hand; a worktree for other parameters, and for every deployed run.

    Raises:
        ConfigError: naming every problem of the parameters.
    """
    layers = [read_yaml(workspace / recipe)] if recipe else []
    layers.append(read_mapping(params, "the run's parameters"))
    changes = changes_of(load(workspace / "params.yaml", *layers), layers)
    if not changes and not deployment.id:
        return in_place(workspace, f"`{' '.join([Path(sys.argv[0]).name, *sys.argv[1:]])}`")
    return apart(workspace, flow_run.name, f"the flow run {flow_run.name}", changes)


@contextmanager
def supervised(paths: Paths, lock: int) -> Generator[Supervisor]:
    """A supervisor whose stages are stopped by whatever ends this block early: ctrl-C, a cancel, an error."""
    supervisor = Supervisor(paths, lock)
    try:
        yield supervisor
    except BaseException:
        supervisor.stop()
        raise


def settle(futures: Iterable[PrefectFuture[Any]]) -> None:
    """Wait for all of them, then raise the first error in their order."""
    futures = list(futures)
    for future in futures:
        future.wait()
    for future in futures:
        if future.state.is_failed() or future.state.is_crashed():
            raise future.result(raise_on_failure=False)


@contextmanager
def tracked(params: Params, paths: Paths, steps: list[Step]) -> Generator[None]:
    """Have MLflow told about the run by a process of its own, if there is any work to tell about."""
    if params.tracking.report_to == "none" or not any(step.changed for step in steps):
        yield
        return
    begin(paths.root, params.model_dump(mode="json"), flow_run.name)
    sidecar = follow(paths.root, paths.workspace)
    outcome, message = "interrupted", None
    try:
        yield
        outcome = "done"
    except MartletError as error:
        outcome = "interrupted" if isinstance(error, InterruptedRunError) else "failed"
        message = str(error)
        raise
    finally:
        end(paths.root, outcome, message)
        # A work tree is removed after the run, and with it what the sidecar reads.
        patience = 2 if paths.root == paths.workspace else 30
        told = finish(sidecar, paths.root, timeout=0 if outcome == "interrupted" else patience)
        if not told["ok"] and sidecar.poll() is not None:
            watching.get()(Event("mlflow", "failed", told["message"]))
