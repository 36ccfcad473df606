import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import httpx
import pytest

from components.errors import ConfigError, DataGateError, EvaluationGateError, MartletError
from tasks.watch import Event
from tests.flows.conftest import Server
from tests.flows.toy import edit, git, register, tries, until


def finetune(*args: Any) -> Any:
    """Run the flow as `martlet run` does: what a gate refuses is raised."""
    from flows.finetune import finetune

    result = finetune(*args)
    if isinstance(result, MartletError):
        raise result
    return result


def ended(events: list[Event]) -> dict[str, str]:
    return {event.stage: event.state for event in events}


def ask(server: Server, path: str, **body: Any) -> list[dict[str, Any]]:
    """What the server's API has, as its pages see it."""
    return httpx.post(f"{server.url}/{path}/filter", json=body).raise_for_status().json()


def last_run(server: Server, final: int) -> tuple[dict[str, Any], dict[str, str]]:
    """The newest flow run, and the states of its task runs by name once so many are final: they arrive as events."""
    run = ask(server, "flow_runs", sort="START_TIME_DESC", limit=1)[0]

    def states() -> dict[str, str]:
        tasks = ask(server, "task_runs", flow_runs={"id": {"any_": [run["id"]]}})
        return {task["name"].rpartition("-")[0]: task["state_name"] for task in tasks}

    until(lambda: len([state for state in states().values() if state not in ("Pending", "Running")]) >= final)
    return run, states()


def messages(server: Server, run: dict[str, Any]) -> dict[str, str]:
    """The messages of a run's final states, by task."""
    tasks = ask(server, "task_runs", flow_runs={"id": {"any_": [run["id"]]}})
    return {task["name"].rpartition("-")[0]: task["state"]["message"] for task in tasks}


def logged(server: Server, run: dict[str, Any]) -> set[str]:
    """The lines in Prefect's log of a run, all sent, as at the end of `martlet run`."""
    from prefect.logging.handlers import APILogWorker

    APILogWorker.drain_all()
    return {line["message"] for line in ask(server, "logs", logs={"flow_run_id": {"any_": [run["id"]]}}, limit=200)}


def test_a_run_without_work_reuses_everything_and_costs_nothing(
    server: Server, workspace: Path, events: list[Event]
) -> None:
    finetune()
    assert set(ended(events).values()) == {"reused"}
    assert tries(workspace) == {}
    # In a process of its own: other tests in this one may have imported MLflow.
    code = "import sys; from flows.finetune import finetune; finetune(); print('mlflow' in sys.modules)"
    alone = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert alone.stdout.splitlines()[-1] == "False", alone.stderr
    run, tasks = last_run(server, 5)
    assert (run["state_name"], run["state"]["message"]) == ("Reused", "nothing changed")
    assert tasks == dict.fromkeys(ended(events), "Reused")


def test_one_parameter_reruns_its_readers_and_what_their_output_changes(
    server: Server, workspace: Path, events: list[Event]
) -> None:
    edit(workspace / "params.yaml", "lora_rank: 8", "lora_rank: 16")
    finetune()
    # merge and plot read the new adapter; what they write is the same as before, so evaluate has nothing to do
    assert ended(events) == {"fetch": "reused", "train": "ran", "merge": "ran", "plot": "ran", "evaluate": "reused"}
    assert tries(workspace) == {"train": 1, "merge": 1, "plot": 1}
    both = [event.stage for event in events if event.state in ("running", "ran")]
    assert both.index("plot") < len(both) - 1 - both[::-1].index("merge")  # side by side
    assert "lora_rank: 16" in (workspace / "dvc.lock").read_text()
    run, tasks = last_run(server, 5)
    assert (tasks["train"], tasks["evaluate"], run["state"]["message"]) == ("Ran", "Reused", "train, merge, plot ran")
    assert re.fullmatch(r"ran in \d+\.\d s: params\.yaml: lora\.lora_rank 8 → 16", messages(server, run)["train"])
    assert {"step 9/9  loss 0.5000", "a line of the stage"} <= logged(server, run)


def test_a_failed_stage_fails_the_flow_with_its_reason_and_code(
    server: Server, workspace: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(workspace / "params.yaml", "lora_rank: 8", "lora_rank: 16")
    asked = "    outs: [models/adapter]\n    meta: {martlet: {retries: 3}}"
    edit(workspace / "dvc.yaml", "    outs: [models/adapter]", asked)
    monkeypatch.setenv("TOY_TRAIN", "fail3")
    with pytest.raises(DataGateError, match=r"^train: the stage's own reason$") as caught:
        finetune()
    assert caught.value.exit_code == 3
    assert ended(events) == {
        "fetch": "reused", "train": "refused", "merge": "skipped", "plot": "skipped", "evaluate": "skipped"
    }  # fmt: skip
    assert tries(workspace) == {"train": 1}  # a closed gate is not knocked at again
    run, tasks = last_run(server, 5)
    assert run["state"]["message"] == "train: the stage's own reason"
    assert (run["state_name"], tasks["train"], tasks["merge"]) == ("Refused", "Refused", "Skipped")


def test_a_stage_that_fails_is_told_without_a_word_of_those_after_it(
    server: Server, workspace: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(workspace / "params.yaml", "lora_rank: 8", "lora_rank: 16")
    monkeypatch.setenv("TOY_TRAIN", "fail1")
    with pytest.raises(MartletError, match=r"^train: the stage's own reason$"):
        finetune()
    run, tasks = last_run(server, 5)
    assert (run["state_name"], tasks["train"], tasks["evaluate"]) == ("Failed", "Failed", "Skipped")
    assert ended(events)["train"] == "failed"


def test_a_stage_is_tried_again_as_often_as_it_asks_and_its_limit_is_made(
    server: Server, workspace: Path, events: list[Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client

    asked = "    outs: [reports/plot]\n    meta: {martlet: {retries: 1, limit: gpu}}"
    edit(workspace / "dvc.yaml", "    outs: [reports/plot]", asked)
    edit(workspace / "dvc.yaml", "stage.py plot", "stage.py  plot")
    monkeypatch.setenv("TOY_PLOT", "once")
    finetune()
    assert [event.state for event in events if event.stage == "plot"] == [
        "waiting", "running", "failed", "running", "ran"
    ]  # fmt: skip
    with get_client(sync_client=True) as client:
        limit = client.read_global_concurrency_limit_by_name("gpu")
    assert (limit.limit, limit.active_slots) == (1, 0)


def test_runs_with_other_parameters_go_on_side_by_side(server: Server, workspace: Path) -> None:
    before = (workspace / "params.yaml").read_bytes()
    (workspace / "recipe.yaml").write_text("lora: {lora_rank: 32}\n")
    errors: list[BaseException] = []

    def one(*args: Any) -> None:
        try:
            finetune(*args)
        except BaseException as error:
            errors.append(error)

    runs = [threading.Thread(target=one, args=({"lora": {"lora_rank": 16}},))]
    runs.append(threading.Thread(target=one, args=({}, "recipe.yaml")))
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert errors == []
    locks = [file.read_text() for file in workspace.glob(".runs/history/*/dvc.lock")]
    assert {lock.split("lora_rank: ")[1][:2] for lock in locks} == {"16", "32"}
    assert (workspace / "params.yaml").read_bytes() == before
    assert tries(workspace) == {}
    assert git(workspace, "worktree", "list").count("\n") == 1


def test_a_misspelt_parameter_stops_the_run_before_it_starts(server: Server, workspace: Path) -> None:
    with pytest.raises(ConfigError, match=r"lora\.lora_rnk.*lora_rank"):
        finetune({"lora": {"lora_rnk": 16}})
    assert not (workspace / ".runs").exists()


def champion_of(workspace: Path) -> int | None:
    from components import registry

    champion = registry.champion("martlet", workspace)
    return champion and champion.number


def test_the_gate_judges_a_candidate_once_and_believes_the_registry_alone(
    server: Server,
    workspace: Path,
    events: list[Event],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    from components.registry.store import connected

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    register(workspace, right=10)
    with pytest.raises(
        EvaluationGateError, match=r"^version 1 is not promoted: .*better than the base model.*champion"
    ):
        finetune()
    assert champion_of(workspace) is None
    first, why, page, *_, last = said(capsys, "logs")
    assert first.startswith("the last run: refused, 20") and why.startswith("version 1 is not promoted")
    assert page == "see reports/gate.html" and last.startswith("gate: done not enough evidence")

    def run() -> dict[str, str]:
        events.clear()
        finetune()
        return {stage: state for stage, state in ended(events).items() if stage in ("register", "gate", "promote")}

    (workspace / "right.txt").write_text("90")
    (workspace / "params.yaml").write_text((workspace / "params.yaml").read_text() + "gate: {auto_promote: false}\n")
    assert run() == {"register": "ran", "gate": "ran"}
    assert champion_of(workspace) is None
    edit(workspace / "params.yaml", "auto_promote: false", "auto_promote: true")
    assert run() == {"register": "reused", "gate": "reused", "promote": "ran"}
    assert run() == {"register": "reused", "gate": "reused", "promote": "reused"}
    assert champion_of(workspace) == 1
    with connected(workspace) as client:
        client.delete_model_version("martlet", "1")
    assert run() == {"register": "reused", "gate": "ran", "promote": "ran"}
    assert champion_of(workspace) == 2


@pytest.mark.slow
def test_a_model_that_was_rolled_back_is_not_told_as_a_promotion(
    server: Server, workspace: Path, empty_store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from components import registry

    def message() -> tuple[str, str]:
        finetune()
        state = ask(server, "flow_runs", sort="START_TIME_DESC", limit=1)[0]["state"]
        return state["name"], state["message"]

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copytree(empty_store, workspace, dirs_exist_ok=True)
    register(workspace, right=90)
    assert message()[1].startswith("register ran; version 1 is champion: against the base model: better than the base")
    (workspace / "rows.jsonl").write_text("other rows")
    edit(workspace / "params.yaml", "merge_tolerance: 0.01", "merge_tolerance: 0.02")
    name, told = message()
    assert name == "Ran" and "; version 2 is champion in place of version 1: " in told, told
    registry.rollback("martlet", workspace, why="a mistake")
    day = registry.history("martlet", workspace)[-1].time[:10]
    known = f"version 2 was promoted before and rolled back on {day}; version 1 stays champion"
    assert message() == ("Reused", f"nothing changed; {known}")
    edit(workspace / "params.yaml", "merge_tolerance: 0.02", "merge_tolerance: 0.01")
    assert message() == ("Restored", "merge, evaluate, register restored; version 1 is champion already")


def said(capsys: pytest.CaptureFixture[str], *words: str) -> list[str]:
    """Type a command in the current folder; return the lines that it printed."""
    from apps.cli.main import dispatch

    capsys.readouterr()
    dispatch(list(words))
    return capsys.readouterr().out.splitlines()


def test_every_run_with_work_stays_in_the_list_and_the_logs_say_how_the_last_one_ended(
    server: Server, workspace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def runs() -> list[str]:
        return [" ".join(line.split()[2:]) for line in said(capsys, "runs")[1:]]

    finetune()
    assert not (workspace / ".runs").exists()
    edit(workspace / "params.yaml", "lora_rank: 8", "lora_rank: 16")
    finetune()
    assert runs() == ["ran ."]
    (first,) = (workspace / ".runs/history").iterdir()
    assert "lora_rank: 16" in (first / "params.yaml").read_text() and (first / "metrics.json").is_file()
    assert said(capsys, "logs")[1] == "train, merge, plot ran"
    finetune()
    assert runs() == ["ran ."]
    edit(workspace / "params.yaml", "lora_rank: 16", "lora_rank: 32")
    monkeypatch.setenv("TOY_TRAIN", "fail1")
    with pytest.raises(MartletError):
        finetune()
    assert runs() == [f"ran .runs/history/{first.name}", "failed ."]
    head, why, _, *_, last = said(capsys, "logs")
    assert head.startswith("the last run: failed, 20") and why == "train: the stage's own reason"
    assert last == "train: failed the stage's own reason"
    monkeypatch.setenv("TOY_TRAIN", "fail3")
    with pytest.raises(DataGateError):
        finetune()
    assert runs()[-1] == "refused ." and len(runs()) == 3


def test_a_run_in_a_workspace_that_is_taken_says_by_whom(server: Server, workspace: Path) -> None:
    from tasks.workspace import in_place

    with (
        in_place(workspace, "`martlet run`"),
        pytest.raises(MartletError, match=r"another run works in .*`martlet run`"),
    ):
        finetune()


def test_reports_become_artifacts(server: Server, workspace: Path, events: list[Event]) -> None:
    report = """{"rows": {"train": 2, "val": 0, "dropped": 1},
      "checks": [{"name": "empty", "action": "drop", "count": 1, "left_out": 1, "closed": false}],
      "rejected": [{"split": "train", "source": "a.jsonl", "row": 3, "check": "empty", "reason": "no | answer"}]}"""
    (workspace / "report.py").write_text(f"open('reports/data.json', 'w').write('''{report}''')")
    with (workspace / "dvc.yaml").open("a") as pipeline:
        pipeline.write("  validate:\n    cmd: python report.py\n    deps: [report.py]\n    outs: [reports/data.json]\n")
    finetune()
    assert [event.text for event in events if event.stage == "validate"][-1] == (
        "1 of 3 rows left out: 1 empty; see reports/data.html"
    )
    artifact = ask(server, "artifacts", artifacts={"key": {"any_": ["data-report"]}})[0]
    assert "Rows: 2 train, 0 val, 1 dropped" in artifact["data"]
    assert "| a.jsonl:3 | empty | no \\| answer |" in artifact["data"]


@pytest.mark.slow
def test_eight_runs_at_once_share_the_cache_and_read_no_files_of_each_other(server: Server, workspace: Path) -> None:
    ranks = (8, 16, 32, 64)
    program = (
        "import sys; from flows.finetune import finetune;"
        "finetune({'lora': {'lora_rank': int(sys.argv[1])}, 'merge': {'merge_tolerance': float(sys.argv[2])}})"
    )
    # Four ranks, two tolerances: what depends on the rank alone is made by one of two runs, or by both at once.
    runs = [
        subprocess.Popen([sys.executable, "-c", program, str(rank), tolerance], stderr=subprocess.PIPE, text=True)
        for rank in ranks
        for tolerance in ("0.02", "0.03")
    ]
    errors = [run.communicate(timeout=500)[1] for run in runs]
    assert [run.returncode for run in runs] == [0] * 8, errors
    kept = sorted(workspace.glob(".runs/history/*"))
    assert len(kept) == 8
    for folder in kept:
        lock = (folder / "dvc.lock").read_text()
        rank, tolerance = re.search(r"lora_rank=(\d+),?-?merge_tolerance=([\d.]+)", folder.name).groups()  # type: ignore[union-attr]
        assert f"lora_rank: {rank}" in lock and f"merge_tolerance: {tolerance}" in lock
        adapter = re.search(r"path: models/adapter\s+hash: md5\s+md5: (\w+)", lock)
        assert adapter
        made = workspace / ".dvc/cache/files/md5" / adapter[1][:2] / adapter[1][2:]
        assert f"lora_rank: {rank}" in made.read_text()
    assert tries(workspace) == {}
    assert git(workspace, "worktree", "list").count("\n") == 1
    again = subprocess.run([sys.executable, "-c", program, "16", "0.02"], capture_output=True, text=True, timeout=120)
    assert again.returncode == 0, again.stderr
    _, states = last_run(server, 5)
    assert {states[name] for name in ("train", "merge", "plot", "evaluate")} <= {"Restored", "Reused"}
