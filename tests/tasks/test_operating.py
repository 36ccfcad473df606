"""Commands of whoever operates a workspace: status, logs, gc, backup and restore, init."""

import http.server
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

import tasks
from apps.cli.main import dispatch
from components import registry
from components.errors import ConfigError, MartletError
from components.files import read_json, seal
from tasks.workspace import in_place, in_worktree
from tests.flows.toy import edit, git, until

MARTLET = [sys.executable, "-m", "apps.cli.main"]


@pytest.fixture(autouse=True)
def our_own_servers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")


def said(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """Type a command in the current folder; return what it printed."""
    capsys.readouterr()
    dispatch([str(word) for word in words])
    return capsys.readouterr().out


def versions(folder: Path, *contents: str) -> None:
    """Register models, the last of which is champion."""
    for content in contents:
        weights = folder.parent / content
        weights.mkdir()
        (weights / "model.safetensors").write_text(content)
        number = registry.register("martlet", weights, folder).number
        registry.promote("martlet", number, folder, why=f"it is {content}", over=None if number == 1 else number - 1)


@pytest.fixture(scope="module")
def promoted(ran_once: Path, empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A workspace with two versions, the second of which is champion; to be copied."""
    folder = tmp_path_factory.mktemp("promoted") / "workspace"
    shutil.copytree(ran_once, folder, symlinks=True)
    shutil.copytree(empty_store, folder, dirs_exist_ok=True)
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        versions(folder, "one", "two")
    return folder


def test_status_names_every_server_that_does_not_answer(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with in_place(workspace, "`martlet run`"):
        shown = said(capsys, "status")
    assert f"at work    `martlet run` in . (pid {os.getpid()}, since" in shown
    assert "nothing answers at http://127.0.0.1:8000" in shown
    assert "none yet; `martlet run` promotes" in shown
    assert "http://127.0.0.1:9/api does not answer" in shown
    assert not (workspace / "mlruns").exists()


def test_status_tells_the_champion_and_why(
    promoted: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(promoted)
    assert "champion   martlet version 2; promote on 20" in (shown := said(capsys, "status"))
    assert "it is two" in shown
    champion = registry.lookup("martlet", promoted, 2)
    champion.folder.rename(promoted / "aside")
    assert f"martlet version 2 (its weights are not in {champion.folder}); promote" in said(capsys, "status")
    (promoted / "aside").rename(champion.folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    assert "the MLflow server at http://127.0.0.1:9 does not answer" in said(capsys, "status")


@pytest.mark.parametrize("words", [["status"], ["promote"], ["rollback"], ["registry", "list"]])
def test_outside_of_a_workspace_a_command_names_init(
    words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="martlet init"):
        dispatch(words)


def write_log(root: Path, stage: str, *losses: float) -> Path:
    folder = root / "logs" / stage
    folder.mkdir(parents=True)
    lines = [json.dumps({"time": 0, "step": n + 1, "loss": loss}) + "\n" for n, loss in enumerate(losses)]
    (folder / "progress.jsonl").write_text("".join(lines))
    (folder / "output.log").write_text("Running stage 'train':\na line of the stage\n")
    return folder


def test_logs_show_progress_output_and_end_of_a_stage(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="no stage has run here yet"):
        dispatch(["logs"])
    log = write_log(workspace, "train", 0.5, 0.25)
    (log / "result.json").write_text('{"status": "failed", "message": "train: the loss is no number"}')
    expected = (
        "step 1  loss 0.5000\nstep 2  loss 0.2500\na line of the stage\ntrain: failed train: the loss is no number\n"
    )
    assert said(capsys, "logs") == expected == said(capsys, "logs", "train")
    with pytest.raises(ConfigError, match="did you mean 'train'"):
        dispatch(["logs", "trian"])
    for file in ("progress.jsonl", "output.log", "result.json"):
        (log / file).write_bytes(b"\xff\xfe\x00\n7\n")
    assert "7" in said(capsys, "logs")
    with pytest.raises(MartletError, match="no luck"), in_worktree(workspace, "bird", "a test", {}) as place:
        write_log(place.paths.root, "merge", 0.125)
        raise MartletError("no luck")
    assert "loss 0.1250" in said(capsys, "logs", "--run", "bird")
    with pytest.raises(ConfigError, match=r"--run bard: no such work tree \(did you mean 'bird'\?\)"):
        dispatch(["logs", "--run", "bard"])


def test_logs_follow_a_stage_to_its_end(workspace: Path) -> None:
    log = write_log(workspace, "train", 0.5)
    with in_place(workspace, "a test"):
        command = subprocess.Popen([*MARTLET, "logs", "--follow"], cwd=workspace, stdout=subprocess.PIPE, text=True)
        assert command.stdout
        assert "loss 0.5000" in command.stdout.readline()
        with (log / "progress.jsonl").open("a") as progress:
            progress.write('{"step": 2, "loss": 0.25}\n')
        assert "loss 0.2500" in command.stdout.readline()
        (log / "result.json").write_text('{"status": "done"}')
        assert command.communicate(timeout=30)[0].endswith("train: done\n")


def test_gc_keeps_the_newest_runs_and_what_is_younger(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for days in (1, 10, 40):
        folder = workspace / f".runs/history/run-{days}"
        folder.mkdir(parents=True)
        changed = time.time() - days * 86400
        os.utime(folder, (changed, changed))
    assert "nothing to remove" in said(capsys, "gc")
    assert "would remove  .runs/history/run-40  (kept for 40 d 0 h)" in said(capsys, "gc", "--older_than", "30d")
    assert "run-1 " not in said(capsys, "gc", "--keep_runs", "1")
    said(capsys, "gc", "--keep_runs", "2", "--yes")
    said(capsys, "gc", "--older_than", "1w", "--yes")
    assert [folder.name for folder in (workspace / ".runs/history").iterdir()] == ["run-1"]
    for wrong in (["--older_than", "soon"], ["--keep_runs", "-1"]):
        with pytest.raises(ConfigError, match=wrong[0]):
            dispatch(["gc", *wrong])


def test_gc_takes_from_dvcs_cache_what_nothing_names(workspace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MartletError), in_worktree(workspace, "bird", "a test", {}) as place:
        subprocess.run(
            [sys.executable, "-m", "dvc", "repro", "-q", "-f", "-s", "plot"], cwd=place.paths.root, check=True
        )
        raise MartletError("no luck")
    edit(workspace / "params.yaml", "lora_rank: 8", "lora_rank: 16")
    subprocess.run([sys.executable, "-m", "dvc", "repro", "-q"], cwd=workspace, check=True)
    shutil.rmtree(workspace / ".runs")
    git(workspace, "worktree", "prune")
    before = cached(workspace)
    with in_place(workspace, "a test"), pytest.raises(ConfigError, match="a run works in"):
        dispatch(["gc", "--dvc_cache"])
    assert "would remove  1 file of DVC's cache" in said(capsys, "gc", "--dvc_cache")
    assert cached(workspace) == before
    assert "removed  1 file of DVC's cache" in said(capsys, "gc", "--dvc_cache", "--yes")
    assert len(cached(workspace)) == len(before) - 1
    assert (
        "Running"
        not in subprocess.run(
            [sys.executable, "-m", "dvc", "repro"], cwd=workspace, check=True, capture_output=True, text=True
        ).stdout
    )


def cached(workspace: Path) -> set[Path]:
    return {file for file in (workspace / ".dvc/cache/files").rglob("*") if file.is_file()}


@pytest.fixture(scope="module")
def monday(promoted: Path) -> Path:
    """A backup of `promoted` with its models."""
    file = promoted.parent / "monday.tar"
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("MLFLOW_TRACKING_URI", raising=False)
        environment.chdir(promoted)
        dispatch(["backup", str(file), "--models"])
    return file


@pytest.fixture
def copy(monday: Path, workspace: Path) -> Path:
    """The current folder: a workspace without a registry, and in `../monday.tar` a backup of `promoted`."""
    shutil.copy(monday, workspace.parent)
    return workspace


def test_a_backup_brings_back_runs_registry_and_journal(
    copy: Path, promoted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "restored" in said(capsys, "restore", "../monday.tar")
    champion = registry.champion("martlet", copy)
    assert champion and champion.number == 2
    champion.verify()
    assert champion.folder.is_relative_to(copy)
    assert [entry.why for entry in registry.history("martlet", copy)] == ["it is one", "it is two"]
    models = {file.read_text() for file in (copy / "mlruns/models").rglob("model.safetensors")}
    assert models == {"one", "two"}
    with pytest.raises(ConfigError, match=r"mlflow\.db is there already; --overwrite"):
        dispatch(["restore", "../monday.tar"])
    registry.rollback("martlet", copy, why="a mistake")
    said(capsys, "restore", "../monday.tar", "--overwrite")
    champion = registry.champion("martlet", copy)
    assert champion and champion.number == 2


def test_without_models_a_backup_is_small(promoted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(promoted)
    dispatch(["backup", str(tmp_path / "small.tar")])
    with tarfile.open(tmp_path / "small.tar") as archive:
        names = archive.getnames()
    assert names[-1] == "manifest.json"
    assert "mlruns/mlflow.db" in names and not any("safetensors" in name for name in names)


@pytest.mark.parametrize("damage", ["changed", "cut", "another", "empty", "absent"])
def test_a_backup_that_is_damaged_restores_nothing(copy: Path, damage: str) -> None:
    file = copy.parent / "monday.tar"
    content = file.read_bytes()
    at = content.index(b"it is two")
    damaged = {
        "changed": content[:at] + b"it is TWO" + content[at + 9 :],
        "cut": content[: len(content) // 2],
        "another": b"no archive " * 999,
        "empty": b"",
    }
    file.write_bytes(damaged.get(damage, b""))
    if damage == "absent":
        file.unlink()
    with pytest.raises(MartletError, match=r"monday\.tar: (no such file|not a backup|damaged)"):
        dispatch(["restore", "../monday.tar"])
    assert not (copy / "mlruns/mlflow.db").exists()
    assert not list((copy / "mlruns").glob("*"))


def test_a_backup_with_more_than_its_manifest_names_restores_nothing(copy: Path) -> None:
    file = copy.parent / "monday.tar"
    content = file.read_bytes()
    extra = tarfile.TarInfo("mlruns/models/extra/model.safetensors")
    link = tarfile.TarInfo(extra.name)
    link.type, link.linkname = tarfile.SYMTYPE, "../nothing"
    for member in (extra, link):
        file.write_bytes(content)
        with tarfile.open(file, "a") as archive:
            archive.addfile(member)
        with pytest.raises(MartletError, match=r"monday\.tar: damaged"):
            dispatch(["restore", "../monday.tar"])
        assert not list((copy / "mlruns").glob("*"))


@pytest.mark.parametrize(
    ("database", "seal_of", "message"),
    [
        (b"no database", {"workspace": "/elsewhere"}, "no database of MLflow"),
        (b"", {"workspace": "/elsewhere"}, "no database of MLflow: no such table"),
        (b"", {"workspace": "here"}, "does not name the workspace"),
        (b"", {}, "does not name the workspace"),
    ],
)
def test_a_sealed_backup_of_something_else_restores_nothing(
    copy: Path, tmp_path: Path, database: bytes, seal_of: dict[str, Any], message: str
) -> None:
    made = tmp_path / "made"
    (made / "mlruns").mkdir(parents=True)
    (made / "mlruns/mlflow.db").write_bytes(database)
    seal(made, **seal_of)
    with tarfile.open(tmp_path / "other.tar", "w") as archive:
        for name in ("mlruns/mlflow.db", "manifest.json"):
            archive.add(made / name, name)
    with pytest.raises(MartletError, match=message):
        dispatch(["restore", str(tmp_path / "other.tar")])
    assert not list((copy / "mlruns").glob("*"))


def test_an_interrupted_backup_leaves_the_one_before(promoted: Path, tmp_path: Path) -> None:
    file = tmp_path / "monday.tar"
    subprocess.run([*MARTLET, "backup", file], cwd=promoted, check=True)
    before = file.read_bytes()
    for delay in (0.0, 0.02, 0.1):
        run = subprocess.Popen([*MARTLET, "backup", file, "--models"], cwd=promoted)
        until(lambda: any(tmp_path.glob(".martlet-*")))
        time.sleep(delay)
        run.send_signal(signal.SIGKILL)
        run.wait()
        with tarfile.open(file) as archive:
            assert archive.getnames()[-1] == "manifest.json"
    assert file.read_bytes()[:100] == before[:100]


def test_a_restore_is_refused_where_a_server_keeps_the_runs_or_a_run_goes_on(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with in_place(copy, "`martlet run`"), pytest.raises(MartletError, match="another run works in"):
        dispatch(["restore", "../monday.tar"])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    for command in ("backup", "restore"):
        with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:9 keeps the runs"):
            dispatch([command, "../monday.tar"])


def test_init_makes_a_workspace_in_which_every_stage_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "next: `cd 'my workspace'`" in said(capsys, "init", "my workspace")
    Path("my workspace").rename("mine")
    monkeypatch.chdir(tmp_path / "mine")
    assert git(Path.cwd(), "status", "--porcelain") == ""
    with pytest.raises(ConfigError, match="build it with `martlet demo --base_only`"):
        dispatch(["run"])
    assert "martlet demo --base_only" in Path("README.md").read_text()
    (tmp_path / "mine/models/base").mkdir()
    explained = said(capsys, "explain")
    assert explained.count("first run") == len(explained.split("first run")) - 1 > 5
    cache = Path(tasks.__file__).parent / "__pycache__/a_test.pyc"
    cache.parent.mkdir(exist_ok=True)
    cache.touch()
    assert said(capsys, "init", "--upgrade", ".") == "the workspace has this version already\n"
    cache.unlink()
    version = read_json(Path("martlet.json"))
    Path("martlet.json").write_text(json.dumps(version | {"version": "0.0.1"}))
    assert said(capsys, "init", "--upgrade", ".") == "every stage will run anew\n"
    with pytest.raises(ConfigError, match="is not empty"):
        dispatch(["init", "."])
    with pytest.raises(ConfigError, match="/proc/x cannot be made"):
        dispatch(["init", "/proc/x"])
    with pytest.raises(ConfigError, match=r"has no martlet\.json"):
        dispatch(["init", "--upgrade", str(tmp_path)])


def test_a_workspace_may_lie_in_a_repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    git(tmp_path, "init", "-q")
    monkeypatch.chdir(tmp_path)
    dispatch(["init", "models/support"])
    assert git(tmp_path, "log", "--format=%s").strip() == "A workspace of Martlet"
    assert not (tmp_path / "models/support/.git").exists()


@pytest.mark.slow
def test_ui_starts_the_pages_of_mlflow_and_ends_them(
    promoted: Path, health: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "browser").write_text('#!/bin/sh\necho "$1" >> opened\n')
    (tmp_path / "browser").chmod(0o755)
    port = free_port()
    command = [*MARTLET, "ui", "--open", "--port", str(port)]
    environment = os.environ | {"PREFECT_API_URL": f"{health}/api", "BROWSER": str(tmp_path / "browser")}
    pages = subprocess.Popen(command, cwd=promoted, env=environment, stdout=subprocess.PIPE, text=True)
    assert pages.stdout
    lines = [pages.stdout.readline() for _ in range(3)]
    assert lines[0].split() == ["prefect", health]
    assert lines[1].startswith(f"mlflow   http://127.0.0.1:{port}/#/experiments")
    assert httpx.get(f"http://127.0.0.1:{port}/health").is_success
    assert (promoted / "opened").read_text().split() == [line.split()[1] for line in lines[:2]]
    pages.send_signal(signal.SIGINT)
    assert pages.wait(30) == 0
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/health")


@pytest.fixture
def health() -> Iterator[str]:
    """The address of a server that says that it is well, as Prefect's does."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"true")

        def log_message(self, format: str, *args: Any) -> None: ...

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
