import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from components.errors import MartletError
from components.files import read_json, write_json
from components.tracking import begin, current, end, finish, follow, recording, runs_page, status, sync
from components.tracking.page import VIEW
from components.tracking.points import tail
from components.tracking.store import _connected
from tests.components.tracking.conftest import progress, result


def everything(workspace: Path, experiment: str) -> dict[str, Any]:
    """All that MLflow holds of an experiment, by the name of the run."""
    with _connected(workspace) as client:
        runs = client.search_runs([client.get_experiment_by_name(experiment).experiment_id])
        names = {run.info.run_id: run.info.run_name for run in runs}
        return {
            run.info.run_name: {
                "parent": names.get(run.data.tags.get("mlflow.parentRunId")),
                "status": run.info.status,
                "tags": run.data.tags,
                "params": run.data.params,
                "points": {
                    key: [(p.step, round(p.value, 6)) for p in client.get_metric_history(run.info.run_id, key)]
                    for key in run.data.metrics
                },
                "datasets": [(i.dataset.name, i.dataset.digest) for i in run.inputs.dataset_inputs],
                "artifacts": {file.path for file in client.list_artifacts(run.info.run_id)},
            }
            for run in runs
        }


def test_the_figures_of_a_method_are_metrics_by_their_own_names(
    tmp_path: Path, workspace: Path, params: dict[str, Any]
) -> None:
    begin(tmp_path, params, "aligned")
    log = tmp_path / "logs/train/progress.jsonl"
    log.parent.mkdir(parents=True)
    rollouts = [{"prompt": "2+2?", "completion": "4", "rewards": {"exact": 1.0}, "reward": 1.0, "advantage": 0.5}]
    lines = [
        {
            "step": 1,
            "loss": 0.7,
            "rewards/chosen": 0.25,
            "rewards/right answer/mean": 1,
            "completions/mean_length": 9.5,
        },
        {"step": 1, "rollouts": rollouts},
        {"step": 1, "eval_rewards/accuracies": 0.5, "eval_reward": -1.0},
        {"message": "step 1: the first ratio is 1.2"},
    ]
    log.write_text("".join(json.dumps({"time": time.time(), **line}) + "\n" for line in lines))
    sync(tmp_path, workspace)
    found = everything(workspace, params["tracking"]["experiment_name"])
    assert found["train"]["points"] == found["aligned"]["points"] == {
        "train/loss": [(1, 0.7)], "train/rewards/chosen": [(1, 0.25)], "train/rewards/right answer/mean": [(1, 1.0)],
        "train/completions/mean_length": [(1, 9.5)], "train/eval_rewards/accuracies": [(1, 0.5)],
        "train/eval_reward": [(1, -1.0)],
    }  # fmt: skip


def test_a_run_as_it_goes_on_and_ends(tmp_path: Path, workspace: Path, params: dict[str, Any]) -> None:
    experiment = params["tracking"]["experiment_name"]
    result(tmp_path, "fetch", began=time.time() - 60)  # reused: it ran before this run
    begin(tmp_path, params, "first run")
    progress(tmp_path, "train", 1, 3)
    sync(tmp_path, workspace)
    live = everything(workspace, experiment)
    assert set(live) == {"first run", "train"}
    assert {name: run["status"] for name, run in live.items()} == {"first run": "RUNNING", "train": "RUNNING"}
    assert live["train"]["parent"] == "first run"
    assert live["train"]["points"] == {"train/loss": [(1, 1.0), (2, 0.5), (3, round(1 / 3, 6))]}
    assert live["first run"]["points"]["train/loss"] == live["train"]["points"]["train/loss"]
    assert live["first run"]["params"]["lora.lora_rank"] == "8"
    assert live["first run"]["params"]["model.model"] == "models/base"

    progress(tmp_path, "train", 4, 4)
    result(tmp_path, "train")
    result(tmp_path, "evaluate", status="failed", exit_code=1, message="the server fell over", metrics={})
    (tmp_path / "reports/eval").mkdir(parents=True)
    (tmp_path / "reports/train.csv").write_text("step,loss\n")
    (tmp_path / "reports/eval/merged.json").write_text("{}")
    (tmp_path / "models/merged").mkdir(parents=True)
    (tmp_path / "models/merged/model.safetensors").write_text("weights")
    write_json(tmp_path / "reports/train.json", {"steps": 9})
    scores = {"base": {"identity": 0.1, "skills": 0.5}, "merged": {"identity": 0.9, "skills": 0.5}}
    write_json(tmp_path / "metrics.json", scores)
    (tmp_path / "data/raw").mkdir(parents=True)
    source = {"spec": "examples/identity.jsonl", "sha256": "d" * 64}
    write_json(tmp_path / "data/raw/manifest.json", {"sources": [source]})
    end(tmp_path, "done")
    sync(tmp_path, workspace)
    ended = everything(workspace, experiment)
    parent = ended["first run"]
    assert {name: run["status"] for name, run in ended.items()} == {
        "first run": "FINISHED",
        "train": "FINISHED",
        "evaluate": "FAILED",
    }
    assert parent["points"]["train/loss"][-1] == (4, 0.25)
    assert set(parent["points"]) == {"train/loss", "accuracy/identity", "accuracy/skills", "score"}
    assert parent["points"]["accuracy/identity"] == [(0, 0.1), (9, 0.9)]
    assert parent["points"]["score"] == [(0, 0.3), (9, 0.7)]
    assert ended["train"]["params"] == {"rows/train": "7"}
    assert set(ended["train"]["points"]) == {"train/loss"}
    assert parent["datasets"] == [("examples/identity.jsonl", "d" * 36)]
    assert all(run["tags"]["mlflow.user"] and run["tags"]["mlflow.source.name"] for run in ended.values())
    assert parent["artifacts"] == {"reports", "run.json"}
    assert parent["tags"]["martlet.merged"] == str(tmp_path / "models/merged")
    assert "the server fell over" in ended["evaluate"]["tags"]["mlflow.note.content"]
    assert "| merged | 90.0% | 50.0% |" in parent["tags"]["mlflow.note.content"]
    stored = [file.name for file in (workspace / "mlruns/artifacts").rglob("*")]
    assert "train.csv" in stored and "merged.json" in stored
    assert "model.safetensors" not in stored


def test_the_page_that_is_printed_lists_the_runs_by_score_in_columns_that_exist(
    tmp_path: Path, workspace: Path, params: dict[str, Any]
) -> None:
    experiment = params["tracking"]["experiment_name"]
    for name, score in (("worse", 0.2), ("better", 0.8)):
        begin(tmp_path / name, params)
        progress(tmp_path / name, "train", 1, 2)
        write_json(tmp_path / name / "metrics.json", {"merged": {"identity": score}})
        end(tmp_path / name, "done")
        sync(tmp_path / name, workspace)
    command, page = runs_page(workspace, experiment)
    assert command and "mlruns/mlflow.db" in command
    with _connected(workspace) as client:
        identity = page.split("#/experiments/")[1].split("/runs?")[0]
        view = json.loads(client.get_experiment(identity).tags[VIEW])
        runs = client.search_runs([identity], view["searchFilter"], order_by=[f"{view['orderByKey']} DESC"])
    assert [Path(run.data.tags["martlet.root"]).name for run in runs] == ["better", "worse"]
    assert all(str(run.info.run_name).startswith("base, identity, 20") for run in runs)
    logged = {"metrics": {*runs[0].data.metrics, "train/eval_loss"}, "params": runs[0].data.params}
    for column in view["selectedColumns"]:
        kind, _, name = column.partition(".")
        assert kind not in logged or name.strip("`") in logged[kind], column


def test_the_page_of_a_damaged_store_is_that_of_all_experiments(tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns/mlflow.db").write_bytes(b"garbage" * 1000)
    assert runs_page(tmp_path, "any")[1] == "http://127.0.0.1:5000/#/experiments"


def test_the_page_of_a_server_is_without_its_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:secret@mlflow.example:8080/team/")
    assert runs_page(tmp_path, "any") == (None, "https://mlflow.example:8080/team/#/experiments")


def test_syncing_again_changes_nothing_at_any_time(tmp_path: Path, workspace: Path, params: dict[str, Any]) -> None:
    experiment = params["tracking"]["experiment_name"]
    begin(tmp_path, params, "run")
    for step in range(1, 4):
        progress(tmp_path, "train", step, step)
        assert sync(tmp_path, workspace) == sync(tmp_path, workspace)
    result(tmp_path, "train")
    end(tmp_path, "done")
    sync(tmp_path, workspace)
    once = everything(workspace, experiment)
    sync(tmp_path, workspace)
    assert everything(workspace, experiment) == once
    assert once["train"]["points"]["train/loss"] == [(1, 1.0), (2, 0.5), (3, round(1 / 3, 6))]


def test_a_crash_between_points_and_their_mark_repeats_no_point(
    tmp_path: Path, workspace: Path, params: dict[str, Any]
) -> None:
    begin(tmp_path, params, "run")
    progress(tmp_path, "train", 1, 3)
    identity = sync(tmp_path, workspace)
    with _connected(workspace) as client:
        run = client.get_run(identity)
        run.data.tags.pop("martlet.read.train", None)
        assert tail(client, tmp_path / "logs/train/progress.jsonl", "train", [run]) == 3
    points = everything(workspace, params["tracking"]["experiment_name"])["run"]["points"]["train/loss"]
    assert [step for step, _ in points] == [1, 2, 3]


def test_half_a_line_waits_for_its_end(tmp_path: Path, workspace: Path, params: dict[str, Any]) -> None:
    begin(tmp_path, params, "run")
    progress(tmp_path, "train", 1, 2)
    file = tmp_path / "logs/train/progress.jsonl"
    whole = file.read_text()
    file.write_text(whole[:-10])
    sync(tmp_path, workspace)
    file.write_text(whole)
    sync(tmp_path, workspace)
    points = everything(workspace, params["tracking"]["experiment_name"])["train"]["points"]["train/loss"]
    assert points == [(1, 1.0), (2, 0.5)]


def test_a_stage_that_is_tried_again_is_another_child(tmp_path: Path, workspace: Path, params: dict[str, Any]) -> None:
    begin(tmp_path, params, "run")
    progress(tmp_path, "train", 1, 2)
    sync(tmp_path, workspace)
    (tmp_path / "logs/train/progress.jsonl").unlink()
    time.sleep(0.002)  # progress tells the time in milliseconds
    progress(tmp_path, "train", 1, 3)
    result(tmp_path, "train")
    sync(tmp_path, workspace)
    with _connected(workspace) as client:
        experiment = client.get_experiment_by_name(params["tracking"]["experiment_name"]).experiment_id
        tries = client.search_runs([experiment], "tags.`martlet.stage` = 'train'", order_by=["start_time"])
    assert [run.info.status for run in tries] == ["KILLED", "FINISHED"]


def test_a_failed_run_keeps_only_its_own_reports(tmp_path: Path, workspace: Path, params: dict[str, Any]) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports/train.csv").write_text("of an earlier run")
    os.utime(tmp_path / "reports/train.csv", (1, 1))
    begin(tmp_path, params, "run")
    (tmp_path / "reports/data.html").write_text("<p>closed")
    result(tmp_path, "validate", status="failed", exit_code=3, message="12 rows are broken", metrics={})
    end(tmp_path, "failed", "12 rows are broken")
    identity = sync(tmp_path, workspace)
    with _connected(workspace) as client:
        assert [file.path for file in client.list_artifacts(identity, "reports")] == ["reports/data.html"]
        note = client.get_run(identity).data.tags["mlflow.note.content"]
    assert "Failed after" in note and "> 12 rows are broken" in note


def test_a_run_that_nobody_ended_is_closed_by_the_next(tmp_path: Path, workspace: Path, params: dict[str, Any]) -> None:
    for name in ("crashed", "next"):
        begin(tmp_path, params, name)
        sync(tmp_path, workspace)
    runs = everything(workspace, params["tracking"]["experiment_name"])
    assert {name: run["status"] for name, run in runs.items()} == {"crashed": "KILLED", "next": "RUNNING"}


def test_recording_joins_the_run_that_goes_on_or_makes_one(
    tmp_path: Path, workspace: Path, params: dict[str, Any]
) -> None:
    with recording(tmp_path, workspace, params) as alone:
        assert current(tmp_path)
    assert current(tmp_path) is None
    begin(tmp_path, params, "flow")
    with recording(tmp_path, workspace, params) as joined:
        pass
    assert current(tmp_path)
    assert joined != alone
    with pytest.raises(MartletError, match="full"), recording(tmp_path / "other", workspace, params) as broken:
        raise MartletError("the disk is full")
    with _connected(workspace) as client:
        found = [client.get_run(run).info.status for run in (alone, joined, broken)]
    assert found == ["FINISHED", "RUNNING", "FAILED"]


def test_the_sidecar_follows_a_run_to_its_end(tmp_path: Path, workspace: Path, params: dict[str, Any]) -> None:
    sync_first(tmp_path / "warm", workspace, params)
    began = time.monotonic()
    begin(tmp_path, params, "followed")
    sidecar = follow(tmp_path, workspace)
    assert time.monotonic() - began < 1
    progress(tmp_path, "train", 1, 2)
    wait_until(lambda: live_loss(tmp_path, workspace) == 0.5)
    progress(tmp_path, "train", 3, 4)
    wait_until(lambda: live_loss(tmp_path, workspace) == 0.25)
    result(tmp_path, "train")
    end(tmp_path, "done")
    assert finish(sidecar, tmp_path)["ok"], (tmp_path / "logs/tracking.log").read_text()
    run = everything(workspace, params["tracking"]["experiment_name"])["followed"]
    assert run["status"] == "FINISHED"
    assert run["points"]["system/cpu_utilization_percentage"]
    assert (tmp_path / "logs/tracking.log").read_text() == ""


def sync_first(root: Path, workspace: Path, params: dict[str, Any]) -> None:
    """Let the store be made before something is timed."""
    begin(root, {**params, "tracking": {"experiment_name": "warm"}}, "warm")
    sync(root, workspace)


def live_loss(root: Path, workspace: Path) -> float | None:
    told = status(root)
    if not told["ok"]:
        return None
    with _connected(workspace) as client:
        return client.get_run(told["run_id"]).data.metrics.get("train/loss")


def wait_until(holds: Any, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_the_sidecar_outlives_its_owner_just_long_enough_to_say_so(
    tmp_path: Path, workspace: Path, params: dict[str, Any]
) -> None:
    code = (
        "import json, sys; from pathlib import Path; from components.tracking import begin, follow;"
        "root, workspace = map(Path, sys.argv[1:3]); begin(root, json.loads(sys.stdin.readline()), 'orphan');"
        "print(follow(root, workspace).pid, flush=True); sys.stdin.read()"
    )
    owner = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path), str(workspace)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert owner.stdin
    assert owner.stdout
    owner.stdin.write(json.dumps(params) + "\n")
    owner.stdin.flush()
    sidecar = int(owner.stdout.readline())
    owner.send_signal(signal.SIGKILL)
    owner.communicate()
    wait_until(lambda: not Path(f"/proc/{sidecar}").exists() or _is_zombie(sidecar))
    run = everything(workspace, params["tracking"]["experiment_name"])["orphan"]
    assert run["status"] == "KILLED"
    assert "its process disappeared" in run["tags"]["mlflow.note.content"]


def _is_zombie(pid: int) -> bool:
    return "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text()


def test_a_server_that_is_away_is_one_line_and_a_status(
    tmp_path: Path, params: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as port:
        port.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port.getsockname()[1]}")
        begin(tmp_path, params, "alone")
        sidecar = follow(tmp_path, tmp_path)
        progress(tmp_path, "train", 1, 2)
        end(tmp_path, "done")
        told = finish(sidecar, tmp_path, timeout=60)
    assert not told["ok"]
    assert "does not answer" in told["message"]
    assert (tmp_path / "logs/tracking.log").read_text().splitlines() == [told["message"]]
    assert read_json(tmp_path / "logs/run.json")["outcome"] == "done"


def test_beginning_and_following_import_no_mlflow() -> None:
    code = "import sys; import components.tracking, components.registry; print('mlflow' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout == "False\n"
