import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import psutil
import pytest

from components.errors import DataGateError, InterruptedRunError, MartletError
from tasks.plan import Step, Wishes
from tasks.stages.paths import Paths
from tasks.supervise import Supervisor
from tests.flows.toy import edit, gone, tries, until

ROOT = Path(__file__).parents[2]


def step(name: str, *outs: str, **wishes: float) -> Step:
    return Step(name, (), outs, ("changed",), Wishes(**wishes))  # type: ignore[arg-type]


@pytest.fixture
def supervisor(workspace: Path) -> Supervisor:
    edit(workspace / "params.yaml", "lora_rank: 8", "lora_rank: 16")
    return Supervisor(Paths(workspace, workspace))


def test_a_stage_runs_with_this_python_and_its_output_is_kept(supervisor: Supervisor, workspace: Path) -> None:
    outcome = supervisor.run(step("train"))
    assert not outcome.restored
    assert outcome.seconds > 0
    assert "lora_rank: 16" in (workspace / "models/adapter").read_text()
    assert "Running stage 'train'" in (workspace / "logs/train/output.log").read_text()


def test_what_the_cache_has_is_restored_and_what_a_killed_stage_left_is_removed(
    supervisor: Supervisor, workspace: Path
) -> None:
    (workspace / "reports/plot").unlink()
    (workspace / "reports/.plot.1.tmp").mkdir()
    assert supervisor.run(step("plot", "reports/plot")).restored
    assert (workspace / "reports/plot").read_text() == "plot"
    assert not (workspace / "reports/.plot.1.tmp").exists()
    assert tries(workspace) == {}


def test_a_failure_carries_the_stages_own_reason_and_code(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_TRAIN", "fail3")
    with pytest.raises(DataGateError, match=r"^train: the stage's own reason$"):
        supervisor.run(step("train"))


@pytest.mark.parametrize("shell", ["/bin/sh", "bash"])
def test_a_killed_stage_is_told_by_its_signal_and_its_last_line(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, shell: str
) -> None:
    monkeypatch.setenv("SHELL", shutil.which(shell) or "/bin/sh")
    monkeypatch.setenv("TOY_TRAIN", "die")
    with pytest.raises(MartletError, match=r"train: was killed by SIGKILL.*the last thing it said.*output\.log"):
        supervisor.run(step("train"))


def test_dvcs_own_refusal_is_passed_on(supervisor: Supervisor, workspace: Path) -> None:
    (workspace / "data/raw").unlink()
    with pytest.raises(MartletError, match=r"train: .*data/raw"):
        supervisor.run(step("train"))


def test_a_timeout_ends_the_whole_group(
    supervisor: Supervisor, workspace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TOY_TRAIN", "sleep60")
    with pytest.raises(MartletError, match=r"train: stopped after its timeout of 4 s"):
        supervisor.run(step("train", timeout=4))
    assert gone(int((workspace / "logs/train/pid").read_text()))


@pytest.mark.parametrize("way", ["stop", "kill the leash"])
def test_nothing_is_left_when_it_is_stopped(
    supervisor: Supervisor, workspace: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.setenv("TOY_TRAIN", "sleep60")
    caught: list[BaseException] = []

    def work() -> None:
        try:
            supervisor.run(step("train"))
        except MartletError as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    pid = int(until((workspace / "logs/train/pid").exists) and (workspace / "logs/train/pid").read_text())
    if way == "stop":
        supervisor.stop()
    else:
        os.kill(os.getpgid(pid), signal.SIGKILL)
    until(lambda: gone(pid), 5)
    thread.join(10)
    if way == "stop":
        assert isinstance(caught[0], InterruptedRunError)
        with pytest.raises(InterruptedRunError, match="not started"):
            supervisor.run(step("plot"))
    else:
        assert "train" in str(caught[0])


FLOW = """
from pathlib import Path
from flows.run import supervised
from tasks.plan import Step, Wishes
from tasks.stages.paths import Paths

steps = [Step(name, (), (), ("changed",), Wishes(warm=True)) for name in ("train", "plot")]
with supervised(Paths(Path.cwd(), Path.cwd())) as supervisor:
    supervisor.warm_up(steps)
    supervisor.run(steps[0])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)])
def test_a_forked_stage_and_its_host_end_with_the_flow(workspace: Path, number: int) -> None:
    edit(workspace / "params.yaml", "lora_rank: 8", "lora_rank: 16")
    edit(workspace / "dvc.yaml", "python stage.py train", "python -m tasks.stages.warm stage train")
    environment = os.environ | {"TOY_TRAIN": "sleep60", "TMPDIR": str(workspace.parent), "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", FLOW], env=environment, stderr=subprocess.PIPE) as flow:
        until((workspace / "logs/train/pid").exists, 300)
        stage = psutil.Process(int((workspace / "logs/train/pid").read_text()))
        parent, server = stage.parents()[:2]
        assert "tasks.stages.host" in server.cmdline()
        flow.send_signal(number)
        until(lambda: all(gone(process.pid) for process in (stage, parent, server)), 15)
    assert not list(workspace.parent.glob("martlet-host-*"))
