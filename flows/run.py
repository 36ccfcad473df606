"""The frame of a flow run: its folder, the supervisor of its stages, its log in MLflow, errors as Prefect states."""

import logging
import sys
from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from pathlib import Path
from typing import Any, ParamSpec

from prefect.futures import PrefectFuture
from prefect.runtime import deployment, flow_run
from prefect.states import State

from components.config import Params, load, read_mapping, read_yaml
from components.errors import ConfigError, EvaluationGateError, InterruptedRunError, MartletError, without_credentials
from components.tracking import Outcome, begin, end, finish, follow
from tasks.outcomes import state_of, word
from tasks.plan import Step
from tasks.record import Record
from tasks.stages.paths import Paths
from tasks.supervise import Supervisor
from tasks.watch import Event, watching
from tasks.workspace import RunFolder, changes_of, in_place, in_worktree, name_of

Arguments = ParamSpec("Arguments")
SYNC_TIMEOUT_S = 2.0
"""Seconds that a run in place waits for MLflow to have its last lines."""
WORKTREE_SYNC_TIMEOUT_S = 30.0
"""The same for a run in a worktree, which is removed then, with the files that the sidecar reads."""


def errors_as_states(body: Callable[Arguments, State[Any]]) -> Callable[Arguments, State[Any]]:
    """Decorate a flow: a `MartletError` becomes a state with the error's message and no traceback, `Failed`, `Refused`
    or `Stopped`. Prefect raises the error to the flow's caller, but returns it where the state is `Refused`.

    The caller of a deployment's run is a program of Prefect's, which logs what is raised.
    """

    @wraps(body)
    def wrapper(*args: Arguments.args, **kwargs: Arguments.kwargs) -> State[Any]:
        try:
            return body(*args, **kwargs)
        except MartletError as error:
            logging.getLogger("prefect.flow_runs").addFilter(_without_traceback)
            return state_of(error)
        except KeyboardInterrupt:
            return state_of(InterruptedRunError("interrupted; the same command goes on from where it stopped"))

    return wrapper


def _without_traceback(record: logging.LogRecord) -> bool:
    """Take the traceback of a `MartletError` from a line of a log: its message is for the user."""
    if record.exc_info and isinstance(error := record.exc_info[1], MartletError):
        record.msg, record.args, record.exc_info = "%s", (error,), None
    return True


def run_folder(workspace: Path, params: dict[str, Any], recipe: str | None) -> AbstractContextManager[RunFolder]:
    """Return a context with the folder of a run: the workspace for a run by hand with the parameters of `params.yaml`,
    a worktree for other parameters and for every run of a deployment.

    Raises:
        ConfigError: naming every problem of the parameters.
    """
    if not isinstance(params, Mapping):
        raise ConfigError(
            f'params: expected parameters by group, such as {{"lora": {{"lora_rank": 16}}}}, not {params!r}'
        )
    layers = [read_yaml(workspace / recipe)] if recipe else []
    layers.append(read_mapping(params, "the run's parameters"))
    changes = changes_of(load(workspace / "params.yaml", *layers), layers)
    if not changes and not deployment.id:
        return in_place(workspace, f"`{without_credentials(' '.join([Path(sys.argv[0]).name, *sys.argv[1:]]))}`")
    name = flow_run.name if deployment.id else name_of(workspace, changes)
    return in_worktree(workspace, name, f"the flow run {flow_run.name}", changes)


@contextmanager
def supervised(paths: Paths, lock: int | None = None) -> Generator[Supervisor]:
    """Yield a supervisor whose processes are stopped when an exception (ctrl-C, a cancellation) ends the block."""
    supervisor = Supervisor(paths, lock)
    try:
        yield supervisor
    except BaseException:
        supervisor.stop()
        raise
    finally:
        supervisor.end()


@contextmanager
def recorded(paths: Paths) -> Generator[Record]:
    """Yield the watcher of a run, which writes the outcome: by its method `end`, or here after an error."""
    record = Record(paths, watching.get())
    try:
        yield record
    except BaseException as error:
        record.close(word(error) if isinstance(error, MartletError) else "stopped", str(error) or "interrupted")
        raise


def wait_for_all(futures: Iterable[PrefectFuture[Any]]) -> None:
    """Wait for every future, then raise the error of the first one that did not complete."""
    futures = list(futures)
    for future in futures:
        future.wait()
    for future in futures:
        if isinstance(result := future.result(raise_on_failure=False), BaseException):
            raise result


@contextmanager
def tracked(params: Params, paths: Paths, steps: list[Step]) -> Generator[None]:
    """Log the run to MLflow from a sidecar process, unless no stage has work or `report_to` does not name it."""
    if "mlflow" not in params.tracking.report_to or not any(step.changed for step in steps):
        yield
        return
    begin(paths.root, params.model_dump(mode="json"))
    sidecar = follow(paths.root, paths.workspace)
    outcome: Outcome = "interrupted"
    message = None
    try:
        yield
        outcome = "done"
    except MartletError as error:
        names: dict[type[MartletError], Outcome] = {InterruptedRunError: "interrupted", EvaluationGateError: "done"}
        outcome = names.get(type(error), "failed")
        message = str(error)
        raise
    finally:
        end(paths.root, outcome, message)
        timeout = SYNC_TIMEOUT_S if paths.root == paths.workspace else WORKTREE_SYNC_TIMEOUT_S
        sync = finish(sidecar, paths.root, timeout=0 if outcome == "interrupted" else timeout)
        if not sync["ok"] and sidecar.poll() is not None:
            watching.get()(Event("mlflow", "failed", sync["message"]))
