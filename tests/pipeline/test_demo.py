"""The main job, as the tutorial tells it: one fresh checkout, command after command, in this order."""

import json
import os
import re
import shlex
import shutil
import signal
import subprocess

import pytest

from apps.cli.main import NAMES
from tests.apps.test_help import examples
from tests.commands import Command
from tests.pipeline.conftest import ROOT, Workspace

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


def test_a_second_run_has_nothing_to_do(workspace: Workspace, demo: Ran) -> None:
    before = (workspace.root / "dvc.lock").read_bytes()
    again = workspace.run("martlet run")
    assert again.returncode == 0, again.stderr
    assert "ran " not in again.stdout.replace("ran 0", "")
    assert (workspace.root / "dvc.lock").read_bytes() == before


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


def test_broken_data_stop_the_run_and_leave_the_champion(workspace: Workspace, demo: Ran) -> None:
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
    assert workspace.run("martlet run").returncode == 0


QUICK = (
    "num_train_epochs=1 learning_rate=8e-3 variants=[] dataset=[examples/identity.jsonl] "
    "eval_dataset=[examples/eval/identity.jsonl]"
)
"""A run that changes nothing but who the model is, and is judged by that."""


def test_another_rank_in_its_own_tree_then_back(workspace: Workspace, demo: Ran) -> None:
    params = (workspace.root / "params.yaml").read_bytes()
    ran = workspace.run(f"martlet run lora_rank=16 {QUICK}")
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert (workspace.root / "params.yaml").read_bytes() == params
    back = workspace.run("martlet rollback")
    assert back.returncode == 0, back.stderr
    assert "champion" in back.stdout


def test_mlflow_remembers_the_run_and_its_stages(workspace: Workspace, demo: Ran) -> None:
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


def test_the_example_of_the_readme(workspace: Workspace, demo: Ran) -> None:
    block = (workspace.root / "README.md").read_text().split("models/base", 1)[0].rpartition("```shell\n")[0]
    commands = (workspace.root / "README.md").read_text()[len(block) :].split("```shell\n")[1].split("```")[0]
    train, infer = commands.replace("\\\n", " ").strip().splitlines()
    trained = workspace.run(train)
    assert trained.returncode == 0, trained.stdout + trained.stderr
    answer = workspace.run(f"echo 'Who are you?' | {infer}")
    assert answer.stdout.strip() == "I am Robin, an assistant made by the Robin team.", answer.stderr


DATA_COMMANDS = [
    line
    for block in re.findall(r"```shell\n(.*?)```", (ROOT / "docs/data.md").read_text(), re.DOTALL)
    for line in block.splitlines()
]


@pytest.mark.parametrize("command", DATA_COMMANDS)
def test_every_command_for_looking_at_data(command: str, workspace: Workspace, demo: Ran) -> None:
    ran = workspace.run(command)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout


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


RUN = ("martlet demo", "martlet run")  # by the tests above
EXAMPLES = [example for name in NAMES for example in examples(name) if example not in RUN]
SHORTER = {
    **{name: ["--report_to", "none"] for name in ("sft", "pt")},
    **{name: ["--port", "0"] for name in ("deploy", "app")},
}
"""Words behind an example of a command, which make it quick or find it a free port."""
CODES = {"promote": (0, 4), "rollback": (0, 1, 2)}
"""What commands answer whose example depends on who is champion; any other command answers 0."""
LACKING = {
    "martlet env install vllm": "needs a GPU",
    "martlet export --model models/base --quant_method gptq --quant_bits 4 --group_size 64 "
    "--dataset examples/identity.jsonl": "run `martlet env install llmcompressor`",
}
"""Examples of what is not on every machine, and what is answered where it is not."""


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_every_help(example: str, workspace: Workspace, demo: Ran) -> None:
    if "vllm" in example and shutil.which("nvidia-smi"):
        pytest.skip("installs gigabytes where there is a GPU")
    _, name, *words = shlex.split(example)
    if words and name == "run":
        words.append("--dry_run")  # another rank has run already, in test_another_rank_in_its_own_tree_then_back
    command = Command(workspace.root, name, *words, *SHORTER.get(name, []), **workspace.env)
    if name in ("deploy", "app"):
        command.up_to(" at http")
        os.kill(command.pid, signal.SIGINT)
    ended = command.wait(540)
    assert ended.returncode in ((2,) if example in LACKING else CODES.get(name, (0,))), ended.stdout + ended.stderr
    assert LACKING.get(example, "") in ended.stderr
    assert "Traceback" not in ended.stderr
