"""The main job, as the tutorial tells it: one fresh checkout, command after command, in this order."""

import json
import subprocess

import pytest

from tests.pipeline.conftest import Workspace
from tests.pipeline.test_examples import EXAMPLES, is_of_a_workspace, typed

Ran = subprocess.CompletedProcess[str]

pytestmark = pytest.mark.timeout(1600)  # the demo takes minutes beside other tests


def test_the_demo_teaches_a_name_and_keeps_what_was_there(workspace: Workspace, demo: Ran) -> None:
    assert demo.returncode == 0, demo.stdout[-3000:] + demo.stderr[-3000:]
    scores = workspace.read("metrics.json")
    for learned in ("identity", "sounds"):
        assert scores["base"][learned] <= 0.2
        assert scores["merged"][learned] >= 0.9
        assert scores["bnb-int8"][learned] >= 0.9
    assert scores["merged"]["skills"] >= scores["base"]["skills"] - 0.05
    assert workspace.read("reports/gate.json")["decision"] == "promote"


def test_the_base_alone_is_built_once(workspace: Workspace, demo: Ran) -> None:
    again = workspace.run("martlet demo --base_only")
    assert again.returncode == 0 and again.stdout.endswith("is there already\n")


def test_its_screen_shows_answers_scores_and_what_to_do_next(demo: Ran) -> None:
    for expected in ("before and after", "intervals", "martlet rollback", "Martlet"):
        assert expected in demo.stdout


def test_nothing_calls_home(workspace: Workspace, demo: Ran) -> None:
    from pathlib import Path

    log = Path(workspace.env["MARTLET_TEST_CONNECTIONS"])
    assert not log.exists(), log.read_text()


def test_the_watch_on_connections_can_fail(workspace: Workspace) -> None:
    log = workspace.root.parent / "planted.txt"
    code = "import socket; socket.getaddrinfo('example.invalid', 80)"
    workspace.run(f'python -c "{code}"', MARTLET_TEST_CONNECTIONS=str(log))
    assert "example.invalid" in log.read_text()


def test_every_output_is_there(workspace: Workspace, demo: Ran) -> None:
    for name in (
        "data/clean/train.parquet",
        "reports/data.html",
        "reports/train.png",
        "models/merged/model.safetensors",
    ):
        assert (workspace.root / name).is_file(), name


def test_dvc_alone_agrees(workspace: Workspace, demo: Ran) -> None:
    again = workspace.run("dvc repro")
    assert again.returncode == 0, again.stderr
    for stage in ("validate", "template", "train", "merge", "quantize@bnb-int8", "evaluate", "register"):
        assert f"Stage '{stage}' didn't change, skipping" in again.stdout


@pytest.mark.parametrize("command", ["dvc metrics diff", "dvc plots show", "dvc dag", "dvc status"])
def test_dvc_commands_work(command: str, workspace: Workspace, demo: Ran) -> None:
    answer = workspace.run(command)
    assert answer.returncode == 0, answer.stderr


def test_metrics_are_compared_with_the_last_commit(workspace: Workspace, demo: Ran) -> None:
    workspace.run("git add dvc.lock && git -c user.name=t -c user.email=t@t commit -qm 'the first model'")
    scores = workspace.root / "metrics.json"
    before = scores.read_text()
    scores.unlink()  # hard-linked to DVC's cache
    scores.write_text(before.replace('"identity": 1.0', '"identity": 0.25'))
    try:
        difference = json.loads(workspace.run("dvc metrics diff --json").stdout)
    finally:
        scores.write_text(before)
    assert difference["metrics.json"]["merged.identity"] == {"old": 1.0, "new": 0.25, "diff": -0.75}


def test_the_page_of_plots_needs_no_network(workspace: Workspace, demo: Ran) -> None:
    page = (workspace.root / "dvc_plots/index.html").read_text()
    assert "eval.png" in page and "train.png" in page
    assert "http" not in page


def test_a_dry_run_tells_what_one_parameter_would_run(workspace: Workspace, demo: Ran) -> None:
    answer = workspace.run("martlet run --dry-run lora.lora_rank=16")
    assert answer.returncode == 0, answer.stderr
    lines = {line.split()[0]: line for line in answer.stdout.splitlines() if line.strip()}
    for stage in ("fetch", "validate", "template"):
        assert "reused" in lines[stage], answer.stdout
    for stage in ("train", "merge", "quantize@bnb-int8", "evaluate", "register"):
        assert "run" in lines[stage], answer.stdout
    assert "lora.lora_rank 8 → 16" in answer.stdout


def test_broken_data_stop_the_run_and_the_next_one_has_nothing_to_do(workspace: Workspace, demo: Ran) -> None:
    before = (workspace.root / "dvc.lock").read_bytes()
    file = workspace.root / "examples/sounds.jsonl"
    good = file.read_text()
    file.write_text(good + '{"messages": [{"role": "user"\n')
    try:
        stopped = workspace.run("martlet run")
    finally:
        file.write_text(good)
    assert stopped.returncode == 3
    assert f"examples/sounds.jsonl:{len(good.splitlines()) + 1}" in stopped.stderr
    assert "Traceback" not in stopped.stderr + stopped.stdout
    again = workspace.run("martlet run")
    assert again.returncode == 0, again.stderr
    assert "ran " not in again.stdout.replace("ran 0", "")
    assert (workspace.root / "dvc.lock").read_bytes() == before


def test_another_rank_in_its_own_tree_then_back(workspace: Workspace, demo: Ran) -> None:
    params = (workspace.root / "params.yaml").read_bytes()
    quick = "num_train_epochs=1 learning_rate=8e-3 variants=[] margin=0.99"  # a gate that a short training passes
    ran = workspace.run(f"martlet run lora_rank=16 {quick}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    states = dict(line.split()[:2] for line in ran.stdout.splitlines() if len(line.split()) > 1)
    assert [states[stage] for stage in ("validate", "template")] == ["reused"] * 2
    assert [states[stage] for stage in ("train", "merge", "evaluate", "register")] == ["ran"] * 4
    assert (workspace.root / "params.yaml").read_bytes() == params
    back = workspace.run("martlet rollback")
    assert back.returncode == 0, back.stderr
    assert "champion" in back.stdout


def test_mlflow_remembers_the_run_and_its_stages(workspace: Workspace, demo: Ran) -> None:
    """Which `report_to` names by default."""
    code = (
        "import mlflow, json; mlflow.set_tracking_uri('sqlite:///mlruns/mlflow.db');"
        "runs = mlflow.search_runs(search_all_experiments=True, output_format='list');"
        "print(json.dumps([[r.info.run_name, r.info.status, r.data.tags.get('mlflow.parentRunId'),"
        " sorted(r.data.metrics)] for r in runs]))"
    )
    runs = json.loads(workspace.run(f'python -c "{code}"').stdout.splitlines()[-1])
    stages = {name: metrics for name, status, parent, metrics in runs if parent and status == "FINISHED"}
    assert {"fetch", "validate", "template", "train", "merge", "evaluate", "register"} <= set(stages)
    assert any("loss" in metric for metric in stages["train"])
    assert any(parent is None for _, _, parent, _ in runs)


def test_explain_names_the_dataset_that_changed(workspace: Workspace, demo: Ran) -> None:
    rows = workspace.root / "examples/sounds.jsonl"
    before = rows.read_text()
    rows.write_text(before + before.splitlines()[0] + "\n")
    try:
        told = workspace.run("martlet explain fetch")
    finally:
        rows.write_text(before)
    assert "examples/sounds.jsonl changed" in told.stdout


def test_explain_names_the_part_of_the_tokens_that_changed(workspace: Workspace, demo: Ran) -> None:
    params = workspace.root / "params.yaml"
    before = params.read_text()
    params.write_text(before.replace("max_length: 512", "max_length: 300"))
    try:
        told = workspace.run("martlet explain template")
    finally:
        params.write_text(before)
    assert "part changed: max_length (512 -> 300)" in told.stdout


@pytest.mark.parametrize("example", [example for example in EXAMPLES if is_of_a_workspace(example)])
def test_every_example_of_every_help(example: str, workspace: Workspace, demo: Ran) -> None:
    typed(example, workspace)
