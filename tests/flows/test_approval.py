"""A person's answer before a promotion, given to the real Prefect server as its page gives it."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from components import registry
from components.errors import EvaluationGateError
from tasks.watch import Event
from tests.flows import toy
from tests.flows.conftest import Server
from tests.flows.toy import register, until

MARTLET_RUN = [sys.executable, "-m", "apps.cli.main", "run"]


@pytest.fixture(autouse=True)
def candidate(workspace: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that the next run registers and judges to be better, and that a person must approve."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(empty_store, workspace, dirs_exist_ok=True)
    with (workspace / "params.yaml").open("a") as params:
        params.write("gate: {needs_approval: true}\n")
    register(workspace, right=90)


def paused(server: Server, is_running: Callable[[], bool] = lambda: True) -> dict[str, Any]:
    """Wait for the flow run that asks a person; its form is there a moment after its state."""

    def asking() -> list[dict[str, Any]]:
        assert is_running()
        body = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}}
        runs = httpx.post(f"{server.url}/flow_runs/filter", json=body).json()
        return [run for run in runs if input_of(server, run, "schema").is_success]

    return until(asking, 240)[0]


def input_of(server: Server, run: dict[str, Any], part: str) -> httpx.Response:
    """What the page shows: `schema` of the form, `description` above it."""
    key = run["state"]["state_details"]["run_input_keyset"][part]
    return httpx.get(f"{server.url}/flow_runs/{run['id']}/input/{key}")


def answer(server: Server, run: dict[str, Any], **form: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/flow_runs/{run['id']}/resume", json={"run_input": form})


def test_a_person_refuses_a_candidate_and_is_not_asked_again(server: Server, workspace: Path) -> None:
    from flows.finetune import finetune

    with subprocess.Popen(MARTLET_RUN, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            run = paused(server, lambda: process.poll() is None)
            assert "better than the base model on skills" in input_of(server, run, "description").text
            assert [version.aliases for version in registry.versions("martlet", workspace)] == [("challenger",)]
            assert registry.champion("martlet", workspace) is None  # the lock of the registry is free
            page = f"{server.url.removesuffix('/api')}/runs/flow-run/{run['id']}"
            shown = subprocess.run([*MARTLET_RUN[:-1], "status"], capture_output=True, text=True, timeout=120).stdout
            assert f"{run['name']}: waits for approval of version 1 until 20" in shown
            assert f"; answer at {page}" in shown
            assert answer(server, run, approve=False).json()["status"] == "REJECT"  # who answers must say so
            assert answer(server, run, approve=False, by="Ada", why="too short").json()["status"] == "ACCEPT"
            printed, error = process.communicate(timeout=240)
        finally:
            process.kill()
    assert process.returncode == 4, error
    assert f"promote version 1? answer at {page}" in " ".join(printed.split())
    assert "version 1 was refused by Ada: too short; `martlet registry promote 1`" in error
    again = finetune()
    assert isinstance(again, EvaluationGateError) and "was refused by Ada" in str(again)
    assert registry.lookup("martlet", workspace, 1).tags["approval"] == "refused by Ada: too short"


def test_who_approves_and_why_stand_in_the_journal_and_nobody_is_asked_twice(
    server: Server, workspace: Path, events: list[Event], hook: tuple[str, list[dict[str, Any]]]
) -> None:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    from flows.finetune import finetune

    data = {"title": "{{subject}}", "text": "{{body}}"}
    CustomWebhookNotificationBlock(name="approval", url=hook[0], json_data=data, headers={}, cookies={}).save(
        "approval"
    )
    with ThreadPoolExecutor(1) as pool:
        reply = pool.submit(lambda: answer(server, paused(server), approve=True, by="Ada", why="reads well"))
        finetune(notify="custom-webhook/approval")
        assert reply.result().json()["status"] == "ACCEPT"
    question, end = hook[1]
    assert question["title"] == "Martlet: version 1 waits for approval" and "promote: better than" in question["text"]
    assert f"workspace: {workspace}\nflow run: {server.url.removesuffix('/api')}/runs/flow-run/" in question["text"]
    assert "version 1 is champion: approved by Ada: reads well" in end["text"]
    said = [(event.state, event.text) for event in events if event.stage == "approval"]
    assert [state for state, _ in said] == ["asks", "ran"] and said[1][1] == "approved by Ada: reads well"
    (entry,) = registry.history("martlet", workspace)
    assert (entry.action, entry.before, entry.version) == ("promote", None, 1)
    assert entry.why.startswith("approved by Ada: reads well; against the base model: better")
    assert entry.verdict.startswith("promote: better than the base model on skills")
    assert [version.aliases for version in registry.versions("martlet", workspace)] == [("champion",)]
    assert registry.lookup("martlet", workspace, 1).tags["approval"] == "approved by Ada: reads well"
    assert registry.verify("martlet", workspace) == []
    events.clear()
    finetune()
    assert "approval" not in {event.stage for event in events}
    assert len(registry.history("martlet", workspace)) == 1


def test_without_an_answer_in_time_nothing_is_promoted(server: Server, workspace: Path) -> None:
    from flows.finetune import finetune
    from flows.promote import promote

    toy.edit(workspace / "params.yaml", "needs_approval: true", "needs_approval: true, auto_promote: false")
    finetune()
    toy.edit(workspace / "params.yaml", "auto_promote: false", "auto_promote: false, approval_timeout: 1")
    result = promote()
    assert isinstance(result, EvaluationGateError)
    assert "nobody approved version 1 within 1 s" in str(result)
    assert registry.champion("martlet", workspace) is None
