"""Programs forked from a host against the same programs in processes of their own."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import pytest

from tasks.stages import host, warm
from tests.flows.toy import gone, until

ROOT = Path(__file__).parents[2]
STATE = """
import json, logging, multiprocessing, os, random, signal, sys
was_imported = "torch" in sys.modules

def double(number):
    return 2 * number

if __name__ == "__main__":
    import numpy, torch
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        doubled = pool.apply(double, [21])
    print(json.dumps({
        "imported": was_imported,
        "argv": sys.argv, "path": sys.path, "folder": os.getcwd(), "spec": __spec__.name, "doubled": doubled,
        "environment": dict(os.environ), "input": sys.stdin.read(),
        "signals": [str(signal.getsignal(n)) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)],
        "threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "log": [logging.root.level, len(logging.root.handlers), sys.excepthook.__module__],
        "random": [random.random(), numpy.random.rand(), torch.rand(1).item()], "process": os.getpid(),
    }))
    print("a warning", file=sys.stderr)
"""
ENDING = """
import os, signal, sys
how = sys.argv[1]
if how == "raise":
    raise ValueError("the reason")
if how.startswith("-"):
    os.kill(os.getpid(), -int(how))
sys.exit(int(how))
"""
SLEEPING = """
import os, subprocess, sys, time
from pathlib import Path
child = subprocess.Popen(["sleep", "60"])
Path(sys.argv[1] + ".tmp").write_text(f"{os.getpid()} {os.getppid()} {child.pid}")
Path(sys.argv[1] + ".tmp").rename(sys.argv[1])
try:
    time.sleep(float(sys.argv[2]))
except KeyboardInterrupt:
    print("stopped in order", flush=True)
    sys.exit(130)
finally:
    child.kill()
"""
FLOW = """
import os, sys, time
from pathlib import Path
from tasks.stages import host
started = host.start(Path.cwd(), dict(os.environ))
print(started.process.pid, started.address, flush=True)
time.sleep(600)
"""


class Flow(NamedTuple):
    """A process that started a host, in a folder with programs."""

    folder: Path
    pid: int
    host: int
    address: str

    def start(self, *words: object, cold: bool = False, **env: str) -> subprocess.Popen[str]:
        """Start a program as a stage is started."""
        command = [sys.executable, "-m", "tasks.stages.warm", *map(str, words)]
        address = {} if cold else {warm.ADDRESS: self.address}
        pipe = subprocess.PIPE
        return subprocess.Popen(
            command, cwd=self.folder, env=ENVIRONMENT | address | env, stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    def run(self, *words: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a program to its end."""
        process = self.start(*words, **options)
        output, errors = process.communicate("a line\n", timeout=300)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    def sleeping(self, name: str, seconds: float = 60) -> tuple[subprocess.Popen[str], list[int]]:
        """Start a program that sleeps; return its client, and the ids of the program, its parent and its child."""
        client = self.start("sleeping", name, seconds)
        until((self.folder / name).exists)
        return client, [int(word) for word in (self.folder / name).read_text().split()]


ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flow]:
    """One for all tests; at the end it is killed, and its host must end."""
    folder = tmp_path_factory.mktemp("flow")
    for name, text in (("state", STATE), ("ending", ENDING), ("sleeping", SLEEPING), ("flow", FLOW)):
        (folder / f"{name}.py").write_text(text)
    process = subprocess.Popen(
        [sys.executable, "flow.py"], cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    pid, address = process.stdout.readline().split()
    assert Path(address).parent.stat().st_mode & 0o777 == 0o700
    yield Flow(folder, process.pid, int(pid), address)
    process.kill()
    process.wait()
    until(lambda: gone(int(pid)), 120)
    assert not Path(address).parent.exists()


def test_a_forked_program_is_in_the_state_of_a_new_process(flow: Flow) -> None:
    ended = [flow.run("state", "--flag", "a word", cold=cold, DVC_STAGE="train") for cold in (False, False, True)]
    forked, again, cold = (json.loads(process.stdout) for process in ended)
    assert (forked.pop("imported"), cold.pop("imported")) == (True, False)
    for numbers in zip(*(state.pop("random") for state in (forked, again, cold)), strict=True):
        assert len(set(numbers)) == 3
    assert len({state.pop("process") for state in (forked, again, cold)}) == 3
    assert cold["environment"].items() <= forked.pop("environment").items()  # imports add variables
    assert cold.pop("environment")["DVC_STAGE"] == "train"
    assert forked == cold
    assert (forked["input"], forked["doubled"]) == ("a line\n", 42)
    assert [process.stderr for process in ended] == ["a warning\n"] * 3


@pytest.mark.parametrize("how", ["0", "3", "raise", "-9", "-11", "-15"])
def test_the_client_ends_as_its_program_does(flow: Flow, how: str) -> None:
    forked, cold = flow.run("ending", how), flow.run("ending", how, cold=True)
    assert forked.returncode == cold.returncode == (1 if how == "raise" else int(how))
    assert ("ValueError: the reason" in forked.stderr) == (how == "raise")


def test_ctrl_c_reaches_the_program_and_what_it_started(flow: Flow) -> None:
    client, pids = flow.sleeping("interrupted")
    client.send_signal(signal.SIGINT)
    output, errors = client.communicate(timeout=10)
    assert (client.returncode, output, errors) == (130, "stopped in order\n", "")
    until(lambda: all(map(gone, pids)), 5)


def test_sigterm_ends_a_program_without_a_handler(flow: Flow) -> None:
    client, pids = flow.sleeping("terminated")
    client.terminate()
    assert client.wait(10) == -signal.SIGTERM
    until(lambda: all(map(gone, pids)), 5)


@pytest.mark.parametrize("victim", ["the client", "the program's parent", "the program"])
def test_nothing_is_left_after_kill_9(flow: Flow, victim: str) -> None:
    client, pids = flow.sleeping(f"killed {victim}")
    os.kill({"the client": client.pid, "the program's parent": pids[1], "the program": pids[0]}[victim], signal.SIGKILL)
    assert client.wait(10) == -signal.SIGKILL
    until(lambda: all(map(gone, pids)), 5)


def test_two_programs_run_side_by_side(flow: Flow) -> None:
    first, pids = flow.sleeping("first")
    assert flow.run("ending", "3").returncode == 3
    assert psutil.pid_exists(pids[0])
    first.kill()
    first.wait()


def test_a_variable_that_libraries_read_is_not_ignored(flow: Flow) -> None:
    """OpenMP read the number of threads when the host imported torch."""
    state = json.loads(flow.run("state", OMP_NUM_THREADS="2").stdout)
    assert not state["imported"]
    assert state["threads"][0] == 2


@pytest.mark.parametrize("words", [[], ["trian"]])
def test_a_stage_that_is_not_there_is_told_in_a_line(words: list[str]) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tasks.stages", *words], cwd=ROOT, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert ended.returncode == 2
    assert ended.stderr == f"martlet: there is no stage '{''.join(words)}'; dvc.yaml names the stages\n"


def test_changed_code_is_not_run_from_memory() -> None:
    request = {"code": warm.__file__, "environment": {"A": "1"}}
    assert host._is_current(request, time.time_ns(), {"A": "1"})
    assert not host._is_current(request, Path(warm.__file__).stat().st_ctime_ns, {"A": "1"})
    assert not host._is_current(request | {"code": "/elsewhere/tasks/stages/warm.py"}, time.time_ns(), {"A": "1"})


def test_without_its_host_a_program_runs_in_its_own_process(flow: Flow, tmp_path: Path) -> None:
    started = host.start(flow.folder, ENVIRONMENT)
    own = flow._replace(address=started.address)
    client = own.start("ending", "4")  # waits until the host has imported what it is to import
    started.process.kill()
    assert client.wait(60) == 4
    assert own.run("ending", "5").returncode == 5
    started.end()
    assert own.run("ending", "6").returncode == 6
    assert not Path(started.address).parent.exists()
