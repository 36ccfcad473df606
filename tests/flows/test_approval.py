"""A person's answer before a promotion, given to the real Prefect server as its page gives it."""

import os
import subprocess
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import httpx
import pytest

from components import registry
from components.errors import EvaluationGateError
from tests.flows.conftest import Server
from tests.flows.toy import register, until

MARTLET = [sys.executable, "-m", "apps.cli.main"]


@pytest.fixture
def processes() -> Generator[list[subprocess.Popen[str]]]:
    """What a test starts, ended with it."""
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        process.kill()


def started(server: Server, processes: list[subprocess.Popen[str]]) -> tuple[subprocess.Popen[str], dict[str, Any]]:
    """Start `martlet run`; return it with its flow run, once that is paused."""
    run = subprocess.Popen([*MARTLET, "run"], text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                           env=os.environ | {"PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL"})  # fmt: skip

    processes.append(run)

    def paused() -> list[dict[str, Any]]:
        assert run.poll() is None, run.communicate()
        body = {"flow_runs": {"state": {"type": {"any_": ["PAUSED"]}}}}
        return [run for run in httpx.post(f"{server.url}/flow_runs/filter", json=body).json() if keyset(run)]

    def keyset(run: dict[str, Any]) -> Any:
        return input_of(server, run, "schema").is_success

    return run, until(paused, 240)[0]


def input_of(server: Server, run: dict[str, Any], part: str) -> httpx.Response:
    """What the page shows: `schema` of the form, `description` above it."""
    key = run["state"]["state_details"]["run_input_keyset"][part]
    return httpx.get(f"{server.url}/flow_runs/{run['id']}/input/{key}")


def answer(server: Server, run: dict[str, Any], **form: Any) -> httpx.Response:
    return httpx.post(f"{server.url}/flow_runs/{run['id']}/resume", json={"run_input": form})


def test_a_person_refuses_a_candidate_and_is_not_asked_again(
    server: Server, workspace: Path, processes: list[subprocess.Popen[str]]
) -> None:
    with (workspace / "params.yaml").open("a") as params:
        params.write("gate: {needs_approval: true}\n")
    register(workspace, right=90)
    process, run = started(server, processes)
    assert "better than the base model on skills" in input_of(server, run, "description").text
    assert [version.aliases for version in registry.versions("martlet", workspace)] == [("challenger",)]
    assert registry.champion("martlet", workspace) is None  # the lock of the registry is free
    assert answer(server, run, approve=False).json()["status"] == "REJECT"  # who answers must say so
    assert answer(server, run, approve=False, by="Ada", why="too short").json()["status"] == "ACCEPT"
    printed, error = process.communicate(timeout=240)
    assert process.returncode == 4, error
    page = f"{server.url.removesuffix('/api')}/runs/flow-run/{run['id']}"
    assert f"promote version 1? answer at {page}" in " ".join(printed.split())
    assert "version 1 was refused by Ada: too short; `martlet registry promote 1`" in error
    again = subprocess.run([*MARTLET, "run"], capture_output=True, text=True, timeout=240)
    assert again.returncode == 4 and "was refused by Ada" in again.stderr
    assert registry.lookup("martlet", workspace, 1).tags["approval"] == "refused by Ada: too short"


def test_without_an_answer_in_time_nothing_is_promoted(server: Server, workspace: Path) -> None:
    from flows.promote import promote

    with (workspace / "params.yaml").open("a") as params:
        params.write("gate: {needs_approval: true, auto_promote: false, approval_timeout: 1}\n")
    register(workspace, right=90)
    assert subprocess.run([*MARTLET, "run"], capture_output=True).returncode == 0
    result = promote()
    assert isinstance(result, EvaluationGateError)
    assert "nobody approved version 1 within 1 s" in str(result)
    assert registry.champion("martlet", workspace) is None


@pytest.fixture(autouse=True)
def own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
