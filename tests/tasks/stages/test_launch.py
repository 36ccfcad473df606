"""Processes that are killed, stopped or do not fit each other, on one machine and on two of 127.0.0.1."""

import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Generator
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil
import pytest

from components.config import Params
from components.config.groups.distributed import Distributed
from components.errors import ConfigError, InterruptedRunError, MartletError
from components.training.world import problems, settled_world
from tasks.stages.workers import warm_up
from tests.tasks.stages.test_workers import figures, run

SMALL = {"max_steps": 5, "save_steps": 2, "gradient_accumulation_steps": 2}
KILLED_ONCE = """\
import os, signal
from pathlib import Path
from typing import Any
from transformers import TrainerCallback

MARK = Path(__file__).with_name("was_killed")

def callback(job):
    return KilledOnce()

class KilledOnce(TrainerCallback):
    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == 3 and os.environ.get("RANK") == "1" and not MARK.exists():
            MARK.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""
WEIGHTS = "models/adapter/adapter_model.safetensors"
GONE_S = 15
"""Seconds after which no process of a run that was killed may be left."""


def killed_once(root: Path, base: Path, *, spared: bool = False, **flags: object) -> list[dict[str, float]]:
    """Train in two processes, of which the second is killed in its third step, unless it was before or is spared."""
    root.mkdir(exist_ok=True)
    (root / "killed_once.py").write_text(KILLED_ONCE)
    if spared:
        (root / "was_killed").touch()
    plugin = {"callbacks": ["killed_once"], "external_plugins": ["killed_once.py"]}
    return run(root, base, **SMALL, **plugin, nproc_per_node=2, **flags)


def messages(lines: list[dict[str, float]]) -> str:
    return "\n".join(str(line["message"]) for line in lines if "message" in line)


def progress(root: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (root / "logs/train/progress.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tiny_model: Path, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The weights of a run that nothing disturbs."""
    root = tmp_path_factory.mktemp("whole")
    killed_once(root, tiny_model, spared=True)
    return (root / WEIGHTS).read_bytes()


def test_a_killed_process_is_named_and_the_same_command_goes_on(tiny_model: Path, tmp_path: Path, whole: bytes) -> None:
    with pytest.raises(
        MartletError, match=r"rank 1 was killed by SIGKILL, perhaps because memory .*logs/train/rank-1.log"
    ):
        killed_once(tmp_path, tiny_model)
    assert (tmp_path / "logs/train/rank-1.log").is_file()
    assert "going on from checkpoint-2" in messages(killed_once(tmp_path, tiny_model))
    assert (tmp_path / WEIGHTS).read_bytes() == whole


def test_all_processes_start_again_from_the_newest_checkpoint(tiny_model: Path, tmp_path: Path, whole: bytes) -> None:
    lines = killed_once(tmp_path, tiny_model, max_restarts=1)
    assert "all processes start again from checkpoint-2, 1 of 1 times" in messages(lines)
    assert (tmp_path / WEIGHTS).read_bytes() == whole


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def on_two_machines(root: Path, base: Path, others: dict[str, object], **flags: object) -> list[BaseException | None]:
    """Train on two machines, of which the second has the flags `others` too; return the error of each."""
    errors: list[BaseException | None] = [None, None]
    meeting = {"nnodes": 2, "nproc_per_node": 1, "master_addr": "127.0.0.1", "master_port": free_port()}

    def train(rank: int, folder: Path, **flags: object) -> None:
        try:
            run(folder, base, **{**SMALL, **meeting, "node_rank": rank, **flags})
        except MartletError as error:
            errors[rank] = error

    second = threading.Thread(target=train, args=(1, root / "node-1"), kwargs=flags | others)
    second.start()
    train(0, root, **flags)
    second.join()
    return errors


def test_two_machines_have_the_losses_of_one_process_and_go_on(tiny_model: Path, tmp_path: Path) -> None:
    one, two = run(tmp_path / "one", tiny_model, **SMALL), tmp_path / "two"
    assert on_two_machines(two, tiny_model, {}) == [None, None]
    lines, whole = progress(two), (two / WEIGHTS).read_bytes()
    assert "machine 0 of 2: waiting for the others" in messages(lines)
    assert figures(lines, "loss") == pytest.approx(figures(one, "loss"), abs=1e-5)
    assert (two / "node-1/logs/train/rank-1.log").is_file()
    assert not list((two / "node-1").rglob("*.safetensors"))
    for folder in ("checkpoints/checkpoint-5", "models"):
        shutil.rmtree(two / folder)
    assert on_two_machines(two, tiny_model, {}) == [None, None]
    assert "going on from checkpoint-4" in messages(progress(two))
    assert (two / WEIGHTS).read_bytes() == whole


def test_machines_that_train_something_else_are_refused(tiny_model: Path, tmp_path: Path) -> None:
    errors = on_two_machines(tmp_path, tiny_model, {"learning_rate": 1e-2})
    sentence = r"machine 1 \(.*\) trains something else than machine 0: train.learning_rate 0.001 → 0.01; give both"
    for error in errors:
        assert isinstance(error, ConfigError)
        with pytest.raises(ConfigError, match=sentence):
            raise error


def test_a_machine_that_does_not_come_is_named(tiny_model: Path, tmp_path: Path) -> None:
    meeting = {"nnodes": 2, "nproc_per_node": 1, "master_addr": "127.0.0.1", "master_port": free_port()}
    with pytest.raises(MartletError, match=r"machine 1 of 2 did not come to 127.0.0.1:\d+ within 1 s"):
        run(tmp_path / "0", tiny_model, **SMALL, **meeting, node_rank=0, ddp_timeout=1)
    with pytest.raises(MartletError, match=r"machine 0 did not answer at 127.0.0.1:\d+ within 1 s"):
        run(tmp_path / "1", tiny_model, **SMALL, **meeting, node_rank=1, ddp_timeout=1)


def run_and_exit(root: Path, base: Path) -> None:
    """In a process of its own: a long run in two processes, which ends with the exit code of its error."""
    try:
        run(root, base, nproc_per_node=2, max_steps=100_000, save_steps=100_000)
    except MartletError as error:
        (root / "error.txt").write_text(str(error))
        os._exit(error.exit_code)


def wait_for(root: Path, text: str) -> None:
    file = root / "logs/train/progress.jsonl"
    while not (file.is_file() and text in file.read_text()):
        time.sleep(0.05)


@pytest.mark.parametrize(
    "number",
    [signal.SIGKILL, pytest.param(signal.SIGINT, marks=pytest.mark.slow)],  # as in test_streaming_processes.py
    ids=["killed", "stopped"],
)
def test_nothing_is_left_of_a_run_whose_command_ends(tiny_model: Path, tmp_path: Path, number: int) -> None:
    command = get_context("forkserver").Process(target=run_and_exit, args=(tmp_path, tiny_model))
    command.start()
    wait_for(tmp_path, '"step": 2')
    processes = family(command.pid)
    assert len(processes) >= 4  # the command, its server, and two that train
    os.kill(command.pid or 0, number)
    if number == signal.SIGINT:
        command.join()
        assert command.exitcode == InterruptedRunError.exit_code
        assert "is written, to go on from" in (tmp_path / "error.txt").read_text()
    assert not psutil.wait_procs(processes, timeout=GONE_S)[1]
    command.join()


def family(pid: int | None) -> list[psutil.Process]:
    """A process and all that it has started."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


@pytest.fixture
def namespaces() -> Generator[tuple[str, str]]:
    """Two network namespaces with a cable between them, of 10.77.0.1 and 10.77.0.2."""
    names = ("martlet-test-0", "martlet-test-1")
    try:
        for name in names:
            ip("netns", "add", name)
        ip("link", "add", "mt0", "netns", names[0], "type", "veth", "peer", "name", "mt1", "netns", names[1])
        for number, name in enumerate(names):
            ip("-n", name, "address", "add", f"10.77.0.{number + 1}/24", "dev", f"mt{number}")
            for link in (f"mt{number}", "lo"):
                ip("-n", name, "link", "set", link, "up")
        yield names
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no network namespaces here: {error}")
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


def train_in(namespace: str, root: Path, base: Path, *words: object) -> subprocess.Popen[str]:
    flags = [
        *("--model", base, "--dataset", root / "rows.jsonl", "--output_dir", root / "output", "--add_version", "false"),
        *("--report_to", "none", "--split_dataset_ratio", "0", "--logging_steps", "1", "--learning_rate", "1e-3"),
        *("--save_steps", "5", "--per_device_train_batch_size", "1", "--gradient_accumulation_steps", "2"),
        *("--nproc_per_node", "1", "--nnodes", "2", "--master_addr", "10.77.0.1"),
    ]
    martlet = [sys.executable, "-m", "apps.cli.main", "sft", *map(str, [*flags, *words])]
    command = ["ip", "netns", "exec", namespace, *martlet]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.mark.slow
def test_a_machine_that_is_lost_ends_the_run_which_then_goes_on(
    namespaces: tuple[str, str], tiny_model: Path, tmp_path: Path
) -> None:
    turns = ({"role": "user", "content": "Say {}."}, {"role": "assistant", "content": "{}, then."})
    rows = [{"messages": [{**turn, "content": turn["content"].format(n)} for turn in turns]} for n in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))

    def start(*words: object) -> list[subprocess.Popen[str]]:
        return [
            train_in(name, tmp_path, tiny_model, "--max_steps", "300", "--node_rank", rank, *words)
            for rank, name in enumerate(namespaces)
        ]

    first, second = start()
    wait_for(tmp_path / "output", '"step": 12')
    family(second.pid)[0].kill()
    assert "lost the connection to another process" in first.communicate()[0]
    assert first.returncode == 1
    last = tmp_path / "output/checkpoint-10"
    outputs = [command.communicate()[0] for command in start("--resume_from_checkpoint", last)]
    assert "going on from checkpoint-10" in outputs[0]
    assert f"the results are on machine 0, {socket.gethostname()}:{tmp_path / 'output'}" in outputs[1]


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_runs_that_lose_a_process_at_any_time_end_with_the_weights_of_a_whole_one(
    tiny_model: Path, tmp_path: Path
) -> None:
    """Kill a random process of two after a random time, 20 times, and give the same command again."""
    flags = {"nproc_per_node": 2, "max_steps": 20, "save_steps": 3}
    run(tmp_path / "first", tiny_model, **flags)  # whose server is not warm yet
    began = time.monotonic()
    run(tmp_path / "whole", tiny_model, **flags)
    seconds = time.monotonic() - began
    killed = 0
    for seed in range(20):
        draw, victims = random.Random(seed), list[psutil.Process]()
        killer = threading.Timer(draw.uniform(0, seconds), lambda: kill_one(draw, victims))  # noqa: B023
        killer.start()
        try:
            run(tmp_path / str(seed), tiny_model, **flags)
        except MartletError as error:
            assert "was killed by SIGKILL" in str(error)
            killed += 1
        killer.join()
        assert not psutil.wait_procs(victims, timeout=GONE_S)[1], seed
        run(tmp_path / str(seed), tiny_model, **flags)
        assert (tmp_path / str(seed) / WEIGHTS).read_bytes() == (tmp_path / "whole" / WEIGHTS).read_bytes(), seed
    assert killed > 10  # the others had not begun, or had ended


def kill_one(draw: random.Random, processes: list[psutil.Process]) -> None:
    """Kill one of the processes that train, each of which has a session of its own; add all of them to `processes`."""
    children = psutil.Process().children(recursive=True)
    processes += [process for process in children if os.getsid(process.pid) == process.pid]
    if processes:
        draw.choice(processes).kill()


@pytest.mark.parametrize(
    ("flags", "sentences"),
    [
        ({"nnodes": 2}, ["node_rank: which of the 2 machines", "master_addr: 2 machines meet at machine 0"]),
        ({"nnodes": 2, "node_rank": 2}, ["the numbers 0 to 1, and not 2", "add --master_addr"]),
        ({"nnodes": 2, "node_rank": 1, "master_addr": "no.such.invalid"}, ["'no.such.invalid' has no address"]),
        ({"nproc_per_node": 2, "ddp_backend": "nccl"}, ["nccl connects accelerators, and there is none here"]),
        ({"nproc_per_node": 2}, []),
    ],
)
def test_processes_that_cannot_meet(flags: dict[str, Any], sentences: list[str]) -> None:
    for problem, sentence in zip(problems(settled_world(Distributed(**flags))), sentences, strict=True):
        assert sentence in problem


def test_stages_that_start_together_leave_the_environment_as_it_was() -> None:
    params = Params.model_validate({"distributed": {"nproc_per_node": 2}})
    interval, threads = sys.getswitchinterval(), [threading.Thread(target=warm_up, args=(params,)) for _ in range(30)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert not os.environ.get("PYTHONSAFEPATH")


def test_a_port_in_use_is_said_before_anything_is_done() -> None:
    with socket.create_server(("", 0)) as server:
        port = server.getsockname()[1]
        world = settled_world(Distributed(nnodes=2, node_rank=0, master_addr="127.0.0.1", master_port=port))
        assert f"master_port: port {port} cannot be used (Address already in use)" in problems(world)[0]
