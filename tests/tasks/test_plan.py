import os
import pty
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from components.errors import ConfigError
from tasks.plan import Pipeline, Step, Wishes, workspace_of
from tests.flows.toy import edit, make


def plan(root: Path) -> dict[str, Step]:
    return {step.name: step for step in Pipeline(root).plan()}


def test_stages_come_in_order_with_those_above_them(workspace: Path) -> None:
    steps = plan(workspace)
    assert list(steps) == ["fetch", "train", "merge", "plot", "evaluate"]
    assert [step.upstream for step in steps.values()] == [
        (), ("fetch",), ("train",), ("train",), ("merge", "plot")
    ]  # fmt: skip
    assert steps["evaluate"].outs == ("reports/scores", "metrics.json")
    assert not any(step.changed for step in steps.values())


def test_nothing_is_drawn_on_the_terminal(workspace: Path) -> None:
    (workspace / "data/raw").unlink()
    code = (  # it ends as `martlet` does, without what libraries write at the end
        "import os; from pathlib import Path; from tasks.plan import Pipeline;"
        "p = Pipeline(Path.cwd()); p.restore(); p.plan(); os._exit(0)"
    )
    reader, terminal = pty.openpty()
    subprocess.run([sys.executable, "-c", code], stdout=terminal, stderr=terminal, check=True)
    os.write(terminal, b"end")
    assert os.read(reader, 1000) == b"end"
    assert (workspace / "data/raw").exists()


def lose(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


def rewrite(path: str, old: str, new: str) -> Callable[[Path], None]:
    return lambda root: edit(root / path, old, new)


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (
            rewrite("params.yaml", "lora_rank: 8", "lora_rank: 16"),
            {"train": "params.yaml: lora.lora_rank 8 → 16"},
        ),
        (
            rewrite("params.yaml", "evaluate: {}", "evaluate: {eval_limit: 5}"),
            {"evaluate": "params.yaml: evaluate.eval_limit default → 5"},
        ),
        (
            rewrite("params.yaml", "merge: {merge_tolerance: 0.01}", "merge: {}"),
            {"merge": "params.yaml: merge.merge_tolerance 0.01 → default"},
        ),
        (rewrite("source.txt", "rows", "more rows"), {"fetch": "source.txt changed"}),
        (rewrite("dvc.yaml", "stage.py plot", "stage.py  plot"), {"plot": "its command changed"}),
        (lose("reports/plot"), {"plot": "reports/plot is missing", "evaluate": "reports/plot is missing"}),
        (lose("metrics.json"), {"evaluate": "metrics.json is missing"}),
        (rewrite("params.yaml", "report_to: none", "report_to: mlflow"), {}),
    ],
)
def test_a_change_is_named_where_it_is_read(
    workspace: Path, change: Callable[[Path], None], reasons: dict[str, str]
) -> None:
    change(workspace)
    own = {
        name: reason
        for name, step in plan(workspace).items()
        for reason in step.why
        if not reason.startswith("upstream")
    }
    assert own == reasons


def test_what_is_below_a_change_may_run_too(workspace: Path) -> None:
    edit(workspace / "params.yaml", "lora_rank: 8", "lora_rank: 16")
    steps = plan(workspace)
    assert not steps["fetch"].changed
    assert steps["merge"].why == ("upstream train will run",)
    assert steps["evaluate"].why == ("upstream merge will run", "upstream plot will run")
    assert Pipeline(workspace).why("merge") == []  # of itself it has nothing to do


def test_other_parameters_can_be_tried_without_writing_them(workspace: Path) -> None:
    before = (workspace / "params.yaml").read_bytes()
    steps = {step.name: step for step in Pipeline(workspace).plan({"lora": {"lora_rank": 4}})}
    assert steps["train"].why == ("params.yaml: lora.lora_rank 8 → 4",)
    assert (workspace / "params.yaml").read_bytes() == before
    edit(workspace / "params.yaml", "lora_rank: 8", "lora_rank: 16")
    back = {step.name: step.changed for step in Pipeline(workspace).plan({"lora": {"lora_rank": 8}})}
    assert back["train"] is False


def test_a_fresh_pipeline_has_never_run(tmp_path: Path) -> None:
    assert {step.why[0] for step in plan(make(tmp_path / "fresh")).values()} == {"first run"}


def test_a_stage_that_always_looks_may_say_that_nothing_is_new(
    workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    edit(workspace / "dvc.yaml", "    outs: [data/raw]", "    outs: [data/raw]\n    always_changed: true")
    stage = ModuleType("tasks.stages.fetch")
    monkeypatch.setitem(sys.modules, "tasks.stages.fetch", stage)
    assert plan(workspace)["fetch"].why == ("it always looks",)
    seen: list[Path] = []
    stage.up_to_date = lambda params, paths: bool(seen.append(paths.root) or params.lora.lora_rank == 8)  # type: ignore[attr-defined]
    assert not plan(workspace)["fetch"].changed
    assert seen == [workspace]
    edit(workspace / "params.yaml", "lora_rank: 8", "lora_rank: 16")
    assert plan(workspace)["fetch"].why == ("it always looks",)


def test_a_stage_may_ask_for_retries_a_timeout_and_a_limit(workspace: Path) -> None:
    asked = "    outs: [models/adapter]\n    meta: {martlet: {retries: 2, timeout: 60, limit: gpu}}"
    edit(workspace / "dvc.yaml", "    outs: [models/adapter]", asked)
    steps = plan(workspace)
    assert steps["train"].wishes == Wishes(retries=2, timeout=60, limit="gpu")
    assert steps["fetch"].wishes == Wishes()
    edit(workspace / "dvc.yaml", "retries", "retry")
    with pytest.raises(ConfigError, match=r"train.*retry.*retries, timeout, limit"):
        plan(workspace)


def test_where_there_is_no_pipeline_it_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="martlet init"):
        workspace_of(tmp_path)
    (tmp_path / ".dvc").mkdir()
    with pytest.raises(ConfigError, match=r"no dvc\.yaml"):
        workspace_of(tmp_path)
    (tmp_path / "dvc.yaml").touch()
    (tmp_path / "deep/er").mkdir(parents=True)
    assert workspace_of(tmp_path / "deep/er") == tmp_path


def test_a_broken_dvc_yaml_is_dvcs_own_message(workspace: Path) -> None:
    edit(workspace / "dvc.yaml", "cmd: python stage.py plot", "command: python stage.py plot")
    with pytest.raises(ConfigError, match=r"dvc\.yaml"):
        plan(workspace)


def test_a_parameter_that_dvc_yaml_needs_is_asked_for(workspace: Path) -> None:
    file = workspace / "dvc.yaml"
    file.write_text(file.read_text() + "\n  more:\n    foreach: ${quantize.variants}\n    do: {cmd: echo}\n")
    with pytest.raises(ConfigError, match=r"'quantize.variants'; give it a value in params.yaml"):
        Pipeline(workspace).plan()


def test_a_project_that_lost_its_git_says_what_to_do(workspace: Path) -> None:
    (workspace / ".git").rename(workspace / "git")
    with pytest.raises(ConfigError, match="not a git repository; make it one with `git init`"):
        Pipeline(workspace).plan()
    (workspace / ".dvc/config").write_text("[core]\nno_scm = true\n")
    assert Pipeline(workspace).plan()


def test_damaged_files_are_named_with_what_to_do(workspace: Path) -> None:
    lock = (workspace / "dvc.lock").read_text()
    (workspace / "dvc.lock").write_text("{}")
    with pytest.raises(ConfigError, match=r"dvc\.lock.* remove it: `martlet run` writes it anew"):
        plan(workspace)
    (workspace / "dvc.lock").write_text(lock)
    (workspace / "params.yaml").unlink()
    (workspace / "params.yaml").symlink_to("nowhere.yaml")
    with pytest.raises(ConfigError, match=r"params\.yaml: no such file; put it back"):
        plan(workspace)
