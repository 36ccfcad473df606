"""The deployments of prefect.yaml on a real server: parameters, retraining by a change of the data, overlaps, notices.

The tests of this file share a workspace and one `martlet serve-flows`, and go on from where the one before ended.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import psutil
import pytest

from components.files import read_json
from tests.flows import toy
from tests.flows.conftest import Server
from tests.flows.toy import gone, until

pytestmark = pytest.mark.slow  # each run is a process that imports Prefect
ROOT = Path(__file__).parents[2]
FINAL = ("COMPLETED", "FAILED", "CANCELLED", "CRASHED")


@pytest.fixture(scope="module")
def house(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace that fetches rows, registers its model, and has the deployments of this repository."""
    folder = toy.make(tmp_path_factory.mktemp("house") / "workspace")
    toy.fetch_rows(folder)
    toy.register(folder, right=90)
    shutil.copy(ROOT / "prefect.yaml", folder)
    toy.git(folder, "add", "-A")
    toy.git(folder, "commit", "-qm", "rows")
    return folder


@contextmanager
def serving(folder: Path) -> Generator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "apps.cli.main", "serve-flows"]
    environment = {name: value for name, value in os.environ.items() if name != "MLFLOW_TRACKING_URI"}
    environment["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "INFO"  # what a person sees
    log = (folder.parent / "serve-flows.log").open("w")
    flows = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=log, stderr=log, start_new_session=True, text=True
    )
    try:
        yield flows
    finally:
        os.killpg(flows.pid, signal.SIGINT)
        flows.wait(30)


@pytest.fixture(scope="module")
def flows(house: Path, server: Server) -> Generator[subprocess.Popen[str]]:
    with serving(house) as process:
        until(lambda: deployment(server, "serve/local"), 120)
        yield process


def deployment(server: Server, name: str) -> dict[str, Any] | None:
    reply = httpx.get(f"{server.url}/deployments/name/{name}")
    return reply.json() if reply.is_success else None


def start(server: Server, name: str, **parameters: Any) -> str:
    """Start a run, as `prefect deployment run NAME` does; return its id."""
    identity = deployment(server, name)["id"]  # type: ignore[index]
    url = f"{server.url}/deployments/{identity}/create_flow_run"
    body = {"parameters": parameters, "state": {"type": "SCHEDULED"}, "idempotency_key": uuid4().hex}

    def created() -> dict[str, Any] | None:  # a busy server answers 503, and is asked again
        reply = httpx.post(url, json=body)
        return reply.json() if reply.is_success else None

    return until(created)["id"]


def state(server: Server, run: str) -> dict[str, Any]:
    return httpx.get(f"{server.url}/flow_runs/{run}").json()["state"]


def end(server: Server, run: str, seconds: float = 120) -> tuple[str, str]:
    """Wait for the final state of a run; return its name and message."""
    until(lambda: state(server, run)["type"] in FINAL, seconds)
    final = state(server, run)
    return final["name"], final["message"] or ""


def runs_of(server: Server, flow: str) -> list[dict[str, Any]]:
    body = {"flows": {"name": {"any_": [flow]}}, "sort": "START_TIME_DESC"}
    return httpx.post(f"{server.url}/flow_runs/filter", json=body).json()


def seconds(server: Server, run: str) -> float:
    """The seconds from the start of a run to its end."""
    return httpx.get(f"{server.url}/flow_runs/{run}").json()["total_run_time"]


def test_prefects_pages_get_a_form_with_types_help_and_allowed_values(
    flows: subprocess.Popen[str], server: Server
) -> None:
    schema = deployment(server, "finetune/local")["parameter_openapi_schema"]  # type: ignore[index]
    groups = schema["definitions"]
    assert groups["lora"]["properties"]["lora_rank"]["type"] == "integer"
    assert groups["lora"]["properties"]["lora_rank"]["description"].endswith("[8]")
    assert "enum" in groups["train"]["properties"]["torch_dtype"]
    assert not any("default" in leaf for group in groups.values() for leaf in group.get("properties", {}).values())
    assert "serve" in deployment(server, "serve/local")["parameter_openapi_schema"]["definitions"]  # type: ignore[index]


def test_every_wrong_parameter_is_named_at_once(flows: subprocess.Popen[str], house: Path, server: Server) -> None:
    wrong = {"lora": {"lora_rnk": 16}, "train": {"learning_rate": "fast"}, "tuner": {"tuner_type": 3}}
    name, message = end(server, start(server, "finetune/local", params=wrong))
    assert name == "Failed"
    assert message.startswith("3 problems in the configuration")
    assert "did you mean 'lora_rank'" in message and "train.learning_rate" in message and "'fast'" in message
    name, message = end(server, start(server, "retrain/local", notify="custom-webhook/nobody"))
    assert (name, "no block 'custom-webhook/nobody'" in message) == ("Failed", True)
    log = (house.parent / "serve-flows.log").read_text()
    assert "no block 'custom-webhook/nobody'" in log and "Traceback" not in log


def test_a_retrained_model_meets_the_gate_and_the_verdict_is_told(
    flows: subprocess.Popen[str], house: Path, server: Server, hook: tuple[str, list[dict[str, Any]]]
) -> None:
    from prefect.blocks.notifications import CustomWebhookNotificationBlock

    url, posted = hook
    block = CustomWebhookNotificationBlock(
        name="team",
        url=f"{url}/{{{{token}}}}",
        json_data={"title": "{{subject}}", "text": "{{body}}"},
        secrets={"token": "a-secret"},
        headers={},
        cookies={},
    )
    block.save("team")
    name, message = end(server, start(server, "retrain/local", notify="custom-webhook/team"))
    assert name == "Ran", message
    assert "version 1 is champion: " in message
    (notice,) = until(lambda: posted)
    assert notice["title"] == "Martlet retrain: Ran" and message in notice["text"]
    page, workspace, flow_run = notice["text"].splitlines()[1:]
    assert (page, workspace) == (f"page: {house / 'reports/gate.html'}", f"workspace: {house}")
    assert flow_run.startswith(f"flow run: {server.url.removesuffix('/api')}/runs/flow-run/")
    assert notice["path"] == "/a-secret"
    seen = json.dumps(runs_of(server, "retrain")) + (house.parent / "serve-flows.log").read_text()
    assert "a-secret" not in seen
    assert read_json(house / "reports/drift.json")["change"] == "none"  # nothing was promoted before


def test_without_a_change_nothing_runs_and_nobody_is_told(
    flows: subprocess.Popen[str], house: Path, server: Server, hook: tuple[str, list[dict[str, Any]]]
) -> None:
    before, told = toy.tries(house), len(hook[1])
    night = start(server, "retrain/local", notify="custom-webhook/team")
    assert end(server, night)[0] == "Reused"
    watch = start(server, "watch-data/local")
    assert end(server, watch) == ("Unchanged", "nothing changed")
    print(f"no-op retrain {seconds(server, night):.1f} s, no-op watch {seconds(server, watch):.1f} s")
    assert toy.tries(house) == before and len(hook[1]) == told


def test_a_change_of_the_data_starts_a_retraining_and_its_drift_is_reported(
    flows: subprocess.Popen[str], house: Path, server: Server
) -> None:
    rows = (house / "rows.jsonl").read_text()
    (house / "rows.jsonl").write_text(rows + "".join(toy.row(number) for number in range(100, 140)))
    (house / "right.txt").write_text("95")
    before = {run["id"] for run in runs_of(server, "retrain")}
    began = time.monotonic()
    name, message = end(server, start(server, "watch-data/local"))
    assert (name, message) == ("Changed", "rows.jsonl changed")
    run = until(lambda: {run["id"] for run in runs_of(server, "retrain")} - before).pop()
    name, message = end(server, run)
    print(f"change to promotion {time.monotonic() - began:.1f} s")
    assert name == "Ran" and "version 2 is champion in place of version 1: " in message, message
    assert message.endswith("data drift: large"), message
    drift = read_json(house / "reports/drift.json")
    assert drift["rows"] == {"before": 40, "now": 80}
    assert drift["repeats"] == {"kept": 40, "new": 40, "gone": 0, "duplicates": 0}
    assert [share["name"] for share in drift["topics"]["shares"]] == ["t0", "t1", "t2"]
    assert end(server, start(server, "watch-data/local"))[0] == "Unchanged"


def test_a_refusal_is_told_and_an_evaluation_promotes_nothing(
    flows: subprocess.Popen[str], house: Path, server: Server, hook: tuple[str, list[dict[str, Any]]]
) -> None:
    champion = read_json(house / "reports/gate.json")["version"]
    with (house / "rows.jsonl").open("a") as rows:
        rows.write(toy.row(500))
    (house / "right.txt").write_text("20")
    name, message = end(server, start(server, "retrain/local", notify="custom-webhook/team"))
    assert name == "Refused", message
    notice = until(lambda: next((n for n in hook[1] if n["title"] == "Martlet retrain: Refused"), None))
    assert message in notice["text"] and f"page: {house / 'reports/gate.html'}" in notice["text"]
    assert "version 3 is not promoted: " in message and message.endswith("version 2 stays champion; data drift: small")
    assert read_json(house / "reports/drift.json")["repeats"]["new"] == 1  # against the rows of the champion
    (house / "right.txt").write_text("99")
    name, message = end(server, start(server, "evaluate/local"))
    assert (name, message.startswith("promote: no set")) == ("Passed", True), message
    verdict = read_json(house / "reports/gate.json")
    assert verdict["promoted"] is False and verdict["champion"] == champion


def test_a_run_that_comes_while_another_runs_waits_or_is_skipped_and_a_cancelled_one_leaves_nothing(
    flows: subprocess.Popen[str], house: Path, server: Server
) -> None:
    (house / "train.how").write_text("sleep60")
    toy.edit(house / "params.yaml", "lora_rank: 8", "lora_rank: 16")
    first = start(server, "retrain/local")
    pid = int(until((house / "logs/train/pid").exists) and (house / "logs/train/pid").read_text())
    second = start(server, "retrain/local")
    until(lambda: state(server, second)["name"] == "AwaitingConcurrencySlot")
    assert end(server, start(server, "watch-data/local"))[1].startswith("a run works in this workspace")
    (house / "train.how").unlink()
    began = time.monotonic()
    httpx.post(f"{server.url}/flow_runs/{first}/set_state", json={"state": {"type": "CANCELLING"}}).raise_for_status()
    until(lambda: gone(pid), 60)
    print(f"the trainer was gone after {time.monotonic() - began:.1f} s")
    assert end(server, first)[0] in ("Cancelled", "Stopped")
    assert end(server, second)[0] == "Ran"
    assert "lora_rank: 16" in (house / "dvc.lock").read_text()


def test_runs_that_shall_skip_are_cancelled_while_another_runs(flows: subprocess.Popen[str], server: Server) -> None:
    watches = [start(server, "watch-data/local") for _ in range(3)]
    names = sorted(end(server, run)[0] for run in watches)
    assert names[:2] == ["Cancelled", "Cancelled"] and names[2] in ("Changed", "Unchanged")


def test_the_run_of_a_worker_that_died_is_gone_on_with_by_the_next(
    flows: subprocess.Popen[str], house: Path, server: Server
) -> None:
    (house / "train.how").write_text("sleep60")
    (house / "logs/train/pid").unlink(missing_ok=True)
    with (house / "rows.jsonl").open("a") as rows:
        rows.write(toy.row(600))
    start(server, "retrain/local")
    pid = int(until((house / "logs/train/pid").exists) and (house / "logs/train/pid").read_text())
    for process in psutil.Process(flows.pid).children(recursive=True):
        if "leash" not in " ".join(process.cmdline()):
            process.kill()
    until(lambda: gone(pid), 30)
    (house / "train.how").unlink()
    name, message = end(server, start(server, "retrain/local"), 200)
    assert name == "Ran", message
    assert "train" in message and toy.tries(house)["train"] >= 2
