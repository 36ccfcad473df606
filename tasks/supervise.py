"""The supervisor: runs stages as `dvc repro -s STAGE`, gate and promotion, in process groups that never outlive the
flow."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple

from components import leash
from components.errors import ERRORS, InterruptedRunError, MartletError
from components.files import read_json, remove_leftovers_of
from tasks.plan import Step, Wishes
from tasks.progress import own_lines, telling
from tasks.stages import host, warm
from tasks.stages.environment import prepare_environment
from tasks.stages.paths import WORKSPACE, Paths

_DVC_RESTORED = "is cached - skipping run"
"""What DVC prints when it restores a stage's outputs from its run cache."""

NO_WISHES = Wishes()
WARM = Wishes(warm=True)


class Outcome(NamedTuple):
    """The outcome of a stage that succeeded: whether DVC restored it from its run cache, and its seconds."""

    restored: bool
    seconds: float


class Supervisor:
    """Runs and stops the stages of one run; `lock` is the descriptor of the run's lock, which the stages inherit."""

    def __init__(self, paths: Paths, lock: int | None = None) -> None:
        self.paths = paths
        self._inherited_descriptors = () if lock is None else (lock,)
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._host: host.Host | None = None
        self.stopping = threading.Event()
        self.finished = set[str]()
        """Names of the stages whose outputs are up to date."""

    def warm_up(self, steps: Iterable[Step]) -> None:
        """Start the host that stages are forked from, if several with the wish `warm` have work: a single stage would
        wait for its host as long as for its own imports. On other systems than Linux libraries do not survive a fork.
        """
        if sys.platform == "linux" and sum(step.changed and step.wishes.warm for step in steps) > 1:
            with suppress(OSError):  # no room for a socket, or too long a path: stages import for themselves
                self._host = host.start(self.paths.root, environment(self.paths))

    def run(self, step: Step, say: Callable[[str], None] = print) -> Outcome:
        """Run one stage to its end; its output goes to `logs/<stage>/output.log`, and in short to `say`.

        Raises:
            MartletError: the stage failed (with the message and the exit code of the stage), reached its timeout, was
                stopped or was killed.
        """
        log, start = self.paths.log(step.name), time.monotonic()
        for out in step.outs:
            remove_leftovers_of(self.paths.root / out)
        dvc = [sys.executable, "-P", "-m", "dvc", "--wait-for-lock", "repro", "--single-item", step.name]
        if self.run_command(step.name, dvc, step.wishes, say):
            raise _failure(step.name, log)
        self.finished.add(step.name)
        is_restored = _DVC_RESTORED in (log / "output.log").read_text(errors="replace")
        return Outcome(is_restored, time.monotonic() - start)

    def run_promotion(self, name: str, say: Callable[[str], None] = print, **options: Any) -> dict[str, Any]:
        """Run a program of `tasks/promotion_process.py` to its end, and return its result.

        Raises:
            MartletError: as `run`.
        """
        return self.run_program("tasks.promotion_process", name, say, **options)

    def run_program(self, module: str, name: str, say: Callable[[str], None] = print, **options: Any) -> dict[str, Any]:
        """Run `python -m MODULE NAME OPTIONS`, a program made by `tasks/stages/runner.py`, and return its result. It is
        forked from the host if there is one.

        Raises:
            MartletError: as `run`.
        """
        log = self.paths.log(name)
        command = [sys.executable, "-P", "-m", "tasks.stages.warm", module, name, json.dumps(options)]
        if code := self.run_command(name, command, WARM, say):
            raise _reported(name, log) or MartletError(
                f"{name}: ended with {code} without an error message (see {log / 'output.log'})"
            )
        return read_json(log / "result.json")["metrics"]

    def run_command(
        self, name: str, command: list[str], wishes: Wishes = NO_WISHES, say: Callable[[str], None] = print
    ) -> int:
        """Run a command whose output goes to `logs/<name>/output.log`, and in short to `say`; return its exit code.

        Raises:
            MartletError: it reached its timeout, or was stopped.
        """
        log = self.paths.log(name)
        log.mkdir(parents=True, exist_ok=True)
        for old in ("result.json", "progress.jsonl"):
            (log / old).unlink(missing_ok=True)
        with (
            telling(log, say),
            (log / "output.log").open("wb") as output,
            self._start(name, command, wishes, output) as process,
        ):
            try:
                code = process.wait(wishes.timeout)
            except subprocess.TimeoutExpired as error:
                leash.end(process)
                raise MartletError(f"{name}: stopped after its timeout of {wishes.timeout:g} s") from error
        if self.stopping.is_set():
            raise InterruptedRunError(f"{name}: interrupted; the same command goes on from where it stopped")
        return code

    def stop(self) -> None:
        """Stop every stage, wait for the end of their processes, and start no more; an interruption kills them."""
        self.stopping.set()
        with self._guard:
            running = list(self._running)
        for process in running:
            if process.stdin:
                process.stdin.close()
        try:
            for process in running:
                process.wait()
        except BaseException:
            for process in running:
                leash.kill(process)
            raise

    def end(self) -> None:
        """End the host."""
        if self._host:
            self._host.end()

    @contextmanager
    def _start(
        self, name: str, command: list[str], wishes: Wishes, output: IO[bytes]
    ) -> Generator[subprocess.Popen[bytes]]:
        with self._guard:
            if self.stopping.is_set():
                raise InterruptedRunError(f"{name}: not started, the run was stopped")
            variables = environment(self.paths)
            if wishes.warm and self._host:
                variables[warm.ADDRESS] = self._host.address
            process = leash.start(
                command,
                wishes.grace,
                cwd=self.paths.root,
                env=variables,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=self._inherited_descriptors,
            )
            self._running.add(process)
        try:
            yield process
        finally:
            leash.end(process)
            with self._guard:
                self._running.discard(process)


def environment(paths: Paths) -> dict[str, str]:
    """Return the environment variables of a stage: this Python first in PATH, no telemetry, the workspace's path."""
    prepare_environment()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, WORKSPACE: str(paths.workspace), "PYTHONUNBUFFERED": "1"}


def _failure(stage: str, log: Path) -> MartletError:
    """Return the error in the stage's result.json, or else an error made from the stage's output: DVC exits
    with the same code for every failure."""
    if error := _reported(stage, log):
        return error
    output = (log / "output.log").read_text(errors="replace")
    lines = [line.strip() for line in output.split("\n") if line.strip()]
    dvc_error = next((line.removeprefix("ERROR: ") for line in reversed(lines) if line.startswith("ERROR: ")), "")
    stage_lines = own_lines(output)
    if "exited with" not in dvc_error:
        return MartletError(f"{stage}: {dvc_error or 'dvc was killed'} (see {log / 'output.log'})")
    code = int(dvc_error.rsplit("exited with", 1)[1])
    number = -code if code < 0 else code - 128  # a shell reports a signal as 128 + its number
    end = f"was killed by {signal.Signals(number).name}" if number > 0 else f"exited with {code}"
    if number > 0 and stage_lines and (signal.strsignal(number) or "") in stage_lines[-1]:
        stage_lines.pop()  # some shells print the name of the signal
    last = f"; the last line of its log: {stage_lines[-1]}" if stage_lines else ""
    return MartletError(f"{stage}: {end} without an error message{last} (see {log / 'output.log'})")


def _reported(name: str, log: Path) -> MartletError | None:
    """Return the error in the result.json of a stage or a program, or None where there is none."""
    result = read_json(log / "result.json") if (log / "result.json").is_file() else {}
    if result.get("status") != "failed":
        return None
    message = result["message"]
    message = message if message.startswith(f"{name}:") else f"{name}: {message}"
    return ERRORS.get(result["exit_code"], MartletError)(message)
