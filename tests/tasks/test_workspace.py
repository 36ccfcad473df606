import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from apps.cli.main import dispatch
from components.config import Params, load, read_mapping
from components.config.groups.tracking import tracking_uri
from components.errors import ConfigError, EvaluationGateError, MartletError
from tasks.claim import is_claimed
from tasks.plan import Pipeline
from tasks.preflight import problems
from tasks.supervise import Supervisor
from tasks.workspace import changes_of, in_place, in_worktree, name_of
from tests.flows.toy import edit, git, make, until

HOLD = """
import sys, time
from pathlib import Path
from tasks.workspace import in_place
with in_place(Path.cwd(), "`martlet run`"):
    Path("held").touch()
    time.sleep(60)
"""


def test_a_second_run_is_told_who_holds_the_workspace_and_a_dead_one_holds_nothing(workspace: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD], cwd=workspace)
    until((workspace / "held").exists)
    with pytest.raises(MartletError, match=rf"`martlet run` \(pid {holder.pid}, since \d\d:"), in_place(workspace, "b"):
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    with in_place(workspace, "b"):
        assert json.loads((workspace / ".martlet/run.lock").read_text())["pid"] == os.getpid()
    # What an earlier test of this process has begun with MLflow may still write to the current folder.
    assert set(git(workspace, "status", "--porcelain").splitlines()) - {"?? mlruns/"} == {"?? held"}


def test_paths_that_a_killed_dvc_held_are_freed(workspace: Path) -> None:
    held = workspace / ".dvc/tmp/rwlock"
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for pid in (dead.pid, os.getppid()):  # ended, or by now another program's
        entry = {"pid": pid, "cmd": "dvc repro"}
        held.write_text(json.dumps({"write": {str(workspace / "models"): entry}, "read": {}}))
        with in_place(workspace, "b"):
            assert not held.exists()


def test_paths_that_a_living_dvc_holds_are_left_alone(workspace: Path) -> None:
    dvc = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)", "dvc"])
    entry = {"pid": dvc.pid, "cmd": "dvc repro"}
    held = workspace / ".dvc/tmp/rwlock"
    held.write_text(json.dumps({"write": {}, "read": {str(workspace / "models"): [entry]}}))
    with in_place(workspace, "b"):
        assert held.exists()
    dvc.kill()
    dvc.wait()


def test_a_tree_of_its_own_has_the_workspace_as_it_looks_with_other_parameters(workspace: Path) -> None:
    edit(workspace / "source.txt", "rows", "uncommitted rows")
    (workspace / "new.txt").write_text("untracked")
    before = (workspace / "params.yaml").read_bytes()
    with in_worktree(workspace, "quick-bird", "a test", {"lora": {"lora_rank": 16}, "train": {"seed": 7}}) as place:
        root = place.paths.root
        assert place.paths.workspace == workspace
        assert (root / "source.txt").read_text() == "uncommitted rows"
        assert (root / "new.txt").read_text() == "untracked"
        assert (root / "models/adapter").exists()  # from the cache
        assert "lora_rank: 16 # the rank" in (root / "params.yaml").read_text().replace("  #", " #")
        assert load(root / "params.yaml").train.seed == 7
        steps = {step.name: step.why for step in Pipeline(root).plan()}
        assert steps["fetch"] == ("source.txt changed",)
        assert steps["train"] == ("params.yaml: lora.lora_rank 8 → 16", "upstream fetch will run")
    kept = workspace / ".runs/history/quick-bird"
    assert "lora_rank: 16" in (kept / "params.yaml").read_text()
    assert (kept / "reports/plot").read_text() == "plot"
    assert not root.exists()
    assert (workspace / "params.yaml").read_bytes() == before
    assert git(workspace, "worktree", "list").count("\n") == 1


def test_the_tree_of_a_failed_run_stays_and_is_gone_on_in(workspace: Path) -> None:
    with pytest.raises(MartletError, match="no luck"), in_worktree(workspace, "bird", "a test", {}) as place:
        (place.paths.root / "half").touch()
        raise MartletError("no luck")
    with in_worktree(workspace, "bird", "a test", {}) as place:
        assert (place.paths.root / "half").exists()


def test_a_run_whose_gate_stays_closed_is_complete(workspace: Path) -> None:
    with pytest.raises(EvaluationGateError, match="too few"), in_worktree(workspace, "bird", "a test", {}):
        raise EvaluationGateError("too few questions")
    assert (workspace / ".runs/history/bird/dvc.lock").exists()
    assert not (workspace / ".runs/bird").exists()


def test_parameters_by_any_of_their_names_end_up_in_one_place(workspace: Path) -> None:
    (workspace / "params.yaml").write_text("learning_rate: 0.1\ntuner: {lora_r: 8}\n")
    params = load(workspace / "params.yaml")
    layer = read_mapping({"learning_rate": 0.5, "lora": {"lora_rank": 2}}, "test")
    changes = changes_of(load(workspace / "params.yaml", layer), [layer])
    assert params.train.learning_rate == 0.1
    assert changes == {"train": {"learning_rate": 0.5}, "lora": {"lora_rank": 2}}
    with in_worktree(workspace, "bird", "a test", changes) as place:
        changed = load(place.paths.root / "params.yaml")
    assert (changed.train.learning_rate, changed.lora.lora_rank) == (0.5, 2)


@pytest.mark.parametrize("text", ["model: {model: a, model_revision: r}\n", "model: a\nmodel_revision: r\n"])
def test_a_parameter_named_like_its_group_is_written_into_the_group(workspace: Path, text: str) -> None:
    (workspace / "params.yaml").write_text(text)
    with in_worktree(workspace, "bird", "a test", {"model": {"model": "b"}}) as place:
        changed = load(place.paths.root / "params.yaml")
    assert (changed.model.model, changed.model.model_revision) == ("b", "r")


def test_without_git_or_a_commit_other_parameters_are_refused(tmp_path: Path) -> None:
    folder = make(tmp_path / "w")
    for leftover in ("commits", "repository"):
        subprocess.run(["rm", "-rf", folder / (".git/refs/heads" if leftover == "commits" else ".git")], check=True)
        (folder / ".git/packed-refs").unlink(missing_ok=True)
        with pytest.raises(ConfigError, match="git init && git add -A"), in_worktree(folder, "bird", "a test", {}):
            pass
        assert not (folder / ".runs").exists()


@pytest.mark.parametrize("name", ["wörk é", "two words #1 %41 + & ' $x", "日本"])
def test_a_workspace_may_have_any_letters_in_its_path(ran_once: Path, tmp_path: Path, name: str) -> None:
    folder = tmp_path / name / "workspace"
    shutil.copytree(ran_once, folder, symlinks=True)
    with in_worktree(folder, "bird", "a test", {"lora": {"lora_rank": 16}}) as place:
        steps = {step.name: step for step in Pipeline(place.paths.root, folder).plan()}
        Supervisor(place.paths, place.lock).run(steps["train"])
        assert not steps["fetch"].changed
        assert "lora_rank: 16" in (place.paths.root / "models/adapter").read_text()
    assert tracking_uri(folder).endswith(f"{name}/workspace/mlruns/mlflow.db")


def test_a_question_mark_in_the_path_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert any("has a question mark" in problem for problem in problems(Params(), tmp_path / "what?"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert not any("question mark" in problem for problem in problems(Params(), tmp_path / "what?"))


def test_a_run_finds_the_tree_that_it_left_behind_unless_another_works_there(workspace: Path) -> None:
    changes = {"lora": {"lora_rank": 16}}
    first = name_of(workspace, changes)
    assert re.fullmatch(r"\d{8}-\d{6}-lora_rank=16-[0-9a-f]{6}", first)
    with pytest.raises(MartletError), in_worktree(workspace, first, "a test", changes) as place:
        (place.paths.root / "dvc.lock").write_text("schema: '2.0'\nstages: {}\n")
        assert name_of(workspace, changes) != first or is_claimed(place.paths.root)
        raise MartletError("no luck")
    edit(workspace / "source.txt", "rows", "other rows")
    assert name_of(workspace, changes) == first
    assert name_of(workspace, {"lora": {"lora_rank": 32}}) != first
    with in_worktree(workspace, first, "a test", changes) as place:
        assert "stages: {}" in (place.paths.root / "dvc.lock").read_text()  # what was done
        assert (place.paths.root / "source.txt").read_text() == "other rows"  # what the workspace has today
        assert "lora_rank: 16" in (place.paths.root / "params.yaml").read_text()


def test_a_tree_that_was_left_half_made_is_made_anew(workspace: Path) -> None:
    (workspace / ".runs/bird").mkdir(parents=True)
    (workspace / ".runs/bird/half").touch()
    with in_worktree(workspace, "bird", "a test", {}) as place:
        assert (place.paths.root / "data/raw").exists()
        assert not (place.paths.root / "half").exists()


def test_gc_shows_then_removes_what_nothing_needs(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MartletError), in_worktree(workspace, "failed", "a test", {}) as place:
        write_run(place.paths.root, ended=6.0, outcome="failed", message="no luck:\n" + "of all that went wrong " * 99)
        raise MartletError("no luck")
    (workspace / "elsewhere/v0-20260101-000000/logs").mkdir(parents=True)
    (workspace / "elsewhere/v1-20260101-000000/checkpoint-3").mkdir(parents=True)
    (workspace / "elsewhere/mine").mkdir()
    with in_worktree(workspace, "alive", "a test", {}):
        dispatch(["gc", "--output_dir", "elsewhere"])
        shown = capsys.readouterr().out
        assert ".runs/failed  (failed: no luck: of all that went wrong of" in shown
        assert all(len(line) < 120 for line in shown.splitlines())
        assert "elsewhere/v0-20260101-000000" in shown and "--yes removes this" in shown
        for kept in ("alive", "v1-", "mine"):
            assert kept not in shown
        assert (workspace / ".runs/failed").exists()
        dispatch(["gc", "--output_dir", "elsewhere", "--yes"])
        assert sorted(path.name for path in (workspace / ".runs").iterdir() if path.is_dir()) == ["alive"]
        assert sorted(path.name for path in (workspace / "elsewhere").iterdir()) == ["mine", "v1-20260101-000000"]
    assert git(workspace, "worktree", "list").count("\n") == 1


def write_run(root: Path, **fields: object) -> None:
    (root / "logs").mkdir(exist_ok=True)
    run = {"began": time.time(), "pid": os.getpid(), "pid_began": psutil.Process().create_time(), "params": {}}
    (root / "logs/run.json").write_text(json.dumps({**run, **fields}))


def test_a_run_that_has_not_ended_well_has_no_score_or_verdict_of_the_run_before_it(
    workspace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (workspace / "reports").mkdir(exist_ok=True)
    (workspace / "metrics.json").unlink(missing_ok=True)
    (workspace / "metrics.json").write_text('{"merged": {"a": 1.0}}')
    (workspace / "reports/train.json").write_text('{"loss": 0.25}')
    (workspace / "reports/gate.json").write_text('{"decision": "promote"}')
    later = time.time() + 60
    for fields, verdict in (
        ({"began": later}, "running"),
        ({"began": later, "pid": 2**22 + 1}, "killed"),
        ({"began": later, "ended": later, "outcome": "failed"}, "failed"),
        ({"began": 5.0, "ended": 6.0, "outcome": "failed"}, "0.2500 100.0% failed"),
        ({"began": 5.0, "ended": 6.0, "outcome": "done"}, "0.2500 100.0% promote"),
    ):
        write_run(workspace, **fields)
        dispatch(["runs"])
        _, line = capsys.readouterr().out.splitlines()
        assert line.split()[2:] == [*verdict.split(), "."]


@pytest.mark.parametrize(
    "damage", ["", "{", "[]", "7", "null", '{"began": "x"}', '{"params": [1], "data": 3, "loss": ""}']
)
def test_damaged_files_of_runs_do_not_stop_the_lists(
    workspace: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    folders = [workspace, workspace / "output/v0-20260101-000000", workspace / "output/v1-20260101-000000/checkpoint-3"]
    for folder in folders:
        for name in ("logs/run.json", "args.json", "metrics.json", "reports/train.json", "reports/gate.json"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).unlink(missing_ok=True)
            (folder / name).write_text(damage)
    (workspace / ".martlet").mkdir(exist_ok=True)
    (workspace / ".martlet/run.lock").write_text(damage)
    for command in ("runs", "gc"):
        dispatch([command])
        assert "v0-20260101-000000" in capsys.readouterr().out
    with in_place(workspace, "a test"):
        pass


def test_runs_are_listed_with_what_came_of_them(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    params = {"model": {"model": "hub/Qwen3-0.6B"}, "data": {"dataset": ["examples/identity.jsonl#5"]}}
    with in_worktree(workspace, "bird", "a test", {}) as place:
        root = place.paths.root
        for file, content in {
            "logs/run.json": {"began": 5.0, "ended": 6.0, "outcome": "done", "params": params},
            "reports/train.json": {"loss": 0.25},
            "reports/gate.json": {"decision": "refuse"},
            "metrics.json": {"base": {"a": 0.0}, "merged": {"a": 1.0, "b": 0.5}},
        }.items():
            (root / file).parent.mkdir(parents=True, exist_ok=True)
            (root / file).unlink(missing_ok=True)
            (root / file).write_text(json.dumps(content))
    (workspace / "elsewhere/v0-20260101-000000").mkdir(parents=True)
    (workspace / "elsewhere/v0-20260101-000000/args.json").write_text(json.dumps(params))
    capsys.readouterr()
    dispatch(["runs", "--output_dir", "elsewhere"])
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert any("Qwen3-0.6B identity 0.2500 75.0% refuse .runs/history/bird" in line for line in lines), lines
    assert any("Qwen3-0.6B identity elsewhere/v0-20260101-000000" in line for line in lines), lines
