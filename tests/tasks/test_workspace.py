import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from components.config import load, read_mapping
from components.errors import ConfigError, EvaluationGateError, MartletError
from tasks.plan import Pipeline
from tasks.workspace import changes_of, in_place, in_worktree
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
    assert git(workspace, "status", "--porcelain") == "?? held\n"


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
