"""A workspace with stages that take no time, and a way to make one of them misbehave."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

STAGE = """
import json, os, pathlib, sys, time
name, *outs = sys.argv[1:]
log = pathlib.Path("logs", name)
log.mkdir(parents=True, exist_ok=True)
asked = pathlib.Path(name + ".how")
how = os.environ.get("TOY_" + name.upper(), "") or (asked.read_text() if asked.exists() else "")
tries = log / "tries"
tries.write_text(str(int(tries.read_text()) + 1 if tries.exists() else 1))
if name == "train":
    print("a line of the stage")
    progress = {"time": time.time(), "step": 9, "total_steps": 9, "loss": 0.5}
    (log / "progress.jsonl").write_text(json.dumps(progress) + chr(10))
if how.startswith("sleep"):
    (log / "pid.tmp").write_text(str(os.getpid()))
    (log / "pid.tmp").rename(log / "pid")
    time.sleep(float(how[5:]))
if how.startswith("fail") or (how == "once" and tries.read_text() == "1"):
    code = int(how[4:]) if how.startswith("fail") else 1
    result = {"stage": name, "status": "failed", "exit_code": code, "message": "the stage's own reason"}
    (log / "result.json").write_text(json.dumps(result))
    sys.exit(code)
if how == "die":
    print("the last thing it said", flush=True)
    os.kill(os.getpid(), 9)
params = pathlib.Path("params.yaml").read_text() if name == "train" else ""
rows = pathlib.Path("rows.jsonl")
if rows.exists() and name in ("train", "merge"):
    params += rows.read_text()
for out in outs:
    path = pathlib.Path(out)
    if out == "models/merged":
        path = path / "model.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(name + params)
"""
REGISTER = """
from pathlib import Path

from components.config import load
from components.evaluation import write_report
from tasks.stages import register
from tasks.stages.paths import Paths

paths = Paths.here()
for name, right in (("base", 10), ("merged", int(Path("right.txt").read_text()))):
    question = {"set": "skills", "reference": "yes", "answer": "yes", "answer_tokens": 1}
    answers = [{**question, "item": n, "query": f"question {n}", "score": float(n < right)} for n in range(100)]
    write_report(paths.reports / "eval", name, answers)
register.run(load(Path("params.yaml")), paths)
"""
FETCH = """
from pathlib import Path

from components.config import load
from tasks.stages import fetch
from tasks.stages.paths import Paths

fetch.rows(load(Path("params.yaml")), Paths.here())
"""
FETCH_STAGE = """\
stages:
  fetch:
    cmd: python fetch.py
    deps: [fetch.py, rows.jsonl]
    params: [data]
    outs: [data/raw: {persist: true}, data/media: {persist: true}, data/eval: {persist: true}]
"""
PARAMS = """\
# what a newcomer changes
lora:
  lora_rank: 8  # the rank
merge: {merge_tolerance: 0.01}
evaluate: {}
tracking: {report_to: none}
"""
PIPELINE = """\
stages:
  fetch:
    cmd: python stage.py fetch data/raw
    deps: [stage.py, source.txt]
    outs: [data/raw]
  train:
    cmd: python stage.py train models/adapter
    deps: [data/raw]
    params: [lora]
    outs: [models/adapter]
  merge:
    cmd: python stage.py merge models/merged
    deps: [models/adapter]
    params: [merge]
    outs: [models/merged]
  plot:
    cmd: python stage.py plot reports/plot
    deps: [models/adapter]
    outs: [reports/plot]
  evaluate:
    cmd: python stage.py evaluate reports/scores metrics.json
    deps: [models/merged, reports/plot]
    params: [evaluate]
    outs: [reports/scores]
    metrics: [metrics.json: {cache: false}]
"""


def make(folder: Path) -> Path:
    """A git repository with the toy pipeline, committed, never run."""
    folder.mkdir(parents=True)
    (folder / "stage.py").write_text(STAGE)
    (folder / "params.yaml").write_text(PARAMS)
    (folder / "source.txt").write_text("rows")
    (folder / "dvc.yaml").write_text(PIPELINE)
    (folder / ".gitignore").write_text("/data/\n/models/\n/reports/\n/logs/\n/metrics.json\n__pycache__\n")
    git(folder, "init", "-q")
    python = [sys.executable, "-m", "dvc"]
    subprocess.run([*python, "init", "-q"], cwd=folder, check=True)
    (folder / ".dvc/config").write_text("[core]\n    analytics = false\n    check_update = false\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "start")
    return folder


def git(folder: Path, *words: str) -> str:
    names = ["-c", "user.name=t", "-c", "user.email=t@t"]
    return subprocess.run(["git", *names, *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def tries(root: Path) -> dict[str, int]:
    """How often each stage really ran."""
    return {file.parent.name: int(file.read_text()) for file in root.glob("logs/*/tries")}


def until(condition: Callable[[], Any], seconds: float = 60) -> Any:
    """Poll until `condition` is true."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
    return found


def gone(pid: int) -> bool:
    """True for a process that has ended, reaped or not."""
    import psutil

    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


@pytest.fixture(scope="session")
def ran_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace in which every stage has run, to be copied."""
    folder = make(tmp_path_factory.mktemp("toy") / "workspace")
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=folder, env=environment, check=True)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "ran")
    shutil.rmtree(folder / "logs")
    return folder


@pytest.fixture
def workspace(ran_once: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of its own, as the current folder."""
    folder = tmp_path / "workspace"
    shutil.copytree(ran_once, folder, symlinks=True)
    monkeypatch.chdir(folder)
    return folder


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text
    file.write_text(text.replace(old, new))


def fetch_rows(folder: Path) -> None:
    """Let the first stage fetch rows.jsonl as the pipeline itself does, without a model, and other rows make another
    model."""
    (folder / "rows.jsonl").write_text("".join(map(row, range(40))))
    (folder / "fetch.py").write_text(FETCH)
    with (folder / "params.yaml").open("a") as params:
        params.write("data: {dataset: [rows.jsonl]}\n")
    pipeline = (folder / "dvc.yaml").read_text().partition("  train:\n")
    later = pipeline[2].replace("deps: [models/adapter]", "deps: [models/adapter, rows.jsonl]")
    (folder / "dvc.yaml").write_text(f"{FETCH_STAGE}  train:\n{later}")


def row(number: int) -> str:
    """A line of a dataset, on one of three topics."""
    row = {"query": f"What is {number}?", "response": f"{number}. " * (1 + number % 7), "topic": f"t{number % 3}"}
    return json.dumps(row) + "\n"


def register(folder: Path, right: int) -> None:
    """Add a last stage that registers models/merged with so many right answers of 100; its base has 10."""
    (folder / "register.py").write_text(REGISTER)
    (folder / "right.txt").write_text(str(right))
    with (folder / "dvc.yaml").open("a") as pipeline:
        pipeline.write(
            "  register:\n    cmd: python register.py\n"
            "    deps: [register.py, right.txt, models/merged, reports/scores]\n    outs: [reports/registration.json]\n"
        )
