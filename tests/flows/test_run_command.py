"""`martlet run` as a person types it, and what is left when it is stopped in the middle."""

import os
import signal
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.flows.conftest import Server
from tests.flows.toy import edit, gone, register, tries, until

MARTLET = [sys.executable, "-m", "apps.cli.main"]


def martlet(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*MARTLET, *words], capture_output=True, text=True)


def test_a_killed_run_with_other_parameters_is_gone_on_with_by_the_same_command(
    server: Server, workspace: Path
) -> None:
    words = [*MARTLET, "run", "lora_rank=16"]
    run = subprocess.Popen(words, env={**os.environ, "TOY_TRAIN": "sleep60"}, stdout=subprocess.PIPE)
    started = until(lambda: list(workspace.glob(".runs/*/logs/train/pid")))[0]
    run.kill()
    run.communicate()
    after = martlet("run", "lora_rank=16")
    assert after.returncode == 0, after.stderr
    assert [file.name for file in (workspace / ".runs").iterdir() if file.is_dir()] == ["history"]
    assert [file.name for file in (workspace / ".runs/history").iterdir()] == [started.parents[2].name]


def at_work(root: Path, **environment: str) -> tuple[subprocess.Popen[str], list[int]]:
    """Start a run whose training hangs; return it, and the numbers of all processes below it."""
    import psutil

    run = subprocess.Popen(
        [*MARTLET, "run"], env={**os.environ, "TOY_TRAIN": "sleep60"}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
    until((root / "logs/train/pid").exists)
    return run, [child.pid for child in psutil.Process(run.pid).children(recursive=True)]


def test_ctrl_c_is_130_a_kill_leaves_nothing_and_the_next_run_goes_on(server: Server, workspace: Path) -> None:
    edit(workspace / "params.yaml", "lora_rank: 8", "lora_rank: 16")
    run, children = at_work(workspace)
    assert len(children) >= 3  # the leash, dvc, the stage
    run.send_signal(signal.SIGINT)
    printed = run.communicate(timeout=20)[0]
    assert run.returncode == 130
    assert "Traceback" not in printed
    assert all(gone(pid) for pid in children)

    (workspace / "logs/train/pid").unlink()
    run, children = at_work(workspace)
    second = martlet("run")
    assert second.returncode == 1
    assert f"(pid {run.pid}, since" in second.stderr
    run.kill()
    run.communicate()
    until(lambda: all(gone(pid) for pid in children), 3)

    after = martlet("run")
    assert after.returncode == 0, after.stderr
    assert tries(workspace) == {"train": 3, "merge": 1, "plot": 1}
    states = [line.split()[:2] for line in after.stdout.splitlines()]
    for expected in (["fetch", "reused"], ["train", "ran"], ["merge", "ran"], ["plot", "ran"], ["evaluate", "reused"]):
        assert expected in states


SLEEPER = """
import time
from contextlib import contextmanager
from pathlib import Path

@contextmanager
def served(model, adapters, settings):
    Path("asked").write_text("")
    time.sleep(600)
    yield
"""


@pytest.mark.slow  # a minute and a half; ctrl-C within a stage is above
def test_one_signal_ends_a_run_whose_gate_asks_a_model(
    server: Server, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import psutil

    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    register(workspace, right=10)
    (workspace / "sleeper.py").write_text(SLEEPER)
    with (workspace / "params.yaml").open("a") as params:
        params.write("generation: {infer_backend: sleeper}\nplugins: {external_plugins: [sleeper.py]}\n")
    assert martlet("run").returncode == 4
    next(workspace.glob("mlruns/models/*/reports/merged.parquet")).unlink()  # so that the candidate is asked again
    run = subprocess.Popen([*MARTLET, "run"], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    until((workspace / "asked").exists, 120)
    children = [child.pid for child in psutil.Process(run.pid).children(recursive=True)]
    run.send_signal(signal.SIGTERM)
    printed = run.communicate(timeout=60)[0]
    assert run.returncode == 130, printed
    assert "Traceback" not in printed
    assert all(gone(pid) for pid in children)


def test_a_dry_run_names_parameters_stages_and_reasons_and_touches_nothing(workspace: Path) -> None:
    before = {file: file.stat().st_mtime_ns for file in workspace.rglob("*") if ".dvc" not in file.parts}
    shown = martlet("run", "--dry-run", "lora_rank=16")
    assert shown.returncode == 0, shown.stderr
    for expected in (
        "lora.lora_rank",
        "16  (default 8)",
        "params.yaml: lora.lora_rank 8 → 16",
        "fetch              reused",
    ):
        assert expected in shown.stdout
    assert {file: file.stat().st_mtime_ns for file in workspace.rglob("*") if ".dvc" not in file.parts} == before


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["run", "lora_rnk=16"], 2, "lora_rank"),
        (["run", "a.yaml", "b.yaml"], 2, "one recipe at a time"),
        (["run", "a.yaml"], 2, "a.yaml: no such file"),
        (["explain", "trian"], 2, "did you mean 'train'"),
    ],
)
def test_a_wrong_word_is_one_message(workspace: Path, words: list[str], code: int, message: str) -> None:
    ran = martlet(*words)
    assert ran.returncode == code
    assert message in ran.stderr
    assert "Traceback" not in ran.stderr


def test_explain_says_why(workspace: Path) -> None:
    edit(workspace / "source.txt", "rows", "other rows")
    assert martlet("explain", "fetch").stdout == "fetch: would run\n  source.txt changed\n"
    assert martlet("explain", "train").stdout == "train: would run\n  upstream fetch will run\n"


def test_the_deployments_of_prefect_yaml_are_flows_that_exist(server: Server) -> None:
    from prefect import Flow
    from ruamel.yaml import YAML

    declared = YAML(typ="safe").load(Path(__file__).parents[2] / "prefect.yaml")
    names = []
    for deployment in declared["deployments"]:
        module, _, name = deployment["entrypoint"].rpartition(".")
        flow = getattr(import_module(module), name)
        assert isinstance(flow, Flow)
        names.append(f"{flow.name}/{deployment['name']}")
    expected = ["finetune", "retrain", "watch-data", "evaluate", "promote", "rollback", "serve"]
    assert names == [f"{name}/local" for name in expected]
