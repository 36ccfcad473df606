"""The state of a workspace: the champion, the server that answers with it, the last run, the runs under way.

Each part is asked for on its own, and a server that does not answer is a line of the answer.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from components import registry
from components.config import Params
from components.config.groups.tracking import tracking_uri
from components.errors import MartletError
from tasks import history
from tasks.serving import api_key
from tasks.workspace import HISTORY, RUNS, folder_in

CONNECT_TIMEOUT_S = 2.0
"""Seconds that a server on this machine has to answer."""
NO_CHAMPION = "none yet; `martlet run` promotes a candidate when the gate opens"
SHOWN_RUNS = 10
"""Runs of Prefect that are listed, the next first."""


def served(params: Params) -> str:
    """Return what answers at the address of `martlet deploy`."""
    import httpx

    host, port, key = params.serve.host, params.serve.port, api_key()
    url = f"http://{host}:{port}"
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    try:
        reply = httpx.get(f"{url}/v1/models", headers=headers, timeout=CONNECT_TIMEOUT_S, trust_env=False)
        names = ", ".join(model["id"] for model in reply.raise_for_status().json()["data"])
    except httpx.HTTPStatusError as error:
        return f"{url} answers with {error.response.status_code}; MARTLET_API_KEY is the key that it wants"
    except (httpx.HTTPError, ValueError, KeyError, TypeError):
        return f"nothing answers at {url}; `martlet deploy` serves the champion"
    return f"{names} at {url}/v1"


def champion(params: Params, workspace: Path) -> str:
    """Return the champion's version and the last move in the journal."""
    name = params.registry.registered_model_name
    uri = tracking_uri(workspace)
    if uri.startswith("sqlite:") and not Path(uri.removeprefix("sqlite:///")).is_file():
        return NO_CHAMPION
    try:
        version = registry.champion(name, workspace)  # enters what was moved outside: each champion has its line
        moves = registry.history(name, workspace)
    except MartletError as error:
        return str(error)
    if version is None:
        return NO_CHAMPION
    date = moves[-1].time[:16].replace("T", " ")
    state = "" if version.folder.is_dir() else f" (its weights are not in {version.folder})"
    return (
        f"{name} version {version.number}{state}; {moves[-1].action} on {date} UTC by {moves[-1].by}: {moves[-1].why}"
    )


def last_run(workspace: Path, output: Path) -> str:
    """Return when the newest run began, how it ended, and its folder."""
    runs = history.runs(workspace, output)
    if not runs:
        return "none yet; `martlet run` makes one"
    run = runs[-1]
    date = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.began))
    what = " on ".join(filter(None, [run.model, run.data]))
    return f"{date}  {' '.join(filter(None, [what, run.verdict]))}  ({'here' if run.folder == Path() else run.folder})"


def at_work(workspace: Path) -> list[str]:
    """Return a line for each run that holds the workspace or one of its work trees."""
    from tasks.claim import owner_of

    trees = [tree for tree in (workspace / RUNS).glob("*") if tree.is_dir() and tree != workspace / HISTORY]
    folders = {workspace: Path(), **{folder_in(tree, workspace): tree.relative_to(workspace) for tree in sorted(trees)}}
    owners = {name: owner_of(folder) for folder, name in folders.items()}
    return [
        f"{owner['who']} in {name} (pid {owner['pid']}, since {time.strftime('%H:%M', time.localtime(owner['since']))})"
        for name, owner in owners.items()
        if owner
    ]


def prefect_runs(url: str, answers: Callable[[str], bool]) -> list[str]:
    """Return a line for each run that Prefect has under way or in its queue."""
    if not answers(url):
        return [f"the Prefect server at {url} does not answer; `martlet ui` starts it"]
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterState, FlowRunFilterStateType
    from prefect.client.schemas.objects import StateType
    from prefect.client.schemas.sorting import FlowRunSort

    states = [StateType.RUNNING, StateType.PENDING, StateType.SCHEDULED, StateType.PAUSED, StateType.CANCELLING]
    open_runs = FlowRunFilter(state=FlowRunFilterState(type=FlowRunFilterStateType(any_=states)))
    with get_client(sync_client=True) as client:
        runs = client.read_flow_runs(
            flow_run_filter=open_runs, sort=FlowRunSort.EXPECTED_START_TIME_ASC, limit=SHOWN_RUNS
        )
        flows = {run.flow_id: client.read_flow(run.flow_id).name for run in runs}
        questions = {run.id: _question(client, run) for run in runs}
    return [_line(run, flows[run.flow_id], questions[run.id]) for run in runs]


def _question(client: Any, run: Any) -> str:
    """Return what a paused run asks a person for, the first line above its form; nothing of another run."""
    from prefect.exceptions import ObjectNotFound

    keys = run.state.state_details.run_input_keyset
    if run.state.type != "PAUSED" or not keys:
        return ""
    try:
        return json.loads(client.read_flow_run_input(run.id, keys["description"])).partition("\n")[0]
    except (ObjectNotFound, KeyError):  # its form is not there yet
        return ""


def _line(run: Any, flow: str, question: str) -> str:
    from prefect.utilities.urls import url_for

    if question:
        return f"{flow} {run.name}: waits for {question}; answer at {url_for('flow-run', obj_id=run.id)}"
    when = run.start_time or run.expected_start_time
    date = when.astimezone().strftime("%Y-%m-%d %H:%M") if when else ""
    return f"{flow} {run.name}: {run.state_name.lower()}, {date}".rstrip(", ")
